"""Progress on stderr, of work that takes more than two seconds."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager

_PATIENCE = 2.0
"""Seconds of silence at the beginning."""
_TERMINAL, _FILE = 0.2, 10.0
"""Seconds between two messages: in place on a terminal, as lines elsewhere."""


class Progress(AbstractContextManager["Progress"]):
    """Called with a label, the pieces done and the pieces in all."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE
        self._shown = False

    def __call__(self, label: str, done: int, total: int) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_TERMINAL if self._terminal else _FILE)
        text = f"{label}: {done} of {total}"
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", file=sys.stderr)
        sys.stderr.flush()
        self._shown = True

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        if self._shown and self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
