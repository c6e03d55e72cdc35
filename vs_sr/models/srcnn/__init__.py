"""SRCNN: the first network of the field, three layers on an upscaled image.

Dong et al., "Learning a Deep Convolutional Network for Image Super-Resolution", ECCV 2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.arguments import UPSCALED
from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import reach
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_TENSORS = tuple(f"conv{number}.{part}" for number in (1, 2, 3) for part in ("weight", "bias"))


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Kernel sizes (9-1-5, 9-3-5, 9-5-5), widths and channels, all from the shapes."""
    if set(shapes) != set(_TENSORS) or any(len(shapes[f"conv{n}.weight"]) != 4 for n in (1, 2, 3)):
        return None
    first, second, third = (shapes[f"conv{number}.weight"] for number in (1, 2, 3))
    if (second[1], third[1], third[0]) != (first[0], second[0], first[1]):
        return None
    if first[1] not in (1, 3):
        raise WeightsError(f"takes {first[1]} channels; only luma (1) and RGB (3) are known")
    kernels = (first[2], second[2], third[2])
    return Variant(
        scale=1,
        color="y" if first[1] == 1 else "rgb",
        upscaled=True,
        receptive_field=reach(*((kernel // 2, 1) for kernel in kernels)),
        channels=max(first[0], second[0]),
        config={"kernels": kernels, "widths": (first[0], second[0]), "channels": first[1]},
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.srcnn.network import SRCNN

    return SRCNN(**variant.config)


def _published(file: str, key: str) -> Published:
    address = f"https://www.dropbox.com/s/{key}/{file}?dl=1"
    return Published(file=file, repository="yjn870/SRCNN-pytorch", place="linked in its README", address=address)


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """SRCNN as the filter ``core.vs_sr.SRCNN``."""
    return [
        Model(
            name="SRCNN",
            summary="sharpens an upscaled clip; three layers, luma only",
            paper='Dong et al., "Learning a Deep Convolutional Network for Image SR", ECCV 2014',
            kind="image",
            build=build,
            detect=detect,
            arguments={"scale": UPSCALED},
            weights="srcnn",
            schemes=(Scheme(name="SRCNN", signature=_TENSORS),),
            published=_published("srcnn_x2.pth", "rxluu1y8ptjm4rn"),
            more=(_published("srcnn_x3.pth", "zn4fdobm2kw0c58"), _published("srcnn_x4.pth", "pd5b2ketm0oamhj")),
        )
    ]
