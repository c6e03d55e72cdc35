"""What all schedulers have in common: frames in tiles, and smaller tiles where memory runs out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vs_sr import tiles
from vs_sr.engine.session import OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from torch import Tensor

    from vs_sr.engine.session import Session
    from vs_sr.tiles import Tile
    from vs_sr.windows import Grid, Need

_log = logging.getLogger("vs_sr")

type Work[T] = Generator[Need, Held, T]
"""A request on its way to a T. Where it needs more frames it says so, and goes on with all that are held by then;
so what it has achieved is in its own variables, and ends with it wherever it ends."""


@dataclass(frozen=True)
class Held:
    """The input frames that a request has at hand, until it asks for others."""

    numbers: frozenset[int]
    cuts: frozenset[int]
    """Numbers i where these frames say that there is a cut between the input frames i and i+1."""
    picture: Callable[[int], Tensor]
    """A frame of them, (C, H, W) float32 on the host, RGB or luma."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How frames are cut into tiles: all of it follows from the clip's size and the arguments."""

    size: tuple[int, int]
    """Width and height of a frame."""
    scale: int
    tile: tuple[int, int] = (0, 0)
    """Width and height of a tile; 0: the whole side."""
    overlap: tuple[int, int] | None = None
    """As asked for; None: by ``halo``."""
    halo: int | None = None
    """See :attr:`vs_sr.spec.Variant.halo`."""
    multiple: int = 1
    divisible: bool = True
    """Whether smaller tiles may be taken when memory runs out; not where each change of the picture."""

    def tiles(self) -> tuple[Tile, ...]:
        """The tiles, at least one."""
        overlap = tiles.overlaps(self.tile, self.overlap, self.halo, self.multiple)
        return tiles.cover(self.size, self.tile, overlap, self.multiple) or (tiles.whole(self.size),)

    def smaller(self) -> Layout | None:
        """The layout to try next where this one takes too much memory; None: there is none."""
        side = tiles.halved(self.size, self.tile) if self.divisible else None
        if side is None:
            return None
        asked = self.overlap
        if asked is not None:
            quarters = tiles.quarter(side[0], self.multiple), tiles.quarter(side[1], self.multiple)
            asked = min(asked[0], quarters[0]), min(asked[1], quarters[1])
        return replace(self, tile=side, overlap=asked)


class Scheduler(ABC):
    """Computes a clip group by group, in any order, many on their way at the same time. To be called by one thread
    at a time."""

    def __init__(self, grid: Grid, session: Session, layout: Layout) -> None:
        self.grid = grid
        self.session = session
        self.layout = layout
        self.tiles = layout.tiles()

    def render(self, group: int, held: Held) -> Work[Mapping[int, Tensor]]:
        """The outputs of a group.

        Args:
            group: its number on the grid.
            held: the frames that belong to it, at least.

        Returns:
            Output frame to picture, (C, scale*H, scale*W) float32 on the host; an output that repeats another
            has the same tensor.

        Raises:
            OutOfMemoryError: the device has no memory for it, in tiles neither.
        """
        while True:
            layout = self.layout
            work = self._render(group, held)
            try:
                need = next(work)
                while True:
                    held = yield need
                    if self.layout is not layout:  # smaller tiles since, for another request: begin again
                        break
                    need = work.send(held)
            except StopIteration as end:
                made: Mapping[int, Tensor] = end.value
                return made
            except OutOfMemoryError as error:
                self._divide(error)

    @abstractmethod
    def _render(self, group: int, held: Held) -> Work[Mapping[int, Tensor]]: ...

    def _reset(self) -> None:  # noqa: B027 - not every kind keeps something
        """Forget everything that was computed with other tiles."""

    def _divide(self, error: OutOfMemoryError) -> None:
        layout = self.layout.smaller()
        width, height = (tile or side for tile, side in zip(self.layout.tile, self.layout.size, strict=True))
        if layout is None:
            raise OutOfMemoryError(
                f"{error}; this was with {width}x{height} pixels at a time; use a smaller window, tilesize or clip, "
                "fewer num_streams, or device_id=-1 for the CPU"
            ) from None
        _log.warning(
            "%s: %s with %dx%d pixels at a time; trying tiles of %dx%d, with other last bits from here on. "
            "tilesize= pins a size that fits",
            self.session.plan.model.name, error, width, height, *layout.tile,
        )  # fmt: skip
        self.layout = layout
        self.tiles = layout.tiles()
        self._reset()

    def _assemble(self, parts: Sequence[Tensor]) -> Tensor:
        """A picture from those of the tiles."""
        if len(parts) == 1:
            return parts[0]
        width, height = (self.layout.scale * side for side in self.layout.size)
        out = parts[0].new_empty((*parts[0].shape[:-2], height, width))
        for tile, part in zip(self.tiles, parts, strict=True):
            rows, columns = tile.rows.result(self.layout.scale), tile.columns.result(self.layout.scale)
            out[..., rows.target, columns.target] = part[..., rows.source, columns.source]
        return out


def finish[T](work: Work[T]) -> T:
    """The end of work that needs no frames beside those that it has.

    Raises:
        ValueError: it needs some.
    """
    try:
        need = next(work)
    except StopIteration as end:
        made: T = end.value
        return made
    raise ValueError(f"frames {list(need.frames)} are needed, and not held")


def crop(picture: Tensor, tile: Tile) -> Tensor:
    """The part of a frame that a tile sees."""
    return picture[..., tile.rows.run, tile.columns.run].contiguous()
