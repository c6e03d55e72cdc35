"""Parts of Zooming Slow-Mo that are trained before the whole: without its alignment, they cost a tenth of it.

Features of an interpolated frame are the mean of its neighbors', as the whole network begins with
(:func:`vs_sr.training.start.single_image`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch

from vs_sr.models.zooming_slow_mo.network import bicubic

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

type Part = Literal["whole", "unaligned", "single"]
"""Of a network: all of it, or :func:`unaligned`, or :func:`single_image`."""


def single_image(net: ZoomingSlowMo, frames: Tensor) -> Tensor:
    """``net`` without alignment and recurrence: (B, T, 3, h, w) -> (B, 2T-1, 3, 4h, 4w) at a tenth of the work."""
    return _images(net, frames, _features(net, frames))


def unaligned(net: ZoomingSlowMo, frames: Tensor) -> Tensor:
    """``net`` without alignment alone: as :func:`single_image`, at a tenth of the work of the whole, too.

    Both directions of the recurrence have the same weights, and are one batch here.
    """
    features = _features(net, frames)
    both = torch.cat([features, features.flip(1)])
    cell = net.ConvBLSTM.forward_net.cell_list[0]
    h = c = torch.zeros_like(both[:, 0])
    states: list[Tensor] = []
    for feature in both.unbind(1):
        h, c = cell(feature, h, c)
        states.append(h)
    past, future = torch.stack(states, 1).chunk(2)
    fused = net.ConvBLSTM.fuse(past.flatten(0, 1), future.flip(1).flatten(0, 1))
    return _images(net, frames, fused.unflatten(0, past.shape[:2]))


def blend(films: Tensor, multi: int) -> Tensor:
    """(B, T, ...) with ``multi`` - 1 weighted means of neighbors between each two frames."""
    frames = [films[:, 0]]
    for before, after in pairwise(films.unbind(1)):
        frames += [torch.lerp(before, after, part / multi) for part in range(1, multi)] + [after]
    return torch.stack(frames, 1)


def _features(net: ZoomingSlowMo, frames: Tensor) -> Tensor:
    """(B, 2T-1, C, h, w) of frames (B, T, 3, h, w)."""
    known = net.feature_extraction(net.conv_first(frames.flatten(0, 1)))
    return blend(known.unflatten(0, frames.shape[:2]), 2)


def _images(net: ZoomingSlowMo, frames: Tensor, features: Tensor) -> Tensor:
    """The output frames of features, and of the frames (B, T, 3, h, w) that they are of."""
    detail: Tensor = net.detail(features.flatten(0, 1)).unflatten(0, features.shape[:2])
    if net.base == "none":
        return detail
    base = torch.stack([bicubic(frame) for frame in blend(frames, 2).unbind(1)], 1)
    return detail + base  # in float32, whatever the network's precision is
