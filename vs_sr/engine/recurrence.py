"""The one driver of recurrences: what calls a network's methods, and in which order.

Filters, evaluation and training all come here; networks have no loop of their own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from vs_sr.spec import Carried, MultiFrameNetwork, SequenceNetwork


def timesteps(network: SequenceNetwork, frames: Sequence[Tensor], multi: int = 1) -> list[Any]:
    """The timesteps of T frames (B, C, H, W) of one scene, in time order: theirs, and those in between.

    Where the network interpolates at all, there are at least two for each frame but the last: it is used to that.
    """
    found = [network.encode(frame) for frame in frames]
    parts = 1
    while parts < max(multi, 2):
        halves = found[:1]
        for before, after in pairwise(found):
            halves += [*network.between(before, after), after]
        found, parts = halves, 2 * parts
    return found


type Run = tuple[dict[int, Tensor], Carried | None]
"""Timestep to image (B, C, scale*H, scale*W), and the state that was asked for; None: it is zero, or was not."""


def run(
    network: SequenceNetwork,
    timesteps: Sequence[Any],
    *,
    state: Carried | None = None,
    own: int | None = None,
    outputs: Collection[int],
    border: int | None = None,
) -> Run:
    """Step over timesteps in both directions. Where a network has a method ``run``, that sees to it.

    Args:
        network: of the timesteps.
        timesteps: of one scene, in time order.
        state: of the forward direction before the first one; None: zero.
        own: the first so many are stepped over by the forward direction, the others by the backward direction alone;
            None: all.
        outputs: those of which an image is reconstructed; none: the backward direction is left out.
        border: the timestep before which the forward state is wanted, ``own`` at most.
    """
    own = len(timesteps) if own is None else own
    if (whole := getattr(network, "run", None)) is not None:
        made: Run = whole(side_by_side, timesteps, state, own=own, outputs=tuple(sorted(outputs)), border=border)
        return made
    future = _backward(network, timesteps, own) if outputs else []
    images: dict[int, Tensor] = {}
    left = state if border == 0 else None
    for t in range(own):
        state = network.forward_step(timesteps[t], state)
        if t in outputs:  # one at a time: features of the output's size are large
            images[t] = network.reconstruct(timesteps[t], state[0], future[-1])
        if future:
            future.pop()
        if t + 1 == border:
            left = state
    return images, left


def side_by_side(
    network: SequenceNetwork,
    timesteps: Sequence[Any],
    state: Carried | None,
    *,
    own: int,
    outputs: Collection[int],
    border: int | None,
    beside: Callable[[], AbstractContextManager[None]],
    join: Callable[[], None],
) -> Run:
    """What :func:`run` gives, with its two directions at the same time: on devices that have room for both.

    Args:
        network: see :func:`run`.
        timesteps: likewise.
        state: likewise.
        own: likewise.
        outputs: likewise.
        border: likewise.
        beside: what is computed within goes on beside what is computed after it.
        join: waits for that.
    """
    future: list[Tensor] = []
    if outputs:
        with beside():
            future = _backward(network, timesteps, own)
    past: list[Tensor] = []
    left = state if border == 0 else None
    for t in range(own):
        state = network.forward_step(timesteps[t], state)
        past.append(state[0])
        if t + 1 == border:
            left = state
    if outputs:
        join()
    return {t: network.reconstruct(timesteps[t], past[t], future[own - 1 - t]) for t in outputs}, left


def _backward(network: SequenceNetwork, timesteps: Sequence[Any], own: int) -> list[Tensor]:
    """Hidden states of the backward direction after the first ``own`` timesteps, the last one's first."""
    found: list[Tensor] = []
    state: Carried | None = None
    for t in reversed(range(len(timesteps))):
        state = network.backward_step(timesteps[t], state)
        if t < own:
            found.append(state[0])
    return found


def sequence(network: SequenceNetwork, frames: Tensor, multi: int) -> Tensor:
    """Run a whole sequence of one scene, for training as well.

    Args:
        network: of a sequence model.
        frames: (B, T, C, H, W) in time order, float32 of any size.
        multi: frame-rate factor: 1; or a power of two, where the network interpolates.

    Returns:
        (B, multi*(T-1)+1, C, scale*H, scale*W).

    Raises:
        ValueError: another ``multi``, or a frame alone where some are to be interpolated.
    """
    from vs_sr.runtime import torch

    found = timesteps(network, frames.unbind(1), multi)
    gaps = frames.shape[1] - 1
    density, rest = divmod(len(found) - 1, gaps) if gaps else (multi, multi - 1)
    if rest or multi < 1 or density % multi:
        raise ValueError(f"{frames.shape[1]} frames have {len(found)} timesteps, of which multi={multi} cannot be made")
    outputs = range(0, len(found), density // multi)
    images, _ = run(network, found, outputs=outputs)
    return torch.stack([images[t] for t in outputs], 1)


def multi_frame(network: MultiFrameNetwork, frames: Tensor) -> Tensor:
    """The middle one of (B, T, C, H, W) frames, (B, C, scale*H, scale*W)."""
    return network.reconstruct([network.encode(frame) for frame in frames.unbind(1)])
