"""Zooming Slow-Mo as published, of random weights: what they are does not change the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.weights import writing

if TYPE_CHECKING:
    from pathlib import Path


def network(*, small: bool = False) -> nn.Module:
    """The same one each time; ``small``: with one block for five, and for forty."""
    torch.manual_seed(0)
    made = ZoomingSlowMo(front_blocks=1, back_blocks=1) if small else ZoomingSlowMo()
    for name, parameter in made.named_parameters():
        if "conv_offset_mask" in name:  # zero in a new network, which deforms nothing
            nn.init.normal_(parameter, std=0.05)
    return made.eval().requires_grad_(False)


def write(path: Path, *, small: bool = False) -> Path:
    """Its weights as a file that ``weights=`` takes."""
    writing.save(path, network(small=small).state_dict(), {})
    return path
