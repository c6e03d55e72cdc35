"""Windows; :mod:`vs_sr.system`."""

from __future__ import annotations

import ctypes
import errno
import ntpath
import os
import subprocess
import sys
import time
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

assert sys.platform == "win32"

APPLE = False
"""Whether there may be a GPU of Apple's."""
CACHE = ("LOCALAPPDATA", "~/AppData/Local")
"""Where programs keep what they can make again: an environment variable, and the folder without it."""
COMPILER = "cl"
"""What torch compiles C++ with."""
NVIDIA = "nvml.dll"
"""The library of NVIDIA's driver that tells of cards and versions."""

_SHORT = 248
"""Characters of a path that need no prefix: 260 are a file's, with its end, and 248 a folder's."""
_IN_USE = (5, 32, 33, 1224)
"""What Windows says of a file that somebody has open: denied, shared, locked, mapped into memory."""
_PATIENCE = 2.0
"""Seconds to wait for whoever has a file open: a virus scanner, an indexer, a reader of ours."""


class Together(TypedDict):
    """Arguments of ``subprocess.Popen``."""


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        ("peak", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 7),
    )


def peak_memory() -> int:
    """Bytes of memory that this process has taken so far, at its most."""
    counters = _MemoryCounters(length=ctypes.sizeof(_MemoryCounters))
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    process = ctypes.c_void_p(-1)  # this one
    if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.length):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(counters.peak)


def physical_memory() -> int:
    """Bytes of memory that the machine has, used or not."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(status.physical)


def named(text: str) -> bool:
    """Whether a text is the path of a file rather than a bare word."""
    return bool("/" in text or "\\" in text or PureWindowsPath(text).drive)


def open_read(path: Path) -> int:
    """A descriptor to read a file with, byte for byte: without O_BINARY, line ends would change."""
    return os.open(_long(path), os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)


def open_new(path: Path, mode: int = 0o666) -> int:
    """A descriptor to write a file with that must not be there yet, byte for byte."""
    return os.open(_long(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_BINARY | os.O_NOINHERIT, mode)


def is_private(found: os.stat_result) -> bool:
    """Whether a file or folder is the user's own, and nobody else can write to it.

    True: what Windows' own lists say does not stand in ``found``, and :data:`CACHE` is in the user's own profile.
    """
    return True


def replace(source: Path, target: Path) -> None:
    """Give a file another's name, in one step, as soon as nobody has the other open.

    Raises:
        PermissionError: somebody keeps it open.
    """
    deadline = time.monotonic() + _PATIENCE
    pause = 0.01
    while True:
        try:
            os.replace(_long(source), _long(target))  # noqa: PTH105
            return
        except PermissionError as error:
            if error.winerror not in _IN_USE:
                raise
            if time.monotonic() > deadline:
                reason = "it is open in another program, or may not be written to"
                raise PermissionError(error.errno, reason, str(target), error.winerror) from None
        time.sleep(pause)
        pause = min(2 * pause, 0.2)


def nobody_reads(error: OSError) -> bool:
    """Whether an error of writing to a pipe says that its reader is gone.

    The C runtime calls that an invalid argument, as it does a file's name that cannot be, which it then gives.
    """
    return isinstance(error, BrokenPipeError) or (error.errno == errno.EINVAL and error.filename is None)


def together() -> Together:
    """For ``subprocess.Popen``: nothing. :func:`end` finds the programs that a program has started, and Ctrl-C has to
    reach them: it goes to all that share a console.
    """
    return {}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and those that it has started."""
    if process.poll() is None:
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    process.wait()


def _long(path: Path) -> str:
    """A path as Windows opens it however long it is: it takes 260 characters, and any number after a prefix."""
    text = str(path)
    if len(text) < _SHORT or text.startswith("\\\\?\\"):
        return text
    text = ntpath.abspath(text)  # after the prefix nothing is relative, and nothing is cleaned up
    return "\\\\?\\UNC\\" + text[2:] if text.startswith("\\\\") else "\\\\?\\" + text
