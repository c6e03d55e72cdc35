"""Models of kind "multi-frame": a frame restored from itself and a fixed number of neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr import windows
from vs_sr.engine.scheduler.base import Held, Scheduler, upload
from vs_sr.engine.transfer import Made
from vs_sr.windows import Need

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.scheduler.base import Work
    from vs_sr.spec import MultiFrameNetwork
    from vs_sr.tiles import Tile


class Sliding(Scheduler):
    """What is made of a frame by itself is kept as long as neighbors need it. No neighbor is from another scene."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline)
        self.size = pipeline.variant.window or 1
        """Frames that the network sees at a time."""
        self._encoded: dict[tuple[Tile, int], Any] = {}

    def _reset(self) -> None:
        self._encoded.clear()

    def _render(self, network: MultiFrameNetwork, group: int, held: Held) -> Work[Made]:
        while missing := sorted(set(window := self._window(group, held)) - held.numbers):
            held = yield Need(missing)  # with them, a cut may turn up, and make the window narrower
        parts = [self._part(network, tile, window, held) for tile in self.tiles]
        near = range(group - self.size + 1, group + self.size)  # as far as a window can reach
        self._encoded = {key: value for key, value in self._encoded.items() if key[1] in near}
        return Made({group: self._assemble(parts)})

    def _window(self, frame: int, held: Held) -> list[int]:
        """The frames that ``frame`` is restored from, as far as is known by what is held."""
        scene, ends = self._scene(frame, held), self.pipeline.variant.ends
        if len(scene) < windows.shortest(self.size, ends):
            ends = "replicate"
        return windows.neighbors(frame, scene, self.size, ends)

    def _scene(self, frame: int, held: Held) -> range:
        """The frames around ``frame`` that no known cut separates from it."""
        cuts = held.cuts
        start = max((i + 1 for i in cuts if i < frame), default=0)
        stop = min((i + 1 for i in cuts if i >= frame), default=self.grid.frames)
        return range(start, stop)

    def _part(self, network: MultiFrameNetwork, tile: Tile, window: list[int], held: Held) -> Tensor:
        for number in window:
            if (tile, number) not in self._encoded:
                self._encoded[tile, number] = network.encode(upload(held.image(number), tile, self.pipeline.device))
        return network.reconstruct([self._encoded[tile, number] for number in window])[0]
