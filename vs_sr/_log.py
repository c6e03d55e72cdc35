"""Log lines reach people in every host: they go to the log of the core that they are about.

Python's own logging reaches them in some. vspipe and mpv pass it on from threads that run a script, and drop it from
others; previewers show the core's log alone (``core.add_log_handler``; in a plain Python script that is the logger
"vapoursynth"). So the logger "vs_sr" writes to cores, and to nobody else: no line comes twice.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import vapoursynth as vs

from vs_sr import messages

if TYPE_CHECKING:
    from collections.abc import Collection

_log = logging.getLogger("vs_sr")
_lock = threading.Lock()
_environments: dict[int, vs.Environment] = {}
"""Those in which filters have been made, by number; an environment does not live longer for being here."""


def join() -> None:
    """Let the current environment hear of everything that is logged from now on."""
    environment = vs.get_current_environment()
    with _lock:
        for number in [number for number, other in _environments.items() if not other.alive]:
            del _environments[number]
        _environments[environment.env_id] = environment
        if not any(isinstance(handler, _Cores) for handler in _log.handlers):
            _log.addHandler(_Cores())
            _log.propagate = False
            messages.set_audience(audience)
            if _log.level == logging.NOTSET:
                _log.setLevel(logging.INFO)


def audience() -> Collection[int | None]:
    """The environment that the calling thread works for; all that there are on threads of our own; None without any."""
    try:
        number = vs.get_current_environment().env_id
        if number in _environments:
            return (number,)
    except (RuntimeError, vs.Error):
        pass
    with _lock:
        return tuple(number for number, environment in _environments.items() if environment.alive) or (None,)


class _Cores(logging.Handler):
    """Writes to the logs of cores; to Python's where no core is left."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            numbers: Collection[int | None] = getattr(record, "audience", None) or audience()
            for number in numbers:
                environment = None if number is None else _environments.get(number)
                if environment is None:
                    logging.getLogger().handle(record)
                elif environment.alive:
                    with environment.use():
                        vs.core.log_message(_type(record.levelno), self.format(record))
        except Exception:  # a line that is lost is no reason for a film to be
            self.handleError(record)


def _type(level: int) -> vs.MessageType:
    """The core's word for a level; not "fatal", which ends the process."""
    if level >= logging.ERROR:
        return vs.MESSAGE_TYPE_CRITICAL
    if level >= logging.WARNING:
        return vs.MESSAGE_TYPE_WARNING
    return vs.MESSAGE_TYPE_INFORMATION if level >= logging.INFO else vs.MESSAGE_TYPE_DEBUG
