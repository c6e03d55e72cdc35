"""The network of MDSR (Lim et al., CVPR Workshops 2017, section 3.4): EDSR for several scales at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import nn

from vs_sr.models.edsr.network import DIV2K_MEAN, MeanShift, ResBlock, Upsampler, conv
from vs_sr.models.layers import as_weights
from vs_sr.models.merging import MergedChain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class MDSR(nn.Module):
    """MDSR: one trunk for several scales, each with a head and an upsampler of its own.

    Args:
        scale: the one of ``scales`` that ``forward`` upscales by.
        scales: those that the weights hold, in their order there.
        features: channels; 64.
        blocks: residual blocks; 16 in the baseline, 80 in the large network.
        value_range: of the network inside, 255 in the authors' weights.
        mean: of R, G and B in 0..1, which the network does not see.
    """

    def __init__(
        self,
        *,
        scale: int,
        scales: Sequence[int] = (2, 3, 4),
        features: int = 64,
        blocks: int = 16,
        value_range: float = 255.0,
        mean: Sequence[float] = DIV2K_MEAN,
    ) -> None:
        super().__init__()
        self.index = list(scales).index(scale)
        self.shift = MeanShift(value_range, tuple(mean))
        self.head = nn.Sequential(conv(3, features))
        self.pre_process = nn.ModuleList(nn.Sequential(ResBlock(features, 5), ResBlock(features, 5)) for _ in scales)
        self.body = nn.Sequential(*(ResBlock(features) for _ in range(blocks)), conv(features, features))
        self.upsample = nn.ModuleList(Upsampler(each, features) for each in scales)
        self.tail = nn.Sequential(conv(features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, scale*H, scale*W) in the type of ``x``, not clamped."""
        features = self.pre_process[self.index](self.head(as_weights(self.shift.enter(x), self.head[0])))
        out = self.tail(self.upsample[self.index](features + self.body(features)))
        return self.shift.leave(out.to(x.dtype))

    def quicken(self) -> None:
        """What follows the trunk has no activation."""
        upsampler = cast("Upsampler", self.upsample[self.index])
        self.upsample[self.index] = nn.Identity()
        self.tail = nn.Sequential(MergedChain([*upsampler, *self.tail]))
