"""List the models: filters in core.vs_sr, with their weights."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to set."""


def run(options: argparse.Namespace) -> int:
    """Print a paragraph per model."""
    from vs_sr import registry
    from vs_sr.weights import store

    for model in registry.models():
        print(f"{model.name}: {model.summary}")
        if model.paper:
            print(f"    {model.paper}")
        shipped = [entry.name for entry in store.index().values() if entry.model == model.name]
        theirs = (
            f"none shipped: get {model.published}" if model.published else "none shipped: give a file with weights="
        )
        weights = ["none needed"] if model.fixed else shipped or [theirs]
        marked = [f"{name} (default)" if name == model.weights else name for name in weights]
        print(f"    weights: {', '.join(marked)}")
    problems = registry.problems("model")
    for problem in problems:
        print(f"vs-sr models: {problem}", file=sys.stderr)
    return 1 if problems else 0
