"""Losses and gradients of a step in one go: as a CUDA graph of each shape, compiled, or as they are.

A step of a small network is hundreds of kernels that each take microseconds: what bounds it is how fast they are asked
for. A graph asks for all of them at once, and is captured in seconds; compiling fuses them besides, and takes minutes a
shape, which is worth it in a long run alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from vs_sr.training.journal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from vs_sr.training.parts import Part

    type Way = Literal["captured", "compiled", "eager"]
    type Facts = tuple[int, int, Part]
    """Scale, frame-rate factor, and the part of the network that runs."""
    type Compute = Callable[[Tensor, Tensor, int, int, Part], Tensor]
    """LR and HR (B, T, 3, h, w) and the facts to numbers, the first of which is the loss."""

_WARMUP = 3
"""Runs before a capture: libraries choose their kernels, constants are brought to the device."""


class Gradients:
    """Computes numbers, and leaves the gradients of the first one with the parameters."""

    def __init__(self, compute: Compute, parameters: Sequence[nn.Parameter], way: Way) -> None:
        """For ``parameters``, none of which is replaced from then on."""
        self.way: Way = way
        """What is done in fact: where that fails, plain steps follow, and it is said once."""
        self._compute = compute
        self._compiled = torch.compile(compute, dynamic=False) if way == "compiled" else compute
        self._parameters = [each for each in parameters if each.requires_grad]
        self._graphs: dict[object, _Graph] = {}

    def __call__(self, lr: Tensor, hr: Tensor, facts: Facts) -> Tensor:
        """The numbers, detached; gradients are added to those that there are."""
        if self.way != "eager":
            try:
                return self._quick(lr, hr, facts)
            except Exception as error:  # of the compiler, or of an operator that no graph can hold
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                say(f"steps are not {self.way} here ({reason}): they run one kernel at a time")
                self.way = "eager"
                self._graphs.clear()
        numbers, found = _differentiated(self._compute, self._parameters, lr, hr, facts)
        self._add(found)
        return numbers

    def _quick(self, lr: Tensor, hr: Tensor, facts: Facts) -> Tensor:
        if self.way == "compiled":
            numbers, found = _differentiated(self._compiled, self._parameters, lr, hr, facts)
        else:
            key = (lr.shape, hr.shape, facts)
            if key not in self._graphs:
                self._graphs[key] = _Graph(self._compute, self._parameters, lr, hr, facts)
            numbers, found = self._graphs[key](lr, hr)
        self._add(found)
        return numbers

    def _add(self, found: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self._parameters, found, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class _Graph:
    """A step of one shape, captured: its inputs are copied in, its results are there until the next one."""

    def __init__(
        self, compute: Compute, parameters: Sequence[nn.Parameter], lr: Tensor, hr: Tensor, facts: Facts
    ) -> None:
        self._lr, self._hr = lr.clone(), hr.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARMUP):
                _differentiated(compute, parameters, self._lr, self._hr, facts)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = _differentiated(compute, parameters, self._lr, self._hr, facts)

    def __call__(self, lr: Tensor, hr: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        self._lr.copy_(lr)
        self._hr.copy_(hr)
        self._graph.replay()
        numbers, found = self._found
        # Clipping changes gradients in place, numbers are read later: the graph's own stay as they are.
        return numbers.clone(), [None if each is None else each.clone() for each in found]


def _differentiated(
    compute: Compute, parameters: Sequence[nn.Parameter], lr: Tensor, hr: Tensor, facts: Facts
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The numbers, and the gradients of the first; None for parameters that it does not depend on."""
    numbers = compute(lr, hr, *facts)
    return numbers.detach(), torch.autograd.grad(numbers[0], parameters, allow_unused=True)
