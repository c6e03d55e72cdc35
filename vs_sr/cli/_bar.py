"""Progress as a bar, on a terminal, by rich."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Bar(AbstractContextManager["Bar"]):
    """Called as :class:`vs_sr.cli._progress.Progress` is; gone when the block is left."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[more]}")
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None, more="")

    def __enter__(self) -> Bar:
        """Show it."""
        self._bar.start()
        return self

    def __call__(self, label: str, done: int, total: int | None, more: str = "") -> None:
        """Say how far it is."""
        self._bar.update(self._task, description=label, completed=done, total=total, more=more.removeprefix(", "))

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._bar.stop()
