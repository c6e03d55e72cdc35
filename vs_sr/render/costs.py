"""What it takes to render a film with many workers: a formula, and the events that it is checked by."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one film on one cluster, in seconds."""

    frames: int
    """Of the result."""
    frame: float
    """For a worker to make and encode one."""
    segment: float = 72
    """Frames of a segment, on the average: 24 to 120."""
    warm: float = 0.0
    """For a worker before the first frame of a segment: the decoder seeks, a carried state is rebuilt."""
    start: float = 10.0
    """Until a worker can begin: its process, torch, weights, the index of the film."""
    fetch: float = 0.0
    """To send the film to one machine that does not see it; the driver's link sends to one after another."""
    per_machine: int = 1
    """Workers on each."""
    mark: float = 0.0
    """For the driver to look for cuts in what becomes one frame of the result."""
    send: float = 0.0
    """For the driver's link to take in an encoded frame, where workers do not see its folder."""
    join: float = 0.0
    """To copy an encoded frame into the film at the end."""

    def seconds(self, workers: int) -> float:
        """How long it takes, to within the time of the longest segment and 2 %.

        What workers do is shared by those that have begun; they do whole segments, so half of one is waited for at the
        end. What the driver does goes on beside that, and is shared by nobody.
        """
        own = self.warm + min(self.frames, self.segment) * self.frame
        total = own * max(1.0, self.frames / self.segment)
        ready = self._ready(workers)
        number, begun = 1, ready[0]
        while number < workers and ready[number] * number < total + begun:  # before the others are through
            begun += ready[number]
            number += 1
        work = max((total + begun) / number + (own / 2 if number > 1 else 0.0), ready[0] + own)
        driver = max(self.mark * self.frames + own, ready[0] + own + self.send * self.frames)
        return max(work, driver) + self.join * self.frames

    def simulated(self, workers: int, segments: Sequence[int]) -> float:
        """How long it takes with segments of these lengths, by events: a worker that is free takes the next one."""
        free = self._ready(workers)
        heapq.heapify(free)
        marked, arrived = 0.0, []
        for length in segments:
            marked += length * self.mark
            end = max(heapq.heappop(free), marked) + self.warm + length * self.frame
            heapq.heappush(free, end)
            arrived.append((end, length))
        taken = 0.0
        for end, length in sorted(arrived):
            taken = max(taken, end) + length * self.send
        return taken + self.join * sum(segments)

    def efficiency(self, workers: int) -> float:
        """The share of the workers' time that one alone would need, too: 1 is all of it."""
        alone = replace(self, fetch=0.0, send=0.0, mark=0.0).seconds(1)
        return alone / (workers * self.seconds(workers))

    def _ready(self, workers: int) -> list[float]:
        """When each worker begins, in order."""
        return [self.start + self.fetch * ceil((n + 1) / self.per_machine) for n in range(workers)]
