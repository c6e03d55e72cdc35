"""The one thread of a device, or of one of its streams, on which networks are run."""

from __future__ import annotations

import logging
import threading
import weakref
from concurrent.futures import Future
from contextlib import nullcontext
from functools import cached_property, partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vs_sr.spec import Runner

_log = logging.getLogger("vs_sr")

type _Tasks = SimpleQueue[Callable[[], object] | None]


class Worker:
    """Runs what it is asked for, one after the other, and ends with the last who holds it.

    No executor: a session ends wherever the garbage collector finds it, and that may be within an executor's locks, on
    the very thread that holds them. Putting something into a ``SimpleQueue`` needs none.

    Args:
        device: as torch names it.
        stream: number; those from 1 on have a CUDA stream of their own.
    """

    def __init__(self, device: str, stream: int) -> None:
        self._device = device
        self._stream = stream
        self._tasks: _Tasks = SimpleQueue()
        threading.Thread(target=_work, args=(self._tasks,), name=f"vs_sr {device}", daemon=True).start()
        weakref.finalize(self, self._tasks.put, None).atexit = False

    @cached_property
    def context(self) -> AbstractContextManager[object]:
        """What a network runs within: a CUDA stream of its own where streams are to overlap."""
        if self._device == "cpu" or not self._stream:
            return nullcontext()
        from vs_sr.runtime import torch

        return torch.cuda.stream(torch.cuda.Stream(self._device))

    def run[T](self, function: Callable[[], T]) -> T:
        """What ``function`` gives on the thread, or what it raises."""
        return self._asked(function).result()

    def _asked[T](self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._tasks.put(partial(_answer, future, function))
        return future

    def close(self, runner: Runner) -> None:
        """Close a runner on the thread, after all that was asked of it. May be called by the garbage collector."""
        if threading.main_thread().is_alive():
            self._tasks.put(runner.close)
        else:  # Python is exiting, and waits for nobody else
            self.run(runner.close)


def _answer[T](future: Future[T], function: Callable[[], T]) -> None:
    try:
        result = function()
    except BaseException as error:
        future.set_exception(error)
        del future, function  # its traceback has this frame, and would hold them in a circle
    else:
        future.set_result(result)


def _work(tasks: _Tasks) -> None:
    while (task := tasks.get()) is not None:
        try:
            task()
        except Exception:  # of a runner that is closed: nobody waits for it
            _log.exception("a backend fails to close a network")
        del task  # it holds whoever asked for it
