"""Which segment is rendered next where several are at once: policy on integers.

Where a segment ends is decided by the frames that are rendered (``rendering``), so that in any order the segments are
those of a run in order. Until they are rendered it is guessed by the cuts of the film. A guess that was wrong costs a
segment that is rendered again, never the bits of the result.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from fractions import Fraction

    from vs_sr.render.segments import Segment

LEAST, MOST = 24, 120
"""Frames of a segment: it ends at a scene cut after the first number of them, and in any case after the second."""


@dataclass(frozen=True)
class Job:
    """A segment to be rendered."""

    start: int
    began: Fraction
    """Seconds at which its first frame is shown, as far as that is known."""
    stop: int
    """Where it is expected to end; it never ends later."""


class Borders:
    """Where segments are expected to end.

    Args:
        total: frames of the result.
        marks: its frames in order, each with whether it is expected to begin a scene; read as far as is needed.
    """

    def __init__(self, total: int, marks: Iterator[tuple[int, bool]]) -> None:
        self._total, self._marks = total, marks
        self._cuts: list[int] = []
        self._read = -1  # the last frame that is known
        self._right = self._wrong = 0

    def expected(self, start: int) -> int:
        """The end of the segment that begins with a frame."""
        last = min(start + MOST, self._total)
        if self._wrong > self._right:  # a script that does what the film does not tell
            return last
        while self._read < last and (mark := next(self._marks, None)) is not None:
            self._read = mark[0]
            if mark[1]:
                self.add(mark[0])
        at = bisect_left(self._cuts, start + LEAST)
        return min(self._cuts[at], last) if at < len(self._cuts) else last

    def add(self, cut: int) -> None:
        """A scene begins with this frame."""
        if cut not in self._cuts[bisect_left(self._cuts, cut) :][:1]:
            insort(self._cuts, cut)

    def judge(self, cut: int, right: bool) -> None:
        """What was expected of a frame is so, or not."""
        self._right, self._wrong = self._right + right, self._wrong + (not right)
        if not right and cut in self._cuts:
            self._cuts.remove(cut)


class Schedule:
    """Segments as they are handed out, come back in any order, and go into the film one after another.

    Args:
        total: frames of the result.
        number: the first one that is missing.
        at: seconds at which that is shown.
        clock: seconds at which a frame is expected to be shown.
        borders: where segments are expected to end.
    """

    def __init__(
        self, total: int, number: int, at: Fraction, clock: Callable[[int], Fraction], borders: Borders
    ) -> None:
        self.number, self._at, self._total = number, at, total
        self._clock, self._borders = clock, borders
        self._running: dict[int, Job] = {}
        self._done: dict[int, Segment] = {}

    def done(self, running: Mapping[int, int]) -> int:
        """Frames of the film that are rendered, as far as it is known what is in it.

        Args:
            running: frames of segments that are being rendered, by where these begin.
        """
        found = self.number
        for each in self._chain():
            found += running.get(each.start, 0) if isinstance(each, Job) else each.stop - each.start
        return found

    def job(self) -> Job | None:
        """The next segment to render, the earliest that is missing; None: all are handed out."""
        start, began = self.number, self._at
        for each in self._chain():
            start, began = each.stop, self._clock(each.stop) if isinstance(each, Job) else each.time
        if start >= self._total:
            return None
        self._running[start] = Job(start, began, self._borders.expected(start))
        return self._running[start]

    def _chain(self) -> Iterator[Segment | Job]:
        """What follows on what is whole, without a gap."""
        start = self.number
        while (each := self._done.get(start) or self._running.get(start)) is not None:
            yield each
            start = each.stop

    def finished(self, segment: Segment) -> None:
        """Take one that was rendered. What is there already stays."""
        expected = self._running.pop(segment.start, None)
        if segment.start >= self.number:
            self._done.setdefault(segment.start, segment)
            if expected is not None and segment.stop < expected.stop:
                self._borders.add(segment.stop)

    def lost(self, job: Job) -> None:
        """A segment that is not going to be finished is missing again."""
        del self._running[job.start]

    def whole(self) -> Segment | None:
        """The next one of the film, if it is there and ends where a run in order ends it; from now on it is in it."""
        segment = self._done.get(self.number)
        if segment is None:
            return None
        right = segment.began == self._at
        if right and not segment.sure and segment.stop < self._total:
            following = self._done.get(segment.stop)
            if following is None:
                return None
            right = following.fresh
            self._borders.judge(segment.stop, right)
        del self._done[self.number]
        if not right:  # it is missing again
            return None
        self.number, self._at = segment.stop, segment.time
        return segment
