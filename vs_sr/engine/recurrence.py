"""The one driver of recurrences: what calls a network's methods, and in which order.

Filters, evaluation and training all come here; networks have no loop of their own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from vs_sr.spec import Carried, SequenceNetwork


def timesteps(network: SequenceNetwork, frames: Sequence[Tensor]) -> list[Any]:
    """The timesteps of T frames (B, C, H, W) of one scene, in time order: theirs, and those in between."""
    encoded = [network.encode(frame) for frame in frames]
    found = encoded[:1]
    for before, after in pairwise(encoded):
        found += [*network.between(before, after), after]
    return found


def run(
    network: SequenceNetwork,
    timesteps: Sequence[Any],
    *,
    state: Carried | None = None,
    own: int | None = None,
    outputs: Collection[int],
    border: int | None = None,
) -> tuple[dict[int, Tensor], Carried | None]:
    """Step over timesteps in both directions.

    Args:
        network: of the timesteps.
        timesteps: of one scene, in time order.
        state: of the forward direction before the first one; None: zero.
        own: the first so many are stepped over by the forward direction, the others by the backward direction alone;
            None: all.
        outputs: those of which an image is reconstructed; none: the backward direction is left out.
        border: the timestep before which the forward state is wanted, ``own`` at most.

    Returns:
        Timestep to image (B, C, scale*H, scale*W), and the state; None where that is zero or not wanted.
    """
    own = len(timesteps) if own is None else own
    future: list[Tensor] = []  # hidden states of the backward direction, the first timestep's last
    if outputs:
        after: Carried | None = None
        for t in reversed(range(len(timesteps))):
            after = network.backward_step(timesteps[t], after)
            if t < own:
                future.append(after[0])
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
