"""Zooming Slow-Mo: 4x the resolution and 2x the frame rate in one network.

Xiang et al., "Zooming Slow-Mo: Fast and Accurate One-Stage Space-Time Video Super-Resolution", CVPR 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.spec import Model, Published, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = ("ConvBLSTM.forward_net.pcd_h.fusion.weight", "ConvBLSTM.conv_1x1.weight", "conv_last.weight")
_BASES = ("none", "bicubic")


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Read the configuration off the shapes; ``base`` is not in them and comes from the metadata."""
    if not all(key in shapes for key in _SIGNATURE):
        return None
    base = metadata.get("base", "none")
    if base not in _BASES:
        raise WeightsError(f"base {base!r} in the file's metadata is not known; choices: {', '.join(_BASES)}")
    channels, hr_channels = shapes["conv_first.weight"][0], shapes["HRconv.weight"][0]
    return Variant(
        scale=4,
        min_size=8,
        multiple=4,
        channels=max(channels, hr_channels),
        config={
            "channels": channels,
            "groups": shapes["pcd_align.L1_dcnpack_1.conv_offset_mask.weight"][0] // 27,
            "front_blocks": _blocks(shapes, "feature_extraction"),
            "back_blocks": _blocks(shapes, "recon_trunk"),
            "hr_channels": hr_channels,
            "base": base,
        },
    )


def _blocks(shapes: Shapes, prefix: str) -> int:
    return sum(key.startswith(f"{prefix}.") and key.endswith(".conv1.weight") for key in shapes)


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

    return ZoomingSlowMo(**variant.config)


_REPOSITORY, _FOLDER = "Mukosame/Zooming-Slow-Mo-CVPR-2020", "experiments/pretrained_models"


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """Zooming Slow-Mo as the filter ``core.vs_sr.ZoomingSlowMo``."""
    return [
        Model(
            name="ZoomingSlowMo",
            summary="4x the resolution and 2x the frame rate (or up to 8x) in one network (recurrent, deformable)",
            paper='Xiang et al., "Zooming Slow-Mo", CVPR 2020',
            kind="sequence",
            build=build,
            detect=detect,
            arguments={
                "clip": "constant format and size, at least 8x8; 4:2:0 needs even sizes, as always in VapourSynth",
            },
            weights="zooming_slow_mo_compact",
            published=Published(
                file="xiang2020zooming.pth",
                repository=_REPOSITORY,
                place=f"folder {_FOLDER}",
                address=f"https://github.com/{_REPOSITORY}/raw/HEAD/{_FOLDER}/xiang2020zooming.pth",
            ),
            multi=(2, 1, 4, 8),
            window=4,
            carry=True,  # these three as docs/drift.md advises
            segment=2,
            lookahead=0,
        )
    ]
