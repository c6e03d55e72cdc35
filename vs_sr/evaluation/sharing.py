"""A network that computes nothing twice, for schedulers that run the same clip in several ways.

Schedulers with other segments or another lookahead take most of their steps from the same states. Whatever a network
makes is remembered by the contents of what it is made of; the bits are those of a network that remembers nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vs_sr.spec import Carried, SequenceNetwork


class _Memory:
    def __init__(self) -> None:
        # with each result, what its key names by identity: an id is no other object's as long as that lives
        self._new: dict[Hashable, tuple[Any, Any]] = {}
        self._old: dict[Hashable, tuple[Any, Any]] = {}

    def get[T](self, key: Hashable, alive: Any, make: Callable[[], T]) -> T:
        if key not in self._new:
            self._new[key] = self._old.get(key) or (make(), alive)
        result: T = self._new[key][0]
        return result

    def forget(self) -> None:
        self._old, self._new = self._new, {}


class Remembering:
    """A sequence network that computes nothing twice. Timesteps are known by identity, as they come from here."""

    def __init__(self, network: SequenceNetwork) -> None:
        self._network = network
        self._memory = _Memory()

    def forget(self) -> None:
        """Give up what has not been asked for since the last time: after each window."""
        self._memory.forget()

    def encode(self, frame: Tensor) -> Any:
        """As the network's."""
        return self._memory.get(("encode", _digest(frame)), None, partial(self._network.encode, frame))

    def between(self, before: Any, after: Any) -> Sequence[Any]:
        """As the network's."""
        alive = before, after
        return self._memory.get(("between", id(before), id(after)), alive, partial(self._network.between, *alive))

    def forward_step(self, timestep: Any, state: Carried | None) -> Carried:
        """As the network's."""
        key = "forward", id(timestep), _digests(state)
        return self._memory.get(key, timestep, partial(self._network.forward_step, timestep, state))

    def backward_step(self, timestep: Any, state: Carried | None) -> Carried:
        """As the network's."""
        key = "backward", id(timestep), _digests(state)
        return self._memory.get(key, timestep, partial(self._network.backward_step, timestep, state))

    def reconstruct(self, timestep: Any, past: Tensor, future: Tensor) -> Tensor:
        """As the network's."""
        key = "reconstruct", id(timestep), _digest(past), _digest(future)
        return self._memory.get(key, timestep, partial(self._network.reconstruct, timestep, past, future))


def _digests(state: Carried | None) -> Hashable:
    return None if state is None else tuple(_digest(part) for part in state)


def _digest(tensor: Tensor) -> Hashable:
    """Numbers, and how they lie in memory: a convolution's last bits depend on both."""
    from vs_sr.runtime import torch

    raw = tensor.detach().contiguous().view(torch.uint8).cpu().numpy()
    return tensor.shape, tensor.stride(), tensor.dtype, hashlib.blake2b(raw.tobytes()).digest()
