"""A sequence model of whole numbers that tells every difference in order; and what it has to say, by definition."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from vs_sr.spec import Carried

MODULUS = 8191
DENSITY = 2


def fold(state: int, value: int) -> int:
    """The state after one more timestep: another order gives another number."""
    return (31 * state + value + 1) % MODULUS


def between(before: int, after: int) -> int:
    """The value of the timestep between two frames."""
    return 4096 + (7 * before + 13 * after) % 4001


class Timestep(NamedTuple):
    image: torch.Tensor
    value: torch.Tensor


class Recurrence(nn.Module):
    """Frames whose pixels are their number -> R: what the forward direction has seen, G: the backward one, B: the
    timestep's own value. Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls: dict[str, list[int]] = {"encode": [], "between": [], "forward": [], "reconstruct": []}

    def encode(self, frame: torch.Tensor) -> Timestep:
        self.calls["encode"].append(int(frame[0, 0, 0, 0]))
        return Timestep(frame, frame[:, :1] + (frame.shape[0] - 1))  # as the last bits of real ones, it tells the batch

    def between(self, before: Timestep, after: Timestep) -> Sequence[Timestep]:
        a, b = before.value, after.value
        self.calls["between"].append(int(a[0, 0, 0, 0]))
        return [Timestep(before.image, 4096 + (7 * a + 13 * b) % 4001)]

    def forward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        self.calls["forward"].append(int(timestep.value[0, 0, 0, 0]))
        return self.backward_step(timestep, state)

    def backward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        hidden = torch.zeros_like(timestep.value) if state is None else state[0]
        return ((31 * hidden + timestep.value + 1) % MODULUS,)

    def reconstruct(self, timestep: Timestep, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        self.calls["reconstruct"].append(int(timestep.value[0, 0, 0, 0]))
        return torch.cat([past, future, timestep.value], 1)


def _place(output: int, rate: Fraction, frames: int) -> tuple[int, int]:
    frame, eighth = divmod(floor(8 * output / rate + Fraction(1, 2)), 8)
    return (frame, eighth) if frame < frames else (frames - 1, 0)


@cache
def _filled(before: int, after: int, shown: frozenset[int], density: int) -> dict[int, int]:
    """The values between two, by eighths: of those that are shown, and of those by which these are found."""
    values = {0: before, 8: after}

    def halve(first: int, last: int) -> None:
        middle = (first + last) // 2
        always = density == DENSITY and last - first == 8
        if always or any(first < eighth < last for eighth in shown):
            values[middle] = between(values[first], values[last])
            halve(first, middle)
            halve(middle, last)

    halve(0, 8)
    return {eighth: values[eighth] for eighth in sorted(values) if 0 < eighth < 8}


@cache
def _halves(frame: int, before: int, after: int, rate: Fraction, frames: int, density: int) -> dict[int, int]:
    return _filled(before, after, frozenset(_eighths(frame, rate, frames)), density)


@cache
def _eighths(frame: int, rate: Fraction, frames: int) -> list[int]:
    """Where the outputs of a frame are shown."""
    near = floor(frame * rate)
    places = [_place(n, rate, frames) for n in range(max(0, near - 1), near + 10)]
    return [eighth for place, eighth in places if place == frame]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip and the arguments of its run, for :meth:`expected`."""

    frames: int
    window: int = 4
    multi: int = 2
    lookahead: int = 0
    carry: bool = False
    segment: int = 0
    cuts: Collection[int] = ()
    past: int = 0
    per: int | None = None
    """Input frames that ``multi`` outputs are shown in, at a target rate."""
    density: int = DENSITY
    """1: a model that makes nothing between the frames."""
    before: int = 0
    """Forward state of an earlier clip, before this one's first timestep."""
    repeats: int = 0
    same: Collection[int] = ()
    """Frames that repeat the one before, where no cut is."""

    @cached_property
    def rate(self) -> Fraction:
        """Outputs per input."""
        return Fraction(self.multi, self.per or 1)

    @property
    def outputs(self) -> int:
        """Output frames: those that are shown before the clip's end."""
        return ceil(self.frames * self.rate)

    def place(self, output: int) -> tuple[int, int]:
        """The frame, and the eighth after it, that an output is nearest to."""
        return _place(output, self.rate, self.frames)

    def halves(self, frame: int, before: int, after: int) -> dict[int, int]:
        """The values between those of a frame and of the next one, by eighths, in time order."""
        return _halves(frame, before, after, self.rate, self.frames, self.density)

    @cached_property
    def drawings(self) -> list[range]:
        """The frames of each drawing, in order."""
        found: list[range] = []
        for frame in range(self.frames):
            again = frame > 0 and frame in self.same and frame - 1 not in self.cuts
            if again:
                found[-1] = range(found[-1].start, frame + 1)
            else:
                found.append(range(frame, frame + 1))
        short = [[run] if len(run) <= 4 else [range(n, n + 1) for n in run] for run in found]
        return [drawing for run in short for drawing in run]

    def drawing(self, frame: int) -> range:
        """All frames of a frame's drawing."""
        return next(drawing for drawing in self.drawings if frame in drawing)

    def _shown(self, drawing: range, frame: int, eighth: int) -> int:
        """The eighth of the way to the next drawing that is shown an eighth after a frame."""
        if self.repeats == 2:
            return eighth if frame == drawing[-1] else 0
        at = Fraction(8 * (frame - drawing[0]) + eighth, len(drawing))
        return ceil(at - Fraction(1, 2))  # the nearest, of two the earlier one

    def _way(self, drawing: range, values: tuple[int, int]) -> list[tuple[int, int, int]]:
        """The timesteps from a drawing to the next one: the frame whose window each belongs to, eighth, value."""
        places = {(f, self._shown(drawing, f, e)) for f in drawing for e in _eighths(f, self.rate, self.frames)}
        values_of = _filled(*values, frozenset(shown for _, shown in places), self.density)
        if self.repeats == 2:
            whose = dict.fromkeys(range(8), drawing[-1]) | {0: drawing[0]}
        else:
            begins = [self._shown(drawing, frame, 0) for frame in drawing]
            whose = {e: max(f for f, begin in zip(drawing, begins, strict=True) if begin <= e) for e in range(8)}
        return [(whose[eighth], eighth, value) for eighth, value in {0: values[0], **values_of}.items()]

    def _expected(self, output: int) -> tuple[int, int, int]:
        """:meth:`expected` for drawings, each of which has its last frame's value."""
        frame, eighth = self.place(output)
        scene_first = max((i + 1 for i in self.cuts if i < frame), default=0)
        scene_last = min((i for i in self.cuts if i >= frame), default=self.frames)
        scene_last = min(scene_last, self.frames - 1)
        scene = [drawing for drawing in self.drawings if drawing[0] >= scene_first and drawing[-1] <= scene_last]
        own = self.drawing(frame)
        shown = 0 if own == scene[-1] else self._shown(own, frame, eighth)
        sought = (own, shown) if shown < 8 else (self.drawing(own[-1] + 1), 0)
        line = []  # all timesteps of the scene: drawing, whose, eighth, value
        for this, following in pairwise(scene):
            line += [(this, *step) for step in self._way(this, (this[-1], following[-1]))]
        line.append((scene[-1], scene[-1][0], 0, scene[-1][-1]))
        at = next(i for i, step in enumerate(line) if (step[0], step[2]) == sought)

        step = self.window - 1
        group = min(frame // step, max(1, -(-(self.frames - 1) // step)) - 1)
        number = self.past + group
        beginning = group - (number % self.segment if self.segment else number) if self.carry else group
        first = max(beginning * step, scene_first)
        state = self.before if first < 0 else 0
        begun = self.drawing(max(first, 0))
        for drawing, whose, way, value in line[: at + 1]:
            if whose >= first or (drawing == begun and way == 0):
                state = fold(state, value)

        start, end = max(group * step, scene_first), min(group * step + step + self.lookahead, scene_last)
        last = self.drawing(end)
        if last[0] < end and last != scene[-1]:
            last = scene[scene.index(last) + 1]
        after = 0
        if last == self.drawing(start):  # one drawing alone is run twice
            after = fold(after, last[-1])
            for value in reversed(self.halves(last[-1], last[-1], last[-1]).values()):
                after = fold(after, value)
        end = next(i for i, step in enumerate(line) if (step[0], step[2]) == (last, 0))
        for _, _, _, value in reversed(line[at : end + 1]):
            after = fold(after, value)
        return state, after, line[at][3]

    def expected(self, output: int) -> tuple[int, int, int]:
        """(R, G, B) of an output frame, for frames that begin at number 0."""
        if self.repeats:
            return self._expected(output)
        frame, part = self.place(output)
        if frame in self.cuts or frame == self.frames - 1:
            part = 0  # the frame again, not one in between
        step = self.window - 1
        group = min(frame // step, max(1, -(-(self.frames - 1) // step)) - 1)
        scene_first = max((i + 1 for i in self.cuts if i < frame), default=0)
        scene_last = min((i for i in self.cuts if i >= frame), default=self.frames)
        scene_last = min(scene_last, self.frames - 1)

        number = self.past + group
        beginning = group - (number % self.segment if self.segment else number) if self.carry else group
        first = max(beginning * step, scene_first)
        state = self.before if first < 0 else 0
        first = max(first, 0)
        for at in range(first, frame):
            state = fold(state, at)
            for passed in self.halves(at, at, at + 1).values():
                state = fold(state, passed)
        state = fold(state, frame)
        value = frame
        if part:
            for eighth, passed in self.halves(frame, frame, frame + 1).items():
                if eighth <= part:
                    value = passed
                    state = fold(state, value)

        start = max(group * step, scene_first)
        last = min(group * step + step + self.lookahead, scene_last)
        after = 0
        if start == last:  # one frame alone is run as that frame twice
            after = fold(after, frame)
            for passed in reversed(self.halves(frame, frame, frame).values()):
                after = fold(after, passed)
        for at in range(last, frame, -1):
            after = fold(after, at)
            for eighth, passed in reversed(self.halves(at - 1, at - 1, at).items()):
                if at - 1 > frame or eighth > part:
                    after = fold(after, passed)
        after = fold(after, value)
        return state, after, value
