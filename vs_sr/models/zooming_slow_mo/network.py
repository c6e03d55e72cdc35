"""The network of Zooming Slow-Mo (Xiang et al., CVPR 2020): space-time super-resolution in one stage.

T low-resolution frames go in, 2T-1 frames of four times the size come out: per-frame features, features of
the frames in between synthesised by deformable alignment (section 3.1), a bidirectional deformable ConvLSTM
over the whole sequence (section 3.2), and a reconstruction per frame (section 3.3). Every part is a method that
can be called position by position, with states that go in and come out. Parameter names are those of the
published checkpoints.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import DeformableConv, Pyramid, ResidualBlock, as_weights, conv3, dense, lrelu, up2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vs_sr.spec import Carried

SCALE = 4
_MULTIPLE = 4  # two stride-2 levels


class PCDAlign(nn.Module):
    """Deforms each of two pyramids towards the other, coarse to fine; (B, 2C, H, W).

    The offset features of a level are doubled when they go up one level: so do displacements in pixels.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        for side in (1, 2):
            for level in (3, 2, 1):
                self.add_module(f"L{level}_offset_conv1_{side}", conv3(2 * channels, channels))
                self.add_module(
                    f"L{level}_offset_conv2_{side}",
                    conv3(channels if level == 3 else 2 * channels, channels),
                )
                if level < 3:
                    self.add_module(f"L{level}_offset_conv3_{side}", conv3(channels, channels))
                    self.add_module(f"L{level}_fea_conv_{side}", conv3(2 * channels, channels))
                self.add_module(f"L{level}_dcnpack_{side}", DeformableConv(channels, groups, "conv_offset_mask"))

    def forward(self, first: Pyramid, second: Pyramid) -> Tensor:
        return torch.cat([self._deform(first, second, 1), self._deform(second, first, 2)], 1)

    def _deform(self, source: Pyramid, target: Pyramid, side: int) -> Tensor:
        def layer(level: int, name: str) -> nn.Module:
            return self.get_submodule(f"L{level}_{name}_{side}")

        offset = lrelu(layer(3, "offset_conv1")(torch.cat([source.l3, target.l3], 1)))
        offset = lrelu(layer(3, "offset_conv2")(offset))
        feature = lrelu(layer(3, "dcnpack")(source.l3, offset))
        for level, a, b in ((2, source.l2, target.l2), (1, source.l1, target.l1)):
            coarse = up2(2 * offset)
            offset = lrelu(layer(level, "offset_conv1")(torch.cat([a, b], 1)))
            offset = lrelu(layer(level, "offset_conv2")(torch.cat([offset, coarse], 1)))
            offset = lrelu(layer(level, "offset_conv3")(offset))
            deformed = layer(level, "dcnpack")(a, offset)
            feature = layer(level, "fea_conv")(torch.cat([deformed, up2(feature)], 1))
            if level > 1:
                feature = lrelu(feature)
        return feature


class EasyPCD(nn.Module):
    """Aligns a recurrent state with a frame's features and fuses both to C channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.fea_L2_conv1 = conv3(channels, channels, stride=2)
        self.fea_L2_conv2 = conv3(channels, channels)
        self.fea_L3_conv1 = conv3(channels, channels, stride=2)
        self.fea_L3_conv2 = conv3(channels, channels)
        self.pcd_align = PCDAlign(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def pyramid(self, x: Tensor) -> Pyramid:
        """Its own pyramid of a feature or of a state, the same weights for both."""
        l2 = lrelu(self.fea_L2_conv2(lrelu(self.fea_L2_conv1(x))))
        l3 = lrelu(self.fea_L3_conv2(lrelu(self.fea_L3_conv1(l2))))
        return Pyramid(x, l2, l3)

    def forward(self, frame: Pyramid, state: Tensor) -> Tensor:
        return self.fusion(self.pcd_align(frame, self.pyramid(state)))


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell without peepholes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(2 * channels, 4 * channels)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = (dense(part) for part in self.conv(torch.cat([x, h], 1)).chunk(4, 1))
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
        """The feature of one position, from its hidden states in the two directions."""
        return self.conv_1x1(torch.cat([past, future], 1))


class Position(NamedTuple):
    """One time of the sequence, with all that the recurrences and its output frame need of it."""

    picture: Tensor
    """(B, 3, H, W) as it came; in between, the mean of the neighbours."""
    pyramid: Pyramid | None
    """Features by which frames in between are made of it; None in between."""
    recurrent: tuple[Pyramid, Pyramid]
    """The ConvLSTM's own pyramids of its feature, for h and for c; both begin with the feature itself."""


