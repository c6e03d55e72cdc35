"""Models of kind "window": a frame restored from itself and a fixed number of neighbours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vs_sr import windows
from vs_sr.engine import session as sessions
from vs_sr.engine.scheduler.base import Held, Layout, Scheduler, crop
from vs_sr.windows import Need

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.engine.scheduler.base import Work
    from vs_sr.engine.session import Session
    from vs_sr.spec import WindowNetwork
    from vs_sr.tiles import Tile
    from vs_sr.windows import Ends, Grid


class Sliding(Scheduler):
    """What is made of a frame by itself is kept as long as neighbours need it. No neighbour is from another scene.

    Args:
        grid: of an image model.
        session: of the network.
        layout: of the tiles.
        size: frames that the network sees at a time.
        ends: what stands for frames beyond a scene's ends; "replicate" in a scene that is too short for others.
    """

    def __init__(self, grid: Grid, session: Session, layout: Layout, *, size: int, ends: Ends) -> None:
        super().__init__(grid, session, layout)
        self.size = size
        self.ends = ends
        self._encoded: dict[tuple[Tile, int], Any] = {}

    def _reset(self) -> None:
        self._encoded.clear()

    def _render(self, group: int, held: Held) -> Work[dict[int, Tensor]]:
        while missing := sorted(set(window := self._window(group, held)) - held.numbers):
            held = yield Need(missing)  # with them, a cut may turn up, and make the window narrower
        parts = [self.session.call(partial(self._part, group, tile, window, held)) for tile in self.tiles]
        near = range(group - self.size + 1, group + self.size)  # as far as a window can reach
        self._encoded = {key: value for key, value in self._encoded.items() if key[1] in near}
        return {group: self._assemble(parts)}

    def _window(self, frame: int, held: Held) -> list[int]:
        """The frames that ``frame`` is restored from, as far as is known by what is held."""
        scene = self._scene(frame, held)
        ends = self.ends if len(scene) >= windows.shortest(self.size, self.ends) else "replicate"
        return windows.neighbours(frame, scene, self.size, ends)

    def _scene(self, frame: int, held: Held) -> range:
        """The frames around ``frame`` that no known cut separates from it."""
        cuts = held.cuts
        start = max((i + 1 for i in cuts if i < frame), default=0)
        stop = min((i + 1 for i in cuts if i >= frame), default=self.grid.frames)
        return range(start, stop)

    def _part(self, group: int, tile: Tile, window: list[int], held: Held, network: WindowNetwork) -> Tensor:
        for number in window:
            if (tile, number) not in self._encoded:
                frame = crop(held.picture(number), tile).to(self.session.plan.device)[None]
                self._encoded[tile, number] = network.encode(frame)
        made = network.reconstruct([self._encoded[tile, number] for number in window])
        return sessions.to_host(made[0], group)
