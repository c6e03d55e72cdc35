"""The generator of SRGAN (Ledig et al., CVPR 2017), in the form that its community checkpoints have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import as_weights, conv3

if TYPE_CHECKING:
    from torch import Tensor


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = conv3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        features = self.prelu(self.bn1(self.conv1(x)))
        return x + self.bn2(self.conv2(features))


class _UpsampleBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, 4 * channels)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(F.pixel_shuffle(self.conv(x), 2))


class SRGAN(nn.Module):
    """SRGAN's generator: (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1 on both sides.

    The first convolution is ``block1``; residual blocks follow; the last of the trunk, the upsampler and the
    output come last: with five residual blocks they are ``block7`` and ``block8``.

    Args:
        scale: a power of two.
        features: channels; 64.
        blocks: residual blocks; 5.
        trunk_norm: whether the trunk's last convolution is followed by batch normalization, as in the paper,
            or by a PReLU, as in the weights published in 2018.
    """

    def __init__(self, *, scale: int, features: int = 64, blocks: int = 5, trunk_norm: bool = True) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, features, 9, padding=4), nn.PReLU())
        self.residual = [f"block{number}" for number in range(2, 2 + blocks)]
        for name in self.residual:
            self.add_module(name, _ResidualBlock(features))
        last: nn.Module = nn.BatchNorm2d(features) if trunk_norm else nn.PReLU()
        self.trunk, self.output = f"block{2 + blocks}", f"block{3 + blocks}"
        self.add_module(self.trunk, nn.Sequential(conv3(features, features), last))
        steps = scale.bit_length() - 1
        self.add_module(
            self.output,
            nn.Sequential(*(_UpsampleBlock(features) for _ in range(steps)), nn.Conv2d(features, 3, 9, padding=4)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, scale*H, scale*W) in 0..1, in the type of ``x``."""
        first = self.block1(as_weights(x, self.block1[0]))
        features = first
        for name in (*self.residual, self.trunk):
            features = self.get_submodule(name)(features)
        out = self.get_submodule(self.output)(first + features).to(x.dtype)
        return (torch.tanh(out) + 1) / 2
