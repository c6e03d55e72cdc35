"""The network of EDSR (Lim et al., CVPR Workshops 2017): residual blocks without normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import nn

from vs_sr.models.layers import as_weights, normalize
from vs_sr.models.merging import MergedChain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean of the training set's R, G and B in 0..1."""


def conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class ResBlock(nn.Module):
    """x + res_scale * conv(ReLU(conv(x))) (figure 2c)."""

    def __init__(self, features: int, kernel: int = 3, *, res_scale: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(features, features, kernel, bias=bias),
            nn.ReLU(),
            conv(features, features, kernel, bias=bias),
        )
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res_scale * self.body(x)


class Upsampler(nn.Sequential):
    """Sub-pixel convolutions without activation: a x3 step, or as many x2 steps as ``scale`` needs."""

    def __init__(self, scale: int, features: int, *, bias: bool = True) -> None:
        steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        layers: list[nn.Module] = []
        for step in steps:
            layers += [conv(features, step * step * features, bias=bias), nn.PixelShuffle(step)]
        super().__init__(*layers)


@dataclass(frozen=True)
class MeanShift:
    """From an image in 0..1 to the zero-mean range that a network was trained on, and back."""

    value_range: float
    """Of the network, 1 or 255."""
    mean: tuple[float, ...]
    """Of R, G and B in 0..1; zeros for none."""

    def enter(self, x: Tensor) -> Tensor:
        """From 0..1 to the network's range."""
        return normalize(x, self.mean, (1.0, 1.0, 1.0)) * self.value_range

    def leave(self, x: Tensor) -> Tensor:
        """From the network's range to 0..1."""
        return normalize(x / self.value_range, [-mean for mean in self.mean], (1.0, 1.0, 1.0))


class EDSR(nn.Module):
    """EDSR: (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1 whatever range the weights were trained on.

    Args:
        scale: 2, 3, 4 or 8.
        features: channels; 64 in the baseline, 256 in the large network.
        blocks: residual blocks; 16 and 32.
        res_scale: factor of every residual; 1 and 0.1 (section 3.3).
        value_range: of the network inside, 255 in the authors' weights.
        mean: of R, G and B in 0..1, which the network does not see.
        inner_bias: whether the convolutions in the blocks and in the upsampler have biases.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        value_range: float = 255.0,
        mean: Sequence[float] = DIV2K_MEAN,
        inner_bias: bool = True,
    ) -> None:
        super().__init__()
        self.shift = MeanShift(value_range, tuple(mean))
        self.head = nn.Sequential(conv(3, features))
        self.body = nn.Sequential(
            *(ResBlock(features, res_scale=res_scale, bias=inner_bias) for _ in range(blocks)),
            conv(features, features),
        )
        self.tail = nn.Sequential(Upsampler(scale, features, bias=inner_bias), conv(features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, scale*H, scale*W) in the type of ``x``, not clamped."""
        features = self.head(as_weights(self.shift.enter(x), self.head[0]))
        out = self.tail(features + self.body(features))
        return self.shift.leave(out.to(x.dtype))

    def quicken(self) -> None:
        """What follows the trunk has no activation."""
        upsampler, last = self.tail
        self.tail = nn.Sequential(MergedChain([*cast("Upsampler", upsampler), last]))
