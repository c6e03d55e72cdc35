"""Progress on stderr, of work that takes more than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager

_PATIENCE = 2.0
"""Seconds of silence at the beginning."""
_TERMINAL, _FILE = 0.2, 10.0
"""Seconds between two messages: in place on a terminal, as lines elsewhere."""


class Progress(AbstractContextManager["Progress"]):
    """Called with a label, the pieces done and the pieces in all, and more where there is more to be said.

    What was said last is shown when the patience is over, even where the first piece takes longer than that.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE
        self._latest: str | None = None
        self._shown = False
        self._lock = threading.Lock()
        self._first = threading.Timer(_PATIENCE, self._show)
        self._first.daemon = True
        self._first.start()

    def __call__(self, label: str, done: int, total: int | None, more: str = "") -> None:
        """Say it, if it is time to. ``total`` is None where nobody knows it."""
        of = "" if total is None else f" of {total}"
        self._latest = f"{label}: {done}{of}{more}"
        if time.monotonic() >= self._next:
            self._show()

    def _show(self) -> None:
        with self._lock:
            text, self._latest = self._latest, None
            if text is None:
                return
            self._next = time.monotonic() + (_TERMINAL if self._terminal else _FILE)
            line = f"\r\x1b[K{text}" if self._terminal else f"{text}\n"
            print(line, end="", file=sys.stderr, flush=True)
            self._shown = True

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._first.cancel()
        with self._lock:
            if self._shown and self._terminal:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
