"""Losses: what a training step makes smaller, each a mean over its frames, in float32.

``output`` and ``target`` are films (B, S, C, H, W) in 0..1, S frames in time order; images are films of one frame.
Those of :mod:`vs_sr.training.adversary` judge by another network.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from vs_sr.evaluation.protocols import LUMAS

if TYPE_CHECKING:
    from torch import Tensor


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A vector of float32 that is brought to a device once: nothing that is captured may copy from the host."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=torch.float32, device=device)


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Absolute error of each value."""
    return (output.float() - target).abs()


def l2(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of each value."""
    return (output.float() - target).square()


def charbonnier(output: Tensor, target: Tensor, eps: float) -> Tensor:
    """sqrt(d^2 + eps^2) of each value (Charbonnier et al., ICIP 1994): L2 near zero, L1 far from it."""
    return ((output.float() - target).square() + eps * eps).sqrt()


def weighted(error: Tensor, multi: int = 1, between: float = 1.0) -> Tensor:
    """Mean of errors (B, S, ...), in which frames that are not every ``multi``-th weigh ``between``."""
    if between == 1 or multi == 1:
        return error.mean()
    weight = torch.full((error.shape[1],), between, device=error.device)
    weight[::multi] = 1.0
    return (error.flatten(2).mean((0, 2)) * weight).sum() / weight.sum()


def temporal(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute change of the error from one frame to the next; 0 for a film of one frame.

    What moves with the target is no change: a steady error costs nothing here, one that comes and goes does.
    """
    if output.shape[1] < 2:
        return output.new_zeros(())
    return (output.float() - target).diff(dim=1).abs().mean()


def pulse(output: Tensor, target: Tensor) -> Tensor:
    """How differently from the target's the sharpness changes from frame to frame, of RGB films.

    Where the network cannot know where detail went, the least mean error is soft; input-time frames stay sharp, and
    the film pulses. Sharpness is taken as the mean step of luma in squares of 16 pixels: it does not mind that
    detail is a pixel off, so interpolated frames need not be soft, and input-time frames may give a little.
    """
    change, wanted = (contrast(film.float()).diff(dim=1) for film in (output, target))
    return (change - wanted).abs().mean()


def contrast(film: Tensor) -> Tensor:
    """Mean step of luma to the right and down in squares of 16 pixels: (B, S, 3, H, W) -> (B, S, H / 16, W / 16)."""
    luma = film.flatten(0, 1).mul(constant(LUMAS["jpeg"].weights, film.device)[:, None, None]).sum(1, keepdim=True)
    steps = luma[..., :-1, 1:] - luma[..., :-1, :-1], luma[..., 1:, :-1] - luma[..., :-1, :-1]
    step = F.pad((steps[0].abs() + steps[1].abs()) / 2, (0, 1, 0, 1), mode="replicate")
    squares: Tensor = F.avg_pool2d(step, 16)[:, 0].unflatten(0, film.shape[:2])
    return squares


def total_variation(images: Tensor) -> Tensor:
    """Twice the mean squared step down, plus that to the right, of (..., C, H, W): SRGAN's community form."""
    images = images.float()
    down, right = images.diff(dim=-2), images.diff(dim=-1)
    return 2 * (down.square().mean() + right.square().mean())
