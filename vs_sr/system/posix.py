"""Linux and macOS; :mod:`vs_sr.system`."""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

assert sys.platform != "win32"

APPLE = sys.platform == "darwin"
"""Whether there may be a GPU of Apple's."""
CACHE = ("XDG_CACHE_HOME", "~/.cache")
"""Where programs keep what they can make again: an environment variable, and the folder without it."""
COMPILER = "clang++" if APPLE else "g++"
"""What torch compiles C++ with."""
NVIDIA = "libnvidia-ml.so.1"
"""The library of NVIDIA's driver that tells of cards and versions."""


class Together(TypedDict):
    """Arguments of ``subprocess.Popen``."""

    start_new_session: bool


def physical_memory() -> int:
    """Bytes of memory that the machine has, used or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
    """Bytes of memory that this process has taken so far, at its most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def named(text: str) -> bool:
    """Whether a text is the path of a file rather than a bare word."""
    return "/" in text


def open_read(path: Path) -> int:
    """A descriptor to read a file with. It waits for nothing: a pipe that nobody writes to opens, too."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def open_new(path: Path, mode: int = 0o666) -> int:
    """A descriptor to write a file with that must not be there yet."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def is_private(found: os.stat_result) -> bool:
    """Whether a file or folder is the user's own, and nobody else can write to it."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def replace(source: Path, target: Path) -> None:
    """Give a file another's name, in one step. Whoever reads the other goes on reading what it was."""
    source.replace(target)


def nobody_reads(error: OSError) -> bool:
    """Whether an error of writing to a pipe says that its reader is gone."""
    return isinstance(error, BrokenPipeError)


def together() -> Together:
    """For ``subprocess.Popen``: a program and those that it starts, so that :func:`end` reaches all of them."""
    return {"start_new_session": True}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that was started :func:`together`, and those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()
