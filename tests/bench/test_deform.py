"""The CPU path of the deformable convolution against torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

from vs_sr.ops import deform_conv2d

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("height", "width"), [(64, 112), (270, 480)])
def test_deformable_convolution(versus: Callable[..., float], height: int, width: int) -> None:
    """64 channels, 8 offset groups, 3x3, offsets of two pixels: a layer of the published networks."""
    torch.manual_seed(1)
    x = torch.randn(1, 64, height, width)
    offset = 2 * torch.randn(1, 144, height, width)
    mask = torch.rand(1, 72, height, width)
    weight, bias = torch.randn(64, 64, 3, 3) / 24, torch.randn(64)

    def ours() -> torch.Tensor:
        return deform_conv2d(x, offset, mask, weight, bias, padding=1)

    def rival() -> torch.Tensor:
        return torchvision_deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)

    # A position has 24 bits over the width: at 480 pixels, white noise shows that as 2e-4 at worst.
    torch.testing.assert_close(ours(), rival(), atol=1e-4 if width < 400 else 4e-4, rtol=0)
    goal = 1 / 6
    ratio = versus(
        f"deformable convolution {width}x{height}", ours, "torchvision", rival, rounds=9, goal=round(goal, 3)
    )
    assert ratio < goal
