"""Stands for a CUDA device that captures graphs: operators on the CPU are recorded with the tensors that they were
given, and a replay runs them again on the same memory, and nothing of the Python around them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Step:
    """One recorded operator."""

    operator: Any
    arguments: Any
    options: Any
    made: Any
    lane: str
    """Where its direction runs: "main", "beside" it, or "after" both are joined."""
    fork: tuple[int, bool] | None
    """Between a fork for the states and its join: its number, and whether this step is the side's."""

    def again(self) -> None:
        """Run it again; its results go where they went."""
        made = self.operator(*self.arguments, **self.options)
        for old, new in zip(tree_leaves(self.made), tree_leaves(made), strict=True):
            if isinstance(old, torch.Tensor) and memory(old) != memory(new):
                old.copy_(new)

    def memories(self) -> set[int]:
        """All that it reads or writes."""
        leaves = tree_leaves((self.arguments, self.options, self.made))
        return {memory(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)}


def memory(tensor: torch.Tensor) -> int:
    """Where a tensor's storage begins."""
    return tensor.untyped_storage().data_ptr()


class Directions:
    """See :class:`vs_sr.backends.kernels.lanes.Lanes`."""

    def __init__(self) -> None:
        self.lane = "main"

    @contextmanager
    def beside(self) -> Iterator[None]:
        self.lane = "beside"
        yield
        self.lane = "main"

    def join(self) -> None:
        self.lane = "after"


class States:
    """Likewise."""

    def __init__(self) -> None:
        self.fork: tuple[int, bool] | None = None
        self._count = 0

    @contextmanager
    def beside(self) -> Iterator[None]:
        assert self.fork is None, "a fork before the last one is joined"
        self._count += 1
        self.fork = self._count, True
        yield
        self.fork = self._count, False

    def join(self) -> None:
        assert self.fork == (self._count, False)
        self.fork = None


class Recorder:
    """See :class:`vs_sr.backends.kernels.graphs.Device`."""

    def __init__(self) -> None:
        self.captured: list[list[Step]] = []
        self.replays = 0
        self.directions = Directions()
        self.states = States()

    def capture[T](self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        steps: list[Step] = []
        device = self

        class Recording(TorchDispatchMode):
            def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = operator(*args, **(kwargs or {}))
                where = device.directions.lane, device.states.fork
                steps.append(Step(operator, args, kwargs or {}, made, *where))
                return made

        self.directions.lane = "main"
        with Recording():
            made = work()
        for tensor in [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]:
            tensor.fill_(float("nan"))  # a capture computes nothing
        self.captured.append(steps)

        def replay() -> None:
            self.replays += 1
            for step in steps:
                step.again()

        return made, replay
