"""What all schedulers have in common: frames in tiles, and smaller tiles where memory runs out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vs_sr.engine.device import OutOfMemoryError, out_of_memory
from vs_sr.engine.transfer import Planes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.transfer import Image, Made
    from vs_sr.tiles import Tile
    from vs_sr.windows import Drawings, Need

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
    image: Callable[[int], Image]
    """A frame of them, in host memory, RGB or luma; the same object each time."""
    drawings: Drawings = field(default_factory=dict)
    """What these frames say of the drawings that they show; empty where repeated frames are not heeded."""


class Scheduler(ABC):
    """Computes a clip group by group, in any order, many on their way at the same time. To be called on the thread of
    the network alone."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.grid = pipeline.grid
        self.tiles = pipeline.tiles()

    def render(self, network: Any, group: int, held: Held) -> Work[Made]:
        """The outputs of a group, on the device of the network.

        Args:
            network: of the session, the same each time.
            group: its number on the grid.
            held: the frames that belong to it, at least.

        Raises:
            OutOfMemoryError: the device has no memory for it, in tiles neither.
        """
        while True:
            pipeline = self.pipeline
            work = self._render(network, group, held)
            try:
                need = next(work)
                while True:
                    held = yield need
                    if self.pipeline is not pipeline:  # smaller tiles since, for another request: begin again
                        break
                    need = work.send(held)
            except StopIteration as end:
                made: Made = end.value
                return made
            except (RuntimeError, OutOfMemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._divide(error)

    @abstractmethod
    def _render(self, network: Any, group: int, held: Held) -> Work[Made]: ...

    def _reset(self) -> None:  # noqa: B027 - not every kind keeps something
        """Forget everything that was computed with other tiles."""

    def _divide(self, error: Exception) -> None:
        now, smaller = self.pipeline, self.pipeline.smaller()
        width, height = (tile or side for tile, side in zip(now.tile, now.size, strict=True))
        what = f"out of memory on {now.device} ({error})"
        if smaller is None:
            raise OutOfMemoryError(
                f"{what}; this was with {width}x{height} pixels at a time; use a smaller window, tilesize or clip, "
                "fewer num_streams, or device_id=-1 for the CPU"
            ) from None
        _log.warning(
            "%s: %s with %dx%d pixels at a time; trying tiles of %dx%d, with other last bits from here on. "
            "tilesize= pins a size that fits",
            now.model.name, what, width, height, *smaller.tile,
        )  # fmt: skip
        self.pipeline = smaller
        self.tiles = smaller.tiles()
        self._reset()

    def _assemble(self, parts: Sequence[Any]) -> Any:
        """An image from those of the tiles: tensors or arrays, as these are."""
        if len(parts) == 1:
            return parts[0]
        import numpy as np

        scale = self.pipeline.variant.scale
        width, height = (scale * side for side in self.pipeline.size)
        like = parts[0]
        shape = (*like.shape[:-2], height, width)
        out = np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)
        for tile, part in zip(self.tiles, parts, strict=True):
            rows, columns = tile.rows.result(scale), tile.columns.result(scale)
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


def upload(image: Image, tile: Tile, device: str) -> Tensor:
    """The part of a frame that a tile sees, (1, C, H, W) float32 on the device."""
    from vs_sr.runtime import torch

    whole = image.rgb(device) if isinstance(image, Planes) else torch.as_tensor(image, device="cpu")
    return whole[None, ..., tile.rows.run, tile.columns.run].contiguous().to(device)


def cut(image: Image, tile: Tile) -> NDArray[np.float32]:
    """The part of a frame that a tile sees, (1, C, H, W), for a network on arrays."""
    import numpy as np

    assert not isinstance(image, Planes)  # which come where the device converts
    return np.ascontiguousarray(np.asarray(image)[None, ..., tile.rows.run, tile.columns.run])
