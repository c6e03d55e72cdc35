"""SpyNet (Ranjan and Black, CVPR 2017): optical flow from coarse to fine, a small network per level."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr.models.layers import IMAGENET_MEAN, IMAGENET_STD, as_weights, normalize

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 6
_MULTIPLE = 32  # five halvings


def warp(x: Tensor, flow: Tensor, padding: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Sample ``x`` where ``flow`` points, bilinearly.

    Args:
        x: (B, C, H, W).
        flow: (B, 2, H, W) in pixels, dx before dy.
        padding: what lies outside ``x``: zeros, or its border repeated.

    Returns:
        (B, C, H, W) in the type of ``x``; the positions are computed in at least float32.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    height, width = x.shape[-2:]
    rows = torch.arange(height, device=x.device, dtype=dtype)
    cols = torch.arange(width, device=x.device, dtype=dtype)
    grid = torch.stack(  # align_corners=False: pixel p lies at (2p + 1) / size - 1
        [
            (2 * (cols + flow[:, 0].to(dtype)) + 1) / width - 1,
            (2 * (rows[:, None] + flow[:, 1].to(dtype)) + 1) / height - 1,
        ],
        -1,
    )
    return F.grid_sample(x.to(dtype), grid, padding_mode=padding, align_corners=False).to(x.dtype)


class _Level(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (8, 32, 64, 32, 16, 2)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.basic_module(as_weights(x, self.basic_module[0]))


class SpyNet(nn.Module):
    """Two images -> flow (B, 2, H, W) in pixels, dx first: the first at p is the second at p + flow(p)."""

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level() for _ in range(LEVELS))  # coarsest first

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 3, H, W) twice, RGB in 0..1, of any size -> (B, 2, H, W), in at least float32."""
        height, width = first.shape[-2:]
        size = (height + -height % _MULTIPLE, width + -width % _MULTIPLE)
        flow = self._estimate(self._pyramid(first, size), self._pyramid(second, size))
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)

    def _pyramid(self, image: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """The normalized image at six sizes, the smallest first."""
        image = image.to(torch.promote_types(image.dtype, torch.float32))
        image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        levels = [normalize(image, IMAGENET_MEAN, IMAGENET_STD)]
        for _ in range(LEVELS - 1):
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels[::-1]

    def _estimate(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        flow = torch.zeros_like(first[0][:, :2])
        for level, (a, b) in enumerate(zip(first, second, strict=True)):
            if level:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
                b = warp(b, flow, "border")
            flow = flow + self.basic_module[level](torch.cat([a, b, flow], 1)).to(flow.dtype)
        return flow
