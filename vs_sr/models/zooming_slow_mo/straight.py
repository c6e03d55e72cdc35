"""Alignment that moves nothing, left out.

Networks that were trained without it (``stage.unaligned`` of recipes) have it as the identity, which would take two
thirds of their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.models.layers import DeformableConv, Pyramid
    from vs_sr.models.zooming_slow_mo.network import EasyPCD, PCDAlign, ZoomingSlowMo


class Both(nn.Module):
    """What an alignment gives that moves nothing: both features side by side, (B, 2C, H, W)."""

    def forward(self, first: Pyramid, second: Pyramid) -> Tensor:
        return torch.cat([first.l1, second.l1], 1)


class Second(nn.Module):
    """The second feature, where the fusion takes that alone."""

    def forward(self, first: Pyramid, second: Pyramid) -> Tensor:
        return second.l1


def straighten(part: ZoomingSlowMo | EasyPCD) -> None:
    """Leave out a part's alignment, and the pyramids that it is made by, if it gives what it is given."""
    if not all(_moves_nothing(part.pcd_align, side) for side in (1, 2)):
        return
    for name in ("fea_L2_conv1", "fea_L2_conv2", "fea_L3_conv1", "fea_L3_conv2"):
        part.add_module(name, nn.Identity())
    if _is(part.fusion, 0, 1):
        part.add_module("pcd_align", Second())
        part.add_module("fusion", nn.Identity())
    else:
        part.add_module("pcd_align", Both())


def _moves_nothing(align: PCDAlign, side: int) -> bool:
    """Whether one frame's feature comes out of its last level as it went in, to the last bit."""
    deform = cast("DeformableConv", align.get_submodule(f"L1_dcnpack_{side}"))
    offset = deform.offset_conv
    still = not offset.weight.any() and not cast("Tensor", offset.bias).any()
    # the mask of all zeros is a half
    return still and _is(deform, 2) and _is(align.get_submodule(f"L1_fea_conv_{side}"), 1, 0)


def _is(layer: nn.Module, *gains: float) -> bool:
    """Whether a convolution gives the sum of its inputs' parts, each times its gain."""
    weight, bias = cast("Tensor", layer.weight), cast("Tensor", layer.bias)
    middle = weight.shape[-1] // 2
    expected = torch.zeros_like(weight)
    expected[:, :, middle, middle] = torch.cat([gain * torch.eye(len(weight)) for gain in gains], 1)
    return torch.equal(weight, expected) and not bias.any()
