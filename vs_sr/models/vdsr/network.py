"""The network of VDSR (Kim et al., CVPR 2016): a deep residual to an upscaled image, one for all scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import as_weights, conv3

if TYPE_CHECKING:
    from torch import Tensor


class _Layer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class VDSR(nn.Module):
    """VDSR: (B, C, H, W) -> (B, C, H, W), the input upscaled beforehand (bicubic), values in 0..1.

    Args:
        depth: convolutions between the first and the last; 18 in the paper.
        features: their channels; 64 in the paper.
        channels: of the image; 1 for luma.
    """

    def __init__(self, *, depth: int = 18, features: int = 64, channels: int = 1) -> None:
        super().__init__()
        self.input = conv3(channels, features, bias=False)
        self.residual_layer = nn.Sequential(*(_Layer(features) for _ in range(depth)))
        self.output = conv3(features, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 -> the same shape and type, not clamped."""
        return x + self.residual(x)

    def residual(self, x: Tensor) -> Tensor:
        """What the network adds to ``x``."""
        features = F.relu(self.input(as_weights(x, self.input)))
        return self.output(self.residual_layer(features)).to(x.dtype)


class _Body(nn.Module):
    def __init__(self, depth: int, features: int, channels: int) -> None:
        super().__init__()
        self.inp = conv3(channels, features, bias=False)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [conv3(features, features), nn.ReLU()]
        self.conv = nn.Sequential(*layers)
        self.out = conv3(features, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(F.relu(self.inp(x))))


class ZeroMeanVDSR(nn.Module):
    """A variant of VDSR whose residual has mean zero over the image, and whose layers have biases.

    The mean is taken over the whole image: tiles would not give the same result.

    Args:
        depth: convolutions between the first and the last; 20.
        features: their channels; 64.
        channels: of the image; 1 for luma.
    """

    def __init__(self, *, depth: int = 20, features: int = 64, channels: int = 1) -> None:
        super().__init__()
        self.body = _Body(depth, features, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 -> the same shape and type, not clamped."""
        return x + self.residual(x)

    def residual(self, x: Tensor) -> Tensor:
        """What the network adds to ``x``; its mean over an image is zero."""
        residual = self.body(as_weights(x, self.body.inp)).to(x.dtype)
        return residual - residual.mean((1, 2, 3), keepdim=True)
