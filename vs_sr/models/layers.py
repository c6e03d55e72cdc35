"""Layers that several architectures have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.ops import deform_conv2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G and B in 0..1 over the images that VGG and SpyNet were trained on."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""


def conv3(inputs: int, outputs: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution with one pixel of zero padding."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.1, the video networks' activation; in place, so ``x`` has to be fresh from a layer."""
    return F.leaky_relu(x, 0.1, inplace=True)


def channels_last(x: Tensor) -> Tensor:
    """``x`` without gaps in memory, channels last: of a part of the channels, torch works number by number."""
    return x.contiguous(memory_format=torch.channels_last)


def up2(x: Tensor) -> Tensor:
    """Twice the size, bilinear, half-pixel centers."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upscale(frame: Tensor, scale: int) -> Tensor:
    """The bilinear base that several networks add their output to; half-pixel centers."""
    return F.interpolate(frame, scale_factor=scale, mode="bilinear", align_corners=False)


def as_weights(x: Tensor, layer: nn.Module) -> Tensor:
    """``x`` in the floating-point type of the weights of ``layer``.

    A network's body runs in the type of its weights, while what is added to the input runs in the type of the
    input: in bfloat16 a value of 128..255 has steps of 1, which a skip over the whole network would show.
    """
    return x.to(next(layer.parameters()).dtype)


def normalize(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std, a number of each for every channel of (B, C, H, W).

    The numbers are constants of the code: a buffer would lose digits with a network in lower precision.
    """
    parts = zip(x.unbind(1), mean, std, strict=True)
    return torch.stack([(channel - center) / width for channel, center, width in parts], 1)


class ResidualBlock(nn.Module):
    """x + conv2(ReLU(conv1(x))), without normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3(channels, channels)
        self.conv2 = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x), inplace=True)).add_(x)


class Pyramid(NamedTuple):
    """Features of one frame, (B, C, H, W), (B, C, H/2, W/2) and (B, C, H/4, W/4)."""

    l1: Tensor
    l2: Tensor
    l3: Tensor

    @classmethod
    def of(cls, l1: Tensor, *layers: nn.Module) -> Pyramid:
        """The pyramid over features, by two convolutions a level, of which the first halves the size."""
        down2, same2, down3, same3 = layers
        l2 = lrelu(same2(lrelu(down2(l1))))
        return cls(l1, l2, lrelu(same3(lrelu(down3(l2)))))


class DeformableConv(nn.Module):
    """3x3 modulated deformable convolution whose offsets and mask come from a second feature.

    Args:
        channels: in and out.
        groups: offset groups.
        offsets: name, in the state dict, of the convolution that makes offsets and mask.
    """

    def __init__(self, channels: int, groups: int, offsets: str = "conv_offset") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        # per group and tap: dy and dx (18 G channels), then the mask's logit (9 G)
        conv = conv3(channels, 27 * groups)
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.add_module(offsets, conv)
        self.name = offsets
        self.offsets = 18 * groups

    def forward(self, x: Tensor, offset_feature: Tensor) -> Tensor:
        z = self.get_submodule(self.name)(offset_feature)
        offset, mask = z[:, : self.offsets], torch.sigmoid(channels_last(z[:, self.offsets :]))
        return deform_conv2d(x, offset, mask, self.weight, self.bias, padding=1)


class Level(NamedTuple):
    """The layers of one level of :func:`align`."""

    offset: tuple[nn.Module, ...]
    """Convolutions that make offset features of both frames' features; the second sees the coarser level's, too."""
    deform: nn.Module
    fuse: nn.Module | None = None
    """Puts the coarser level's aligned feature to this one's; none at the coarsest."""


def align(source: Pyramid, target: Pyramid, levels: Sequence[Level]) -> Tensor:
    """Deform the features of a frame towards those of another one, coarse to fine: pyramid, cascading and deformable
    (EDVR, section 3.2), without the cascade. (B, C, H, W), not activated.

    The offset features of a level are doubled when they go up one level: so do displacements in pixels.
    """
    offset: Tensor | None = None
    feature: Tensor | None = None
    for level, a, b in zip(levels, reversed(source), reversed(target), strict=True):
        first, second, *rest = level.offset
        found = lrelu(first(torch.cat([a, b], 1)))
        found = lrelu(second(found if offset is None else torch.cat([found, up2(2 * offset)], 1)))
        for layer in rest:
            found = lrelu(layer(found))
        offset, deformed = found, level.deform(a, found)
        if feature is not None and level.fuse is not None:
            deformed = level.fuse(torch.cat([deformed, up2(lrelu(feature))], 1))
        feature = deformed
    assert feature is not None
    return feature


def upsampled(x: Tensor, up1: nn.Module, up2: nn.Module, hr: nn.Module, last: nn.Module) -> Tensor:
    """The last layers of the video networks: features (B, C, H, W) to an image (B, 3, 4H, 4W)."""
    x = lrelu(F.pixel_shuffle(up1(x), 2))
    x = lrelu(F.pixel_shuffle(up2(x), 2))
    return last(lrelu(hr(x)))
