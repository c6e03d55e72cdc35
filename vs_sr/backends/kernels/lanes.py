"""Lanes of a device: what does not depend on each other runs side by side where there is room for both."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Lanes(Protocol):
    """A lane beside each one that work can be in."""

    def beside(self) -> AbstractContextManager[None]:
        """What is launched within runs beside what its lane launches after it, until :meth:`join`."""

    def join(self) -> None:
        """What this lane launches from here on sees all of it."""


class OneLane:
    """Everything in its order."""

    def beside(self) -> AbstractContextManager[None]:
        """See :class:`Lanes`."""
        return nullcontext()

    def join(self) -> None:
        """See :class:`Lanes`."""


class Streams:
    """CUDA streams. To be used by one thread.

    A tensor of one stream may be used in another's lane, since whatever is freed between a fork and its join was of
    one lane alone.

    Args:
        device: whose.
        parents: streams that get a side stream each; all others have one together, which are in use one at a time.
    """

    def __init__(self, device: torch.device, parents: Sequence[torch.cuda.Stream] = ()) -> None:
        self._device = device
        self._other = torch.cuda.Stream(device)
        self._sides = {parent: torch.cuda.Stream(device) for parent in parents}

    @property
    def sides(self) -> list[torch.cuda.Stream]:
        """All side streams."""
        return [self._other, *self._sides.values()]

    @contextmanager
    def beside(self) -> Iterator[None]:
        """See :class:`Lanes`."""
        current, side = self._here()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            yield

    def join(self) -> None:
        """See :class:`Lanes`."""
        current, side = self._here()
        current.wait_stream(side)

    def _here(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
        current = torch.cuda.current_stream(self._device)
        return current, self._sides.get(current, self._other)