class ZoomingSlowMo(nn.Module):
    """Zooming Slow-Mo: (B, T, 3, H, W) -> (B, 2T-1, 3, 4H, 4W), RGB in 0..1, not clamped.

    Args:
        channels: of all features; 64 in the paper.
        groups: offset groups of the deformable convolutions; 8 in the paper.
        front_blocks: residual blocks of the feature extraction; 5 in the paper.
        back_blocks: residual blocks of the reconstruction; 40 in the paper (10 in its ablation).
        hr_channels: channels at the output's size; 64 in the paper.
        base: what the network's output is added to: "none" as in the paper, or "bicubic": the frame enlarged
            (for a frame in between: the mean of its neighbours enlarged), which small networks learn faster.
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
        self.conv_first = conv3(3, channels)
        self.feature_extraction = nn.Sequential(*(ResidualBlock(channels) for _ in range(front_blocks)))
        self.fea_L2_conv1 = conv3(channels, channels, stride=2)
        self.fea_L2_conv2 = conv3(channels, channels)
        self.fea_L3_conv1 = conv3(channels, channels, stride=2)
        self.fea_L3_conv2 = conv3(channels, channels)
        self.pcd_align = PCDAlign(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.ConvBLSTM = BidirectionalConvLSTM(channels, groups)
        self.recon_trunk = nn.Sequential(*(ResidualBlock(channels) for _ in range(back_blocks)))
        self.upconv1 = conv3(channels, 4 * channels)
        self.upconv2 = conv3(channels, 4 * hr_channels)
        self.HRconv = conv3(hr_channels, hr_channels)
        self.conv_last = conv3(hr_channels, 3)

    def forward(self, frames: Tensor, multi: int = 2) -> Tensor:
        """Enlarge a sequence, and double its rate.

        Args:
            frames: (B, T, 3, H, W) with T >= 2, RGB in 0..1, of any size.
            multi: 2 for all 2T-1 frames in time order, 1 for the T input times alone.

        Returns:
            (B, multi*(T-1)+1, 3, 4H, 4W).

        Raises:
            ValueError: T < 2, or another ``multi``.
        """
        if frames.shape[1] < 2 or multi not in (1, 2):
            raise ValueError(f"ZoomingSlowMo: needs T >= 2 and multi 1 or 2, got {frames.shape[1]} and {multi}")
        known = [self.encode(frame) for frame in frames.unbind(1)]
        positions = known[:1]
        for before, after in pairwise(known):
            positions += [*self.between(before, after), after]
        state: Carried | None = None
        future: list[Tensor] = []
        for position in reversed(positions):
            state = self.backward_step(position, state)
            future.append(state[0])
        state = None
        out: list[Tensor] = []
        for t, position in enumerate(positions):
            state = self.forward_step(position, state)
            hidden = future.pop()
            if t % (3 - multi) == 0:  # one frame at a time: HR features are large
                out.append(self.reconstruct(position, state[0], hidden))
        return torch.stack(out, 1)

    def encode(self, frame: Tensor) -> Position:
        """The position of an input frame (B, 3, H, W)."""
        pad = (0, -frame.shape[-1] % _MULTIPLE, 0, -frame.shape[-2] % _MULTIPLE)
        pyramid = self.pyramid(as_weights(F.pad(frame, pad), self.conv_first))
        return Position(frame, pyramid, self.ConvBLSTM.forward_net.pyramids(pyramid.l1))

    def between(self, before: Position, after: Position) -> Sequence[Position]:
        """The position half way between those of two neighbouring input frames.

        Raises:
            ValueError: one of them lies in between itself.
        """
        if before.pyramid is None or after.pyramid is None:
            raise ValueError("ZoomingSlowMo: only between input frames are there positions to be made")
        feature = self.interpolate(before.pyramid, after.pyramid)
        picture = (before.picture + after.picture) / 2
        return [Position(picture, None, self.ConvBLSTM.forward_net.pyramids(feature))]

    def forward_step(self, position: Position, state: Carried | None) -> Carried:
        """The state (h, c) after a position, (B, C, H, W) each, from that before it; None: at the beginning."""
        if state is None:
            zero = torch.zeros_like(position.recurrent[0].l1)
            state = zero, zero
        return self.ConvBLSTM.forward_net.step(position.recurrent, *state)

    def backward_step(self, position: Position, state: Carried | None) -> Carried:
        """As :meth:`forward_step`, from the end to the beginning: the same network, the same weights."""
        return self.forward_step(position, state)

    def reconstruct(self, position: Position, past: Tensor, future: Tensor) -> Tensor:
        """The output frame (B, 3, 4H, 4W) of a position, from its hidden states in the two directions."""
        picture = position.picture
        height, width = picture.shape[-2:]
        detail = self.detail(self.ConvBLSTM.fuse(past, future))[..., : SCALE * height, : SCALE * width]
        # The picture itself stays in float32, whatever the network's precision is.
        return detail.to(picture.dtype) if self.base == "none" else bicubic(picture) + detail

    def pyramid(self, frame: Tensor) -> Pyramid:
        """Features of a frame (B, 3, H, W), H and W multiples of 4."""
        l1 = self.feature_extraction(lrelu(self.conv_first(frame)))
        l2 = lrelu(self.fea_L2_conv2(lrelu(self.fea_L2_conv1(l1))))
        l3 = lrelu(self.fea_L3_conv2(lrelu(self.fea_L3_conv1(l2))))
        return Pyramid(l1, l2, l3)

    def interpolate(self, before: Pyramid, after: Pyramid) -> Tensor:
        """The feature (B, C, H, W) half way between two frames."""
        return self.fusion(self.pcd_align(before, after))

    def detail(self, feature: Tensor) -> Tensor:
        """What is added to the base: (B, C, H, W) -> (B, 3, 4H, 4W)."""
        x = self.recon_trunk(feature)
        x = lrelu(F.pixel_shuffle(self.upconv1(x), 2))
        x = lrelu(F.pixel_shuffle(self.upconv2(x), 2))
        return self.conv_last(lrelu(self.HRconv(x)))


def bicubic(picture: Tensor) -> Tensor:
    """The base of an output frame: (B, 3, H, W) -> (B, 3, 4H, 4W), a = -0.5, half-pixel centres."""
    # torch's kernel has a = -0.5 only with antialias=True, which changes nothing else when enlarging
    return F.interpolate(picture, scale_factor=SCALE, mode="bicubic", antialias=True, align_corners=False)
