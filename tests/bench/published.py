"""Zooming Slow-Mo as published, of random weights: what they are does not change the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.weights import writing

if TYPE_CHECKING:
    from pathlib import Path


def network(*, blocks: tuple[int, int] = (5, 40), channels: int = 64) -> nn.Module:
    """The same one each time; fewer blocks and channels, always eight a group, for trying out."""
    torch.manual_seed(0)
    front, back = blocks
    made = ZoomingSlowMo(
        channels=channels, groups=channels // 8, front_blocks=front, back_blocks=back, hr_channels=channels
    )
    for name, parameter in made.named_parameters():
        if "conv_offset_mask" in name:  # zero in a new network, which deforms nothing
            nn.init.normal_(parameter, std=0.05)
    return made.eval().requires_grad_(False)


def write(path: Path, *, small: bool = False) -> Path:
    """Its weights as a file that ``weights=`` takes."""
    made = network(blocks=(1, 1), channels=16) if small else network()
    writing.save(path, made.state_dict(), {})
    return path
