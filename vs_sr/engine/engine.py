"""The engine of a filter: groups of output frames from input frames, wherever these come from and go to."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from vs_sr import files
from vs_sr.engine import budget, device, session
from vs_sr.engine.scheduler import Held, Recurrent, Single, Sliding, State, compare, finish
from vs_sr.engine.transfer import Download, NotFiniteError, arrive, as_float, checked, finite
from vs_sr.errors import ArgumentError, FrameError
from vs_sr.weights import store
from vs_sr.windows import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from vs_sr.color import Coding
    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.plan import Plan
    from vs_sr.engine.scheduler import Kept, Scheduler, Work
    from vs_sr.engine.scheduler.checkpoints import States
    from vs_sr.engine.session import Session
    from vs_sr.engine.transfer import Image, Made
    from vs_sr.windows import Grid


class Engine:
    """Runs one stream of a filter. Holds the session, so that both live equally long.

    Args:
        plan: of the filter.
        grid: of the stream's frames.
        stream: its number.
        given: the state that the clip goes on from.
    """

    def __init__(self, plan: Plan, grid: Grid, stream: int = 0, given: Kept | None = None) -> None:
        self._plan = plan
        self._grid = grid
        self._stream = stream
        self._given = given
        self._lock = threading.Lock()
        self._started: tuple[Session, Scheduler] | None = None
        self._weights = "none"
        """The sha-256 of the weights, where states are read or written."""

    def render[T](
        self,
        group: int,
        outputs: Sequence[int],
        held: Held,
        take: Callable[[int, Image], T],
        coding: Callable[[int], Coding | None],
    ) -> Work[list[T]]:
        """What ``take`` makes of each output frame's number and image.

        May be called from many threads, for many groups at the same time: all of it is computed on the thread of the
        network, in the order in which it comes there.

        Args:
            group: its number on the grid.
            outputs: the output frames of it that are wanted.
            held: the frames that belong to it, at least.
            take: see :meth:`vs_sr.engine.transfer.Download.wait`.
            coding: see :class:`vs_sr.engine.transfer.Download`; asked where the device converts.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            DeviceError: there is no such device, or no backend that can.
            OutOfMemoryError: the device has no memory for it, in tiles neither.
            FrameError: a result is not finite.
        """
        running, scheduler = self._start()
        work: Work[Made] | None = None

        def step(network: object) -> Need | Download:
            nonlocal work
            try:
                if work is None:
                    work = scheduler.render(network, group, held)
                    return next(work)
                return work.send(held)
            except StopIteration as end:
                return Download(end.value, outputs, coding if scheduler.pipeline.converts else as_float)

        while isinstance(answer := running.call(step), Need):
            held = yield answer
        try:
            return answer.wait(take)
        except NotFiniteError as error:
            raise FrameError(f"{error}: {_no_numbers(scheduler.pipeline)}") from None

    def clip(self, frames: Sequence[Image]) -> Iterator[Tensor]:
        """The images of all outputs of a clip of one scene, (C, scale*H, scale*W) float32 in host memory.

        Args:
            frames: (C, H, W) float32 in host memory, as many as the grid has.
        """
        from vs_sr.runtime import torch

        held = Held(frozenset(range(len(frames))), frozenset(), frames.__getitem__)
        for group in range(self._grid.groups):
            images = finish(self.render(group, self._grid.outputs(group), held, checked, as_float))
            yield from (torch.as_tensor(image, device="cpu") for image in images)

    def where(self) -> dict[str, str]:
        """Where and how it is run, for reports."""
        running, scheduler = self._start()
        pipeline = scheduler.pipeline
        return {"device": pipeline.device, "precision": pipeline.precision, "backend": running.identity}

    def _start(self) -> tuple[Session, Scheduler]:
        """The session and the scheduler, made when the first frame is asked for."""
        with self._lock:
            if self._started is None:
                pipeline = replace(self._plan.pipeline(), grid=self._grid, stream=self._stream)
                running = session.acquire(pipeline)
                self._started = running, self._scheduler(pipeline, running)
            return self._started

    def _scheduler(self, pipeline: Pipeline, running: Session) -> Scheduler:
        if pipeline.model.kind == "image":
            return Single(pipeline)
        if pipeline.model.kind == "multi-frame":
            return Sliding(pipeline)
        options = pipeline.options
        if options.state_out is not None or self._given is not None:
            self._weights = "none" if pipeline.source is None else store.digest(pipeline.source)
        return Recurrent(
            pipeline,
            every=options.checkpoint,
            memory=self._checkpoints(pipeline),
            given=None if self._given is None else self._states(self._given, pipeline, running),
            save=self._save if options.state_out is not None else None,
        )

    def _checkpoints(self, pipeline: Pipeline) -> int:
        """Bytes of host memory that checkpoints may take."""
        wish = pipeline.options.state_memory
        wished = None if wish is None else wish << 20
        return budget.of("cpu").states(wished, self._plan) if pipeline.grid.carry else 0

    def _states(self, given: Kept, pipeline: Pipeline, running: Session) -> tuple[int, States]:
        """The window that the clip goes on from, and the states before it."""
        compare(given.fingerprint, self._fingerprint(pipeline, running))
        state = given.load()
        if len(state.tiles) != len(pipeline.tiles()):
            raise ArgumentError(f"the state has {len(state.tiles)} tiles of a frame, the run {len(pipeline.tiles())}")
        return (0 if state.final else state.window), state.tiles

    def _save(self, window: int, states: States, final: bool) -> None:
        running, scheduler = self._start()
        grid, path = scheduler.pipeline.grid, cast("str", scheduler.pipeline.options.state_out)
        arrive(scheduler.pipeline.device)
        if not all(finite(part) for parts in states if parts for part in parts):
            return  # its group fails
        state = State(
            window=window,
            past=grid.past,
            frames=grid.frames,
            final=final,
            fingerprint=self._fingerprint(scheduler.pipeline, running),
            tiles=states,
        )
        try:
            state.save(path)
        except OSError as error:
            raise ArgumentError(
                f"state_out={path!r} cannot be written: {files.reason(error)}; make room or choose another place, and "
                "render again, from the state that was written last if there is one (state_in)"
            ) from None

    def _fingerprint(self, pipeline: Pipeline, running: Session) -> dict[str, str]:
        """Everything that decides the bits of a state."""
        return {
            **pipeline.facts(),
            "weights": self._weights,
            "tiles": pipeline.describe_tiles(),
            "precision": pipeline.precision,
            "backend": running.identity,
            "device": device.describe(pipeline.device) + (", color too" if pipeline.converts else ""),
        }


def _no_numbers(pipeline: Pipeline) -> str:
    """What to say where results are not finite."""
    what = f"the network gives NaN or infinity in {pipeline.precision}"
    if pipeline.precision != "fp32":
        return f'{what}, whose range it leaves; use precision="fp32"'
    return (
        f'{what}, and precision="fp32" is the widest; the weights are damaged or not for this model, '
        "or the clip's values are far outside of 0..1"
    )
