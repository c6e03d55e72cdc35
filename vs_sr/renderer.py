"""What the plugin calls for a group of output frames: frames in, the scheduler's pictures out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from vs_sr import files, frames, scenes, tiles
from vs_sr.engine import session
from vs_sr.engine.scheduler import Held, Layout, Recurrent, Single, Sliding, State, compare
from vs_sr.errors import ArgumentError
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import vapoursynth as vs
    from torch import Tensor

    from vs_sr.arguments import Arguments
    from vs_sr.engine.scheduler import Kept, Scheduler, Work
    from vs_sr.engine.scheduler.checkpoints import States
    from vs_sr.spec import Model, Variant
    from vs_sr.weights.store import Source
    from vs_sr.windows import Grid, Need


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a filter has to do, as its call says it; the same for all its streams."""

    model: Model
    variant: Variant
    source: Source | None
    size: tuple[int, int]
    """Width and height of what the network takes."""
    float_clip: bool
    options: Arguments
    given: Kept | None = None
    """The state that the clip goes on from."""

    @property
    def cuts(self) -> bool:
        """Whether cuts are heeded."""
        return self.options.sc and self.model.kind != "image"


class Renderer:
    """Makes the groups of one stream. Holds the session, so that both live equally long."""

    def __init__(self, job: Job, grid: Grid, stream: int = 0) -> None:
        self.grid = grid
        self._job = job
        self._stream = stream
        self._scheduler: Scheduler | None = None
        self._weights = "none"
        """The sha-256 of the weights, where states are read or written."""
        self._lock = threading.Lock()

    def __call__(
        self, group: int, want: int, numbers: list[int], inputs: list[vs.VideoFrame]
    ) -> Generator[Need, tuple[list[int], list[vs.VideoFrame]], list[vs.VideoFrame]]:
        """See :data:`vs_sr._bridge.Callback`."""
        held = dict(zip(numbers, inputs, strict=True))
        picture = cache(lambda number: frames.upload(held[number]))
        work: Work[Mapping[int, Tensor]] | None = None
        while True:
            tags = {number: scenes.read(frame.props) for number, frame in held.items()}
            cuts = frozenset(scenes.cuts(tags) if self._job.cuts else ())
            known = Held(numbers=frozenset(held), cuts=cuts, picture=picture)
            try:
                if work is None:
                    work = self.scheduler().render(group, known)
                    need = next(work)
                else:
                    need = work.send(known)
            except StopIteration as end:
                made = end.value
                break
            # while it waits, a request holds no frame twice: VapourSynth has them
            held.clear()
            inputs.clear()
            picture.cache_clear()
            numbers, inputs = yield need
            held.update(zip(numbers, inputs, strict=True))
        wanted = self.grid.outputs(group)[:want]
        outputs = frames.download([made[number] for number in wanted])
        for output, number in zip(outputs, wanted, strict=True):
            source, part = divmod(number, self.grid.multi)
            scenes.write(output.props, scenes.divide(tags[source], part, self.grid.multi))
        return outputs

    def scheduler(self) -> Scheduler:
        """The scheduler; at the first frame, this chooses the device and finds or makes the session."""
        with self._lock:
            if self._scheduler is None:
                self._scheduler = self._make()
            return self._scheduler

    def _make(self) -> Scheduler:
        job = self._job
        device = session.choose_device(job.options.device_id)
        plan = session.Plan(
            model=job.model,
            variant=job.variant,
            source=job.source,
            device=device,
            precision=session.choose_precision(job.options.precision, device, float_clip=job.float_clip),
            backend=job.options.backend,
            stream=self._stream,
        )
        layout = self._layout(plan)
        running = session.acquire(plan)
        if job.model.kind == "image":
            return Single(self.grid, running, layout)
        if job.model.kind == "window":
            return Sliding(self.grid, running, layout, size=job.variant.window or 1, ends=job.variant.ends)
        if job.given is not None or job.options.state_out is not None:
            self._weights = "none" if job.source is None else store.digest(job.source)
        return Recurrent(
            self.grid,
            running,
            layout,
            every=job.options.checkpoint,
            memory=job.options.state_memory << 20,
            given=self._given(plan, layout),
            save=self._save if job.options.state_out is not None else None,
        )

    def _layout(self, plan: session.Plan) -> Layout:
        """The tiles: as the arguments say, or as the device's memory demands. Logged once."""
        job, variant = self._job, self._job.variant
        image = job.model.kind == "image"
        tile = job.options.tilesize
        needed = tiles.estimate(
            scale=variant.scale,
            channels=variant.channels,
            width=4 if plan.precision == "fp32" else 2,
            positions=1 if image else self._positions(),
        )
        budget = session.total_memory(plan.device) // (2 * job.options.num_streams)
        if tile is None:
            # an image model that sees the whole frame is not cut up unasked: its picture would change
            tile = (0, 0) if image and variant.halo is None else tiles.plan(job.size, needed, budget)
        layout = Layout(
            size=job.size,
            scale=variant.scale,
            tile=tile,
            overlap=job.options.overlap,
            halo=variant.halo,
            multiple=variant.multiple,
            divisible=variant.halo is not None or not image,
        )
        parts = layout.tiles()
        width, height = job.size
        how = "whole"
        if len(parts) > 1:
            sees = "the whole frame: tiles change its picture" if variant.halo is None else f"{variant.halo} pixels far"
            how = f"in {len(parts)} tiles of {parts[0].columns.stop}x{parts[0].rows.stop} (the network sees {sees})"
        pixels = max((part.columns.stop - part.columns.start) * (part.rows.stop - part.rows.start) for part in parts)
        session.log_once(
            f"{job.model.name}: frames of {width}x{height} are run {how} on {plan.device} in {plan.precision}, "
            f"with about {pixels * needed >> 20} MiB of features"
        )
        return layout

    def _positions(self) -> int:
        """Positions of the sequence, or frames, whose features are held at once."""
        if self._job.model.kind == "window":
            return self._job.variant.window or 1
        return (self.grid.window - 1 + self.grid.lookahead) * self.grid.density + 1

    def _fingerprint(self, plan: session.Plan, layout: Layout) -> dict[str, str]:
        """Everything that decides the bits of a state."""
        from vs_sr.runtime import torch

        return {
            **settled(self._job, self.grid),
            "weights": self._weights,
            "tiles": _tiles(layout),
            "precision": plan.precision,
            "backend": plan.backend,
            "device": session.device_name(plan.device),
            "torch": torch.__version__,
        }

    def _given(self, plan: session.Plan, layout: Layout) -> tuple[int, States] | None:
        given = self._job.given
        if given is None:
            return None
        compare(given.fingerprint, self._fingerprint(plan, layout))
        state = given.load()
        if len(state.tiles) != len(layout.tiles()):
            raise ArgumentError(f"the state has {len(state.tiles)} tiles of a frame, the run {len(layout.tiles())}")
        return (0 if state.final else state.window), state.tiles

    def _save(self, window: int, states: States, final: bool) -> None:
        scheduler = self.scheduler()
        path = cast("str", self._job.options.state_out)
        state = State(
            window=window,
            past=self.grid.past,
            frames=self.grid.frames,
            final=final,
            fingerprint=self._fingerprint(scheduler.session.plan, scheduler.layout),
            tiles=states,
        )
        try:
            state.save(path)
        except OSError as error:
            raise ArgumentError(
                f"state_out={path!r} cannot be written: {files.reason(error)}; make room or choose another place, and "
                "render again, from the state that was written last if there is one (state_in)"
            ) from None


def settled(job: Job, grid: Grid) -> dict[str, str]:
    """What decides the bits of a state and is known when the filter is made."""
    return {
        "model": job.model.name,
        "size": "x".join(map(str, job.size)),
        "window": str(grid.window),
        "segment": str(grid.segment),
        **{key: str(getattr(job.options, key)) for key in ("sc", "sc_threshold", "matrix_in", "range_in")},
    }


def _tiles(layout: Layout) -> str:
    """The tiles of a frame, in words that are the same for the same tiles."""
    parts = layout.tiles()
    if len(parts) == 1:
        return "whole"
    return ", ".join(f"{part.columns.start}-{part.columns.stop}x{part.rows.start}-{part.rows.stop}" for part in parts)
