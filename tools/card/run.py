"""Running the parts one after the other: each within its time, none stopping the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

type Status = Literal["done", "failed", "out of time"]

_GRACE = 3.0
"""Seconds between asking a process to end and ending it; a hung driver may keep even that from happening."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of the run."""

    name: str
    what: str
    """For people."""
    limit: float
    """Seconds; what a part leaves of its own is there for those after it."""
    command: Sequence[str]
    figures: Path | None = None
    """JSON that the command writes as it goes, so that a part that runs out of time has some, too."""
    read: Callable[[str], dict[str, Any]] | None = None
    """Figures of what the command prints, where it writes no JSON."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a part ended; what the report keeps of it."""

    name: str
    what: str
    status: Status
    seconds: float
    limit: float
    """Seconds that it had in the end."""
    code: int | None
    """The exit status; negative: the signal."""
    figures: dict[str, Any] = field(default_factory=dict)
    tail: str = ""
    """The end of what it printed, where it did not end well."""


def run(
    parts: Sequence[Part],
    environment: Mapping[str, str],
    log: IO[str],
    load: Callable[[Path], dict[str, Any]],
    *,
    cwd: Path,
    ahead: float = 0.0,
) -> Iterator[Outcome]:
    """Run parts in their order.

    Args:
        parts: the most useful first.
        environment: of all of them.
        log: gets what they print, as the screen does.
        load: reads the figures of a part.
        cwd: where they run.
        ahead: seconds that are left over from what came before; negative: that it took too many.

    Yields:
        The outcome of each, when it is over.
    """
    begin, allowed = time.monotonic(), ahead
    for part in parts:
        allowed += part.limit
        limit = allowed - (time.monotonic() - begin)
        _say(log, f"\n=== {part.name}: {part.what} ({limit:.0f} s at most)\n")
        start = time.monotonic()
        code, text = _process(part.command, environment, log, limit, cwd)
        seconds = time.monotonic() - start
        status: Status = "out of time" if code is None else "failed" if code else "done"
        figures: dict[str, Any] = {}
        try:
            if part.figures is not None and part.figures.is_file():
                figures = load(part.figures)
            elif part.read is not None:
                figures = part.read(text)
        except ValueError as error:
            status, text = "failed", f"{text}\n{part.figures}: {error}"
        yield Outcome(
            name=part.name,
            what=part.what,
            status=status,
            seconds=round(seconds, 1),
            limit=round(limit, 1),
            code=code,
            figures=figures,
            tail="" if status == "done" else text[-2000:],
        )


def _process(
    command: Sequence[str], environment: Mapping[str, str], log: IO[str], limit: float, cwd: Path
) -> tuple[int | None, str]:
    """The exit status, None where time ran out, and what was printed."""
    printed: list[str] = []
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # its own children end with it
        )
    except OSError as error:
        _say(log, f"{error}\n")
        return 127, str(error)
    assert process.stdout is not None
    stream = process.stdout

    def follow() -> None:
        for line in stream:
            printed.append(line)
            _say(log, line)

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    code: int | None
    try:
        code = process.wait(max(limit, 0.0))
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
    reader.join(_GRACE)
    return code, "".join(printed)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and whatever it has started; one that ended by itself may leave children, too."""
    if sys.platform == "win32":
        process.kill()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)


def _say(log: IO[str], text: str) -> None:
    for stream in (log, sys.stdout):
        stream.write(text)
        stream.flush()
