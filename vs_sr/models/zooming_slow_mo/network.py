"""The network of Zooming Slow-Mo (Xiang et al., CVPR 2020): space-time super-resolution in one stage.

T low-resolution frames go in, 2T-1 frames of four times the size come out: per-frame features, features of
the frames between them synthesized by deformable alignment (section 3.1), a bidirectional deformable ConvLSTM
over the whole sequence (section 3.2), and a reconstruction per frame (section 3.3). Every part is a method that
can be called timestep by timestep, with states that go in and come out. Parameter names are those of the
published checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import (
    LEAK,
    Align,
    DeformableConv,
    Level,
    Pyramid,
    ResidualBlock,
    ShuffleConv,
    as_weights,
    channels_last,
    conv3,
    conv3_lrelu,
)
from vs_sr.models.zooming_slow_mo.straight import straighten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vs_sr.spec import Carried

SCALE = 4
_MULTIPLE = 4  # two stride-2 levels


class PCDAlign(nn.Module):
    """Deforms each of two pyramids towards the other; (B, 2C, H, W)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.align = Align()
        for side in (1, 2):
            for level in (3, 2, 1):
                self.add_module(f"L{level}_offset_conv1_{side}", conv3_lrelu(2 * channels, channels))
                self.add_module(
                    f"L{level}_offset_conv2_{side}",
                    conv3_lrelu(channels if level == 3 else 2 * channels, channels),
                )
                # what goes up a level is activated
                slope = 1 if level == 1 else LEAK
                if level < 3:
                    self.add_module(f"L{level}_offset_conv3_{side}", conv3_lrelu(channels, channels))
                    self.add_module(f"L{level}_fea_conv_{side}", conv3(2 * channels, channels, slope=slope))
                deform = DeformableConv(channels, groups, "conv_offset_mask", slope=slope if level == 3 else 1)
                self.add_module(f"L{level}_dcnpack_{side}", deform)

    def forward(self, first: Pyramid, second: Pyramid) -> Tensor:
        return self.align.both(first, second, self._levels(1), self._levels(2))

    def _levels(self, side: int) -> list[Level]:
        def layers(level: int, *names: str) -> tuple[nn.Module, ...]:
            return tuple(self.get_submodule(f"L{level}_{name}_{side}") for name in names)

        offset = "offset_conv1", "offset_conv2", "offset_conv3"
        return [
            Level(layers(3, *offset[:2]), *layers(3, "dcnpack")),
            Level(layers(2, *offset), *layers(2, "dcnpack", "fea_conv")),
            Level(layers(1, *offset), *layers(1, "dcnpack", "fea_conv")),
        ]


