"""A film in segments that several processes render at once, here or on a cluster: Ray runs them, starts them again
where they die, and carries what they need and what they give.

The driver holds the folder of segments and joins the film. Each :class:`Worker` makes the graph of the same order and
renders the segments that it is handed; a file that it does not see under its name it fetches from :class:`Origin`,
which sits beside the driver.
"""

from __future__ import annotations

import platform
import secrets
import shutil
import tempfile
import time
from collections import Counter, deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import files, machine, settings, system
from vs_sr.errors import ArgumentError, VsSrError, described
from vs_sr.render import rendering, segments, work
from vs_sr.render.rendering import State
from vs_sr.render.schedule import Borders, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vs_sr.render.encoding import Encoding, Look
    from vs_sr.render.schedule import Job
    from vs_sr.render.segments import Segment, Store
    from vs_sr.render.work import Order, Work

RETRIES = 3
"""How often a segment is tried again whose worker or machine has died."""
_PIECE = 16 << 20
"""Bytes of a file that are sent at a time."""
_STORE = 256 << 20
"""Bytes of the object store on this machine, which segments pass where the folder is out of a worker's reach."""
_EVERY = 0.5
"""Seconds from one word of a worker's progress to the next."""
_LOST = 300.0
"""Seconds without any worker after which the run ends."""
_PATIENCE = 10.0
"""Seconds that are waited for machines to delete what they have fetched."""
_MEASURED = 60
"""Such words that say how fast it goes on."""
_INSTALL = "pip install 'vs-sr[render,ray]'"


def load() -> Any:
    """Ray.

    Raises:
        VsSrError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise VsSrError(f"--workers and --ray need Ray: {_INSTALL}") from None
    return ray


@dataclass(frozen=True)
class Team:
    """Workers, and what each of them takes of a cluster."""

    workers: int
    threads: int
    """Cores of each, and threads that its network and its graph compute with."""
    cards: int = 0
    """NVIDIA cards of each: one, or none."""


@contextmanager
def cluster(address: str | None, workers: int | None, threads: int | None, *, cards: bool = True) -> Iterator[Team]:
    """Be connected to a cluster: one that there is, or one of this machine alone that ends with the block.

    Args:
        address: of the cluster, as Ray has it: "auto" or HOST:PORT; None: this machine.
        workers: how many; None: as many as there are cards, or else one on each machine.
        threads: cores of each; None: those that there are, divided among them.
        cards: whether the networks may run on cards.

    Raises:
        VsSrError: Ray is not installed, no cluster is found, or it has no room for so many workers.
    """
    if address is not None and address.startswith("ray://"):
        raise ArgumentError(f"--ray {address}: run vs-sr on a machine of the cluster, with --ray auto")
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()} if address is None else {}
    with ExitStack() as stack:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0",
            **own,
        }.items():  # read where Ray is loaded, and by its parts
            stack.enter_context(settings.lent(name, value))
        ray = load()
        if address is None:
            threads = threads or settings.threads() or max(1, machine.cores() // (workers or 1))
            folder = tempfile.mkdtemp(prefix="vs-sr-")  # short: sockets lie in it
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            how = _here_alone(threads * (workers or 1), folder)
        else:
            how = {"address": address}
        stack.callback(ray.shutdown)
        try:
            ray.init(log_to_driver=False, logging_level="error", **how)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            what = f"--ray {address}: no cluster is there" if address else "Ray does not start on this machine"
            raise VsSrError(f"{what}: {described(error)}") from None
        yield _room([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, threads, cards=cards)


def _here_alone(cores: int, folder: str) -> dict[str, Any]:
    """A cluster of this machine that nobody else reaches, with nothing that watches it, in a folder of its own."""
    return {
        "address": "local",
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": _STORE,
        "_temp_dir": folder,
        "_node_ip_address": "127.0.0.1",
    }


@cache
def _token() -> str:
    """Who may use a cluster of this machine; Ray's client keeps it as long as the process lives."""
    return secrets.token_hex(32)


def _room(machines: Sequence[Mapping[str, float]], workers: int | None, threads: int | None, *, cards: bool) -> Team:
    """What workers take of machines, by their resources as Ray names them.

    Raises:
        ArgumentError: they do not fit.
    """
    cores = [int(each.get("CPU", 0)) for each in machines]
    there = [int(each.get("GPU", 0)) if cards else 0 for each in machines]
    if any(there):
        number = workers or sum(there)
        fair = min(core // card for core, card in zip(cores, there, strict=True) if card)
        takes = max(1, threads or fair)
        fit = sum(min(card, core // takes) for core, card in zip(cores, there, strict=True))
        if fit < number:
            raise ArgumentError(
                f"--workers {number}: the cluster has room for {fit} with a card and {takes} cores each; "
                "ask for fewer, for fewer --worker-threads, or for the CPU with device_id=-1"
            )
        return Team(number, takes, 1)
    number = workers or sum(1 for core in cores if core)
    takes = threads or next((n for n in range(max(cores, default=0), 0, -1) if sum(c // n for c in cores) >= number), 1)
    fit = sum(core // takes for core in cores)
    if not number or fit < number:
        raise ArgumentError(
            f"--workers {number}: the cluster has room for {fit} with {takes} cores each; ask for fewer, or for fewer "
            "--worker-threads"
        )
    return Team(number, takes)


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


def task(order: Order, store: Store) -> Task:
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
        return load().get_actor(self._task.run)

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
            self._reported = now + _EVERY
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
    ray = load()
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
    ray = load()

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

        ray = load()
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

        ray = load()
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
        ray = load()
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
        ray = load()
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
        ready, _ = ray.wait([*self._running, *self._waking], num_returns=1, timeout=_EVERY)
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
        ray = load()
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
