"""Where calls of ``core.vs_sr.<Model>`` enter Python."""

from functools import partial
from typing import Any

import vapoursynth as vs

from vs_sr import _bridge, _log, filters


def call(name: str) -> None:
    """Build the filter ``name``. Called by the plugin, inside the call that the script has made."""
    vs.core.vs_sr.XCall(func=partial(dispatch, name))


def dispatch(name: str, **arguments: Any) -> dict[str, Any]:
    """Build the filter ``name`` from a call's arguments: ``{"clip": node}``, or ``{"_error": text}``."""
    try:
        _log.join()
        return {"clip": filters.create(name, arguments)}
    except Exception as error:
        return {"_error": _bridge.describe(name, error)}
