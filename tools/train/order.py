"""Which recipe is next: the first of ``benchmarks/training/order.toml`` that has not ended."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from tools.card.kit import KitError
from tools.card.machine import ROOT

FOLDER = ROOT / "benchmarks" / "training"
"""Of the order, and of what unfinished recipes need to go on."""
LARGEST = 8_000_000
"""Bytes of what is kept of one."""


@dataclass(frozen=True, kw_only=True)
class Next:
    """A recipe that is to be trained."""

    recipe: str
    """Its name, or a file's beside the order."""
    batches: int
    """Of the recipe that a step takes on a card."""
    kept: Path | None
    """Averages of where it stands; None: it has not begun."""

    @property
    def place(self) -> Path:
        """Where its averages are kept."""
        return FOLDER / f"{Path(self.recipe).stem}.safetensors"


def following(folder: Path = FOLDER) -> Next:
    """The next one.

    Raises:
        KitError: all have ended, or the order cannot be read.
    """
    path = folder / "order.toml"
    try:
        runs = tomllib.loads(path.read_text(encoding="utf-8"))["run"]
        listed = [(str(run["recipe"]), int(run["batches"])) for run in runs]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path}: cannot be read ({error}); needs tables [[run]] with recipe and batches") from None
    for recipe, batches in listed:
        kept = folder / f"{Path(recipe).stem}.safetensors"
        if not kept.exists():
            return Next(recipe=_found(folder, recipe), batches=batches, kept=None)
        if unfinished(kept):
            return Next(recipe=_found(folder, recipe), batches=batches, kept=kept)
    raise KitError(f"{path}: all of its recipes have ended; add the next one")


def unfinished(path: Path) -> bool:
    """Whether weights are of a run that has not ended."""
    with safe_open(path, "np") as file:
        return "progress" in (file.metadata() or {})


def _found(folder: Path, recipe: str) -> str:
    return str(folder / recipe) if (folder / recipe).is_file() else recipe
