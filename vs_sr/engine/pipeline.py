"""The pipeline: everything that a call of a filter decides about what is computed, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vs_sr import tiles
from vs_sr.arguments import Arguments

if TYPE_CHECKING:
    from vs_sr.spec import Model, Precision, Variant
    from vs_sr.tiles import Tile
    from vs_sr.weights.store import Source
    from vs_sr.windows import Grid


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What is run, on which frames, and how. Equal pipelines give equal bits on equal devices.

    A call fills it in but for the last fields, which need the device: :class:`vs_sr.engine.plan.Plan` finds these
    out when the first frame is asked for.
    """

    model: Model
    """Itself, not its name: a script that is loaded again may have registered another one under that since."""
    variant: Variant
    source: Source | None
    """The weights; None: the model has none."""
    size: tuple[int, int]
    """Width and height of the images that the network takes."""
    grid: Grid
    float_clip: bool = False
    """Whether the clip is of 32-bit float."""
    options: Arguments = field(default_factory=Arguments)
    """The call's other wishes: device, precision, backend, tiles."""
    stream: int = 0
    """Pipelines of different streams run side by side, each with a network and a thread of its own."""

    device: str = ""
    """As torch names it: "cpu", "cuda:0", ...; empty until it is known."""
    precision: Precision = "fp32"
    converts: bool = False
    """Whether YUV becomes RGB, and RGB YUV, on the device."""
    tile: tuple[int, int] = (0, 0)
    """Width and height of a tile; 0: the whole side."""
    overlap: tuple[int, int] | None = None
    """Of tiles, as asked for; None: by the network's receptive field."""

    @property
    def cuts(self) -> bool:
        """Whether scene cuts are heeded."""
        return self.options.sc and self.model.kind != "image"

    @property
    def divisible(self) -> bool:
        """Whether tiles may be taken unasked: not where an image model sees the whole frame, and each would change
        its output."""
        return self.variant.receptive_field is not None or self.model.kind != "image"

    @property
    def timesteps(self) -> int:
        """Timesteps of the sequence, or frames, whose features are held at once."""
        match self.model.kind:
            case "image":
                return 1
            case "multi-frame":
                return self.variant.window or 1
            case _:
                return (self.grid.window - 1 + self.grid.lookahead) * self.grid.most + 1

    def tiles(self) -> tuple[Tile, ...]:
        """The tiles of a frame, at least one."""
        multiple = self.variant.multiple
        overlap = tiles.overlaps(self.tile, self.overlap, self.variant.receptive_field, multiple)
        return tiles.cover(self.size, self.tile, overlap, multiple) or (tiles.whole(self.size),)

    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of the images that the network gets, the most frequent first."""
        sizes = [(part.columns.stop - part.columns.start, part.rows.stop - part.rows.start) for part in self.tiles()]
        return tuple(sorted(set(sizes), key=lambda size: (-sizes.count(size), size)))

    def smaller(self) -> Pipeline | None:
        """The pipeline to go on with where this one takes too much memory; None: there is none."""
        side = tiles.halved(self.size, self.tile) if self.divisible else None
        if side is None:
            return None
        overlap = self.overlap
        if overlap is not None:
            quarters = [tiles.quarter(length, self.variant.multiple) for length in side]
            overlap = min(overlap[0], quarters[0]), min(overlap[1], quarters[1])
        return replace(self, tile=side, overlap=overlap)

    def facts(self) -> dict[str, str]:
        """What decides the bits of a state and is known when the filter is made."""
        return {
            "model": self.model.name,
            "size": "x".join(map(str, self.size)),
            "window": str(self.grid.window),
            "segment": str(self.grid.segment),
            "timesteps": str(self.grid.most) if self.grid.per is None else f"{self.grid.multi}/{self.grid.per}",
            **{key: str(getattr(self.options, key)) for key in ("sc", "sc_threshold", "matrix_in", "range_in")},
        }

    def describe_tiles(self) -> str:
        """The tiles of a frame, in words that are the same for the same tiles."""
        parts = self.tiles()
        if len(parts) == 1:
            return "whole"
        return ", ".join(
            f"{part.columns.start}-{part.columns.stop}x{part.rows.start}-{part.rows.stop}" for part in parts
        )
