"""The network of BasicVSR (Chan et al., CVPR 2021): features carried both ways in time along optical flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vs_sr.models.basicvsr.spynet import SpyNet, warp
from vs_sr.models.layers import LEAK, Conv, ResidualBlock, ShuffleConv, as_weights, conv3, conv3_lrelu, upscale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vs_sr.spec import Carried

SCALE = 4


class _Trunk(nn.Module):
    """What a direction makes of a frame and of the state that came to it: (B, 3+C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            conv3_lrelu(3 + channels, channels),
            nn.Identity(),  # the published names count an activation
            nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks))),
        )

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        return self.main(torch.cat([as_weights(frame, self.main[0]), state], 1))


class BasicVSR(nn.Module):
    """BasicVSR: frames (B, 3, H, W), RGB in 0..1, to images (B, 3, 4H, 4W), not clamped.

    :mod:`vs_sr.engine.recurrence` calls its methods.

    Args:
        channels: of all features; 64 in the paper.
        blocks: residual blocks of each direction; 30 in the paper.
        hr_channels: channels at the output's size; 64 in the paper.
    """

    def __init__(self, *, channels: int = 64, blocks: int = 30, hr_channels: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.spynet = SpyNet()
        self.backward_trunk = _Trunk(channels, blocks)
        self.forward_trunk = _Trunk(channels, blocks)
        self.fusion = Conv(2 * channels, channels, 1, slope=LEAK)
        self.upconv1 = ShuffleConv(channels, channels)
        self.upconv2 = ShuffleConv(channels, hr_channels)
        self.conv_hr = conv3_lrelu(hr_channels, hr_channels)
        self.conv_last = conv3(hr_channels, 3)

    def encode(self, frame: Tensor) -> Tensor:
        """The frame itself: nothing is made of it without its neighbors."""
        return frame

    def between(self, before: Tensor, after: Tensor) -> Sequence[Tensor]:
        """Nothing: the frame rate does not change."""
        return ()

    def forward_step(self, frame: Tensor, state: Carried | None) -> Carried:
        """From a frame (B, 3, H, W) and the state of the frame before it to its own: the feature
        (B, C, H, W) and the frame, to which the next one's flow leads; None: it is the first."""
        return self.forward_trunk(frame, self._aligned(frame, state)), frame

    def backward_step(self, frame: Tensor, state: Carried | None) -> Carried:
        """As :meth:`forward_step`, from the frame after it."""
        return self.backward_trunk(frame, self._aligned(frame, state)), frame

    def reconstruct(self, frame: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """(B, 3, 4H, 4W) from a frame and the features of the forward and of the backward direction at it."""
        x = self.fusion(torch.cat([future, past], 1))
        out = self.conv_last(self.conv_hr(self.upconv2(self.upconv1(x))))
        return upscale(frame, SCALE) + out.to(frame.dtype)

    def _aligned(self, frame: Tensor, state: Carried | None) -> Tensor:
        """The neighbor's feature, moved along the flow from ``frame`` to the neighbor."""
        if state is None:
            size = (frame.shape[0], self.channels, *frame.shape[2:])
            return torch.zeros(size, dtype=self.conv_last.weight.dtype, device=frame.device)
        feature, neighbor = state
        return warp(feature, self.spynet(frame, neighbor))
