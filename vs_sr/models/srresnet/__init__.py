"""SRResNet in its two common forms: without normalization (MSRResNet) and with instance normalization.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR
2017, section 2.1.1; the form without normalization: Wang et al., "ESRGAN", 2018.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, count, reach, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_PLAIN = ("conv_first.weight", "body.0.conv1.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight")
_NORMED = ("conv_input.weight", "residual.0.in1.weight", "upscale4x.0.weight", "conv_output.weight")

# Video networks have these tensors too, and others besides.
_OWN = re.compile(r"(conv_first|body\.\d+\.conv[12]|upconv[12]|conv_hr|conv_last)\.(weight|bias)")


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Everything from names and shapes; the form with instance normalization is x4 only."""
    if all(name in shapes for name in _NORMED):
        return Variant(
            scale=check_scale(metadata, 4),
            min_size=2,  # a variance needs two pixels
            channels=shapes["conv_input.weight"][0],
            config={
                "norm": True,
                "features": shapes["conv_input.weight"][0],
                "blocks": count(shapes, r"residual\.\d+\.conv1\.weight"),
            },
        )
    if not all(name in shapes for name in _PLAIN) or not all(map(_OWN.fullmatch, shapes)):
        return None
    features = shapes["conv_first.weight"][0]
    first = shapes["upconv1.weight"][0] // features
    scale = {(9, False): 3, (4, False): 2, (4, True): 4}.get((first, "upconv2.weight" in shapes))
    if scale is None:
        raise WeightsError(f"upconv1.weight is of shape {shapes['upconv1.weight']}: not x2, x3 or x4")
    blocks = count(shapes, r"body\.\d+\.conv1\.weight")
    receptive_field = reach((2 + 2 * blocks, 1), *(((1, 2),) if scale == 4 else ()), (2, scale))
    return Variant(
        scale=check_scale(metadata, scale),
        receptive_field=receptive_field,
        channels=features,
        config={"norm": False, "scale": scale, "features": features, "blocks": blocks},
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.srresnet.network import MSRResNet, SRResNetIN

    config = dict(variant.config)
    return SRResNetIN(**config) if config.pop("norm") else MSRResNet(**config)


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """SRResNet as the filter ``core.vs_sr.SRResNet``."""
    return [
        Model(
            name="SRResNet",
            summary="x2, x3 or x4; residual blocks, trained for fidelity",
            paper='Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017',
            kind="image",
            build=build,
            detect=detect,
            schemes=(
                Scheme(name="BasicSR (MSRResNet)", signature=_PLAIN),
                Scheme(
                    name="BasicSR 2019 (MSRResNet)",
                    signature=(
                        "conv_first.weight",
                        "recon_trunk.0.conv1.weight",
                        "upconv1.weight",
                        "HRconv.weight",
                        "conv_last.weight",
                    ),
                    rename=rules((r"recon_trunk", "body"), (r"HRconv", "conv_hr")),
                ),
                Scheme(name="pytorch-SRResNet (instance normalization)", signature=_NORMED),
            ),
            published=Published(
                file="model_srresnet.pth",
                repository="twtygqyy/pytorch-SRResNet",
                place="folder model",
                address="https://github.com/twtygqyy/pytorch-SRResNet/raw/HEAD/model/model_srresnet.pth",
            ),
        )
    ]
