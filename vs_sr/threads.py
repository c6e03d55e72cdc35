"""The threads that torch computes with: how many they are, and how they wait for each other.

The network shares the cores with the decoder, and above all with the encoder at the other end of the pipe. Threads
that spin while they wait then take the cores from the very threads they wait for. So ours sleep after a moment:
:data:`SPINS` turns, which is what a wait within a network takes that has the cores to itself.

OpenMP's runtime reads this once, when it is loaded, and torch loads it. So torch is loaded within :func:`asleep`,
wherever we are the first to do so (``vs_sr.runtime``). Where the script or another plugin was first it is too late.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import machine, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SPINS = 1000
"""Turns that a thread spins before it sleeps; benchmarks/README.md has the measurement."""

_VARIABLE = "GOMP_SPINCOUNT"
_LIBRARY = "/libgomp.so.1"

_loaded_asleep = False


def count() -> int:
    """Threads that a network computes with: what the environment says, else one a core."""
    return settings.threads() or machine.cores()


@contextmanager
def asleep() -> Iterator[None]:
    """Load torch within this: its threads sleep where they wait, unless the user has said otherwise."""
    global _loaded_asleep
    if settings.waiting() is not None or _runtime_is_loaded():
        yield
        return
    with settings.lent(_VARIABLE, str(SPINS)):
        yield
    if _runtime_is_loaded():
        _loaded_asleep = True


def restless() -> str | None:
    """Why threads may spin although nobody has asked for it, and what to do; None: they do not."""
    if _loaded_asleep or settings.waiting() is not None or not _runtime_is_loaded() or count() == 1:
        return None
    return (
        "torch was loaded before vs_sr could tell its threads to sleep while they wait for each other; beside an "
        f"encoder that wants every core they are many times slower; set {_VARIABLE}={SPINS} in the environment"
    )


def describe() -> str:
    """How threads wait, for people: once torch is loaded."""
    if said := settings.waiting():
        return f"wait for each other as {said} says"
    if why := restless():
        return f"spin while they wait: {why}"
    return f"sleep while they wait ({_VARIABLE}={SPINS} unless the environment says otherwise)"


def _runtime_is_loaded() -> bool:
    """Whether OpenMP's runtime, or what brings it, is in this process already."""
    try:
        return _LIBRARY in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "torch" in sys.modules
