"""MDSR: EDSR for several scales in one file.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017,
section 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.hookspecs import hookimpl
from vs_sr.models.edsr import mean_shift, upscale
from vs_sr.models.naming import choose, count, reach, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = ("head.0.weight", "pre_process.0.0.body.0.weight", "upsample.0.0.weight", "tail.0.weight")


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Everything from names and shapes but the scale to upscale by: the file holds several."""
    if not all(name in shapes for name in _SIGNATURE):
        return None
    features = shapes["head.0.weight"][0]
    blocks = count(shapes, r"body\.\d+\.body\.0\.weight")
    heads = count(shapes, r"pre_process\.\d+\.0\.body\.0\.weight")
    scales = tuple(upscale(shapes, f"upsample.{index}", features) for index in range(heads))
    choices = [str(scale) for scale in scales]
    named = ", ".join(f"x{scale}" for scale in scales)
    scale = int(choose(metadata, "scale", choices, f"the file holds {named}"))
    value_range, mean = mean_shift(metadata)
    ups = [(1, 2**step) for step in range(2 if scale == 4 else 1)]
    return Variant(
        scale=scale,
        receptive_field=reach((1 + 8 + 2 * blocks + 1, 1), *ups, (1, scale)),
        channels=features,
        config={
            "scale": scale,
            "scales": scales,
            "features": features,
            "blocks": blocks,
            "value_range": value_range,
            "mean": mean,
        },
        metadata={"scale": str(scale), "range": f"{value_range:g}", "mean": "div2k" if any(mean) else "none"},
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.mdsr.network import MDSR

    return MDSR(**variant.config)


def _published(file: str) -> Published:
    return Published(
        file=file,
        repository="sanghyun-son/EDSR-PyTorch",
        place="linked in its src/model/mdsr.py",
        address=f"https://cv.snu.ac.kr/research/EDSR/models/{file}",
        hints={"scale": "2"},
    )


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """MDSR as the filter ``core.vs_sr.MDSR``."""
    return [
        Model(
            name="MDSR",
            summary="x2, x3 and x4 in one file; residual blocks, trained for fidelity",
            paper='Lim et al., "Enhanced Deep Residual Networks", CVPR Workshops 2017',
            kind="image",
            build=build,
            detect=detect,
            arguments={"scale": "which of the file's scales, 2, 3 or 4; has to be given"},
            schemes=(
                Scheme(
                    name="EDSR-PyTorch",
                    signature=_SIGNATURE,
                    rename=rules((r"sub_mean", None), (r"add_mean", None)),
                    values=("sub_mean.bias",),
                ),
            ),
            hints={
                "scale": "which of the file's scales to upscale by",
                "range": "the range of the values inside, 255 or 1",
                "mean": "what is taken off the input: div2k or none",
            },
            published=_published("mdsr_baseline-a00cab12.pt"),
            more=(_published("mdsr-4a78bedf.pt"),),
        )
    ]
