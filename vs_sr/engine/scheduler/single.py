"""Image models: every frame by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.engine.scheduler.base import Held, Scheduler, crop

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.engine.scheduler.base import Work


class Single(Scheduler):
    """A frame in, a frame out, whole or in tiles."""

    def _render(self, group: int, held: Held) -> Work[dict[int, Tensor]]:
        yield from ()  # no other frame is needed
        picture = held.picture(group)
        parts = [self.session.run(crop(picture, tile)[None], output=group)[0] for tile in self.tiles]
        return {group: self._assemble(parts)}
