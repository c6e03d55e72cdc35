"""List the models: filters in core.vs_sr, with their weights."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from vs_sr.spec import Model
    from vs_sr.weights.store import Shipped


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
        shipped = [entry for entry in store.index().values() if entry.model == model.name]
        weights = ["none needed"] if model.fixed else [marked(entry, model) for entry in shipped] or [_theirs(model)]
        print(f"    weights: {', '.join(weights)}")
    problems = registry.problems("model")
    for problem in problems:
        print(f"vs-sr models: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _theirs(model: Model) -> str:
    """Where others' weights are."""
    if model.published is None:
        return "none shipped: give a file with weights="
    if model.published.address:
        return f"none shipped: `{model.published.getting}` gets {model.published}"
    return f"none shipped: get {model.published}"


def marked(entry: Shipped, model: Model) -> str:
    """A name, and when it is the default."""
    from vs_sr.weights import store

    if entry.name == model.weights:
        return f"{entry.name} (default)"
    default = entry.name == store.default(model, entry.scale)
    return f"{entry.name} (default for scale={entry.scale})" if default else entry.name
