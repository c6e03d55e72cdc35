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
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor


def mutate(name: str, old: str, new: str) -> ModuleType:
    """The module ``name`` again, with every ``old`` in its source replaced by ``new``; the module itself stays."""
    original = importlib.import_module(name)
    assert original.__file__ is not None
    with open(original.__file__, encoding="utf-8") as file:
        source = file.read()
    assert old in source, f"{name} has no {old!r} any more: write the mutation again"
    mutant = ModuleType(name)
    mutant.__file__ = original.__file__
    mutant.__package__ = original.__package__
    with _registered(name, mutant):
        exec(compile(source.replace(old, new), f"{original.__file__} (mutant)", "exec"), mutant.__dict__)
    return mutant


def mutate_network(name: str, layers: str, old: str, new: str) -> ModuleType:
    """As :func:`mutate` for the network ``vs_sr.models.<name>``, or for what it takes from ``vs_sr.models.layers``.

    Args:
        name: of the network's module below ``vs_sr.models``.
        layers: which of the two is changed: ``"layers"``, or ``name`` again.
        old: what is replaced.
        new: by what; ``_swapped(offset)`` exchanges dx and dy.
    """
    if layers != "layers":
        return mutate(f"vs_sr.models.{name}", old, new)
    changed = mutate("vs_sr.models.layers", old, new)
    changed.__dict__["_swapped"] = lambda offset: offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)
    module = mutate(f"vs_sr.models.{name}", "import", "import")
    module.__dict__.update({key: value for key, value in changed.__dict__.items() if key in module.__dict__})
    return module


def assert_seen(output: Tensor, shape: Sequence[int], error: Callable[[Tensor], float], tolerance: float) -> None:
    """A fault is seen where its output could pass for a right one, and is off by more than ten times the tolerance.

    An output of another shape, or one that is not finite, is noticed by anything: it would say nothing about the
    golden vector.

    Args:
        output: of the network with the fault.
        shape: of the right output.
        error: how far an output is from the golden vector.
        tolerance: what the right network is allowed.
    """
    assert tuple(output.shape) == tuple(shape), f"a fault has to keep the shape {tuple(shape)}; got {output.shape}"
    assert bool(output.isfinite().all()), "a fault has to keep the output finite"
    found = error(output)
    assert found > 10 * tolerance, (
        f"the fault makes a difference of {found:.1e}, against a tolerance of {tolerance:.1e}"
    )


@contextmanager
def _registered(name: str, module: ModuleType) -> Iterator[None]:
    original = sys.modules[name]
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules[name] = original
