"""The network of A2N (Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import NearestConv, as_weights, conv3, upscale

if TYPE_CHECKING:
    from torch import Tensor

_TEMPERATURE = 30.0  # of the softmax over the two branches (section 3.3)


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _conv1(inputs: int, outputs: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


class _Attention(nn.Module):
    """The attention branch: features modulated by a sigmoid of themselves."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.k1 = conv3(features, features, bias=False)
        self.k2 = _conv1(features, features, bias=True)
        self.k3 = conv3(features, features, bias=False)
        self.k4 = conv3(features, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(self.k2(_lrelu(self.k1(x))))
        return self.k4(self.k3(x) * weight)


class _Block(nn.Module):
    """Attention-in-attention block: an attention and a plain branch, mixed by two weights per image."""

    def __init__(self, features: int, reduced: int, kernel: int) -> None:
        super().__init__()
        self.conv_first = _conv1(features, features)
        self.conv_last = _conv1(features, features)
        self.ADM = nn.Sequential(nn.Linear(features, reduced, bias=False), nn.ReLU(), nn.Linear(reduced, 2, bias=False))
        self.attention = _Attention(features)
        self.non_attention = nn.Conv2d(features, features, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        features = _lrelu(self.conv_first(x))
        mix = torch.softmax(self.ADM(features.mean((2, 3))) / _TEMPERATURE, 1)[:, :, None, None, None]
        features = mix[:, 0] * self.attention(features) + mix[:, 1] * self.non_attention(features)
        return x + self.conv_last(_lrelu(features))


class _PixelAttention(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = _conv1(features, features, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(x))


class A2N(nn.Module):
    """A2N: (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1 whatever range the weights were trained on.

    Every block takes the mean of its features over the whole image: tiles give another result.

    Args:
        scale: 2, 3 or 4.
        features: channels of the trunk; 40 in the paper.
        upsampled: channels at the output's size; 24.
        blocks: attention-in-attention blocks; 16.
        reduced: channels in the middle of the branch weighting; 10.
        kernel: of the plain branch: 3 (A2N) or 1 (A2N-M).
        value_range: of the network inside: 255 or 1, by where the weights come from.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 40,
        upsampled: int = 24,
        blocks: int = 16,
        reduced: int = 10,
        kernel: int = 3,
        value_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.value_range = value_range
        self.conv_first = conv3(3, features)
        self.AAB_trunk = nn.Sequential(*(_Block(features, reduced, kernel) for _ in range(blocks)))
        self.trunk_conv = conv3(features, features)
        self.steps = [2, 2] if scale == 4 else [scale]
        for number, step in enumerate(self.steps, 1):
            inputs = features if number == 1 else upsampled
            self.add_module(f"upconv{number}", NearestConv(inputs, upsampled, step))
            self.add_module(f"att{number}", _PixelAttention(upsampled))
            self.add_module(f"HRconv{number}", conv3(upsampled, upsampled))
        self.conv_last = conv3(upsampled, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, scale*H, scale*W) in the type of ``x``, not clamped."""
        features = self.conv_first(as_weights(x * self.value_range, self.conv_first))
        features = features + self.trunk_conv(self.AAB_trunk(features))
        for number in range(1, len(self.steps) + 1):
            features = self.get_submodule(f"upconv{number}")(features)
            features = _lrelu(self.get_submodule(f"att{number}")(features))
            features = _lrelu(self.get_submodule(f"HRconv{number}")(features))
        return self.conv_last(features).to(x.dtype) / self.value_range + upscale(x, self.scale)
