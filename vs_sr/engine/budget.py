"""Host memory for the groups that filters keep, shared out by plan.

How many groups a filter keeps follows from what the machine has in total and from the filters before it, never from
what happens to be free. It decides what is computed twice, and no bits.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

FEWEST, MOST = 3, 8
"""Groups that a filter keeps. With three, one reader and what is on its way for it get by; with eight, four readers
at different places, each between two groups. More would serve nobody."""
SHARE = 4
"""The part of a machine's memory that groups may take: a quarter."""


class Budget:
    """What the groups of all filters of a process may take together.

    Args:
        total: bytes that the machine has, or that the process may use of it.
    """

    def __init__(self, total: int) -> None:
        self.total = total // SHARE
        self._taken: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def left(self) -> int:
        """Bytes that no filter has; below zero where all have the fewest, and these take more."""
        return self.total - sum(self._taken.values())

    def groups(self, size: int, owner: object) -> int:
        """How many groups of ``size`` bytes a filter keeps: as many as half of what is left has room for, so that
        another filter gets some, too. They are its own for as long as ``owner`` lives."""
        count = min(MOST, max(FEWEST, self.left // 2 // max(1, size)))
        self._taken[owner] = count * size
        return count
