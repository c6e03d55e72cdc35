"""The generator of ESRGAN and Real-ESRGAN: residual-in-residual dense blocks.

Wang et al., "ESRGAN", ECCV Workshops 2018, section 3.1; Wang et al., "Real-ESRGAN", ICCV Workshops 2021.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import NearestConv, as_weights, conv3, side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_RES_SCALE = 0.2


_LEAK = 0.2
"""Slope of the leaky ReLU."""


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and what all before it gave."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 6):
            inputs = features + (number - 1) * growth
            layer = conv3(inputs, growth, slope=_LEAK) if number < 5 else conv3(inputs, features)
            self.add_module(f"conv{number}", layer)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for number in range(1, 5):
            seen.append(side_by_side(self.get_submodule(f"conv{number}"), seen))
        return x + _RES_SCALE * side_by_side(self.get_submodule("conv5"), seen)


class _RRDB(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(features, growth)
        self.rdb2 = _DenseBlock(features, growth)
        self.rdb3 = _DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + _RES_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """RRDBNet: (B, 3, H, W) -> (B, 3, scale*H, scale*W) with scale = prod(steps) / unshuffle, RGB in 0..1.

    Args:
        steps: the factors that the features are upscaled by, one after the other: (2, 2) for x4.
        unshuffle: the image is first folded into unshuffle^2 times its channels (Real-ESRGAN x2: 2, x1: 4);
            a size that is no multiple of it is padded by reflection, right and bottom.
        features: channels of the trunk; 64.
        blocks: residual-in-residual dense blocks; 23 (6 in the anime network).
        growth: channels that every layer of a dense block adds; 32.
    """

    def __init__(
        self,
        *,
        steps: Sequence[int] = (2, 2),
        unshuffle: int = 1,
        features: int = 64,
        blocks: int = 23,
        growth: int = 32,
    ) -> None:
        super().__init__()
        self.steps = tuple(steps)
        self.unshuffle = unshuffle
        self.conv_first = conv3(3 * unshuffle**2, features)
        self.body = nn.Sequential(*(_RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = conv3(features, features)
        for number, step in enumerate(self.steps, 1):
            self.add_module(f"conv_up{number}", NearestConv(features, features, step, slope=_LEAK))
        self.conv_hr = conv3(features, features, slope=_LEAK)
        self.conv_last = conv3(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1, H and W >= unshuffle -> (B, 3, scale*H, scale*W) in the type of ``x``."""
        height, width = x.shape[-2:]
        folded = x
        if self.unshuffle > 1:
            pad = (0, -width % self.unshuffle, 0, -height % self.unshuffle)
            folded = F.pixel_unshuffle(F.pad(x, pad, mode="reflect"), self.unshuffle)
        features = self.conv_first(as_weights(folded, self.conv_first))
        features = features + self.conv_body(self.body(features))
        for number in range(1, len(self.steps) + 1):
            features = self.get_submodule(f"conv_up{number}")(features)
        out = self.conv_last(self.conv_hr(features)).to(x.dtype)
        scale = math.prod(self.steps) // self.unshuffle
        return out[..., : scale * height, : scale * width]
