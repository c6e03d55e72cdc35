"""SRGAN: residual blocks trained against a discriminator, for images that look natural.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR
2017.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, count, reach, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Scale and number of blocks from the names; the form of the trunk's end from what follows its conv."""
    blocks = count(shapes, r"block\d+\.conv1\.weight")
    trunk, output = f"block{blocks + 2}", f"block{blocks + 3}"
    steps = count(shapes, rf"{output}\.\d+\.conv\.weight")
    needed = ("block1.0.weight", f"{trunk}.0.weight", f"{output}.{steps}.weight")
    if not blocks or not all(name in shapes for name in needed):
        return None
    if not steps:
        raise WeightsError(f"{output} has no upsampling step: x2, x4 and x8 are known")
    scale = check_scale(metadata, 2**steps)
    ups = [(1, 2**step) for step in range(steps)]
    return Variant(
        scale=scale,
        receptive_field=reach((4 + 2 * blocks + 1, 1), *ups, (4, scale)),
        channels=shapes["block1.0.weight"][0],
        config={
            "scale": scale,
            "features": shapes["block1.0.weight"][0],
            "blocks": blocks,
            "trunk_norm": f"{trunk}.1.running_mean" in shapes,
        },
    )


def _flat(shapes: Shapes) -> Mapping[str, str]:
    """From a list of residual blocks, with the trunk's end and the output numbered after a longer network."""
    blocks = count(shapes, r"residual_blocks\.\d+\.conv1\.weight")
    last = {"block18": f"block{blocks + 2}", "block19": f"block{blocks + 3}"}
    names: dict[str, str] = {}
    for name in shapes:
        if match := re.match(r"residual_blocks\.(\d+)\.", name):
            names[name] = f"block{int(match[1]) + 2}.{name[match.end() :]}"
        else:
            head, _, tail = name.partition(".")
            names[name] = f"{last.get(head, head)}.{tail}"
    return names


def build(variant: Variant) -> nn.Module:
    """The generator of random weights."""
    from vs_sr.models.srgan.network import SRGAN

    return SRGAN(**variant.config)


def _published(scale: int, sha256: str) -> Published:
    """Those of 17 January 2018; there is another generation, of 11 January, under the same names."""
    file, repository, commit = (
        f"netG_epoch_{scale}_100.pth",
        "leftthomas/SRGAN",
        "b0323c6ca4ca920f7daa41ba05f44bd220557cd9",
    )
    return Published(
        file=file,
        repository=repository,
        place="folder epochs, in its history of January 2018",
        address=f"https://github.com/{repository}/raw/{commit}/epochs/{file}",
        sha256=sha256,
    )


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """SRGAN as the filter ``core.vs_sr.SRGAN``."""
    return [
        Model(
            name="SRGAN",
            summary="x2, x4 or x8; trained against a discriminator, for natural looks",
            paper='Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017',
            kind="image",
            build=build,
            detect=detect,
            schemes=(
                Scheme(
                    name="leftthomas",
                    signature=("block1.0.weight", "block2.conv1.weight", "block2.prelu.weight"),
                ),
                Scheme(
                    name="p_relu",
                    signature=("block1.0.weight", "block2.conv1.weight", "block2.p_relu.weight"),
                    rename=rules((r"(block\d+(?:\.\d+)?)\.p_relu", r"\1.prelu")),
                ),
                Scheme(
                    name="Conv1/Conv2",
                    signature=("block1.0.weight", "block2.Conv1.weight"),
                    rename=rules(
                        (r"(block\d+)\.Conv([12])", r"\1.conv\2"),
                        (r"(block\d+(?:\.\d+)?)\.Conv", r"\1.conv"),
                        (r"(block\d+)\.(?:BN|Bn)([12])", r"\1.bn\2"),
                        (r"(block\d+(?:\.\d+)?)\.(?:p_relu|PReLU|PRelu|Prelu)", r"\1.prelu"),
                    ),
                ),
                Scheme(
                    name="residual_blocks",
                    signature=("block1.0.weight", "residual_blocks.0.conv1.weight", "block18.0.weight"),
                    rename=_flat,
                ),
            ),
            published=_published(4, "f4c381640826a48d2440583e4920c6bb4041804f4e285c3c6d585f03961fe87c"),
            more=(
                _published(2, "a7ddfb8d2109ea7360ca7a6913c3acbb7128deef16c2868476e2bb1e2cf9ec3b"),
                _published(8, "91bc47a807f09ebb9c40a69ff2fd3b598e7e618d91f506b71a9c3ec2cbb94355"),
            ),
        )
    ]
