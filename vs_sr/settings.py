"""The one reader of the environment: a small function per variable, or per question that several answer."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import system

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""How long threads of OpenMP spin when they wait: the standard's word, GNU's (torch on Linux), and LLVM's."""

_lock = threading.Lock()
_lent: dict[str, int] = {}
"""Variables that are ours at the moment, and how many users each has."""


def cache_folder() -> Path:
    """Where compiled kernels are kept between runs; may not exist yet, and may not be writable.

    ``VS_SR_CACHE``, else ``vs_sr`` in ``XDG_CACHE_HOME`` or ``~/.cache``; on Windows in ``LOCALAPPDATA``.
    """
    if folder := os.environ.get("VS_SR_CACHE"):
        return Path(folder)
    variable, usual = system.CACHE
    return Path(os.environ.get(variable) or usual).expanduser() / "vs_sr"


def threads() -> int | None:
    """The number of compute threads that ``OMP_NUM_THREADS`` or else ``MKL_NUM_THREADS`` asks for."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        first = os.environ.get(name, "").partition(",")[0].strip()  # a list has a number for each level of nesting
        if first.isdecimal() and int(first):
            return int(first)
    return None


def waiting() -> str | None:
    """What the user has said about threads that wait, as ``NAME=value``; None: nothing."""
    with _lock:
        said = (f"{name}={os.environ[name]}" for name in _WAITING if name in os.environ and name not in _lent)
        return next(said, None)


def completing() -> bool:
    """Whether a shell asks what can come next on its line, as argcomplete does."""
    return "_ARGCOMPLETE" in os.environ


def compiler() -> str:
    """The C++ compiler that torch's Inductor calls: what ``CXX`` names, else the system's usual one."""
    return os.environ.get("CXX") or system.COMPILER


@contextmanager
def lent(name: str, value: str) -> Iterator[None]:
    """A variable for libraries that read it when they are loaded; what the user has set stays. Gone afterwards."""
    with _lock:
        ours = name in _lent or name not in os.environ
        if ours:
            if name not in _lent:
                os.environ[name] = value
            _lent[name] = _lent.get(name, 0) + 1
    try:
        yield
    finally:
        if ours:
            with _lock:
                _lent[name] -= 1
                if not _lent[name]:
                    del _lent[name]
                    os.environ.pop(name, None)


def with_programs(folder: Path) -> dict[str, str]:
    """The environment for a child process that finds the programs of a folder before all others."""
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
