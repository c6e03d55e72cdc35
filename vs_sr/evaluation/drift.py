"""How a sequence model fares as its forward state grows older: PSNR-Y against frames since the last reset.

Every mode, windows or a carried state, with and without lookahead, runs through the scheduler of the filters. Each
clip is run forwards and backwards, so that its frames come early and late alike: what differs between distances
from the reset is the state, not what happens to be shown there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vs_sr import windows
from vs_sr.engine import session
from vs_sr.engine.plan import Plan
from vs_sr.engine.scheduler import Held, Recurrent, finish
from vs_sr.engine.transfer import Download, as_float, checked
from vs_sr.errors import ArgumentError
from vs_sr.evaluation import metrics, protocols
from vs_sr.evaluation.sharing import Remembering
from vs_sr.windows import Grid

if TYPE_CHECKING:
    import numpy.typing as npt

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.session import Session
    from vs_sr.evaluation.measure import Progress

    Float64 = npt.NDArray[np.float64]
    Frames = Sequence[npt.NDArray[np.uint8]]

SEGMENTS = (2, 4, 8, 16)
"""Windows that a state is carried over, apart from "to the end"."""
LOOKAHEADS = (0, 1, 2)

FRAMES, SIZE = 120, 128
"""Of generated clips: frames of ground truth, and their side in pixels."""
FASTEST = 2.0
"""Their speed, in pixels per frame, where they are in the middle: over so many frames, layers that fly off sooner
leave nothing to see."""

PROTOCOL = "vid4"

TOLERANCE = 0.02
"""dB. Less is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way to run a sequence model; the fields are the filter's arguments."""

    carry: bool = False
    segment: int = 0
    lookahead: int = 0

    def __str__(self) -> str:
        name = "windows" if not self.carry else f"carry, segment {self.segment}" if self.segment else "carry"
        return f"{name}, lookahead {self.lookahead}" if self.lookahead else name

    def on(self, grid: Grid) -> Grid:
        """The windows of a clip in this mode."""
        return replace(grid, carry=self.carry, segment=self.segment, lookahead=self.lookahead)

    @property
    def simplicity(self) -> tuple[int, bool, float]:
        """Sorts modes, the simplest and cheapest first: lookahead costs time, a carried state makes seeks longer."""
        return self.lookahead, self.carry, self.segment or float("inf")


def modes(groups: int) -> list[Mode]:
    """The modes that differ on clips of so many windows, the simplest first."""
    segments = [segment for segment in SEGMENTS if segment < groups]
    carried = [Mode(carry=True, segment=segment) for segment in [*segments, 0]] if groups > 1 else []
    return [replace(mode, lookahead=lookahead) for lookahead in LOOKAHEADS for mode in (Mode(), *carried)]


class Age(NamedTuple):
    """Of the forward state at an output."""

    frames: int
    """Input frames that it has seen before this one since it was zero; an interpolated output goes with the
    frame before it."""
    windows: int
    """The same in windows."""


def ages(grid: Grid) -> list[Age]:
    """The age of the forward state at every output frame of a scene."""
    found = {}
    frame = window = 0
    for group in range(grid.groups):
        for run in windows.runs(grid, group, ()):
            if run.fresh:
                frame, window = run.inputs[0], group
            for output, _ in run.outputs:
                found[output] = Age(grid.place(output)[0] - frame, group - window)
    return [age for _, age in sorted(found.items())]


def cost(grid: Grid) -> float:
    """Timesteps that the two directions step over in order, per output frame that is not a repetition."""
    steps = 0
    for group in range(grid.groups):
        for run in windows.runs(grid, group, ()):
            steps += len(run.timesteps) + run.own
    return steps / outputs(grid)


