"""The discriminator of SRGAN (Ledig et al., CVPR 2017): the probability that an image is a real one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from vs_sr.models.layers import conv3

if TYPE_CHECKING:
    from torch import Tensor

_WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)


class Discriminator(nn.Module):
    """(B, 3, H, W) in 0..1 -> (B,), the probability of being real; any size.

    Args:
        strided: whether every second convolution halves the size, as in the paper; some published networks
            keep it (the tensors' names and shapes are the same).
    """

    def __init__(self, *, strided: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv3(3, _WIDTHS[0]), nn.LeakyReLU(0.2)]
        for number, (inputs, outputs) in enumerate(pairwise(_WIDTHS)):
            stride = 2 if strided and number % 2 == 0 else 1
            layers += [conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Conv2d(512, 1024, 1), nn.LeakyReLU(0.2), nn.Conv2d(1024, 1, 1)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B,) in 0..1."""
        return torch.sigmoid(self.net(x).flatten())
