"""``core.vs_sr.Spandrel(clip, weights="file")``: any image architecture that spandrel knows, as a filter.

spandrel finds out what a file is of and builds the network. Reading the file is vs_sr's business, so that no pickle is
executed; so are frames, tiles, devices and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr import Model, Variant, hookimpl
from vs_sr.errors import WeightsError
from vs_sr.models.naming import check_scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spandrel import ImageModelDescriptor
    from torch import Tensor, nn

    from vs_sr.spec import Metadata, Precision

_OVERLAP = 64
"""Pixels around a tile that decide about its own. spandrel says whether networks may be tiled, not how far they see."""


def load(tensors: Mapping[str, Tensor], metadata: Metadata) -> tuple[Variant, nn.Module] | None:
    """The variant and the network of a file's tensors."""
    descriptor = _loaded(tensors)
    if descriptor is None:
        return None
    _check(descriptor)
    widest = max((tensor.shape[0] for tensor in tensors.values() if tensor.dim() == 4), default=64)
    variant = Variant(
        scale=check_scale(metadata, descriptor.scale),
        multiple=descriptor.size_requirements.multiple_of,
        receptive_field=_OVERLAP if descriptor.tiling.name == "SUPPORTED" else None,
        channels=min(max(widest, 64), 256),
        precisions=_precisions(descriptor),
    )
    return variant, _network(descriptor)


def _loaded(tensors: Mapping[str, Tensor]) -> ImageModelDescriptor[Any] | None:
    """The network that spandrel makes of tensors; None: it knows none that has such.

    Raises:
        WeightsError: it is none that makes an image of an image.
    """
    from spandrel import MAIN_REGISTRY, ImageModelDescriptor, UnsupportedModelError

    try:
        descriptor = MAIN_REGISTRY.load(dict(tensors))
    except UnsupportedModelError:
        return None
    except Exception as error:
        raise WeightsError(f"spandrel takes it for a network that it then cannot load: {error}") from error
    if not isinstance(descriptor, ImageModelDescriptor):
        raise WeightsError(
            f"{descriptor.architecture.name} fills masked parts of an image ({descriptor.purpose.lower()}), and frames "
            "have no mask; it cannot be a filter"
        )
    return descriptor


def _check(descriptor: ImageModelDescriptor[Any]) -> None:
    """Refuse what is no filter for frames of any size and color.

    Raises:
        WeightsError: it is none.
    """
    name, size = descriptor.architecture.name, descriptor.size_requirements
    channels = descriptor.input_channels, descriptor.output_channels
    if descriptor.purpose == "FaceSR":
        raise WeightsError(f"{name} restores faces that are cropped and aligned, not frames; it cannot be a filter")
    if channels not in ((3, 3), (1, 1)):
        raise WeightsError(f"{name} takes {channels[0]} channels and gives {channels[1]}; 3 or 1 of both are possible")
    if size.square:
        raise WeightsError(f"{name} takes square images alone; it cannot be a filter")


def _precisions(descriptor: ImageModelDescriptor[Any]) -> tuple[Precision, ...]:
    half: tuple[Precision, ...] = ("fp16",) if descriptor.supports_half else ()
    return ("fp32", *half, "bf16") if descriptor.supports_bfloat16 else ("fp32", *half)


def _network(descriptor: ImageModelDescriptor[Any]) -> nn.Module:
    """Images (B, C, H, W) in 0..1, of any size, to others; of one channel, R, G and B each by itself."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = descriptor.model

        def forward(self, x: Tensor) -> Tensor:
            image = x.to(next(self.model.parameters()).dtype)
            if descriptor.input_channels == 1:
                image = image.flatten(0, 1).unsqueeze(1)
            made: Tensor = descriptor(image).to(x.dtype)
            return made.view(*x.shape[:2], *made.shape[2:])

    return Network()


def build(variant: Variant) -> nn.Module:
    """There is no network without tensors: :func:`load` makes it."""
    raise WeightsError("a network of spandrel's is made of the tensors of a file")


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """Spandrel as the filter ``core.vs_sr.Spandrel``."""
    return [
        Model(
            name="Spandrel",
            summary="every image architecture that spandrel knows: SPAN, Compact, RealPLKSR, DAT, OmniSR, SwinIR, ...",
            paper="",
            kind="image",
            build=build,
            load=load,
            last=True,
            arguments={"scale": "has to be that of the weights, by default it is; 1 is a restorer"},
        )
    ]
