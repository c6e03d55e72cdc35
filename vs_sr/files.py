"""Files as people name them: found once, opened only where they are regular files, written whole or not at all.

What is wrong with a file is an :class:`~vs_sr.errors.ArgumentError` whose text goes on after the file's name: ``"is a
folder"``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vs_sr import system
from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SAMPLES, _SAMPLE = 16, 4096
"""Pieces of a file that tell its contents from others, and the bytes of each."""


def resolve(name: str | os.PathLike[str]) -> Path:
    """The file that a name means here and now: ``~`` and ``~user``, relative names and links are followed once.

    Raises:
        ArgumentError: no file can have this name.
    """
    text = os.fspath(name)
    if not text:
        raise ArgumentError("is empty; give the name of a file")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ArgumentError(f"begins with {text.split('/')[0]}, and there is no such user") from None
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise ArgumentError(f"cannot be found: {reason(error)}") from None
    except ValueError:
        raise ArgumentError("has a zero byte in its name") from None


def reason(error: BaseException) -> str:
    """What the system says of a failure, without its number and the file's name."""
    return getattr(error, "strerror", None) or "its links lead in a circle"


def open_regular(path: Path) -> BufferedReader:
    """Open for reading what is a regular file, and wait for nothing.

    Raises:
        ArgumentError: it is missing, of another kind, or may not be read.
    """
    try:
        _check_regular(path.stat())  # opening a device may do something
        handle = system.open_read(path)  # a pipe that comes between waits neither
        file = os.fdopen(handle, "rb")
    except OSError as error:
        raise ArgumentError(f"cannot be read: {reason(error)}") from None
    try:
        _check_regular(os.fstat(handle))
    except ArgumentError:
        file.close()
        raise
    return file


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ArgumentError(f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}, not a file")


@dataclass(frozen=True)
class Identity:
    """What tells the contents of a file from those of every other, without reading all of it."""

    device: int
    inode: int
    size: int
    modified: int
    """In nanoseconds."""
    sample: bytes
    """Of pieces all over the file: two writes within one tick of the file system's clock differ in them."""


def identify(file: BufferedReader) -> Identity:
    """The identity of an open file, which is left at its beginning."""
    found = os.fstat(file.fileno())
    digest = hashlib.blake2b(digest_size=16)
    last = max(0, found.st_size - _SAMPLE)
    for start in sorted({last * piece // (_SAMPLES - 1) for piece in range(_SAMPLES)}):
        file.seek(start)
        digest.update(file.read(_SAMPLE))
    file.seek(0)
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, digest.digest())


def contents(paths: Iterable[Path]) -> list[tuple[str, int, str]]:
    """What tells files from others wherever they lie: names, sizes, and digests of pieces of them.

    Raises:
        ArgumentError: one cannot be read; the text has its name.
    """
    found: list[tuple[str, int, str]] = []
    for path in paths:
        try:
            with open_regular(path) as file:
                identity = identify(file)
        except ArgumentError as error:
            raise ArgumentError(f"{path} {error}") from None
        found.append((path.name, identity.size, identity.sample.hex()))
    return found


def sha256(file: BufferedReader) -> str:
    """Of all that follows in an open file, in hexadecimal."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def check_target(path: Path) -> None:
    """Whether a file can be written under this name, before there is anything to write.

    Raises:
        ArgumentError: it cannot.
    """
    try:
        if path.exists():
            _check_regular(path.stat())
        if not path.parent.is_dir():
            raise ArgumentError("cannot be written: there is no such folder")
    except OSError as error:
        raise ArgumentError(f"cannot be written: {reason(error)}") from None
    if len(os.fsencode(path.name)) > 255 - len(_temporary(path).name) + len(path.name):
        raise ArgumentError("cannot be written: File name too long")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ArgumentError("cannot be written: its folder may not be written to")


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` once the block is left, on the disk; never half of it.

    Args:
        path: of the file; where the block fails, what was there stays.
        mode: permissions, from which the system takes the user's umask.

    Raises:
        OSError: it cannot be written.
    """
    part = _temporary(path)
    handle = system.open_new(part, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        system.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
