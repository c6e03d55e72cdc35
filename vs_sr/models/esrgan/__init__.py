"""ESRGAN and Real-ESRGAN: dense residual blocks, the network that most community checkpoints are of.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018; Wang et
al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV Workshops 2021.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, choose, count, reach, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight")
_SCALE = "the x2 and the x3 network have the same tensors"
_UNSHUFFLE = {3: 1, 12: 2, 48: 4}  # channels of the first convolution to folding of the image


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Everything from names and shapes, but whether a single upscaling step is x2 or x3."""
    if not all(name in shapes for name in _SIGNATURE):
        return None
    if extra := [name for name in shapes if ".conv1x1." in name]:
        raise WeightsError(f"{extra[0]}: the file is of ESRGAN+, whose extra paths this network lacks")
    features, channels = shapes["conv_first.weight"][:2]
    outputs = shapes["conv_last.weight"][0]
    if channels not in _UNSHUFFLE or outputs != 3:
        raise WeightsError(f"takes {channels} channels and gives {outputs}; only RGB networks are known")
    unshuffle = _UNSHUFFLE[channels]
    steps = (2,) * count(shapes, r"conv_up\d+\.weight")
    if len(steps) == 1 and unshuffle == 1:
        steps = (int(choose(metadata, "scale", ("2", "3"), _SCALE)),)
    scale, rest = divmod(math.prod(steps), unshuffle)
    if rest or not scale:
        raise WeightsError(f"folds the image by {unshuffle} and upscales it by {math.prod(steps)}: not known")
    blocks = count(shapes, r"body\.\d+\.rdb1\.conv1\.weight")
    ups = [(1, math.prod(steps[: number + 1])) for number in range(len(steps))]
    receptive_field = reach((1 + 15 * blocks + 1, 1), *ups, (2, math.prod(steps)))
    return Variant(
        scale=check_scale(metadata, scale),
        min_size=unshuffle,
        multiple=unshuffle,
        receptive_field=unshuffle * (receptive_field + 1) - 1,
        channels=features,
        config={
            "steps": steps,
            "unshuffle": unshuffle,
            "features": features,
            "blocks": blocks,
            "growth": shapes["body.0.rdb1.conv1.weight"][0],
        },
        metadata={"scale": str(scale)},
    )


def _from_old(shapes: Shapes) -> Mapping[str, str]:
    """From the indices of one long sequence: where a layer lies tells what it is.

    model.0, the trunk model.1, then per upscaling step an upsampling and a convolution (with its activation:
    3 indices), then a convolution, its activation and the last convolution.
    """
    blocks = max((int(m[1]) for n in shapes if (m := re.match(r"model\.1\.sub\.(\d+)\.weight", n))), default=0)
    outer = sorted(int(m[1]) for n in shapes if (m := re.fullmatch(r"model\.(\d+)\.weight", n)) and m[1] != "0")
    if len(outer) < 2:
        return {}
    steps = len(outer) - 2
    if outer != [*(3 * (number + 1) for number in range(steps)), 3 * steps + 2, 3 * steps + 4]:
        raise WeightsError(
            f"convolutions at model.{', model.'.join(map(str, outer))}: not where nearest-neighbor "
            "upsampling has them (networks that upsample by pixel shuffle are not known)"
        )
    ups = [(rf"model\.{index}", f"conv_up{number}") for number, index in enumerate(outer[:steps], 1)]
    return rules(
        (r"model\.0", "conv_first"),
        (rf"model\.1\.sub\.{blocks}", "conv_body"),
        (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0", r"body.\1.rdb\2.conv\3"),
        (r"model\.1\.sub\.(\d+)\.RDB(\d)", r"body.\1.rdb\2"),
        *ups,
        (rf"model\.{outer[-2]}", "conv_hr"),
        (rf"model\.{outer[-1]}", "conv_last"),
    )(shapes)


def build(variant: Variant) -> nn.Module:
    """The generator of random weights."""
    from vs_sr.models.esrgan.network import RRDBNet

    return RRDBNet(**variant.config)


def _published(release: str, file: str) -> Published:
    repository = "xinntao/Real-ESRGAN"
    address = f"https://github.com/{repository}/releases/download/{release}/{file}"
    return Published(file=file, repository=repository, place="linked in its docs/model_zoo.md", address=address)


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """ESRGAN as the filter ``core.vs_sr.ESRGAN``."""
    return [
        Model(
            name="ESRGAN",
            summary="x1 to x8 by the weights; what most community checkpoints are",
            paper='Wang et al., "ESRGAN", ECCV Workshops 2018; "Real-ESRGAN", ICCV Workshops 2021',
            kind="image",
            build=build,
            detect=detect,
            arguments={"scale": "that of the weights; 2 or 3 where these do not say it"},
            schemes=(
                Scheme(name="BasicSR, Real-ESRGAN", signature=_SIGNATURE),
                Scheme(
                    name="ESRGAN new",
                    signature=(
                        "conv_first.weight",
                        "RRDB_trunk.0.RDB1.conv1.weight",
                        "trunk_conv.weight",
                        "HRconv.weight",
                        "conv_last.weight",
                    ),
                    rename=rules(
                        (r"RRDB_trunk\.(\d+)\.RDB(\d)", r"body.\1.rdb\2"),
                        (r"trunk_conv", "conv_body"),
                        (r"upconv(\d)", r"conv_up\1"),
                        (r"HRconv", "conv_hr"),
                    ),
                ),
                Scheme(
                    name="ESRGAN old",
                    signature=("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"),
                    rename=_from_old,
                ),
            ),
            hints={"scale": f"2 or 3: {_SCALE}"},
            published=_published("v0.1.1", "ESRGAN_SRx4_DF2KOST_official-ff704c30.pth"),
            more=(
                _published("v0.1.0", "RealESRGAN_x4plus.pth"),
                _published("v0.2.1", "RealESRGAN_x2plus.pth"),
                _published("v0.1.1", "RealESRNet_x4plus.pth"),
                _published("v0.2.2.4", "RealESRGAN_x4plus_anime_6B.pth"),
                Published(file="RRDB_ESRGAN_x4.pth", repository="xinntao/ESRGAN", place="linked in its README"),
                Published(file="RRDB_PSNR_x4.pth", repository="xinntao/ESRGAN", place="linked in its README"),
            ),
        )
    ]