class EasyPCD(nn.Module):
    """Aligns a recurrent state with a frame's features and fuses both to C channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.fea_L2_conv1 = conv3_lrelu(channels, channels, stride=2)
        self.fea_L2_conv2 = conv3_lrelu(channels, channels)
        self.fea_L3_conv1 = conv3_lrelu(channels, channels, stride=2)
        self.fea_L3_conv2 = conv3_lrelu(channels, channels)
        self.pcd_align = PCDAlign(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def pyramid(self, x: Tensor) -> Pyramid:
        """Its own pyramid of a feature or of a state, the same weights for both."""
        return Pyramid.of(x, self.fea_L2_conv1, self.fea_L2_conv2, self.fea_L3_conv1, self.fea_L3_conv2)

    def forward(self, frame: Pyramid, state: Tensor) -> Tensor:
        return self.fusion(self.pcd_align(frame, self.pyramid(state)))


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell without peepholes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(2 * channels, 4 * channels)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = (channels_last(part) for part in self.conv(torch.cat([x, h], 1)).chunk(4, 1))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class DeformableConvLSTM(nn.Module):
    """One layer: hidden and cell state are each aligned with the frame before the cell is stepped."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.pcd_h = EasyPCD(channels, groups)
        self.pcd_c = EasyPCD(channels, groups)
        self.cell_list = nn.ModuleList([ConvLSTMCell(channels)])

    def pyramids(self, x: Tensor) -> tuple[Pyramid, Pyramid]:
        """What the alignment of h and of c needs of the frames x (B, C, H, W), whatever the state is."""
        return self.pcd_h.pyramid(x), self.pcd_c.pyramid(x)

    def step(self, frame: tuple[Pyramid, Pyramid], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The states after one frame; all (B, C, H, W)."""
        for_h, for_c = frame
        h, c = self.cell_list[0](for_h.l1, self.pcd_h(for_h, h), self.pcd_c(for_c, c))
        return h, c


class BidirectionalConvLSTM(nn.Module):
    """The same recurrence, the same weights, forward and backward in time."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.forward_net = DeformableConvLSTM(channels, groups)
        self.conv_1x1 = nn.Conv2d(2 * channels, channels, 1)

    def fuse(self, past: Tensor, future: Tensor) -> Tensor:
        """The feature of one timestep, from its hidden states in the two directions."""
        return self.conv_1x1(torch.cat([past, future], 1))


class Timestep(NamedTuple):
    """One time of the sequence, with all that the recurrences and its output frame need of it."""

    image: Tensor
    """(B, 3, H, W) as it came; in between, the mean of the neighbors."""
    pyramid: Pyramid | None
    """Features by which interpolated frames are made of it; None in between, where few are asked for."""
    recurrent: tuple[Pyramid, Pyramid]
    """The ConvLSTM's own pyramids of its feature, for h and for c; both begin with the feature itself."""


class ZoomingSlowMo(nn.Module):
    """Zooming Slow-Mo: frames (B, 3, H, W), RGB in 0..1, to images (B, 3, 4H, 4W) at and between them, not clamped.

    :mod:`vs_sr.engine.recurrence` calls its methods.

    Args:
        channels: of all features; 64 in the paper.
        groups: offset groups of the deformable convolutions; 8 in the paper.
        front_blocks: residual blocks of the feature extraction; 5 in the paper.
        back_blocks: residual blocks of the reconstruction; 40 in the paper (10 in its ablation).
        hr_channels: channels at the output's size; 64 in the paper.
        base: what the network's output is added to: "none" as in the paper, or "bicubic": the frame upscaled
            (for an interpolated frame: the mean of its neighbors upscaled), which small networks learn faster.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        groups: int = 8,
        front_blocks: int = 5,
        back_blocks: int = 40,
        hr_channels: int = 64,
        base: Literal["none", "bicubic"] = "none",
    ) -> None:
        super().__init__()
        self.base = base
        self.conv_first = conv3_lrelu(3, channels)
        self.feature_extraction = nn.Sequential(*(ResidualBlock(channels) for _ in range(front_blocks)))
        self.fea_L2_conv1 = conv3_lrelu(channels, channels, stride=2)
        self.fea_L2_conv2 = conv3_lrelu(channels, channels)
        self.fea_L3_conv1 = conv3_lrelu(channels, channels, stride=2)
        self.fea_L3_conv2 = conv3_lrelu(channels, channels)
        self.pcd_align = PCDAlign(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.ConvBLSTM = BidirectionalConvLSTM(channels, groups)
        self.recon_trunk = nn.Sequential(*(ResidualBlock(channels) for _ in range(back_blocks)))
        self.upconv1 = ShuffleConv(channels, channels)
        self.upconv2 = ShuffleConv(channels, hr_channels)
        self.HRconv = conv3_lrelu(hr_channels, hr_channels)
        self.conv_last = conv3(hr_channels, 3)

    def quicken(self) -> None:
        """Leave out alignment that moves nothing."""
        for part in (self, self.ConvBLSTM.forward_net.pcd_h, self.ConvBLSTM.forward_net.pcd_c):
            straighten(part)

    def encode(self, frame: Tensor) -> Timestep:
        """The timestep of an input frame (B, 3, H, W)."""
        pad = (0, -frame.shape[-1] % _MULTIPLE, 0, -frame.shape[-2] % _MULTIPLE)
        # not by zeros, as the published code does it: they leave a bright line along the edge
        padded = F.pad(frame, pad, "replicate") if any(pad) else frame
        pyramid = self.pyramid(as_weights(padded, self.conv_first))
        return Timestep(frame, pyramid, self.ConvBLSTM.forward_net.pyramids(pyramid.l1))

    def between(self, before: Timestep, after: Timestep) -> Sequence[Timestep]:
        """The timestep half way between two: those of neighboring input frames, or of earlier halves."""
        feature = self.interpolate(*(each.pyramid or self.coarser(each.recurrent[0].l1) for each in (before, after)))
        image = (before.image + after.image) / 2
        return [Timestep(image, None, self.ConvBLSTM.forward_net.pyramids(feature))]

    def forward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        """The state (h, c) after a timestep, (B, C, H, W) each, from that before it; None: at the beginning."""
        if state is None:
            zero = torch.zeros_like(timestep.recurrent[0].l1)
            state = zero, zero
        return self.ConvBLSTM.forward_net.step(timestep.recurrent, *state)

    def backward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        """As :meth:`forward_step`, from the end to the beginning: the same network, the same weights."""
        return self.forward_step(timestep, state)

    def reconstruct(self, timestep: Timestep, past: Tensor, future: Tensor) -> Tensor:
        """The output frame (B, 3, 4H, 4W) of a timestep, from its hidden states in the two directions."""
        image = timestep.image
        height, width = image.shape[-2:]
        detail = self.detail(self.ConvBLSTM.fuse(past, future))[..., : SCALE * height, : SCALE * width]
        # The image itself stays in float32, whatever the network's precision is.
        return detail.to(image.dtype) if self.base == "none" else bicubic(image) + detail

    def pyramid(self, frame: Tensor) -> Pyramid:
        """Features of a frame (B, 3, H, W), H and W multiples of 4."""
        return self.coarser(self.feature_extraction(self.conv_first(frame)))

    def coarser(self, l1: Tensor) -> Pyramid:
        """The pyramid over a feature (B, C, H, W), a frame's or an interpolated one."""
        return Pyramid.of(l1, self.fea_L2_conv1, self.fea_L2_conv2, self.fea_L3_conv1, self.fea_L3_conv2)

    def interpolate(self, before: Pyramid, after: Pyramid) -> Tensor:
        """The feature (B, C, H, W) half way between two frames."""
        return self.fusion(self.pcd_align(before, after))

    def detail(self, feature: Tensor) -> Tensor:
        """What is added to the base: (B, C, H, W) -> (B, 3, 4H, 4W)."""
        return self.conv_last(self.HRconv(self.upconv2(self.upconv1(self.recon_trunk(feature)))))


def bicubic(image: Tensor) -> Tensor:
    """The base of an output frame: (B, 3, H, W) -> (B, 3, 4H, 4W), a = -0.5, half-pixel centers."""
    # torch's kernel has a = -0.5 only with antialias=True, which changes nothing else when upscaling
    return F.interpolate(image, scale_factor=SCALE, mode="bicubic", antialias=True, align_corners=False)
