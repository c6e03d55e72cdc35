"""Image models: every frame by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr.engine.scheduler.base import Held, Scheduler, cut, upload
from vs_sr.engine.transfer import Made, OnArrays

if TYPE_CHECKING:
    from vs_sr.engine.scheduler.base import Work


class Single(Scheduler):
    """A frame in, a frame out, whole or in tiles."""

    def _render(self, network: Any, group: int, held: Held) -> Work[Made]:
        yield from ()  # no other frame is needed
        image, device = held.image(group), self.pipeline.device
        if isinstance(network, OnArrays):
            return Made({group: self._assemble([network(cut(image, tile))[0] for tile in self.tiles])})
        return Made({group: self._assemble([network(upload(image, tile, device))[0] for tile in self.tiles])})
