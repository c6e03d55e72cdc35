"""The network of SRCNN (Dong et al., ECCV 2014): three convolutions on an upscaled image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import as_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class SRCNN(nn.Module):
    """SRCNN: (B, C, H, W) -> (B, C, H, W), the input upscaled beforehand (bicubic), values in 0..1.

    Zero padding keeps the size; the paper's network is unpadded and trims the image's border.

    Args:
        kernels: side of the three kernels, odd: (9, 1, 5) in the paper, (9, 5, 5) in its sequel.
        widths: channels after the first and the second layer.
        channels: of the image; 1 for luma.
    """

    def __init__(
        self, *, kernels: Sequence[int] = (9, 1, 5), widths: Sequence[int] = (64, 32), channels: int = 1
    ) -> None:
        super().__init__()
        first, second, third = kernels
        self.conv1 = nn.Conv2d(channels, widths[0], first, padding=first // 2)
        self.conv2 = nn.Conv2d(widths[0], widths[1], second, padding=second // 2)
        self.conv3 = nn.Conv2d(widths[1], channels, third, padding=third // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 -> the same shape and type, not clamped."""
        features = F.relu(self.conv1(as_weights(x, self.conv1)))
        features = F.relu(self.conv2(features))
        return self.conv3(features).to(x.dtype)
