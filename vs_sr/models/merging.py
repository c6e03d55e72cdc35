"""Convolutions and pixel shuffles with nothing between them, as the one convolution that they are.

EDSR and MDSR end so: at the input's size a 5x5 convolution gives what the chain gives, for a tenth of its products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_REACH = 2
"""Pixels of the input, each way, that a pixel of the output is made of: one for the first 3x3 convolution, and one for
all others together, at sizes that double."""


@runtime_checkable
class Quickens(Protocol):
    """A network that has quicker forms of its layers for inference, which give the same."""

    def quicken(self) -> None:
        """Put them in the places of the layers; weights cannot be loaded afterwards."""


def quickened(network: nn.Module) -> nn.Module:
    """The network with its quicker layers, in place, where it has some."""
    if isinstance(network, Quickens):
        network.quicken()
    return network


class MergedChain(nn.Module):
    """A chain as one convolution; along the edges, where the chain pads what is in its middle, the chain itself.

    Args:
        layers: 3x3 convolutions with one pixel of zero padding, and pixel shuffles; weights in float32.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.chain = nn.Sequential(*layers)
        weight, self.factor = _response(self.chain)
        outputs, inputs, size, _ = weight.shape
        nothing = F.pixel_unshuffle(self.chain(torch.zeros(1, inputs, size, size)), self.factor)
        self.merged = nn.Conv2d(inputs, outputs, size, padding=_REACH)
        self.merged.weight = nn.Parameter(weight)
        self.merged.bias = nn.Parameter(nothing[0, :, _REACH, _REACH])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, factor*H, factor*W)."""
        edge, f = _REACH + 1, self.factor  # what the outermost pixels are made of
        if min(x.shape[-2:]) <= edge:
            return cast("Tensor", self.chain(x))
        inner = F.pixel_shuffle(self.merged(x), f)[..., f:-f, f:-f]
        left, right = self.chain(x[..., :edge])[..., f:-f, :f], self.chain(x[..., -edge:])[..., f:-f, -f:]
        top, bottom = self.chain(x[..., :edge, :])[..., :f, :], self.chain(x[..., -edge:, :])[..., -f:, :]
        return torch.cat([top, torch.cat([left, inner, right], 3), bottom], 2)


def _response(chain: nn.Sequential) -> tuple[Tensor, int]:
    """The weights (O f^2, C, 5, 5) of the one convolution, and the factor f: by what the chain makes of one pixel."""
    inputs = cast("nn.Conv2d", chain[0]).in_channels
    response = torch.eye(inputs)[..., None, None]  # of each channel, around the pixel
    begin, factor = 0, 1  # where it begins, in pixels of the output so far
    for layer in chain:
        if isinstance(layer, nn.PixelShuffle):
            step = layer.upscale_factor
            response, begin, factor = F.pixel_shuffle(response, step), begin * step, factor * step
        else:
            response, begin = F.conv2d(response, cast("Tensor", layer.weight), padding=2), begin - 1
    before = _REACH * factor + begin
    after = (2 * _REACH + 1) * factor - before - response.shape[-1]
    cells = F.pixel_unshuffle(F.pad(response, (before, after, before, after)), factor)  # (C, O f^2, 5, 5)
    return cells.transpose(0, 1).flip(2, 3).contiguous(), factor
