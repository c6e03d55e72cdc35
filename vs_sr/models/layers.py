"""Layers that several architectures have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

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


LEAK = 0.1
"""Slope of the leaky ReLU, the video networks' activation."""


class Conv(nn.Conv2d):
    """A convolution with zero padding that keeps the size, and the leaky ReLU that follows it.

    Args:
        inputs: channels.
        outputs: channels.
        size: of the kernel, odd.
        stride: in pixels.
        bias: whether there is one.
        slope: of the leaky ReLU; 1 for none.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, *, bias: bool = True, slope: float = 1
    ) -> None:
        super().__init__(inputs, outputs, size, stride, size // 2, bias=bias)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return activated(super().forward(x), self.slope)


class ShuffleConv(Conv):
    """To a larger size: a 3x3 convolution, pixel shuffle, leaky ReLU.

    Args:
        inputs: channels.
        outputs: channels.
        factor: of the size.
    """

    def __init__(self, inputs: int, outputs: int, factor: int = 2) -> None:
        super().__init__(inputs, factor**2 * outputs, 3)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return activated(F.pixel_shuffle(super().forward(x), self.factor), LEAK)


class NearestConv(Conv):
    """To a larger size by repetition of pixels, then a 3x3 convolution and the leaky ReLU.

    To twice the size, repetition and convolution are one transposed convolution, whose weights are sums of the nine:
    4/9 of the products, and the repeated pixels are never written.

    Args:
        inputs: channels.
        outputs: channels.
        step: factor of the size.
        slope: of the leaky ReLU; 1 for none.
    """

    def __init__(self, inputs: int, outputs: int, step: int, *, slope: float = 1) -> None:
        super().__init__(inputs, outputs, 3, slope=slope)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        if self.step != 2:
            return self.one_by_one(x)
        return activated(F.conv_transpose2d(x, self.doubling(), self.bias, stride=2, padding=1), self.slope)

    def one_by_one(self, x: Tensor) -> Tensor:
        """Repetition, and then the convolution."""
        return super().forward(F.interpolate(x, scale_factor=self.step, mode="nearest"))

    def doubling(self) -> Tensor:
        """The weights (inputs, outputs, 4, 4) of the transposed convolution."""
        return _on_pairs(_on_pairs(self.weight, 2), 3).transpose(0, 1)


def _on_pairs(weight: Tensor, dim: int) -> Tensor:
    """Three taps of a convolution over pairs of equal pixels, as four of a transposed one of stride two."""
    before, at, after = weight.unbind(dim)
    return torch.stack([after, at + after, before + at, before], dim)


def side_by_side(layer: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """What a convolution makes of several features (B, C, H, W) side by side.

    On the CPU it is the sum of a convolution of each: to copy them together moves more memory than the sums do, in
    torch as in OpenVINO and ONNX Runtime.
    """
    first = parts[0]
    if not isinstance(layer, Conv) or first.device.type != "cpu" or first.dtype != torch.float32:
        return cast("Tensor", layer(torch.cat(list(parts), 1)))  # in half precision every summand would be rounded
    weights = layer.weight.split([part.shape[1] for part in parts], 1)
    made = F.conv2d(first, weights[0], layer.bias, layer.stride, layer.padding)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        made += F.conv2d(part, weight, None, layer.stride, layer.padding)
    return activated(made, layer.slope)


def conv3(inputs: int, outputs: int, stride: int = 1, *, bias: bool = True, slope: float = 1) -> Conv:
    """A 3x3 convolution with one pixel of zero padding."""
    return Conv(inputs, outputs, 3, stride, bias=bias, slope=slope)


def conv3_lrelu(inputs: int, outputs: int, stride: int = 1) -> Conv:
    """A 3x3 convolution and the video networks' activation."""
    return conv3(inputs, outputs, stride, slope=LEAK)


def activated(x: Tensor, slope: float) -> Tensor:
    """The leaky ReLU of a slope, 1 for none; in place, so ``x`` has to be fresh from a layer."""
    return x if slope == 1 else F.leaky_relu(x, slope, inplace=True)


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
        l2 = same2(down2(l1))
        return cls(l1, l2, same3(down3(l2)))


class DeformableConv(nn.Module):
    """3x3 modulated deformable convolution whose offsets and mask come from a second feature.

    Args:
        channels: in and out.
        groups: offset groups.
        offsets: name, in the state dict, of the convolution that makes offsets and mask.
        slope: of the leaky ReLU that follows; 1 for none.
    """

    def __init__(self, channels: int, groups: int, offsets: str = "conv_offset", *, slope: float = 1) -> None:
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
        self.groups = groups
        self.slope = slope

    @property
    def offset_conv(self) -> Conv:
        """What makes offsets and mask."""
        return cast("Conv", self.get_submodule(self.name))

    def forward(self, x: Tensor, offset_feature: Tensor) -> Tensor:
        z, offsets = self.offset_conv(offset_feature), 18 * self.groups
        offset, mask = z[:, :offsets], torch.sigmoid(channels_last(z[:, offsets:]))
        return activated(deform_conv2d(x, offset, mask, self.weight, self.bias, padding=1), self.slope)


class Level(NamedTuple):
    """The layers of one level of :class:`Align`, each with its activation."""

    offset: tuple[nn.Module, ...]
    """Convolutions that make offset features of both frames' features; the second sees the coarser level's, too."""
    deform: nn.Module
    fuse: nn.Module | None = None
    """Puts the coarser level's aligned feature to this one's; none at the coarsest."""


class Align(nn.Module):
    """Deforms the features of a frame towards those of another one, coarse to fine: pyramid, cascading and deformable
    (EDVR, section 3.2), without the cascade. It has no weights of its own."""

    def forward(self, source: Pyramid, target: Pyramid, levels: Sequence[Level]) -> Tensor:
        """(B, C, H, W).

        The offset features of a level are doubled when they go up one level: so do displacements in pixels.
        """
        offset: Tensor | None = None
        feature: Tensor | None = None
        for level, a, b in zip(levels, reversed(source), reversed(target), strict=True):
            first, second, *rest = level.offset
            found = side_by_side(first, [a, b])
            found = second(found) if offset is None else side_by_side(second, [found, up2(2 * offset)])
            for layer in rest:
                found = layer(found)
            offset, deformed = found, level.deform(a, found)
            if feature is not None and level.fuse is not None:
                deformed = side_by_side(level.fuse, [deformed, up2(feature)])
            feature = deformed
        assert feature is not None
        return feature

    def both(self, first: Pyramid, second: Pyramid, *levels: Sequence[Level]) -> Tensor:
        """Each of two towards the other, by layers of its own: (B, 2C, H, W)."""
        return torch.cat([self(first, second, levels[0]), self(second, first, levels[1])], 1)
