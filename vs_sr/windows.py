"""The grid of windows: which inputs and outputs a step of a sequence model has. Pure integers.

Windows are anchored at frame 0 of the clip, never at the frame that was asked for first. A window of W input
frames advances by W-1: its last frame is the first of the next window, to which its outputs belong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The windows over a clip of ``frames`` inputs, ``multi`` outputs for each of them.

    ``window`` 1 is the grid of an image model: no frame is shared.
    """

    frames: int
    window: int
    multi: int = 1

    @property
    def share(self) -> int:
        """Input frames that a window shares with the next one: 1, or 0 for image models."""
        return int(self.window > 1)

    @property
    def step(self) -> int:
        """Input frames from one window's start to the next one's."""
        return self.window - self.share

    @property
    def groups(self) -> int:
        """Number of windows; there is none of a shared frame alone, so the last may keep its last frame."""
        return max(1, -(-(self.frames - self.share) // self.step))

    def group(self, output: int) -> int:
        """The window that computes an output frame."""
        return min(output // (self.multi * self.step), self.groups - 1)

    def inputs(self, group: int) -> range:
        """The input frames of a window, the shared one included."""
        start = group * self.step
        return range(start, min(start + self.step + self.share, self.frames))

    def outputs(self, group: int) -> range:
        """The output frames of a window."""
        start = group * self.multi * self.step
        last = group == self.groups - 1
        return range(start, self.multi * self.frames if last else start + self.multi * self.step)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of the network inside a window: frames of one scene, and what becomes of its results."""

    inputs: tuple[int, ...]
    """Input frames of one scene; where frames are shared, a scene of one frame is run as that frame twice."""
    outputs: tuple[tuple[int, int], ...]
    """(output frame, position in the network's result), in time order; a position may serve twice."""


def runs(grid: Grid, group: int, cuts: Collection[int]) -> list[Run]:
    """The calls of the network that give a window's outputs.

    A cut i lies between the input frames i and i+1. Nothing passes it: the scenes on its sides are separate
    runs, and the output in between repeats the enlarged frame i. So does the one after the clip's last frame.
    """
    inputs, outputs = grid.inputs(group), grid.outputs(group)
    starts = [inputs.start, *(i + 1 for i in inputs[:-1] if i in cuts), inputs.stop]
    result = []
    for start, stop in pairwise(starts):
        placed = []
        for output in range(max(start * grid.multi, outputs.start), min(stop * grid.multi, outputs.stop)):
            frame, between = divmod(output, grid.multi)
            if frame == stop - 1:
                between = 0
            placed.append((output, (frame - start) * grid.multi + between))
        if placed:
            frames = tuple(range(start, stop))
            result.append(Run(inputs=frames * 2 if len(frames) == grid.share else frames, outputs=tuple(placed)))
    return result
