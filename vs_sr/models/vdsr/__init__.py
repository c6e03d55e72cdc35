"""VDSR: twenty layers that predict the residual to an upscaled image, one file for every scale.

Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.arguments import UPSCALED
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import count, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """The plain form or the one with zero-mean residual, by the names; depth and width by the shapes."""
    zero_mean = "body.inp.weight" in shapes
    first, last, inner = (
        ("body.inp.weight", "body.out.weight", r"body\.conv\.\d+\.weight")
        if zero_mean
        else ("input.weight", "output.weight", r"residual_layer\.\d+\.conv\.weight")
    )
    if first not in shapes or last not in shapes or not (depth := count(shapes, inner)):
        return None
    features, channels = shapes[first][:2]
    return Variant(
        scale=1,
        color="y" if channels == 1 else "rgb",
        upscaled=True,
        receptive_field=None if zero_mean else depth + 2,
        channels=features,
        config={"zero_mean": zero_mean, "depth": depth, "features": features, "channels": channels},
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.vdsr.network import VDSR, ZeroMeanVDSR

    config = dict(variant.config)
    return ZeroMeanVDSR(**config) if config.pop("zero_mean") else VDSR(**config)


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """VDSR as the filter ``core.vs_sr.VDSR``."""
    return [
        Model(
            name="VDSR",
            summary="sharpens an upscaled clip; twenty layers, luma only",
            paper='Kim et al., "Accurate Image Super-Resolution Using Very Deep Networks", CVPR 2016',
            kind="image",
            build=build,
            detect=detect,
            arguments={"scale": UPSCALED},
            weights="vdsr",
            schemes=(
                Scheme(
                    name="pytorch-vdsr",
                    signature=("input.weight", "residual_layer.0.conv.weight", "output.weight"),
                ),
                Scheme(
                    name="input_layer/output_layer",
                    signature=("input_layer.weight", "residual_layer.0.conv.weight", "output_layer.weight"),
                    rename=rules((r"input_layer", "input"), (r"output_layer", "output")),
                ),
                Scheme(
                    name="zero-mean residual",
                    signature=("body.inp.weight", "body.conv.0.weight", "body.out.weight"),
                ),
            ),
            published=Published(
                file="model_epoch_50.pth",
                repository="twtygqyy/pytorch-vdsr",
                place="folder model",
                address="https://github.com/twtygqyy/pytorch-vdsr/raw/HEAD/model/model_epoch_50.pth",
                sha256="eab4d79ae5a6e5acef4c55e46015aed225ade207679bcb6695b07af8fb18e876",
            ),
        )
    ]
