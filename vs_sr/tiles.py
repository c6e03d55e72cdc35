"""Tiles: the parts that a large frame is run in, and what is kept of each. Pure integers.

A tile sees more of the frame than it is kept of: at every side that is no border of the frame, at least
``overlap`` pixels are computed and thrown away. Where a network sees no further than that, the tiles together
are what the whole frame would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import NamedTuple

from vs_sr.errors import ArgumentError

_MAX_OVERLAP = 32
"""Default for networks that see further. Random networks of EDSR's, MDSR's and ESRGAN's size show no difference
above float32's own from 24 pixels on: the paths that lead further are few."""
_MIN_SIDE = 64
"""The planner makes no smaller tiles: most of such a tile would be overlap."""


class Result(NamedTuple):
    """Where the kept part of a tile's result is, along one axis."""

    source: slice
    """In the result of the tile."""
    target: slice
    """In the result of the whole frame."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in input pixels."""

    start: int
    """Where the network's input begins."""
    stop: int
    """Where it ends."""
    first: int
    """Where the part begins that is kept."""
    last: int
    """Where that part ends."""

    @property
    def run(self) -> slice:
        """The network's input."""
        return slice(self.start, self.stop)

    def result(self, scale: int) -> Result:
        """The kept part of what a network makes that upscales by ``scale``."""
        inner = slice(scale * (self.first - self.start), scale * (self.last - self.start))
        return Result(inner, slice(scale * self.first, scale * self.last))


@dataclass(frozen=True)
class Tile:
    """A tile of a frame."""

    columns: Span
    rows: Span


def spans(size: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """Cover ``size`` pixels with tiles.

    All are equally long, but that the last one reaches to the border, and so may be up to ``multiple`` - 1
    pixels longer. They begin at multiples of ``multiple``.

    Args:
        size: pixels to cover, from 1.
        tile: length of a tile, the overlap included; 0, or what is not below ``size``: one tile of all.
        overlap: pixels at least that a tile throws away at each end inside the frame.
        multiple: see :attr:`vs_sr.spec.Variant.multiple`.

    Raises:
        ArgumentError: a tile would keep nothing.
    """
    if not 0 < tile < size or (tile := max(1, tile // multiple) * multiple) >= size:
        return [Span(0, size, 0, size)]
    step = (tile - 2 * overlap) // multiple * multiple
    if step < 1:
        raise ArgumentError(
            f"tilesize={tile} with overlap={overlap} on both sides leaves nothing of a tile; "
            f"tiles must be at least {-(-2 * overlap // multiple) * multiple + multiple}"
        )
    end = (size - tile) // multiple * multiple
    starts = [*range(0, end, step), end]
    stops = [start + tile for start in starts[:-1]] + [size]
    borders = [0, *((start + stop) // 2 for (_, start), stop in zip(pairwise(starts), stops, strict=False)), size]
    return [Span(*span) for span in zip(starts, stops, borders[:-1], borders[1:], strict=True)]


def cover(
    size: tuple[int, int], tile: tuple[int, int], overlap: tuple[int, int], multiple: int = 1
) -> tuple[Tile, ...]:
    """The tiles of a frame, row by row; none where one tile would be the whole frame.

    All pairs are (width, height); see :func:`spans`.
    """
    columns, rows = (spans(*axis, multiple) for axis in zip(size, tile, overlap, strict=True))
    if len(columns) == len(rows) == 1:
        return ()
    return tuple(Tile(column, row) for row in rows for column in columns)


def whole(size: tuple[int, int]) -> Tile:
    """The whole frame (width, height) as a tile."""
    return Tile(*(Span(0, side, 0, side) for side in size))


def halved(size: tuple[int, int], tile: tuple[int, int]) -> tuple[int, int] | None:
    """Tiles of about half the pixels of ``tile`` (0: that side of the frame); None: there are no smaller ones."""
    width, height = (side if not 0 < part < side else part for side, part in zip(size, tile, strict=True))
    if max(width, height) // 2 < _MIN_SIDE:
        return None
    return (width // 2, height) if width >= height else (width, height // 2)


def quarter(tile: int, multiple: int = 1) -> int:
    """A quarter of the length that a tile really has: half of such a tile is kept."""
    return tile // multiple * multiple // 4


def default_overlap(tile: int, receptive_field: int | None, multiple: int = 1) -> int:
    """How far a network sees, or :data:`_MAX_OVERLAP` where that is further; a quarter of a tile at most."""
    return min(_MAX_OVERLAP if receptive_field is None else receptive_field, _MAX_OVERLAP, quarter(tile, multiple))


def overlaps(
    tile: tuple[int, int], given: tuple[int, int] | None, receptive_field: int | None, multiple: int = 1
) -> tuple[int, int]:
    """The overlap that is given, or the default for tiles of (width, height)."""
    return given or (
        default_overlap(tile[0], receptive_field, multiple),
        default_overlap(tile[1], receptive_field, multiple),
    )


def estimate(*, scale: int, channels: int, bytes_per_value: int, timesteps: int = 1) -> int:
    """Bytes for each input pixel that a network takes at most while it runs, weights apart; up to twice what is
    taken. ``tests/engine/test_memory.py`` measures it.

    Args:
        scale: of the output; some layers are held at its size.
        channels: features per pixel.
        bytes_per_value: of features.
        timesteps: of a sequence, whose features and outputs are held at once; the outputs in float32.
    """
    features = channels * bytes_per_value * (4 + 4 * timesteps + 4 * scale * scale)
    return features + 3 * 4 * scale * scale * timesteps


def plan(size: tuple[int, int], needed: int, memory: int) -> tuple[int, int]:
    """The (width, height) of tiles that fit into ``memory`` bytes, or (0, 0): the whole frame.

    It depends on its arguments alone, so that a film is cut up in the same way each time.

    Args:
        size: (width, height) of a frame.
        needed: bytes per pixel, see :func:`estimate`.
        memory: bytes.
    """
    if size[0] * size[1] * needed <= memory:
        return 0, 0
    side = max(_MIN_SIDE, isqrt(memory // needed) // 16 * 16)
    return side, side
