"""A2N: blocks that weigh an attention branch against a plain one, image by image.

Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, choose, count
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = (
    "conv_first.weight",
    "AAB_trunk.0.attention.k2.bias",
    "AAB_trunk.0.non_attention.weight",
    "upconv1.weight",
    "att1.conv.weight",
    "conv_last.weight",
)
_SCALE = "the x2 and the x3 network have the same tensors"
_RANGE = "weights trained on 0..255 (haoyuc/A2N) and on 0..1 (REN-HT/A2N, super-image) have the same tensors"


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Sizes from the shapes; ``range``, and ``scale`` where it is not 4, are hints."""
    if not all(name in shapes for name in _SIGNATURE):
        return None
    if "upconv2.weight" in shapes:
        scale = check_scale(metadata, 4)
    else:
        scale = int(choose(metadata, "scale", ("2", "3"), _SCALE))
    value_range = choose(metadata, "range", ("1", "255"), _RANGE)
    return Variant(
        scale=scale,
        channels=shapes["conv_first.weight"][0],
        config={
            "scale": scale,
            "features": shapes["conv_first.weight"][0],
            "upsampled": shapes["upconv1.weight"][0],
            "blocks": count(shapes, r"AAB_trunk\.\d+\.conv_first\.weight"),
            "reduced": shapes["AAB_trunk.0.ADM.0.weight"][0],
            "kernel": shapes["AAB_trunk.0.non_attention.weight"][-1],
            "value_range": float(value_range),
        },
        metadata={"scale": str(scale), "range": value_range},
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.a2n.network import A2N

    return A2N(**variant.config)


def _published(file: str, hints: Metadata) -> Published:
    repository, place = "haoyuc/A2N", "code/experiment/model"
    address = f"https://github.com/{repository}/raw/HEAD/{place}/{file}"
    return Published(file=file, repository=repository, place=f"folder {place}", address=address, hints=hints)


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """A2N as the filter ``core.vs_sr.A2N``."""
    return [
        Model(
            name="A2N",
            summary="x2, x3 or x4; small, with attention weighted by the image",
            paper='Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021',
            kind="image",
            build=build,
            detect=detect,
            arguments={"scale": "that of the weights; 2 or 3 where these do not say it"},
            schemes=(Scheme(name="A2N", signature=_SIGNATURE),),
            hints={"scale": f"2 or 3: {_SCALE}", "range": f"1 or 255: {_RANGE}"},
            weights="a2n_compact_x2",
            published=_published("aan_x2.pt", {"scale": "2", "range": "255"}),
            more=(
                _published("aan_x3.pt", {"scale": "3", "range": "255"}),
                _published("aan_x4.pt", {"range": "255"}),
            ),
        )
    ]
