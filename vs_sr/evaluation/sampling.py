"""Which frames and which parts of them a network gets in a measurement: windows, quarters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

type Tail = Literal["short", "drop"]
"""What becomes of the frames after the last whole window: a shorter window, or nothing."""


def spans(count: int, size: int, shared: int, tail: Tail) -> list[range]:
    """Windows of ``size`` frames over a clip, consecutive ones with ``shared`` frames in common.

    Args:
        count: frames of the clip.
        size: frames of a window; 0 is the whole clip.
        shared: below ``size``.
        tail: see :data:`Tail`. A shorter window that would hold only shared frames is left out.

    Raises:
        ArgumentError: ``shared`` is not below ``size``, or the clip has no whole window and the rest is dropped.
    """
    if size == 0:
        return [range(count)]
    if not 0 <= shared < size:
        raise ArgumentError(f"windows of {size} frames cannot share {shared}")
    starts = range(0, max(count - shared, 1), size - shared)
    found = [range(start, min(start + size, count)) for start in starts]
    if tail == "drop":
        found = [span for span in found if len(span) == size]
    if not found:
        raise ArgumentError(f"a clip of {count} frames holds no window of {size}; use a smaller window or tail 'short'")
    return found


def chopped(image: Tensor, shave: int, limit: int, scale: int, run: Callable[[Tensor], Tensor]) -> Tensor:
    """An image run in four overlapping quarters, as EDSR does; those again while they have ``limit`` pixels or more.

    Args:
        image: (C, h, w).
        shave: pixels that a quarter goes beyond the middle.
        limit: a quarter of fewer pixels is run as it is.
        scale: of the result.
        run: (C, h, w) -> (C, scale*h, scale*w).

    Raises:
        ArgumentError: the overlap leaves nothing to cut.
    """
    from vs_sr.runtime import torch

    def halves(image: Tensor, axis: int, run: Callable[[Tensor], Tensor]) -> Tensor:
        length = image.shape[axis]
        middle, part = length // 2, length // 2 + shave
        if part >= length:
            raise ArgumentError(f"{length} pixels cannot be cut in two with {shave} pixels of overlap")
        first, second = (run(image.narrow(axis, start, part)) for start in (0, length - part))
        rest = scale * (length - middle)
        return torch.cat(
            [first.narrow(axis, 0, scale * middle), second.narrow(axis, second.shape[axis] - rest, rest)], axis
        )

    def quarter(part: Tensor) -> Tensor:
        return run(part) if part.shape[-2] * part.shape[-1] < limit else chopped(part, shave, limit, scale, run)

    return halves(image, -2, lambda rows: halves(rows, -1, quarter))
