"""Offsets of deformable convolutions, as a network makes them, for a loss that keeps them in the image.

Where an offset has left the image its sample is zero wherever it goes on to, so nothing calls it back: in recurrent
networks most of them go, and what they should have aligned is lost. Chan et al., "Understanding Deformable Alignment
in Video Super-Resolution" (AAAI 2021, section 4), hold them near optical flow; here they are held near their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from vs_sr.models.layers import DeformableConv

if TYPE_CHECKING:
    from torch import Tensor, nn


class Offsets:
    """Hears what the deformable convolutions of a network are asked for, from one question to the next."""

    def __init__(self, network: nn.Module) -> None:
        """Listen to those of ``network``."""
        self._heard: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, DeformableConv):
                module.offset_conv.register_forward_hook(self._listener(18 * module.groups))

    def _listener(self, offsets: int):  # type: ignore[no-untyped-def]
        def hear(_module: nn.Module, _inputs: object, made: Tensor) -> None:
            if made.requires_grad:
                self._heard.append(made[:, :offsets])

        return hear

    def strayed(self, reach: float, device: torch.device) -> Tensor:
        """By how many pixels they were beyond ``reach`` since it was last asked, in the mean; 0 where none was made."""
        heard, self._heard = self._heard, []
        if not heard:
            return torch.zeros((), device=device)
        return torch.stack([F.relu(each.float().abs() - reach).mean() for each in heard]).mean()
