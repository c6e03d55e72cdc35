"""Memory of a device, shared out by plan: what filters take follows from what the device has in total and from the
filters made before them, never from what happens to be free.

What is left beside the three pools is for weights, VapourSynth's own caches and the process itself.
"""

from __future__ import annotations

from functools import cache
from weakref import WeakKeyDictionary

from vs_sr.engine import device as devices

FEWEST, MOST = 3, 8
"""Groups that a filter keeps. With three, one reader and what is on its way for it get by; with eight, four readers
at different places, each between two groups. More would serve nobody."""


class Pool:
    """Bytes of which owners take their parts, each its own for as long as it lives.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def taken(self) -> int:
        """Bytes that owners have."""
        return sum(self._taken.values())

    @property
    def left(self) -> int:
        """Bytes that nobody has; below zero where all have the least that they need, and these take more."""
        return self.total - self.taken

    def take(self, owner: object, size: int) -> None:
        """Give ``owner`` its part, in place of what it had."""
        self._taken[owner] = size


class Budget:
    """What all filters of a process may take of one device's memory.

    Args:
        total: bytes that the device has, or that the process may use of it.
    """

    def __init__(self, total: int) -> None:
        self.features = Pool(total * 5 // 8)
        """For networks at work: features, hidden states, results."""
        self.kept = Pool(total // 4)
        """For groups of output frames that filters keep (host memory)."""
        self.checkpoints = Pool(total // 16)
        """For states of earlier windows (host memory)."""

    def allowance(self, parts: int) -> int:
        """What a filter may take for each of ``parts`` networks that work side by side: four fifths of what is left
        (half of the device for the first filter), so that another one gets some, too."""
        return max(0, self.features.left) * 4 // 5 // parts

    def groups(self, size: int, owner: object) -> int:
        """How many groups of ``size`` bytes a filter keeps: as many as half of what is left has room for, beside one in
        the making. It decides what is computed twice, and no bits."""
        count = min(MOST, max(FEWEST, self.kept.left // 2 // max(1, size) - 1))
        self.kept.take(owner, (count + 1) * size)
        return count

    def states(self, wish: int | None, owner: object) -> int:
        """Bytes that checkpoints of a filter may take: those of the wish, or half of what is left, 1 GiB at most."""
        size = min(1 << 30, max(0, self.checkpoints.left // 2)) if wish is None else wish
        self.checkpoints.take(owner, size)
        return size


@cache
def of(device: str) -> Budget:
    """The budget of a device; "cpu" is the host's memory, which is shared by all."""
    return Budget(devices.memory(device))
