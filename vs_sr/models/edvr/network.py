"""The network of EDVR (Wang et al., CVPR Workshops 2019): one frame restored from itself and its neighbors.

Every frame of the window is aligned to the one in the middle by deformable convolutions, coarse to fine
(section 3.2); the aligned features are fused by attention in time and space (section 3.3) and reconstructed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import (
    LEAK,
    Align,
    Conv,
    DeformableConv,
    Level,
    Pyramid,
    ResidualBlock,
    ShuffleConv,
    as_weights,
    conv3,
    conv3_lrelu,
    up2,
    upscale,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class PCDAlign(nn.Module):
    """Deforms the features of a neighbor towards those of the middle frame; (B, C, H, W)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        levels = ("l3", "l2", "l1")
        self.align = Align()
        self.offset_conv1 = nn.ModuleDict({level: conv3_lrelu(2 * channels, channels) for level in levels})
        self.offset_conv2 = nn.ModuleDict(
            {level: conv3_lrelu(channels if level == "l3" else 2 * channels, channels) for level in levels}
        )
        self.offset_conv3 = nn.ModuleDict({level: conv3_lrelu(channels, channels) for level in levels[1:]})
        # what goes up a level is activated
        self.dcn_pack = nn.ModuleDict(
            {level: DeformableConv(channels, groups, slope=LEAK if level == "l3" else 1) for level in levels}
        )
        self.feat_conv = nn.ModuleDict(
            {level: conv3(2 * channels, channels, slope=LEAK if level == "l2" else 1) for level in levels[1:]}
        )
        self.cas_offset_conv1 = conv3_lrelu(2 * channels, channels)
        self.cas_offset_conv2 = conv3_lrelu(channels, channels)
        self.cas_dcnpack = DeformableConv(channels, groups, slope=LEAK)

    def forward(self, neighbor: Pyramid, middle: Pyramid) -> Tensor:
        first, second, third = self.offset_conv1, self.offset_conv2, self.offset_conv3
        levels = [
            Level((first["l3"], second["l3"]), self.dcn_pack["l3"]),
            *(Level((first[n], second[n], third[n]), self.dcn_pack[n], self.feat_conv[n]) for n in ("l2", "l1")),
        ]
        feature = self.align(neighbor, middle, levels)
        # cascade: once more, at full size
        offset = self.cas_offset_conv2(self.cas_offset_conv1(torch.cat([feature, middle.l1], 1)))
        return self.cas_dcnpack(feature, offset)


