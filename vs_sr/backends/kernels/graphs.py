"""Methods of a network as CUDA graphs, one for each shape: all their launches at the cost of one.

The first call with a shape runs as it is, the second is captured, later ones are replayed. All of them give the same
bits, so it does not matter which call is which; where no graph can be made, methods go on running as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from vs_sr.backends.kernels.lanes import Streams
from vs_sr.errors import described
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.backends.kernels.lanes import Lanes

_MOST = 16
"""Graphs of a method. Each keeps its buffers; a clip has few shapes, most windows one."""


class Device(Protocol):
    """What captures launches; the tests have one that records them on the CPU."""

    @property
    def directions(self) -> Lanes:
        """For the two directions of a window."""

    @property
    def states(self) -> Lanes:
        """For what the hidden and the cell state go through, in either direction."""

    def capture[T](self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """What ``work`` gives, in buffers that stay, and what computes it again from its inputs' buffers."""


class Cuda:
    """A CUDA device. To be used by one thread.

    Args:
        device: as torch names it.
    """

    def __init__(self, device: torch.device) -> None:
        self.directions = Streams(device)
        self.states = Streams(device, self.directions.sides)
        self._captured = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()  # one for all: they never run at the same time

    def capture[T](self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """See :class:`Device`. Other threads may go on using the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._captured, capture_error_mode="thread_local"):
            made = work()
        return made, graph.replay


@dataclass(frozen=True)
class _Graph:
    inputs: list[Tensor]
    made: Any
    replay: Callable[[], None]


class Graphed:
    """A function of tensors, alone or in tuples and lists, that gives tensors likewise.

    Args:
        function: what is captured. It depends on nothing but its arguments, and asks for no value of a tensor.
        device: where it runs.
    """

    def __init__(self, function: Callable[..., Any], device: Device) -> None:
        self._function = function
        self._device = device
        self._graphs: dict[Hashable, _Graph] = {}
        self._seen: set[Hashable] = set()
        self._possible = True

    def __call__(self, *arguments: Any, **options: Hashable) -> Any:
        """What the function gives; in tensors of its own."""
        given: dict[int, Tensor] = {}
        key = _shape(arguments, given), tuple(sorted(options.items()))
        graph = self._graphs.get(key)
        if graph is None:
            if key not in self._seen:
                self._seen.add(key)
                return self._function(*arguments, **options)
            graph = self._capture(arguments, options, given) if self._room() else None
            if graph is None:
                return self._function(*arguments, **options)
            self._graphs[key] = graph
        for mine, theirs in zip(graph.inputs, given.values(), strict=True):
            mine.copy_(theirs)
        graph.replay()
        return _mapped(graph.made, torch.clone, {})  # the next replay writes to the same buffers

    def _room(self) -> bool:
        return self._possible and len(self._graphs) < _MOST

    def _capture(self, arguments: Any, options: dict[str, Hashable], given: dict[int, Tensor]) -> _Graph | None:
        try:
            buffers: dict[int, Tensor] = {}
            inside = _mapped(arguments, _room_for, buffers)
            made, replay = self._device.capture(partial(self._function, *inside, **options))
        except Exception as error:  # of memory, or of the driver: nothing is lost but time
            self._possible = False
            self._graphs.clear()
            log_once(f"no CUDA graphs from here on, which is slower: {described(error)}", logging.WARNING)
            return None
        return _Graph([buffers[each] for each in given], made, replay)


def network(plain: Any, kind: str, device: Device) -> Any:
    """A network of a kind of model whose methods are graphs; of a sequence, whole windows as well."""
    if kind == "image":
        return Graphed(plain, device)
    if kind == "multi-frame":
        return SimpleNamespace(encode=Graphed(plain.encode, device), reconstruct=Graphed(plain.reconstruct, device))
    return SimpleNamespace(
        encode=Graphed(plain.encode, device),
        between=Graphed(plain.between, device),
        forward_step=plain.forward_step,
        backward_step=plain.backward_step,
        reconstruct=plain.reconstruct,
        run=Graphed(partial(_run, plain, device.directions), device),
    )


def _run(plain: Any, lanes: Lanes, steps: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return steps(plain, *arguments, beside=lanes.beside, join=lanes.join, **options)


def _shape(tree: Any, found: dict[int, Tensor]) -> Hashable:
    """What two arguments have in common that one graph serves: everything but the numbers of tensors.

    Args:
        tree: of tuples and lists.
        found: takes its tensors by their ids, each once.
    """
    if isinstance(tree, torch.Tensor):
        found.setdefault(id(tree), tree)
        number = list(found).index(id(tree))  # the same tensor in several places is one input
        return number, tree.shape, tree.stride(), tree.dtype
    if isinstance(tree, tuple | list):
        return type(tree), *(_shape(branch, found) for branch in tree)
    return tree  # type: ignore[no-any-return]


def _mapped(tree: Any, function: Callable[[Tensor], Tensor], known: dict[int, Tensor]) -> Any:
    """The same tree of other tensors; what was one tensor is one again."""
    if isinstance(tree, torch.Tensor):
        if id(tree) not in known:
            known[id(tree)] = function(tree)
        return known[id(tree)]
    if isinstance(tree, dict):
        return {key: _mapped(branch, function, known) for key, branch in tree.items()}
    if isinstance(tree, tuple | list):
        branches = [_mapped(branch, function, known) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def _room_for(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
