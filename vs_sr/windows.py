"""The grid of windows: which inputs and outputs a step of a sequence model has, and where its state comes from.

Windows are anchored at frame 0 of the clip, never at the frame that was asked for first. A window of W input
frames advances by W-1: its last frame is the first of the next window, to which its outputs belong.

A sequence model sees *timesteps*: those of the input frames, and others between two neighbors, which are found by
halves: the one half way, then those half way between it and its neighbors, and so on down to eighths. Its forward
direction steps over each timestep exactly once, in the window that owns it; the backward direction of a window begins
at the end of the frames that the window looks at.

Where repeated frames are heeded, a *drawing* is a frame and those that repeat it. The model sees it once, and what lies
between two neighbors lies between two drawings. Pure integers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from vs_sr.spec import Model

type Ends = Literal["replicate", "reflection", "reflection_circle", "circle"]

ENDS: tuple[Ends, ...] = get_args(Ends.__value__)
"""What stands for the frames beyond both ends, where a model looks at a fixed number of neighbors; under the
names that BasicSR uses."""

PARTS = 8
"""Of the way from an input frame to the next: where timesteps can be, and outputs are shown. A power of two."""
RATES = (1, 2, 4, 8)
"""Frame-rate factors whose outputs all are such parts."""

LONGEST = 4
"""Frames of a drawing, at most; what stands longer is a still image, each of whose frames is one like others."""

type Drawings = Mapping[int, range]
"""Numbers of frames to all frames of the same drawing; a frame that is not in it is a drawing by itself."""
_NONE: Drawings = MappingProxyType({})

FINEST = 1 << 27
"""Largest numerator of a rate over another: all products of the plugin fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Need:
    """An answer in place of frames: "go on when I have these input frames as well"."""

    frames: Sequence[int]
    """Numbers of input frames, at least one, none held yet. They come after the others, in this order."""
    drop: Sequence[int] = ()
    """Numbers of frames that are held and no longer needed; not those that the group owns."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The windows over a clip of ``frames`` inputs, ``multi`` outputs for each of them; or, at a target rate, for
    each ``per`` of them: output n is shown at n * per / multi, by the nearest part of the way between two inputs.

    ``window`` 1 is the grid of an image model: no frame is shared.
    """

    frames: int
    window: int
    multi: int = 1
    per: int | None = None
    """None: no target rate, and ``multi`` is one of RATES. Else from ``multi`` / PARTS to ``multi``."""
    density: int = 1
    """Timesteps for each input frame but the last that are there at least, shown or not; one of RATES."""
    lookahead: int = 0
    """Frames after a window that its backward direction sees."""
    carry: bool = False
    """Whether the forward direction goes on from window to window."""
    segment: int = 0
    """Windows after which a carried state begins again; 0: never."""
    past: int = 0
    """Windows of the film before this clip: segments are counted from the film's beginning."""
    repeats: int = 0
    """0: every frame is one like others. 1: a drawing's frames are spread evenly over the time up to the next drawing.
    2: a drawing is held until its last frame."""

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
        return min(self.place(output)[0] // self.step, self.groups - 1)

    def inputs(self, group: int) -> range:
        """The input frames of a window, the shared one included."""
        start = group * self.step
        return range(start, min(start + self.step + self.share, self.frames))

    def seen(self, group: int) -> range:
        """The input frames that a window looks at: its own, the shared one and the lookahead."""
        inputs = self.inputs(group)
        return range(inputs.start, min(inputs.stop + self.lookahead, self.frames))

    def owned(self, group: int) -> range:
        """The input frames whose outputs a window makes: all but the shared one, but for the last window."""
        start = group * self.step
        return range(start, self.frames if group == self.groups - 1 else start + self.step)

    def outputs(self, group: int) -> range:
        """The output frames of a window."""
        owned = self.owned(group)
        return range(self._first(owned.start), self._first(owned.stop))

    def shown(self, frame: int) -> range:
        """The output frames from an input frame on, up to the next one."""
        return range(self._first(frame), self._first(frame + 1))

    def _first(self, frame: int) -> int:
        """The first output frame that is shown by an input frame or after it; past the last one, their number."""
        at = 2 * PARTS * frame - (frame < self.frames)  # half a part before it
        return max(0, -(-at * self.multi // (2 * PARTS * (self.per or 1))))

    def place(self, output: int) -> tuple[int, int]:
        """When an output frame is shown: the input frame, and how many parts of the way to the next one after it."""
        at = (2 * PARTS * output * (self.per or 1) + self.multi) // (2 * self.multi)
        frame, part = divmod(at, PARTS)
        return (frame, part) if frame < self.frames else (self.frames - 1, 0)

    def spread(self, drawing: range) -> dict[int, int]:
        """The output frames that are shown by a drawing which another follows, and the parts of the way there."""
        return {
            output: self._part(drawing, frame, self.place(output)[1])
            for frame in drawing
            for output in self.shown(frame)
        }

    def _part(self, drawing: range, frame: int, part: int) -> int:
        """The part of the way from a drawing to the next one, for a part of that from one of its frames on."""
        if self.repeats == 2:
            return part if frame == drawing[-1] else 0
        length, at = len(drawing), frame - drawing.start
        return -((length - 2 * (PARTS * at + part)) // (2 * length))  # the earlier one of two as near

    def owner(self, drawing: range, part: int) -> int:
        """The frame of a drawing that a part of the way to the next one belongs to."""
        if self.repeats == 2:
            return drawing[-1] if part else drawing.start
        return max(frame for frame in drawing if self._part(drawing, frame, 0) <= part)

    def parts(self, drawing: range) -> list[int]:
        """Where the timesteps are between a drawing, 0, and the next one, PARTS: at those that are shown, and at
        those by which these are found."""
        found = set(range(0, PARTS, PARTS // self.density))
        for part in self.spread(drawing).values():
            while 0 < part < PARTS:
                found.add(part)
                half = part & -part  # as far off are both neighbors; the one that was found later knows the other
                part = part - half | 2 * half
        return sorted(found)

    @property
    def most(self) -> int:
        """Timesteps for an input frame, at most."""
        return max(self.density, self.multi) if self.per is None else PARTS

    @property
    def timesteps(self) -> int:
        """Timesteps of a window, at most."""
        frames, most = self.window - 1 + self.lookahead, self.most
        if self.repeats == 0:
            return frames * most + 1
        if self.repeats == 2:
            return (frames + 1) * most + 1  # up to the drawing after the last frame
        longest = LONGEST - 1  # the frames of that one, and of three a drawing: all eight parts
        return (frames + longest) * max(most, -(-PARTS // longest)) + 2

    def near(self, group: int) -> range:
        """The input frames that a window shares with the next one, of its own and of drawings that go on after it."""
        beyond = 2 * (LONGEST - 1) if self.repeats else 0
        return range((group + 1) * self.step, min(self.seen(group).stop + beyond, self.frames))

    def fresh(self, group: int) -> bool:
        """Whether the forward state is zero at a window's beginning wherever the cuts are."""
        number = self.past + group
        return not self.carry or number == 0 or (self.segment > 0 and number % self.segment == 0)

    def ends_at_border(self) -> bool:
        """Whether the last window is a whole one, so that another clip can continue where it ends."""
        return self.share == 1 and self.frames > 1 and (self.frames - 1) % self.step == 0


def grid(
    model: Model,
    frames: int,
    *,
    window: int | None = None,
    multi: int | None = None,
    per: int | None = None,
    lookahead: int | None = None,
    carry: bool | None = None,
    segment: int | None = None,
    repeats: int = 0,
) -> Grid:
    """The windows of a model over a clip of so many frames; what is None is the model's default."""

    def chosen[T](given: T | None, default: T) -> T:
        return default if given is None else given

    if model.kind != "sequence":
        return Grid(frames=frames, window=1)
    return Grid(
        frames=frames,
        window=chosen(window, model.window),
        multi=chosen(multi, model.multi[0]),
        per=per,
        density=model.density,
        lookahead=chosen(lookahead, model.lookahead),
        carry=chosen(carry, model.carry),
        segment=chosen(segment, model.segment),
        repeats=repeats,
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is computed in one go: the part of a window that lies in one scene."""

    inputs: tuple[int, ...]
    """Input frames of one scene, one for each drawing, its last: the window's own, then those it only looks at. Where
    frames are shared, one drawing alone is run as that frame twice."""
    timesteps: tuple[int, ...]
    """What is stepped over, in time order: PARTS times an index of ``inputs``, and the parts after that."""
    own: int
    """The first so many timesteps belong to the window; the others are seen by the backward direction alone."""
    fresh: bool
    """Whether the forward state begins at zero, in place of where the window before ended."""
    outputs: tuple[tuple[int, int], ...]
    """(output frame, index of its timestep), in time order; a timestep may serve twice."""
    border: int | None = None
    """The timestep before which the forward state is that of the next window, ``own`` at most; None: it ends here."""

    def made_of(self, count: int) -> tuple[int, ...]:
        """The input frames that the first so many timesteps are made of."""
        return self.inputs[: -(-self.timesteps[count - 1] // PARTS) + 1] if count else ()


def runs(grid: Grid, group: int, cuts: Collection[int], drawings: Drawings = _NONE) -> list[Run]:
    """The runs that give a window's outputs.

    A cut i lies between the input frames i and i+1. Nothing passes it: the scenes on its sides are separate
    runs, and the outputs in between repeat the upscaled frame i. So do those after the clip's last frame.
    """
    owned, seen = grid.owned(group), grid.seen(group)
    starts = [seen.start, *(i + 1 for i in seen[:-1] if i in cuts), seen.stop]
    return [
        _run(grid, group, range(start, stop), cuts, drawings) for start, stop in pairwise(starts) if start < owned.stop
    ]


def _run(grid: Grid, group: int, frames: range, cuts: Collection[int], drawings: Drawings) -> Run:
    """The run of the frames of one scene that a window sees.

    A drawing goes on where its frames are another window's as well. Where it is held, each of these windows begins
    with it, from the state before it; else the timesteps of the way to the next one are divided among them.
    """
    owned, border = grid.owned(group), (group + 1) * grid.step
    scene = _scene(grid, frames, cuts, drawings)
    alone = len(scene) == grid.share
    last = scene[-1]

    def held(drawing: range) -> bool:
        return grid.repeats == 2 or drawing == last

    steps: list[tuple[int, int]] = []  # the frame that it belongs to, and the timestep
    for at, drawing in enumerate(scene[:-1]):
        steps += [(grid.owner(drawing, part), PARTS * at + part) for part in grid.parts(drawing)]
    steps.append((last.start, PARTS * (len(scene) - 1)))
    fresh = frames.start > owned.start or grid.fresh(group) or frames.start - 1 in cuts
    first = scene[0]
    if first.start < frames.start:
        kept = frames.start
        steps = [(owner, t) for owner, t in steps if owner >= kept or (t == 0 and (fresh or held(first)))]
    timesteps = [t for _, t in steps]
    placed = []
    for at, drawing in enumerate(scene):
        spread = {} if drawing == last else grid.spread(drawing)
        for frame in drawing:
            if frame in frames and frame < owned.stop:
                placed += [(n, timesteps.index(PARTS * at + spread.get(n, 0))) for n in grid.shown(frame)]
    left = None
    if border in frames:
        [on_border] = (drawing for drawing in scene if border in drawing)
        owner = on_border.start if held(on_border) else border
        left = bisect_left(steps, (owner,))
    if alone:
        whole = range(last[-1], last.stop)
        timesteps += [part for part in grid.parts(whole) if part] + [PARTS]
    return Run(
        inputs=tuple(drawing[-1] for drawing in (scene * 2 if alone else scene)),
        timesteps=tuple(timesteps),
        own=max(bisect_left(steps, (owned.stop,)), placed[-1][1] + 1),  # one more where that is the nearest part
        fresh=fresh,
        outputs=tuple(placed),
        border=left,
    )


def _scene(grid: Grid, frames: range, cuts: Collection[int], drawings: Drawings) -> list[range]:
    """The drawings of consecutive frames of one scene; where the last of these repeats, the next one as well."""
    found: list[range] = []
    at = frames.start
    while at < frames.stop:
        found.append(drawings.get(at, range(at, at + 1)))
        at = found[-1].stop
    last = found[-1]
    if last.start < frames[-1] and at < grid.frames and at - 1 not in cuts:
        found.append(drawings.get(at, range(at, at + 1)))
    return found


def passes(grid: Grid, group: int, cuts: Collection[int]) -> bool:
    """Whether no cut lies inside a window or at its beginning, so that its end depends on the window before."""
    owned = grid.owned(group)
    return not any(i in cuts for i in range(owned.start - 1, owned.stop - 1))


class Numbers:
    """A set of integers that grows, kept as the runs that they form: a film's windows are few runs."""

    def __init__(self) -> None:
        self._starts: list[int] = []  # of the runs, ascending
        self._stops: list[int] = []

    def add(self, number: int) -> None:
        """Take a number in."""
        at = bisect_right(self._starts, number)
        if at and number < self._stops[at - 1]:
            return
        before = at > 0 and self._stops[at - 1] == number
        after = at < len(self._starts) and self._starts[at] == number + 1
        if before and after:
            self._stops[at - 1] = self._stops.pop(at)
            del self._starts[at]
        elif before:
            self._stops[at - 1] = number + 1
        elif after:
            self._starts[at] = number
        else:
            self._starts.insert(at, number)
            self._stops.insert(at, number + 1)

    def first(self, number: int) -> int | None:
        """Where the run of numbers begins that ``number`` is in; None: it is in none."""
        at = bisect_right(self._starts, number) - 1
        return self._starts[at] if at >= 0 and number < self._stops[at] else None


def shortest(size: int, ends: Ends) -> int:
    """The least number of frames that a scene must have for a way its ends are continued."""
    return {"replicate": 1, "reflection": size // 2 + 1}.get(ends, size)


def neighbors(frame: int, scene: range, size: int, ends: Ends) -> list[int]:
    """The ``size`` frames around ``frame``, none from outside the scene (or clip).

    Raises:
        ArgumentError: ``size`` is even, or the scene too short for the way its ends are continued.
    """
    if size < 1 or size % 2 == 0:
        raise ArgumentError(f"a window around a frame has an odd number of frames; got {size}")
    if len(scene) < shortest(size, ends):
        raise ArgumentError(f"{len(scene)} frames are too few for {size} at a time with ends {ends!r}")
    half, first, last = size // 2, scene.start, scene.stop - 1

    def inside(at: int) -> int:
        if first <= at <= last:
            return at
        before = at < first
        match ends:
            case "replicate":
                return first if before else last
            case "reflection":
                return 2 * first - at if before else 2 * last - at
            case "reflection_circle":  # mirrored at the far end of the window
                return frame + half + first - at if before else frame - half - (at - last)
            case "circle":
                return size + at if before else at - size

    return [inside(at) for at in range(frame - half, frame + half + 1)]
