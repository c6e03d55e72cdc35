"""The one reader of the environment: a small function per variable."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled kernels are kept between runs; may not exist yet, and may not be writable.

    ``VS_SR_CACHE``, else ``vs_sr`` in ``XDG_CACHE_HOME``, else ``~/.cache/vs_sr``.
    """
    if folder := os.environ.get("VS_SR_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "vs_sr"
