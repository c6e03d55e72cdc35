"""The thread of a device: in order, with errors, ended by the garbage collector at any moment."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from vs_sr.engine.worker import Worker
from vs_sr.spec import Runner

if TYPE_CHECKING:
    from collections.abc import Callable


def within(seconds: float, function: Callable[[], object]) -> bool:
    """Whether it ends by then."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_all_of_it_is_one_thread_and_in_order() -> None:
    worker, seen = Worker("cpu", 0), []
    callers = [threading.Thread(target=worker.run, args=(lambda n=n: seen.append(n),)) for n in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(seen) == list(range(20))
    assert len({worker.run(threading.get_ident) for _ in range(3)}) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_is_the_callers_and_keeps_nothing(error: type[BaseException]) -> None:
    class Held:
        pass

    worker, held = Worker("cpu", 0), Held()
    gone = weakref.ref(held)

    def fail(held: Held = held) -> None:
        raise error("no")

    gc.disable()
    try:
        with pytest.raises(error, match="no"):
            worker.run(fail)
        del held, fail
        assert gone() is None, "held by a circle through the traceback"
    finally:
        gc.enable()
    assert worker.run(lambda: 3) == 3


def test_a_runner_that_fails_to_close_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def close() -> None:
        raise RuntimeError("stuck")

    worker = Worker("cpu", 0)
    worker.close(Runner(network=None, identity="", close=close))
    assert worker.run(lambda: 3) == 3
    assert "a backend fails to close a network" in caplog.text


def test_the_thread_ends_with_its_last_holder() -> None:
    worker = Worker("cpu", 0)
    thread = worker.run(threading.current_thread)
    del worker
    thread.join(10)
    assert not thread.is_alive()


def test_a_runner_may_be_closed_by_a_collection_at_any_moment() -> None:
    """Also while the same thread asks for something: what is closed there must wait for nobody."""
    worker = Worker("cpu", 0)

    class Dying:
        """In a circle, so that only a collection ends it."""

        def __init__(self, closed: list[int]) -> None:
            self.circle = self
            weakref.finalize(self, worker.close, Runner(network=None, identity="", close=lambda: closed.append(1)))

    def asked(line: int) -> list[int]:
        """Ask for something, with a collection at a line of Python of that."""
        left, closed = [line], []
        Dying(closed)

        def trace(frame: Any, event: str, _: Any) -> Any:
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    sys.settrace(None)
                    gc.collect()
            return trace

        sys.settrace(trace)
        try:
            worker.run(int)
        finally:
            sys.settrace(None)
        if left[0] <= 0:
            worker.run(int)
            assert closed == [1]
        else:
            gc.collect()
        return left

    def every_line() -> None:
        line = 1
        while asked(line)[0] <= 0:
            line += 1
        lines.append(line)

    lines: list[int] = []
    gc.disable()
    try:
        assert within(60, every_line), "it waits for itself"
    finally:
        gc.enable()
    assert lines
    assert lines[0] > 15