class TSAFusion(nn.Module):
    """Temporal and spatial attention: (B, T, C, H, W) aligned features -> (B, C, H, W)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.middle = frames // 2
        self.temporal_attn1 = conv3(channels, channels)  # of the middle frame
        self.temporal_attn2 = conv3(channels, channels)  # of every frame
        self.feat_fusion = Conv(frames * channels, channels, 1, slope=LEAK)
        self.spatial_attn1 = Conv(frames * channels, channels, 1, slope=LEAK)
        self.spatial_attn2 = Conv(2 * channels, channels, 1, slope=LEAK)
        self.spatial_attn3 = conv3_lrelu(channels, channels)
        self.spatial_attn4 = Conv(channels, channels, 1, slope=LEAK)
        self.spatial_attn5 = conv3(channels, channels)
        self.spatial_attn_l1 = Conv(channels, channels, 1, slope=LEAK)
        self.spatial_attn_l2 = conv3_lrelu(2 * channels, channels)
        self.spatial_attn_l3 = conv3_lrelu(channels, channels)
        self.spatial_attn_add1 = Conv(channels, channels, 1, slope=LEAK)
        self.spatial_attn_add2 = Conv(channels, channels, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        weighted = aligned * self.correlation(aligned)[:, :, None]
        stacked = weighted.flatten(1, 2)  # (B, T*C, H, W)
        feature = self.feat_fusion(stacked)

        attention = self.spatial_attn1(stacked)
        attention = self.spatial_attn2(_pool(attention))
        coarse = self.spatial_attn_l1(attention)
        coarse = self.spatial_attn_l2(_pool(coarse))
        coarse = up2(self.spatial_attn_l3(coarse))
        attention = self.spatial_attn3(attention) + coarse
        attention = up2(self.spatial_attn4(attention))
        attention = self.spatial_attn5(attention)
        added = self.spatial_attn_add2(self.spatial_attn_add1(attention))
        return 2 * feature * torch.sigmoid(attention) + added

    def correlation(self, aligned: Tensor) -> Tensor:
        """How much each frame resembles the middle one, per pixel: (B, T, H, W) in 0..1."""
        middle = self.temporal_attn1(aligned[:, self.middle])
        return torch.stack(
            [torch.sigmoid((self.temporal_attn2(frame) * middle).sum(1)) for frame in aligned.unbind(1)], 1
        )


def _pool(x: Tensor) -> Tensor:
    """Maximum and mean of 3x3, at half the size: (B, C, H, W) -> (B, 2C, H/2, W/2)."""
    return torch.cat([F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)], 1)


class _Fusion(Conv):
    """Fusion without attention: (B, T, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__(frames * channels, channels, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        return super().forward(aligned.flatten(1, 2))


class Predeblur(nn.Module):
    """Features (B, C, H, W) of a blurred frame (B, 3, H, W); at a quarter of the size for large frames."""

    def __init__(self, channels: int, *, hr_in: bool) -> None:
        super().__init__()
        self.hr_in = hr_in
        self.conv_first = conv3_lrelu(3, channels)
        if hr_in:
            self.stride_conv_hr1 = conv3_lrelu(channels, channels, stride=2)
            self.stride_conv_hr2 = conv3_lrelu(channels, channels, stride=2)
        self.stride_conv_l2 = conv3_lrelu(channels, channels, stride=2)
        self.stride_conv_l3 = conv3_lrelu(channels, channels, stride=2)
        self.resblock_l3 = ResidualBlock(channels)
        self.resblock_l2_1 = ResidualBlock(channels)
        self.resblock_l2_2 = ResidualBlock(channels)
        self.resblock_l1 = nn.ModuleList(ResidualBlock(channels) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        l1 = self.conv_first(x)
        if self.hr_in:
            l1 = self.stride_conv_hr2(self.stride_conv_hr1(l1))
        l2 = self.stride_conv_l2(l1)
        l3 = up2(self.resblock_l3(self.stride_conv_l3(l2)))
        l2 = up2(self.resblock_l2_2(self.resblock_l2_1(l2) + l3))
        first, second, *rest = self.resblock_l1
        l1 = second(first(l1)) + l2
        for block in rest:
            l1 = block(l1)
        return l1


class Encoded(NamedTuple):
    """A frame and what is made of it by itself."""

    image: Tensor
    """(B, 3, H, W) as it came."""
    pyramid: Pyramid


class EDVR(nn.Module):
    """EDVR: T frames (B, 3, H, W) -> (B, 3, scale*H, scale*W), the middle one; RGB in 0..1, not clamped.

    The scale is 4, or 1 for frames that have the output's size already (``hr_in``).

    Args:
        frames: T, odd.
        channels: of all features; 64 (M), 128 (L).
        groups: offset groups of the deformable convolutions; 8.
        front_blocks: residual blocks of the feature extraction; 5.
        back_blocks: residual blocks of the reconstruction; 10 (M), 40 (L).
        hr_channels: channels at the output's size; 64.
        tsa: whether fusion is by attention, or by a convolution alone.
        predeblur: whether the features are deblurred first.
        hr_in: whether the frames have the output's size.
    """

    def __init__(
        self,
        *,
        frames: int = 5,
        channels: int = 64,
        groups: int = 8,
        front_blocks: int = 5,
        back_blocks: int = 10,
        hr_channels: int = 64,
        tsa: bool = True,
        predeblur: bool = False,
        hr_in: bool = False,
    ) -> None:
        super().__init__()
        self.frames = frames
        self.hr_in = hr_in
        self.scale = 1 if hr_in else 4
        self.multiple = 16 if hr_in else 4  # two stride-2 levels, after two more where the frames are large
        if predeblur:
            self.predeblur = Predeblur(channels, hr_in=hr_in)
            self.conv_1x1 = nn.Conv2d(channels, channels, 1)
        elif hr_in:
            self.conv_first_1 = conv3_lrelu(3, channels)
            self.conv_first_2 = conv3_lrelu(channels, channels, stride=2)
            self.conv_first_3 = conv3_lrelu(channels, channels, stride=2)
        else:
            self.conv_first = conv3_lrelu(3, channels)
        self.stem = self._stem_predeblur if predeblur else self._stem_hr if hr_in else self._stem_plain
        self.feature_extraction = nn.Sequential(*(ResidualBlock(channels) for _ in range(front_blocks)))
        self.conv_l2_1 = conv3_lrelu(channels, channels, stride=2)
        self.conv_l2_2 = conv3_lrelu(channels, channels)
        self.conv_l3_1 = conv3_lrelu(channels, channels, stride=2)
        self.conv_l3_2 = conv3_lrelu(channels, channels)
        self.pcd_align = PCDAlign(channels, groups)
        self.fusion = TSAFusion(channels, frames) if tsa else _Fusion(channels, frames)
        self.reconstruction = nn.Sequential(*(ResidualBlock(channels) for _ in range(back_blocks)))
        self.upconv1 = ShuffleConv(channels, channels)
        self.upconv2 = ShuffleConv(channels, hr_channels)
        self.conv_hr = conv3_lrelu(hr_channels, hr_channels)
        self.conv_last = conv3(hr_channels, 3)

    def encode(self, frame: Tensor) -> Encoded:
        """What is made of a frame (B, 3, H, W) of any size by itself."""
        height, width = frame.shape[-2:]
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        return Encoded(frame, self.pyramid(F.pad(frame, pad, mode="replicate")))

    def reconstruct(self, window: Sequence[Encoded]) -> Tensor:
        """The middle frame of T, (B, 3, scale*H, scale*W), in the type of the frames.

        Raises:
            ValueError: another number of frames.
        """
        if len(window) != self.frames:
            raise ValueError(f"EDVR: this network takes {self.frames} frames, got {len(window)}")
        image = window[self.frames // 2].image
        height, width = image.shape[-2:]
        detail = self.detail([frame.pyramid for frame in window])[..., : self.scale * height, : self.scale * width]
        return (image if self.hr_in else upscale(image, 4)) + detail.to(image.dtype)

    def pyramid(self, frame: Tensor) -> Pyramid:
        """Features of a frame (B, 3, H, W), H and W multiples of 4 (16 where frames are large)."""
        l1 = self.feature_extraction(self.stem(as_weights(frame, self.conv_last)))
        return Pyramid.of(l1, self.conv_l2_1, self.conv_l2_2, self.conv_l3_1, self.conv_l3_2)

    def detail(self, pyramids: Sequence[Pyramid]) -> Tensor:
        """From the features of T frames to what is added to the base of the middle one."""
        middle = pyramids[self.frames // 2]
        aligned = torch.stack([self.pcd_align(pyramid, middle) for pyramid in pyramids], 1)
        x = self.reconstruction(self.fusion(aligned))
        return self.conv_last(self.conv_hr(self.upconv2(self.upconv1(x))))

    def _stem_plain(self, frame: Tensor) -> Tensor:
        return self.conv_first(frame)

    def _stem_hr(self, frame: Tensor) -> Tensor:
        return self.conv_first_3(self.conv_first_2(self.conv_first_1(frame)))

    def _stem_predeblur(self, frame: Tensor) -> Tensor:
        return self.conv_1x1(self.predeblur(frame))
