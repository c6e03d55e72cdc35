"""The network of BasicVSR (Chan et al., CVPR 2021): features carried both ways in time along optical flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.basicvsr.spynet import SpyNet, warp
from vs_sr.models.layers import ResidualBlock, as_weights, conv3, enlarge, lrelu

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
            conv3(3 + channels, channels),
            nn.LeakyReLU(0.1),
            nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks))),
        )

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        return self.main(torch.cat([as_weights(frame, self.main[0]), state], 1))


class BasicVSR(nn.Module):
    """BasicVSR: (B, T, 3, H, W) -> (B, T, 3, 4H, 4W), RGB in 0..1, not clamped.

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
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.upconv1 = conv3(channels, 4 * channels)
        self.upconv2 = conv3(channels, 4 * hr_channels)
        self.conv_hr = conv3(hr_channels, hr_channels)
        self.conv_last = conv3(hr_channels, 3)

    def forward(self, frames: Tensor, multi: int = 1) -> Tensor:
        """Enlarge a sequence.

        Args:
            frames: (B, T, 3, H, W) in time order, of any size.
            multi: frame-rate factor: 1.

        Returns:
            (B, T, 3, 4H, 4W) in the type of ``frames``.

        Raises:
            ValueError: another ``multi``.
        """
        if multi != 1:
            raise ValueError(f"BasicVSR: does not change the frame rate: multi must be 1, got {multi}")
        sequence = frames.unbind(1)
        state: Carried | None = None
        future: list[Tensor] = []
        for frame in reversed(sequence):
            state = self.backward_step(frame, state)
            future.append(state[0])
        state = None
        out: list[Tensor] = []
        for frame in sequence:
            state = self.forward_step(frame, state)
            out.append(self.reconstruct(frame, state[0], future.pop()))
        return torch.stack(out, 1)

    def encode(self, frame: Tensor) -> Tensor:
        """The frame itself: nothing is made of it without its neighbours."""
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
        x = lrelu(self.fusion(torch.cat([future, past], 1)))
        x = lrelu(F.pixel_shuffle(self.upconv1(x), 2))
        x = lrelu(F.pixel_shuffle(self.upconv2(x), 2))
        out = self.conv_last(lrelu(self.conv_hr(x)))
        return enlarge(frame, SCALE) + out.to(frame.dtype)

    def _aligned(self, frame: Tensor, state: Carried | None) -> Tensor:
        """The neighbour's feature, moved along the flow from ``frame`` to the neighbour."""
        if state is None:
            size = (frame.shape[0], self.channels, *frame.shape[2:])
            return torch.zeros(size, dtype=self.conv_last.weight.dtype, device=frame.device)
        feature, neighbour = state
        return warp(feature, self.spynet(frame, neighbour))
