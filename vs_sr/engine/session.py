"""A network with its weights on one device, shared by every filter that uses the same.

Networks run on threads of our own, one per device and stream, never on VapourSynth's workers: each calling
thread would bring up its own team of compute threads.
"""

from __future__ import annotations

import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from vs_sr import machine, nvidia, settings, threads
from vs_sr.engine import choice
from vs_sr.errors import DeviceError, FrameError, PluginError, WeightsError
from vs_sr.spec import METHODS, Request, Runner
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from vs_sr.spec import Backend, Model, Precision, Variant
    from vs_sr.weights.store import Source

_log = logging.getLogger("vs_sr")
_lock = threading.Lock()
_logged: set[tuple[Hashable, str]] = set()
_audience: Callable[[], Collection[Hashable]] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a network computes, and where. Equal plans share a session."""

    model: Model
    """Itself, not its name: a script that is loaded again may have registered another one under that since."""
    variant: Variant
    source: Source | None
    device: str
    """As torch names it: "cpu", "cuda:0", ..."""
    precision: Precision
    backend: str
    sizes: tuple[tuple[int, int], ...] = ()
    """Of the images that will come; empty for backends to which that is all the same."""
    stream: int = 0
    """Sessions of different streams run side by side, each with a network and a thread of its own."""

    def __hash__(self) -> int:
        return hash((self.model.name, self.source, self.device, self.precision, self.backend, self.stream))


def choose_device(device_id: int | None) -> str:
    """The torch device of an argument ``device_id``: None the first GPU or else the CPU, -1 the CPU.

    Raises:
        DeviceError: there is no such GPU.
    """
    from vs_sr.runtime import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device_id is None:
        log_once(f"running on {torch.cuda.get_device_name(0) if count else f'the CPU: {_no_gpu()}'}")
    if device_id == -1 or (device_id is None and not count):
        if problem := threads.restless():
            log_once(problem, logging.WARNING)
        return "cpu"
    if device_id is None:
        return "cuda:0"
    if not 0 <= device_id < count:
        found = ", ".join(f"{i} ({torch.cuda.get_device_name(i)})" for i in range(count)) or f"none ({_no_gpu()})"
        raise DeviceError(f"device_id={device_id}: no such CUDA device; found: {found}; device_id=-1 runs on the CPU")
    return f"cuda:{device_id}"


def _no_gpu() -> str:
    """Why there is no GPU to run on."""
    from vs_sr.runtime import torch

    if driver := nvidia.driver():
        return f"torch does not use the {driver.cards[0]} that is there; `vs-sr doctor` says what to install"
    if torch.backends.mps.is_available():
        return "no CUDA device was found, and Apple's GPUs (MPS) are not supported"
    return "no CUDA device was found"


def choose_precision(precision: Literal["auto"] | Precision, device: str, *, float_clip: bool) -> Precision:
    """The precision of an argument ``precision``; "auto" is fp16 on CUDA unless the clip is 32-bit float."""
    if precision != "auto":
        return precision
    return "fp32" if device == "cpu" or float_clip else "fp16"


def total_memory(device: str) -> int:
    """Bytes that a device has, used or not: what is planned by it does not change from run to run.

    The CPU's are the container's where that has a limit.
    """
    if device == "cpu":
        return machine.memory()
    from vs_sr.runtime import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def device_name(device: str) -> str:
    """What a device is, as far as it decides the last bits of a result."""
    from vs_sr.runtime import torch

    if device == "cpu":
        return f"CPU, {torch.backends.cpu.get_cpu_capability()}, {threads.count()} threads"
    return str(torch.cuda.get_device_name(device))


class NotFiniteError(FrameError):
    """A network gives NaN or infinity of a clip that has none."""


def to_host(picture: Tensor, output: int) -> Tensor:
    """A network's result as float32 in host memory. A result is finite or an error.

    Args:
        picture: on the network's device.
        output: number of the output frame that it belongs to.

    Raises:
        NotFiniteError: it has NaN or infinity in it.
    """
    from vs_sr.runtime import torch

    if not finite(picture):
        raise NotFiniteError(f"frame {output}")
    return picture.to("cpu", torch.float32)


def finite(part: Tensor) -> bool:
    """Whether there is no NaN and no infinity in a tensor, found out on its device.

    A sum has one where a part has; it is one pass in the order of memory. Where it leaves the range by itself, every
    number is looked at.
    """
    from vs_sr.runtime import torch

    return bool(part.sum(dtype=torch.float32).isfinite()) or bool(part.isfinite().all())


def log_once(message: str, level: int = logging.INFO) -> None:
    """Log a line once for everybody who hears it."""
    hearing = (None,) if _audience is None else _audience()
    with _lock:
        fresh = [who for who in hearing if (who, message) not in _logged]
        _logged.update((who, message) for who in fresh)
    if fresh:
        _log.log(level, "%s", message, extra={"audience": fresh})


def set_audience(audience: Callable[[], Collection[Hashable]]) -> None:
    """Say who hears a line that is logged now; without, it is the process as a whole."""
    global _audience
    _audience = audience


class _Worker:
    """The one thread that runs the networks of a stream on a device; ends with the last session that uses it."""

    def __init__(self, device: str, stream: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"vs_sr {device}")
        weakref.finalize(self, self._pool.shutdown, wait=False)
        self._device = device
        self._stream = stream

    @cached_property
    def context(self) -> AbstractContextManager[object]:
        """What a network runs within: a CUDA stream of its own where streams are to overlap."""
        if self._device == "cpu" or not self._stream:
            return nullcontext()
        from vs_sr.runtime import torch

        return torch.cuda.stream(torch.cuda.Stream(self._device))

    def run[T](self, function: Callable[[], T]) -> T:
        return self._pool.submit(function).result()


class OutOfMemoryError(DeviceError):
    """The device has no memory for a step. Schedulers try again with smaller tiles where there can be any."""


class Session:
    """Runs one network. The weights are read when the first frame comes."""

    def __init__(self, plan: Plan, worker: _Worker) -> None:
        self.plan = plan
        self._worker = worker
        self._network: Any = None

    def run(self, frames: Tensor, multi: int = 1, output: int = 0) -> Tensor:
        """Run the whole network.

        Args:
            frames: (T, C, H, W) float32 on the host, of one scene: RGB, or luma as the variant says.
            multi: frame-rate factor, for sequence models.
            output: number of the first output frame, for errors.

        Returns:
            (multi*(T-1)+1, C, scale*H, scale*W) float32 on the host; (T, ...) for image models.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            OutOfMemoryError: the device has no memory for it.
            FrameError: the result is not finite.
        """
        image = self.plan.model.kind == "image"

        def whole(network: Any) -> Tensor:
            batch = frames.to(self.plan.device)
            return to_host(network(batch) if image else network(batch[None], multi)[0], output)

        return self.call(whole)

    def call[T](self, function: Callable[[Any], T]) -> T:
        """``function(network)``, run on the network's own thread; raises as :meth:`run`."""
        return self._worker.run(partial(self._call, function))

    def _call[T](self, function: Callable[[Any], T]) -> T:
        from vs_sr import isolation
        from vs_sr.runtime import torch

        with isolation.ours(self.plan.device), self._worker.context:
            if self._network is None:
                self._network = self._open().network
            try:
                return function(self._network)
            except NotFiniteError as error:
                raise FrameError(f"{error}: {self._no_numbers()}") from None
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                    raise OutOfMemoryError(f"out of memory on {self.plan.device} ({error})") from None
                raise

    def _no_numbers(self) -> str:
        """What to say where results are not finite."""
        what = f"the network gives NaN or infinity in {self.plan.precision}"
        if self.plan.precision != "fp32":
            return f'{what}, whose range it leaves; use precision="fp32"'
        return (
            f'{what}, and precision="fp32" is the widest; the weights are damaged or not for this model, '
            "or the clip's values are far outside of 0..1"
        )

    def _open(self) -> Runner:
        """A runner of the best backend that can; where "auto" chooses, one that fails gives way to the next, said once.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            DeviceError: no backend can.
            PluginError: what the backend gives is no runner for the model.
        """
        plan = self.plan
        found, refused = choice.candidates(plan.backend, plan.model, plan.variant, plan.device, plan.precision)
        for backend in found:
            try:
                runner = self._open_with(backend)
            except WeightsError:
                raise
            except Exception as error:
                if plan.backend != "auto":
                    raise
                reason = refused[backend.name] = f"{type(error).__name__}: {error}"
                log_once(f"backend {backend.name} fails, another one is taken: {reason}", logging.WARNING)
                continue
            others = "".join(f"; not {name}: {reason}" for name, reason in refused.items())
            log_once(f"{plan.model.name} is run by the backend {backend.name} ({runner.identity}){others}")
            return runner
        raise DeviceError(
            f"no backend runs {plan.model.name} on {plan.device} in {plan.precision}: "
            + "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        )

    def _open_with(self, backend: Backend) -> Runner:
        from vs_sr import isolation

        plan = self.plan
        with isolation.OwnRandomNumbers():
            network = store.network(plan.model, plan.variant, plan.source).eval().requires_grad_(False)
        request = Request(
            model=plan.model,
            variant=plan.variant,
            network=network,
            device=plan.device,
            precision=plan.precision,
            batch=1,
            sizes=plan.sizes,
            cache=settings.cache_folder(),
        )
        runner = backend.open(request)
        if not isinstance(runner, Runner):
            raise PluginError(f"backend {backend.name!r} gives a {type(runner).__name__} in place of a Runner")
        missing = [name for name in METHODS[plan.model.kind] if not callable(getattr(runner.network, name, None))]
        if missing:
            raise PluginError(
                f"backend {backend.name!r} gives a network without {', '.join(missing)}, which models of kind "
                f"{plan.model.kind!r} need (vs_sr.spec)"
            )
        return runner


_sessions: weakref.WeakValueDictionary[Plan, Session] = weakref.WeakValueDictionary()
_workers: weakref.WeakValueDictionary[tuple[str, int], _Worker] = weakref.WeakValueDictionary()


def acquire(plan: Plan) -> Session:
    """The session of a plan: the one in use in this process, or a new one. It lives as long as it is held."""
    with _lock:
        session = _sessions.get(plan)
        if session is None:
            key = (plan.device, plan.stream)
            worker = _workers.get(key) or _Worker(*key)
            _workers[key] = worker
            session = Session(plan, worker)
            _sessions[plan] = session
        return session
