"""The network in its plain form: torchvision's operator, one direction after the other, nothing precomputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.ops import deform_conv2d

from vs_sr.models.zooming_slow_mo import network

if TYPE_CHECKING:
    from torch import Tensor, nn


class _DeformableConv(network.DeformableConv):
    def forward(self, x: Tensor, offset_feature: Tensor) -> Tensor:
        z = self.conv_offset_mask(offset_feature)
        offset, mask = z[:, : self.offsets], torch.sigmoid(z[:, self.offsets :])
        return deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=mask)


class _Bidirectional(network.BidirectionalConvLSTM):
    def forward(self, sequence: Tensor) -> Tensor:
        past, future = self._direction(sequence), self._direction(sequence.flip(1)).flip(1)
        return torch.stack([self.fuse(h, r) for h, r in zip(past.unbind(1), future.unbind(1), strict=True)], 1)

    def _direction(self, sequence: Tensor) -> Tensor:
        h = c = torch.zeros_like(sequence[:, 0])
        out = []
        for x in sequence.unbind(1):
            h, c = self.forward_net.step(self.forward_net.pyramids(x), h, c)
            out.append(h)
        return torch.stack(out, 1)


def plain(net: nn.Module) -> nn.Module:
    """Turn a Zooming Slow-Mo into its plain form, in place; the weights stay."""
    for module in net.modules():
        if isinstance(module, network.DeformableConv):
            module.__class__ = _DeformableConv
        elif isinstance(module, network.BidirectionalConvLSTM):
            module.__class__ = _Bidirectional
    return net
