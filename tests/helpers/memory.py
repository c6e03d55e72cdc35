"""Bytes: what torch's allocations come to at most, and what this process holds."""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

from vs_sr.engine import budget

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def limited(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let every device have so many bytes, none of them taken yet."""
    made = budget.Budget(size)
    monkeypatch.setattr(budget, "of", lambda device: made)


def peak(function: Callable[[], object]) -> int:
    """Bytes that torch holds on the CPU at most while ``function`` runs, beyond what it held before.

    Every allocation counts, those within operators too; what libraries take behind torch's back does not.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
        function()
    assert profiled.profiler is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    events.sort(key=lambda event: event.start_ns())
    now = most = 0
    for event in events:
        now += event.nbytes()
        most = max(most, now)
    assert most, "no allocation was seen"
    return most


class _Usage(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
        )
    ]  # fmt: skip


def allocated() -> int:
    """Bytes that are allocated and not freed, in this process: what the allocator keeps for later does not count."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Usage
    usage = mallinfo()
    return int(usage.uordblks + usage.hblkhd)


def live() -> int:
    """The same, without what only the garbage collector can free."""
    gc.collect()
    return allocated()
