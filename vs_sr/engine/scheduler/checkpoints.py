"""Forward states of earlier windows, so that a seek need not begin at the beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.engine.transfer import park

if TYPE_CHECKING:
    from vs_sr.spec import Carried

type States = tuple[Carried | None, ...]
"""The forward state of every tile; None: zero."""

_RECENT = 32
"""States of this many windows are kept beside the checkpoints, as far as memory goes: requests that are on their way
at the same time lie no further apart, where frames come in order."""


class Checkpoints:
    """States by window, the one before its first position, in host memory.

    Args:
        every: windows from one checkpoint to the next.
        limit: bytes; where it is reached, every second checkpoint goes, and the distance doubles. The newest
            state is kept whatever it takes.
    """

    def __init__(self, every: int, limit: int) -> None:
        self.every = every
        self.limit = limit
        self.size = 0
        """Bytes that are kept."""
        self._states: dict[int, States] = {}  # in the order in which they came

    def __contains__(self, window: int) -> bool:
        return window in self._states

    def __len__(self) -> int:
        return len(self._states)

    def last(self, first: int, last: int) -> int | None:
        """The last window from ``first`` to ``last`` whose states are kept."""
        return max((window for window in self._states if first <= window <= last), default=None)

    def get(self, window: int) -> States:
        """The states before a window that is kept."""
        return self._states[window]

    def put(self, window: int, states: States) -> None:
        """Keep the states, a copy where they are on another device."""
        self._drop(window)
        kept = tuple(None if state is None else tuple(park(part) for part in state) for state in states)
        self._states[window] = kept
        self.size += _bytes(kept)
        recent = [number for number in self._states if number % self.every]
        for number in recent[: max(0, len(recent) - _RECENT)]:
            self._drop(number)
        while self.size > self.limit and len(self._states) > 1:
            oldest = next((number for number in self._states if number % self.every and number != window), None)
            if oldest is not None:
                self._drop(oldest)
                continue
            self.every *= 2
            if not any(number % self.every for number in self._states if number != window):
                self._drop(next(iter(self._states)))  # a multiple of every power of two in sight

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()
        self.size = 0

    def _drop(self, window: int) -> None:
        self.size -= _bytes(self._states.pop(window, ()))


def _bytes(states: States) -> int:
    return sum(part.nbytes for state in states if state is not None for part in state)
