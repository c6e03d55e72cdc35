"""Which frames and which parts of them a network is given in a measurement: windows, quarters; on integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from vs_sr.errors import ArgumentError

type Tail = Literal["short", "drop"]

TAILS: tuple[Tail, ...] = get_args(Tail.__value__)
"""What becomes of the frames after the last whole window: a shorter window, or nothing."""


def spans(count: int, size: int, shared: int, tail: Tail) -> list[range]:
    """Windows of ``size`` frames over a clip, consecutive ones with ``shared`` frames in common.

    Args:
        count: frames of the clip.
        size: frames of a window; 0 is the whole clip.
        shared: below ``size``.
        tail: see :data:`TAILS`. A shorter window that would hold only shared frames is left out.

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


def in_four(length: int, shave: int) -> tuple[slice, slice]:
    """The two overlapping halves of an axis that EDSR's chop cuts: each goes ``shave`` beyond the middle."""
    part = length // 2 + shave
    return slice(0, part), slice(length - part, length)


def chopped[Picture](
    size: tuple[int, int],
    shave: int,
    limit: int,
    run: Callable[[slice, slice], Picture],
    join: Callable[[Sequence[Picture], tuple[int, int]], Picture],
    origin: tuple[int, int] = (0, 0),
) -> Picture:
    """A picture run in four overlapping quarters, and those again while they hold ``limit`` pixels or more.

    Args:
        size: (height, width) of the picture.
        shave: pixels that a quarter goes beyond the middle.
        limit: a quarter of fewer pixels is run as it is.
        run: gives the result of a rectangle (rows, columns) of the whole picture.
        join: makes one result of four (top left, top right, bottom left, bottom right) of a picture of a size.
        origin: of this picture in the whole one.

    Raises:
        ArgumentError: the overlap leaves nothing to cut.
    """
    height, width = size
    if height // 2 + shave >= height or width // 2 + shave >= width:
        raise ArgumentError(f"a picture of {width}x{height} cannot be cut in four with {shave} pixels of overlap")
    quarters: list[Picture] = []
    for rows in in_four(height, shave):
        for columns in in_four(width, shave):
            top, left = origin[0] + rows.start, origin[1] + columns.start
            part = (rows.stop - rows.start, columns.stop - columns.start)
            if part[0] * part[1] < limit:
                quarters.append(run(slice(top, top + part[0]), slice(left, left + part[1])))
            else:
                quarters.append(chopped(part, shave, limit, run, join, (top, left)))
    return join(quarters, size)
