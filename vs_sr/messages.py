"""Log lines that say something once to everybody who hears it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

_log = logging.getLogger("vs_sr")
_lock = threading.Lock()
_logged: set[tuple[Hashable, str]] = set()
_audience: Callable[[], Collection[Hashable]] | None = None


def log_once(message: str, level: int = logging.INFO) -> None:
    """Log a line once for everybody who hears it."""
    hearing = (None,) if _audience is None else _audience()
    with _lock:
        fresh = [who for who in hearing if (who, message) not in _logged]
        _logged.update((who, message) for who in fresh)
    if fresh:
        _log.log(level, "%s", message, extra={"audience": fresh})


def set_audience(audience: Callable[[], Collection[Hashable]]) -> None:
    """Say who hears a line that is logged now; without, it is the process as a whole."""
    global _audience
    _audience = audience
