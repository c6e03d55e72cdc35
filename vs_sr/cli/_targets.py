"""Files that results go to, refused before anything is computed where they would fail at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def check(options: argparse.Namespace, *names: str) -> None:
    """Whether the files can be written that these options name.

    Raises:
        ArgumentError: one cannot.
    """
    for name in names:
        path: Path | None = getattr(options, name)
        try:
            if path is not None:
                files.check_target(path)
        except ArgumentError as error:
            raise ArgumentError(f"--{name}: {path} {error}") from None
