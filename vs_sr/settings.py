"""The one reader of the environment: a small function per variable."""

from __future__ import annotations

import os
from pathlib import Path

from vs_sr import system


def cache_folder() -> Path:
    """Where compiled kernels are kept between runs; may not exist yet, and may not be writable.

    ``VS_SR_CACHE``, else ``vs_sr`` in ``XDG_CACHE_HOME`` or ``~/.cache``; on Windows in ``LOCALAPPDATA``.
    """
    if folder := os.environ.get("VS_SR_CACHE"):
        return Path(folder)
    variable, usual = system.CACHE
    return Path(os.environ.get(variable) or usual).expanduser() / "vs_sr"
