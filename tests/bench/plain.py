"""The network in its plain form: torchvision's operator, nothing precomputed for both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.ops import deform_conv2d

from vs_sr.models.layers import Pyramid
from vs_sr.models.zooming_slow_mo import network

if TYPE_CHECKING:
    from torch import Tensor, nn


class _DeformableConv(network.DeformableConv):
    def forward(self, x: Tensor, offset_feature: Tensor) -> Tensor:
        z = self.conv_offset_mask(offset_feature)
        offset, mask = z[:, : self.offsets], torch.sigmoid(z[:, self.offsets :])
        return deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=mask)


class _DeformableConvLSTM(network.DeformableConvLSTM):
    def pyramids(self, x: Tensor) -> tuple[Pyramid, Pyramid]:
        return Pyramid(x, x, x), Pyramid(x, x, x)  # nothing yet

    def step(self, frame: tuple[Pyramid, Pyramid], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(super().pyramids(frame[0].l1), h, c)


def plain(net: nn.Module) -> nn.Module:
    """Turn a Zooming Slow-Mo into its plain form, in place; the weights stay."""
    for module in net.modules():
        if isinstance(module, network.DeformableConv):
            module.__class__ = _DeformableConv
        elif isinstance(module, network.DeformableConvLSTM):
            module.__class__ = _DeformableConvLSTM
    return net
