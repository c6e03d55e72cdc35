"""A film in segments that several workers render at once: Ray runs them, starts them again where they die, and carries
what they need and what they give. The driver holds the folder of segments and joins the film."""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vs_sr import files
from vs_sr.errors import VsSrError, described
from vs_sr.render import cluster, rendering, segments
from vs_sr.render.rendering import State
from vs_sr.render.schedule import Borders, Schedule
from vs_sr.render.worker import EVERY, Origin, Worker, forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from vs_sr.render.cluster import Team
    from vs_sr.render.encoding import Encoding, Look
    from vs_sr.render.schedule import Job
    from vs_sr.render.segments import Segment, Store
    from vs_sr.render.work import Work
    from vs_sr.render.worker import Made, Task

RETRIES = 3
"""How often a segment is tried again whose worker or machine has died."""
_LOST = 300.0
"""Seconds without any worker after which the run ends."""
_PATIENCE = 10.0
"""Seconds that are waited for machines to delete what they have fetched."""
_MEASURED = 60
"""Reports that say how fast it goes on."""


class _DiedError(VsSrError):
    """A worker has died, or its machine."""


@dataclass(kw_only=True)
class Crew:
    """The workers of a run, from the first question to the last segment."""

    team: Team
    task: Task
    _idle: list[tuple[int, Any]] = field(default_factory=list)
    """Numbers and handles of workers."""
    _running: dict[Any, tuple[int, Any, Job]] = field(default_factory=dict)
    """By what Ray gives for a call that has not ended."""
    _waking: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    """Those that have died, and that Ray starts again where there is room."""
    _died: Counter[int] = field(default_factory=Counter)
    """How many have, by where their segments begin."""
    _alone: float = 0.0
    """When to give up if none comes back."""
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MEASURED))

    def __enter__(self) -> Crew:
        """Start the workers; they need not all be up before they are used."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = cluster.load()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        origin = ray.remote(Origin).options(name=self.task.run, num_cpus=0, scheduling_strategy=here)
        self._origin: Any = origin.remote()
        worker: Any = ray.remote(
            num_cpus=self.team.threads,
            num_gpus=self.team.cards,
            max_restarts=-1,
            max_task_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )(Worker)
        self._workers: list[Any] = [worker.remote(n, self.team.threads, self.task) for n in range(self.team.workers)]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them, whatever they do, and delete what they have fetched."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = cluster.load()
        with suppress(ray.exceptions.RayError):
            for each in self._workers:
                ray.kill(each)
            alive = {each["NodeID"] for each in ray.nodes() if each["Alive"]}
            there = [
                ray.remote(forget)
                .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
                .remote(self.task.run)
                for node in ray.get(self._origin.nodes.remote(), timeout=_PATIENCE) & alive
            ]
            ray.wait(there, num_returns=len(there), timeout=_PATIENCE) if there else None
            ray.kill(self._origin)

    def check(self, work: Work) -> tuple[Work, Callable[[], Look]]:
        """Compare with the first worker that is up.

        Returns:
            The work, with the device that it is done on, and what tells the look of its frames.

        Raises:
            VsSrError: the worker cannot do it, or would do something else.
        """
        ray = cluster.load()
        asked = {each.facts.remote(): each for each in self._workers}
        [first], _ = ray.wait(list(asked), num_returns=1)
        facts = self._got(first, "the film")
        work = replace(work, facts={**work.facts, "device": facts["device"]})
        if difference := rendering.different(work.facts, facts):
            raise VsSrError(f"the workers have something else than this machine: {difference}")
        return work, lambda: self._got(asked[first].look.remote(), "frame 0")

    def render(self, work: Work, encoding: Encoding, store: Store, report: Callable[[State], None]) -> list[Segment]:
        """Render what is not rendered yet; frames that could not be decoded are added to those of ``work``.

        Returns:
            All segments.

        Raises:
            VsSrError: a frame cannot be made, or a worker has died too often.
            OSError: a segment cannot be written.
        """
        kept, total = store.segments(), work.clip.num_frames
        number, at = (kept[-1].stop, kept[-1].time) if kept else (0, work.start)
        schedule = Schedule(total, number, at, work.clock, Borders(total, work.marks(number)))
        for segment in store.waiting():
            schedule.finished(segment)
        part, self._idle = len(kept), list(enumerate(self._workers))
        self.task.mark.touch()
        while schedule.number < total:
            while (whole := schedule.whole()) is not None:
                store.take(whole, part)
                part += 1
            while self._idle and (job := schedule.job()) is not None:
                name, worker = self._idle.pop(0)
                once = worker.render.options(max_task_retries=0)  # Ray's tries are over before it finds a node lost
                self._running[once.remote(job, encoding, work.facts)] = name, worker, job
            for made in self._finished(schedule):
                schedule.finished(_kept(made, store))
                work.repeated.extend(sorted({*made.repeated} - {*work.repeated}))
            report(self._state(schedule, total))
        self.task.mark.unlink()
        return store.segments()

    def _finished(self, schedule: Schedule) -> list[Made]:
        """What workers have done since, after a moment in which one may have.

        The segments of those that have died are missing again.

        Raises:
            VsSrError: a segment cannot be made, or nobody is left to make it.
        """
        ray = cluster.load()
        if self._running:
            for _, worker in self._idle:  # its cores are for one that has lost its own
                self._workers.remove(worker)
                ray.kill(worker)
            self._idle.clear()
            self._alone = time.monotonic() + _LOST
        elif self._idle:
            return []
        elif time.monotonic() > self._alone:
            raise VsSrError(f"no worker has come back within {_LOST:.0f} s of the last one's end; --resume goes on")
        found = []
        ready, _ = ray.wait([*self._running, *self._waking], num_returns=1, timeout=EVERY)
        for reference in ready:
            if reference in self._waking:
                self._got(reference, "the film")
                self._idle.append(self._waking.pop(reference))
                continue
            number, worker, job = self._running.pop(reference)
            what = f"frames {job.start} to {job.stop - 1}"
            try:
                found.append(self._got(reference, what))
                self._idle.append((number, worker))
            except _DiedError as error:
                self._died[job.start] += 1
                if self._died[job.start] > RETRIES:
                    text = f"{what}: {RETRIES + 1} workers have died on it, and no more are tried; --resume goes on"
                    raise VsSrError(f"{text}. {error}") from None
                schedule.lost(job)
                self._waking[worker.facts.options(max_task_retries=-1).remote()] = number, worker
        return found

    def _state(self, schedule: Schedule, total: int) -> State:
        """What all of them have done."""
        running = {number: job for number, _, job in self._running.values()}
        reports: dict[int, tuple[int, int, int]] = self._got(self._origin.reports.remote(), "progress")
        busy = {job.start: reports[n][1] for n, job in running.items() if n in reports and reports[n][0] == job.start}
        done, now = schedule.done(busy), time.monotonic()
        self._recent.append((now, done))
        (before, first), memory = self._recent[0], sum(memory for _, _, memory in reports.values())
        fps = max(0.0, (done - first) / (now - before)) if now > before else 0.0
        return State(done=done, frames=total, fps=fps, workers=len(running), memory=memory)

    def _got(self, reference: Any, what: str) -> Any:
        """What a call gives.

        Raises:
            VsSrError: it has failed.
            _DiedError: its worker has died.
        """
        ray = cluster.load()
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise VsSrError(str(cause) if isinstance(cause, VsSrError) else f"{what}: {described(cause)}") from None
        except ray.exceptions.RayError as error:
            raise _DiedError(f"{what}: Ray: {described(error)}") from None


def _kept(made: Made, store: Store) -> Segment:
    """A segment in the driver's folder.

    Raises:
        VsSrError: it did not come whole.
    """
    path = store.ahead(made.start)
    if made.data is not None:
        with files.replacing(path) as file:
            file.write(made.data)
    segment = segments.read(path)
    if segment is None:
        raise VsSrError(f"{path} is not whole; go on with --resume")
    return segment
