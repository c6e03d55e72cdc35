"""A network with its weights on one device, opened by a backend, and shared by every filter that uses the same.

Networks run on threads of our own, one per device and stream, never on VapourSynth's workers: each calling
thread would bring up its own team of compute threads. All that is asked of a network comes to its thread in order:
that is the only lock there is.
"""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vs_sr import settings
from vs_sr.engine import choice
from vs_sr.engine.transfer import OnArrays
from vs_sr.engine.worker import Worker
from vs_sr.errors import DeviceError, PluginError, WeightsError, described
from vs_sr.messages import log_once
from vs_sr.spec import METHODS, Request, Runner
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.spec import Backend, Model, Precision, Variant
    from vs_sr.weights.store import Source

_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Key:
    """What pipelines share a session by."""

    model: Model
    variant: Variant
    source: Source | None
    device: str
    precision: Precision
    backend: str
    """As wished for: a name, or "auto"."""
    sizes: tuple[tuple[int, int], ...]
    """Of the images that will come; none where every backend in question takes any."""
    stream: int

    def __hash__(self) -> int:
        return hash((self.model.name, self.source, self.device, self.precision, self.backend, self.sizes, self.stream))


class Session:
    """Runs one network. The weights are read, and a backend opens them, when the first frame comes."""

    def __init__(self, key: Key, worker: Worker) -> None:
        self.key = key
        self._worker = worker
        self._runner: Runner | None = None
        self._arrays = False

    def call[T](self, function: Callable[[Any], T]) -> T:
        """``function(network)``, run on the network's own thread.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            DeviceError: no backend can run them.
        """
        return self._worker.run(partial(self._call, function))

    @property
    def identity(self) -> str:
        """What decides the bits of results, the device apart; raises as :meth:`call`. For the network's thread too."""
        if self._runner is None:
            self.call(lambda network: None)
        return self._opened().identity

    def _call[T](self, function: Callable[[Any], T]) -> T:
        runner = self._opened()
        with self._within(arrays=self._arrays):
            return function(runner.network)

    @contextmanager
    def _within(self, *, arrays: bool) -> Iterator[None]:
        """What a network is run, and opened, within; of torch there is none about one on arrays."""
        if arrays:
            yield
            return
        from vs_sr import isolation

        with isolation.ours(self.key.device), self._worker.context:
            yield

    def _opened(self) -> Runner:
        if self._runner is None:
            self._runner = self._open()
            weakref.finalize(self, self._worker.close, self._runner)
        return self._runner

    def _open(self) -> Runner:
        """A runner of the best backend that can; where "auto" chooses, one that fails gives way to the next, said once.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            DeviceError: no backend can.
        """
        key = self.key
        found, refused = choice.candidates(key.backend, key.model, key.variant, key.device, key.precision)
        for backend in found:
            try:
                runner = self._open_with(backend)
            except WeightsError:
                raise
            except Exception as error:
                reason = refused[backend.name] = described(error)
                if key.backend != "auto":
                    raise choice.unusable(backend, reason) from error
                log_once(f"backend {backend.name} cannot be opened, another one is taken: {reason}", logging.WARNING)
                continue
            others = "".join(f"; not {name}: {reason}" for name, reason in refused.items())
            log_once(f"{key.model.name} is run by the backend {backend.name} ({runner.identity}){others}")
            return runner
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise DeviceError(f"no backend runs {key.model.name} on {key.device} in {key.precision}: {reasons}")

    def _open_with(self, backend: Backend) -> Runner:
        key = self.key
        request = Request(
            model=key.model,
            variant=key.variant,
            load=partial(_network, key),  # not of the session: a runner may hold its request
            identify=partial(store.fingerprint, key.source),
            device=key.device,
            precision=key.precision,
            batch=1,
            sizes=key.sizes,
            cache=settings.cache_folder(),
        )
        with self._within(arrays=backend.arrays):
            runner = backend.open(request)
        if not isinstance(runner, Runner):
            raise PluginError(f"it gives a {type(runner).__name__} in place of a Runner")
        missing = [name for name in METHODS[key.model.kind] if not callable(getattr(runner.network, name, None))]
        if missing:
            raise PluginError(f"its network lacks {', '.join(missing)}, which models of kind {key.model.kind!r} need")
        self._arrays = backend.arrays
        return replace(runner, network=OnArrays(runner.network)) if backend.arrays else runner


def _network(key: Key) -> nn.Module:
    """The network with its weights, each time a new one."""
    from vs_sr import isolation
    from vs_sr.models.merging import quickened

    with isolation.ours(key.device), isolation.OwnRandomNumbers():
        network = store.network(key.model, key.variant, key.source)
        return quickened(network.eval().requires_grad_(False))


_sessions: weakref.WeakValueDictionary[Key, Session] = weakref.WeakValueDictionary()
_workers: weakref.WeakValueDictionary[tuple[str, int], Worker] = weakref.WeakValueDictionary()


def acquire(pipeline: Pipeline) -> Session:
    """The session of a pipeline whose device is known: the one in use in this process, or a new one.

    It lives as long as it is held.

    Raises:
        DeviceError: the backend that was asked for cannot run it.
    """
    wished = pipeline.model, pipeline.variant, pipeline.device, pipeline.precision
    found, _ = choice.candidates(pipeline.options.backend, *wished)
    key = Key(
        model=pipeline.model,
        variant=pipeline.variant,
        source=pipeline.source,
        device=pipeline.device,
        precision=pipeline.precision,
        backend=pipeline.options.backend,
        sizes=pipeline.tile_sizes() if any(backend.per_size for backend in found) else (),
        stream=pipeline.stream,
    )
    with _lock:
        session = _sessions.get(key)
        if session is None:
            place = (key.device, key.stream)
            worker = _workers.get(place) or Worker(*place)
            _workers[place] = worker
            session = Session(key, worker)
            _sessions[key] = session
        return session
