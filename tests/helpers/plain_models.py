"""Models that do nothing to colors, so that only what the filters do around a network is seen. Registered on import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

import vs_sr

if TYPE_CHECKING:
    from torch import Tensor


class Twice(torch.nn.Module):
    """Every pixel becomes four."""

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="nearest")


class Same(torch.nn.Module):
    """Nothing changes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


MODELS = {
    "PlainRgb": vs_sr.Model(
        name="PlainRgb",
        summary="",
        paper="",
        kind="image",
        build=lambda variant: Twice(),
        fixed=vs_sr.Variant(scale=2, receptive_field=0),
    ),
    "PlainLuma": vs_sr.Model(
        name="PlainLuma",
        summary="",
        paper="",
        kind="image",
        build=lambda variant: Same(),
        fixed=vs_sr.Variant(scale=1, color="y", upscaled=True, receptive_field=0),
    ),
}
"""Both make a clip twice as large: on RGB, and on luma upscaled beforehand."""

for model in MODELS.values():
    vs_sr.register(model)
