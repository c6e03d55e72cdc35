"""The time that a command may take, from its start to its end: what steps have of it, and how long one takes."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    type Report = Callable[[str, int, int], None]

_KNOWN = 5
"""Steps after which the pace is known."""
_RECENT = 32
"""Steps that the pace is the mean of: batches differ, and a stage may take ten times as long as the one before."""


@dataclass
class Clock:
    """Seconds, by the system's clock that never goes back."""

    minutes: float
    """Of the whole run, resumed commands together; 0: as long as it takes."""
    option: str
    """That says so, for messages."""
    began: float
    """``time.monotonic()`` when the command began."""
    earlier: float = 0.0
    """Seconds of earlier commands of the run."""
    after: float = 0.0
    """Held back for what comes after the last step."""
    timed: int = 0
    """Steps that follow the last one, to be timed."""
    _seen: set[Hashable] = field(default_factory=set)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def spent(self) -> float:
        """By all commands, up to now."""
        return self.earlier + time.monotonic() - self.began

    def left(self) -> float:
        """For steps; below 0: what comes after them will not fit either."""
        if not self.minutes:
            return math.inf
        return 60 * self.minutes - self.spent() - self.after - self.timed * self.pace

    def stepped(self, kind: Hashable, seconds: float) -> None:
        """Take note of a step. The first of its kind is no measure: memory is fetched, a graph is captured."""
        if kind in self._seen:
            self._recent.append(seconds)
        self._seen.add(kind)

    @property
    def pace(self) -> float:
        """Seconds a step; 0: not known yet."""
        return sum(self._recent) / len(self._recent) if len(self._recent) >= _KNOWN else 0.0

    def watched(self, report: Report | None) -> Report:
        """A report of the making of clips that ends it when time is up.

        Raises:
            VsSrError: when called and no time is left.
        """
        begin = time.monotonic()

        def told(label: str, done: int, total: int) -> None:
            if report:
                report(label, done, total)
            if self.left() <= 0 and done < total:
                taken = time.monotonic() - begin
                raise VsSrError(
                    f"{self.option} {self.minutes:g} is over: {done} of {total} {label} were made in {taken:.0f} s. "
                    f"They alone take {taken * total / done / 60:.1f} minutes; give more"
                )

        return told

    def check(self) -> None:
        """Whether there is time for a first step.

        Raises:
            VsSrError: there is not.
        """
        if self.left() <= 0:
            raise VsSrError(
                f"{self.option} {self.minutes:g} leaves no time for a step: {self.spent():.0f} s went into the start "
                f"and the clips, which are kept, and measuring takes {self.after:.0f} s; give more, or less to measure"
            )
