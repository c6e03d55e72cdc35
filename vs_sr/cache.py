"""What takes long to compile, kept between runs: in folders that are the user's own, checked by its contents.

It is machine code, or nearly: whoever can write it runs it as the user.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import files, settings, system
from vs_sr.errors import ArgumentError
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from collections.abc import Callable


def kept(kind: str, name: str, suffix: str, make: Callable[[], bytes]) -> Path:
    """The file that holds what ``make`` gives: as it was kept, or made now.

    Where the cache cannot be written, or others can write to it, the file lies in a folder of this process alone, gone
    when it ends.

    Args:
        kind: the cache's folder, in words for messages: "kernels".
        name: of the file; says all that decides its contents.
        suffix: of the file, with the point.
        make: called where there is no such file; raises what it raises.
    """
    folders = [folder for folder in (shared_folder(kind), private_folder(kind)) if folder is not None]
    for folder in folders:
        if (path := _find(folder, name, suffix)) is not None:
            return path
    content = make()
    for folder in folders[:-1]:
        with suppress(OSError):
            return write(folder, name, suffix, content)
    return write(folders[-1], name, suffix, content)


def shared_folder(kind: str) -> Path | None:
    """The folder of the cache, made where it is missing; None where it cannot be had, or others can write to it."""
    folder = settings.cache_folder().absolute() / kind
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
        private = system.is_private(folder.stat())
    except OSError:
        return None
    if not private:
        log_once(
            f"{kind} are compiled again in every process: {folder} is somebody else's, or others can write to it; "
            "remove it and what is in it, or name another folder in VS_SR_CACHE",
            logging.WARNING,
        )
        return None
    return folder


def private_folder(kind: str) -> Path:
    """A folder of this process."""
    return Path(_private(kind).name)


@functools.cache
def _private(kind: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"vs_sr-{kind}-")


def write(folder: Path, name: str, suffix: str, content: bytes) -> Path:
    """Write a file whole; its name tells its contents, too."""
    path = _path(folder, name, suffix, content)
    with files.replacing(path, 0o600) as file:
        file.write(content)
    return path


def _find(folder: Path, name: str, suffix: str) -> Path | None:
    """The file of this name, whole and the user's own."""
    for path in sorted(folder.glob(f"{name}-*{suffix}")):
        try:
            with files.open_regular(path) as file:
                if system.is_private(os.fstat(file.fileno())) and path == _path(folder, name, suffix, file.read()):
                    return path
        except ArgumentError:
            continue
    return None


def _path(folder: Path, name: str, suffix: str, content: bytes) -> Path:
    return folder / f"{name}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
