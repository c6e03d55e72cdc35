"""The networks known as SRResNet (Ledig et al., CVPR 2017, section 2.1.1).

``MSRResNet`` is the modified form of the ESRGAN authors, without normalization; ``SRResNetIN`` is close to
the paper, with instance normalization in place of batch normalization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import ResidualBlock, ShuffleConv, as_weights, conv3, conv3_lrelu, upscale

if TYPE_CHECKING:
    from torch import Tensor


class MSRResNet(nn.Module):
    """MSRResNet: (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1.

    Args:
        scale: 2, 3 or 4.
        features: channels; 64.
        blocks: residual blocks; 16.
    """

    def __init__(self, *, scale: int, features: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = conv3_lrelu(3, features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.steps = [2, 2] if scale == 4 else [scale]
        for number, step in enumerate(self.steps, 1):
            self.add_module(f"upconv{number}", ShuffleConv(features, features, step))
        self.conv_hr = conv3_lrelu(features, features)
        self.conv_last = conv3(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, scale*H, scale*W) in the type of ``x``, not clamped."""
        features = self.body(self.conv_first(as_weights(x, self.conv_first)))
        for number in range(1, len(self.steps) + 1):
            features = self.get_submodule(f"upconv{number}")(features)
        out = self.conv_last(self.conv_hr(features))
        return out.to(x.dtype) + upscale(x, self.scale)


class _NormBlock(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = conv3(features, features, bias=False)
        self.in1 = nn.InstanceNorm2d(features, affine=True)
        self.conv2 = conv3(features, features, bias=False)
        self.in2 = nn.InstanceNorm2d(features, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        features = F.leaky_relu(self.in1(self.conv1(x)), 0.2)
        return x + self.in2(self.conv2(features))


class SRResNetIN(nn.Module):
    """SRResNet with instance normalization: (B, 3, H, W) -> (B, 3, 4H, 4W), RGB in 0..1.

    The normalization takes mean and variance over the whole image: tiles give another result.

    Args:
        features: channels; 64.
        blocks: residual blocks; 16.
    """

    def __init__(self, *, features: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.conv_input = nn.Conv2d(3, features, 9, padding=4, bias=False)
        self.residual = nn.Sequential(*(_NormBlock(features) for _ in range(blocks)))
        self.conv_mid = conv3(features, features, bias=False)
        self.bn_mid = nn.InstanceNorm2d(features, affine=True)
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [conv3(features, 4 * features, bias=False), nn.PixelShuffle(2), nn.LeakyReLU(0.2)]
        self.upscale4x = nn.Sequential(*layers)
        self.conv_output = nn.Conv2d(features, 3, 9, padding=4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, 4H, 4W) in the type of ``x``, not clamped."""
        first = F.leaky_relu(self.conv_input(as_weights(x, self.conv_input)), 0.2)
        features = first + self.bn_mid(self.conv_mid(self.residual(first)))
        return self.conv_output(self.upscale4x(features)).to(x.dtype)