def outputs(grid: Grid) -> int:
    """Output frames that are not a repetition of the last frame."""
    return grid.multi * (grid.frames - 1) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A mode on a set of clips. All in dB of PSNR-Y, as means over clips of their means over outputs."""

    mode: Mode
    psnr_y: float
    input_time: float
    """Of input-time frames."""
    interpolated: float
    """Of interpolated frames; nan without any."""
    last_quarter: float
    """Over the last quarter of the outputs."""
    gain: float
    """Above windows without lookahead."""
    near: float | None
    """Gain above windows of the same lookahead, in the nearer half of the windows since the reset. The first one
    does not count: nothing has been carried yet. None: there are not two others."""
    far: float | None
    """The same in the farther half."""
    cost: float
    """See :func:`cost`."""

    @property
    def falls(self) -> bool:
        """Whether PSNR falls as the state grows older."""
        return self.near is not None and self.far is not None and self.far < self.near - TOLERANCE


class Point(NamedTuple):
    """A mode at one age of the state, over all clips."""

    frames: int
    psnr_y: float
    input_time: float
    interpolated: float
    gain: float
    """Above windows without lookahead, on the same outputs."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A set of clips in all modes."""

    name: str
    clips: tuple[str, ...]
    grids: tuple[Grid, ...]
    """Of each clip, as plain windows."""
    psnr: Mapping[Mode, Sequence[Float64]]
    """PSNR-Y of each clip's outputs."""
    facts: Mapping[str, str]
    """Where and how the network was run."""

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The table, the simplest mode first."""
        return tuple(self._row(mode) for mode in sorted(self.psnr, key=lambda mode: mode.simplicity))

    def _row(self, mode: Mode) -> Row:
        whole, plain = self._mean(mode, slice(None)), self._mean(Mode(), slice(None))
        multi = self.grids[0].multi
        near, far = self._halves(mode)
        return Row(
            mode=mode,
            psnr_y=whole,
            input_time=self._mean(mode, slice(None, None, multi)),
            interpolated=mean([self._interpolated(each) for each in self.psnr[mode]] if multi > 1 else []),
            last_quarter=float(np.mean([each[-max(1, len(each) // 4) :].mean() for each in self.psnr[mode]])),
            gain=whole - plain,
            near=near,
            far=far,
            cost=float(np.mean([cost(mode.on(grid)) for grid in self.grids])),
        )

    def _mean(self, mode: Mode, part: slice) -> float:
        return float(np.mean([each[part].mean() for each in self.psnr[mode]]))

    def _interpolated(self, values: Float64) -> float:
        return float(values[np.arange(len(values)) % self.grids[0].multi != 0].mean())

    def _halves(self, mode: Mode) -> tuple[float | None, float | None]:
        old, gained = [], []
        for grid, mine, other in zip(
            self.grids, self.psnr[mode], self.psnr[Mode(lookahead=mode.lookahead)], strict=True
        ):
            old += [age.windows for age in ages(mode.on(grid))[: len(mine)]]
            gained += list(mine - other)
        age, gain = np.array(old), np.array(gained)
        half = int(age.max()) // 2
        if half == 0:
            return None, None
        return float(gain[(age > 0) & (age <= half)].mean()), float(gain[age > age.max() - half].mean())

    def curve(self, mode: Mode) -> list[Point]:
        """PSNR-Y by frames since the reset."""
        found: dict[int, list[tuple[bool, float, float]]] = {}
        for grid, mine, plain in zip(self.grids, self.psnr[mode], self.psnr[Mode()], strict=True):
            for output, age in enumerate(ages(mode.on(grid))[: len(mine)]):
                interpolated = output % grid.multi != 0
                found.setdefault(age.frames, []).append((interpolated, mine[output], mine[output] - plain[output]))
        return [
            Point(
                frames=frames,
                psnr_y=mean([psnr for _, psnr, _ in there]),
                input_time=mean([psnr for interpolated, psnr, _ in there if not interpolated]),
                interpolated=mean([psnr for interpolated, psnr, _ in there if interpolated]),
                gain=mean([gain for _, _, gain in there]),
            )
            for frames, there in sorted(found.items())
        ]


def mean(values: Sequence[float]) -> float:
    """nan where there are none."""
    return float(np.mean(values)) if values else float("nan")


def advise(rows: Sequence[Row]) -> Row:
    """The mode to use: the simplest within ``TOLERANCE`` of the best of those that do not fall."""
    steady = [row for row in rows if not row.falls]
    best = max(row.psnr_y for row in steady)
    good = [row for row in steady if row.psnr_y >= best - TOLERANCE]
    return min(good, key=lambda row: row.mode.simplicity)


def generated(number: int) -> tuple[str, Frames]:
    """A clip made by the training's program, of a scene that is never trained on: its name, and its frames.

    Raises:
        VsSrError: Pillow is not installed.
    """
    from vs_sr.training.clips import HELD_OUT_SEED, as_frames
    from vs_sr.training.scenes import make_scene

    seed = HELD_OUT_SEED + number
    return f"scene {seed}", list(as_frames(make_scene(seed, frames=FRAMES, height=SIZE, width=SIZE, fastest=FASTEST)))


def measure(
    name: str,
    clips: Sequence[tuple[str, Frames]],
    pipeline: Pipeline,
    progress: Progress | None = None,
) -> Drift:
    """Run clips in every mode, forwards and backwards.

    Args:
        name: of the set.
        clips: names and ground truth, (H, W, 3) uint8 of sizes that are multiples of the scale, one scene each.
        pipeline: of a model of kind "sequence" for RGB; its size is that of each clip, and of its grid the window
            and the factor count: every ``multi`` th frame is given.
        progress: is called as windows are done.

    Raises:
        ArgumentError: a clip is too short or too small.
        OutOfMemoryError: the device has no memory for it.
    """
    variant, multi = pipeline.variant, pipeline.grid.multi
    runs = [
        (f"{clip}, {way}", frames[: len(frames) - (len(frames) - 1) % multi][::step])
        for clip, frames in clips
        for way, step in (("forwards", 1), ("backwards", -1))
    ]
    grids = [replace(pipeline.grid, frames=-(-len(frames) // multi)) for _, frames in runs]
    for (clip, frames), grid in zip(runs, grids, strict=True):
        if grid.frames < 2:
            raise ArgumentError(f"{clip.rpartition(',')[0]} is too short: at least two of its frames must be given")
        height, width = frames[0].shape[:2]
        if min(height, width) < variant.min_size * variant.scale:
            raise ArgumentError(f"{clip.rpartition(',')[0]} of {width}x{height} is too small for the model")
    wanted = modes(min(grid.groups for grid in grids))
    psnr: dict[Mode, list[Float64]] = {mode: [] for mode in wanted}
    running: Session | None = None
    luma = protocols.preset(PROTOCOL).luma
    for (clip, frames), grid in zip(runs, grids, strict=True):
        height, width = (side // variant.scale for side in frames[0].shape[:2])
        plan = Plan(
            replace(pipeline, size=(width, height), grid=grid, options=replace(pipeline.options, tilesize=(0, 0)))
        )
        placed = plan.pipeline()
        running = session.acquire(placed)  # the one before is let go only now: it is the same one
        scores: dict[Mode, list[float]] = {mode: [] for mode in wanted}
        for mode, image, done in _images(frames, placed, wanted, running):
            scores[mode].append(metrics.psnr(luma(image), luma(frames[len(scores[mode])])))
            if progress:
                progress(clip, done, grid.groups * len(wanted))
        for mode in wanted:
            psnr[mode].append(np.array(scores[mode]))
    facts = {"precision": placed.precision, "device": placed.device}
    return Drift(name=name, clips=tuple(clip for clip, _ in runs), grids=tuple(grids), psnr=psnr, facts=facts)


def _images(
    frames: Frames, pipeline: Pipeline, wanted: Sequence[Mode], running: Session
) -> Iterator[tuple[Mode, npt.NDArray[np.generic], int]]:
    """Every mode's outputs, each mode's in order: all modes window by window, as they have most work in common.
    With them, the windows that are done."""
    from vs_sr.runtime import torch

    protocol, grid = protocols.preset(PROTOCOL), pipeline.grid
    low = [protocols.reduce(frame, pipeline.variant.scale, protocol) for frame in frames[:: grid.multi]]
    given = [torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32) / 255) for frame in low]
    held = Held(frozenset(range(len(given))), frozenset(), given.__getitem__)
    schedulers = {mode: Recurrent(replace(pipeline, grid=mode.on(grid)), every=8, memory=1 << 30) for mode in wanted}
    network = running.call(Remembering)
    done = 0
    for group in range(grid.groups):
        numbers = [output for output in grid.outputs(group) if output < outputs(grid)]
        for mode, scheduler in schedulers.items():
            made = running.call(partial(_render, network, scheduler, group, held, numbers)).wait(checked)
            done += 1
            for image in made:
                yield mode, protocols.code_values(np.asarray(image).transpose(1, 2, 0) * 255, protocol), done
        network.forget()


def _render(
    network: Remembering, scheduler: Recurrent, group: int, held: Held, numbers: Sequence[int], _: object
) -> Download:
    return Download(finish(scheduler.render(network, group, held)), numbers, as_float)
