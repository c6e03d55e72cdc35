"""A process that renders segments of a film, here or on another machine, and what it needs of the driver.

It makes the graph of the same order; a file that it does not see under its name it fetches from :class:`Origin`, which
sits beside the driver.
"""

from __future__ import annotations

import platform
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import files, settings, system
from vs_sr.errors import ArgumentError, VsSrError, described
from vs_sr.render import cluster, rendering, segments, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vs_sr.render.encoding import Encoding, Look
    from vs_sr.render.schedule import Job
    from vs_sr.render.segments import Store
    from vs_sr.render.work import Order, Work

EVERY = 0.5
"""Seconds from one report of a worker's to the next."""
_PIECE = 16 << 20
"""Bytes of a file that are sent at a time."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker has to know; plain data."""

    order: Order
    files: Mapping[str, tuple[Path, int, str]]
    """What the order reads, by its names: where the driver has it, bytes, and the digest of pieces."""
    folder: Path
    """Of the segments, where the driver has it."""
    run: str
    """Tells this run from others: the name of its :class:`Origin`, and of what is fetched for it."""
    cards: bool
    """Whether its networks may run on cards."""

    @property
    def mark(self) -> Path:
        """A file of the driver's in that folder: whoever sees it, sees the folder, not one of the same name."""
        return self.folder / f".{self.run}"


def task_of(order: Order, store: Store) -> Task:
    """An order for workers.

    Raises:
        ArgumentError: one of its files cannot be read, or it cannot be divided.
    """
    steps = order.steps()
    for step in steps:
        for key, way in (("device_id", "the cluster says on which card"), ("state_out", "it is written in order")):
            if key in step.arguments and step.arguments[key] != -1:
                raise ArgumentError(f"{step.name}: {key}={step.arguments[key]} is not for --workers: {way}")
    found = {}
    for name, path in order.files().items():
        [(_, size, sample)] = files.contents([path])
        found[name] = path, size, sample
    cards = not steps or any(step.arguments.get("device_id") != -1 for step in steps)
    return Task(order=order, files=found, folder=store.folder.absolute(), run=secrets.token_hex(8), cards=cards)


class Origin:
    """Beside the driver: what workers fetch from there, and what they say of themselves."""

    def __init__(self) -> None:
        self._reports: dict[int, tuple[int, int, int]] = {}
        self._nodes: set[str] = set()

    def piece(self, path: Path, offset: int, node: str) -> bytes:
        """A piece of a file, for a node; empty at its end."""
        self._nodes.add(node)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_PIECE)

    def report(self, worker: int, start: int, frames: int, memory: int) -> None:
        """So many frames of the segment that begins with one are done; bytes that the worker has taken."""
        self._reports[worker] = start, frames, memory

    def reports(self) -> dict[int, tuple[int, int, int]]:
        """The last report of each worker."""
        return self._reports

    def nodes(self) -> set[str]:
        """Those that have fetched something."""
        return self._nodes


@dataclass(frozen=True)
class Made:
    """A segment that a worker has rendered."""

    start: int
    data: bytes | None
    """Its file; None: it is in the driver's folder."""
    repeated: tuple[int, ...]
    """Frames that could not be decoded."""


class Worker:
    """A process that renders segments, one after another.

    Nothing is done when it begins, so that whatever fails, fails in a call and can say so.
    """

    def __init__(self, number: int, threads: int, task: Task) -> None:
        self._number, self._threads, self._task = number, threads, task
        self._reported = 0.0

    @cached_property
    def _work(self) -> Work:
        """The order on this machine. One process of a machine opens the film at a time: BestSource writes an index."""
        import vapoursynth as vs
        from filelock import FileLock

        vs.core.num_threads = self._threads
        folder = _fetched()
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            places = {name: place(*facts, self._task.run) for name, facts in self._task.files.items()}
            return work.prepare(self._task.order, places=places)

    @cached_property
    def _origin(self) -> Any:
        return cluster.load().get_actor(self._task.run)

    def facts(self) -> Mapping[str, Any]:
        """Everything that decides the result, as this machine has it."""
        with self._named("the film"):
            return self._work.facts

    def look(self) -> Look:
        """What the frames say."""
        with self._named("frame 0"):
            return self._work.look()

    def render(self, job: Job, encoding: Encoding, facts: Mapping[str, Any]) -> Made:
        """Render a segment.

        Raises:
            VsSrError: it cannot be, or would not have the bits that others have.
        """
        with self._named(f"frames {job.start} to {job.stop - 1}"):
            if difference := rendering.different(facts, self._work.facts):
                raise VsSrError(f"{difference}; all machines have to agree")
            if self._task.mark.exists():
                self._write(job, encoding, segments.Store(self._task.folder).ahead(job.start))
                return Made(job.start, None, tuple(self._work.repeated))
            with tempfile.TemporaryDirectory(prefix="vs-sr-") as own:
                path = Path(own) / "segment"
                self._write(job, encoding, path)
                return Made(job.start, path.read_bytes(), tuple(self._work.repeated))

    def _write(self, job: Job, encoding: Encoding, path: Path) -> None:
        frames = rendering.frames_of(self._work.clip[job.start : job.stop], rendering.ahead())
        made = rendering.Maker(encoding, self._work.cut.stretch, lambda done: self._report(job.start, done))
        with segments.writing(path) as writer:
            _, _, following = made.segment(writer, job.start, job.began, next(frames), frames)
        if following is not None:
            following.close()

    def _report(self, start: int, done: int) -> None:
        now = time.monotonic()
        if now >= self._reported:
            self._reported = now + EVERY
            self._origin.report.remote(self._number, start, done - start, system.peak_memory())

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Errors say what it was, and where."""
        try:
            yield
        except Exception as error:
            raise VsSrError(f"{what}, on {_here()}: {described(error)}") from None


def _here() -> str:
    """This machine, and which node of the cluster it is."""
    ray = cluster.load()
    return f"{platform.node()} (node {ray.get_runtime_context().get_node_id()[:8]})"


def _fetched() -> Path:
    """Where files of the driver's are on this machine, in a folder for each run."""
    return settings.cache_folder() / "fetched"


def forget(run: str) -> None:
    """Delete what was fetched for a run."""
    shutil.rmtree(_fetched() / run, ignore_errors=True)


def place(path: Path, size: int, sample: str, run: str) -> Path:
    """Where a file of the driver's lies on this machine: at the same place, or fetched, once for all processes.

    Args:
        path: of the file, absolute.
        size: of it, in bytes.
        sample: digest of pieces of it.
        run: for which it is; its :class:`Origin` has the file.

    Raises:
        OSError: it cannot be written here.
        VsSrError: it has changed.
    """
    ray = cluster.load()

    def is_there(path: Path) -> bool:
        try:
            return [facts[1:] for facts in files.contents([path])] == [(size, sample)]
        except ArgumentError:
            return False

    own = _fetched() / run / sample[:16] / path.name
    for each in (path, own):
        if is_there(each):
            return each
    origin, node = ray.get_actor(run), ray.get_runtime_context().get_node_id()
    own.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(own) as file:
        while piece := ray.get(origin.piece.remote(path, file.tell(), node)):
            file.write(piece)
    if not is_there(own):
        own.unlink()
        raise VsSrError(f"{path} has changed while it was fetched")
    return own
