"""Networks with a planted fault, made by changing a piece of a module's source.

A golden vector is worth something only where it sees a plausible mistake. The piece has to occur in the
source, so a test cannot outlive the code that it is about.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def mutate(name: str, old: str, new: str) -> ModuleType:
    """The module ``name`` anew, with every ``old`` in its source replaced by ``new``; the module itself stays."""
    original = importlib.import_module(name)
    assert original.__file__ is not None
    with open(original.__file__, encoding="utf-8") as file:
        source = file.read()
    assert old in source, f"{name} has no {old!r} any more: write the mutation anew"
    mutant = ModuleType(name)
    mutant.__file__ = original.__file__
    mutant.__package__ = original.__package__
    with _registered(name, mutant):
        exec(compile(source.replace(old, new), f"{original.__file__} (mutant)", "exec"), mutant.__dict__)
    return mutant


@contextmanager
def _registered(name: str, module: ModuleType) -> Iterator[None]:
    original = sys.modules[name]
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules[name] = original
