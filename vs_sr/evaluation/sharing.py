"""A network that computes nothing twice, for schedulers that run the same clip in several ways.

Schedulers with other segments or another lookahead take most of their steps from the same states. Whatever a network
makes is remembered by the contents of what it is made of; the bits are those of a network that remembers nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from vs_sr.spec import METHODS

if TYPE_CHECKING:
    from vs_sr.spec import SequenceNetwork


class Remembering:
    """A sequence network whose methods are called once with the same arguments."""

    def __init__(self, network: SequenceNetwork) -> None:
        self._network = network
        # with each result its arguments: an id is no other object's as long as that lives
        self._new: dict[Hashable, tuple[Any, Any]] = {}
        self._old: dict[Hashable, tuple[Any, Any]] = {}

    def forget(self) -> None:
        """Give up what has not been used since the last time: after each window."""
        self._old, self._new = self._new, {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in METHODS["sequence"]:  # windows as a whole are nothing that two would share
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, *arguments: Any) -> Any:
        key = name, tuple(map(_key, arguments))
        if key not in self._new:
            self._new[key] = self._old.get(key) or (getattr(self._network, name)(*arguments), arguments)
        return self._new[key][0]


def _key(argument: Any) -> Hashable:
    """Tensors, and states of them, by their numbers and how these lie in memory: a convolution's last bits depend on
    both. Timesteps, which come from here, by identity."""
    from vs_sr.runtime import torch

    if type(argument) is tuple:
        return tuple(map(_key, argument))
    if isinstance(argument, torch.Tensor):
        raw = argument.detach().contiguous().view(torch.uint8).cpu().numpy()
        return argument.shape, argument.stride(), argument.dtype, hashlib.blake2b(raw.tobytes()).digest()
    return None if argument is None else id(argument)
