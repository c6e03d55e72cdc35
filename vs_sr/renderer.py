"""What the plugin calls for a group of output frames: frames in, the engine's images out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vs_sr import frames, scenes
from vs_sr.engine.scheduler import Held

if TYPE_CHECKING:
    from collections.abc import Generator

    import vapoursynth as vs

    from vs_sr.color import Coding
    from vs_sr.engine.engine import Engine
    from vs_sr.engine.transfer import Image
    from vs_sr.frames import Output
    from vs_sr.windows import Grid, Need


class Renderer:
    """Makes the groups of one stream of a filter.

    Args:
        engine: of the stream.
        grid: of its frames.
        output: what makes frames of images.
        cuts: whether scene cuts are heeded.
    """

    def __init__(self, engine: Engine, grid: Grid, output: Output, *, cuts: bool) -> None:
        self._engine = engine
        self._grid = grid
        self._output = output
        self._cuts = cuts

    def __call__(
        self, group: int, want: int, numbers: list[int], inputs: list[vs.VideoFrame]
    ) -> Generator[Need, tuple[list[int], list[vs.VideoFrame]], list[vs.VideoFrame]]:
        """See :data:`vs_sr._bridge.Callback`."""
        grid = self._grid
        wanted = grid.outputs(group)[:want]
        held = dict(zip(numbers, inputs, strict=True))
        image = cache(lambda number: frames.upload(held[number]))

        def known() -> Held:
            cuts = scenes.cuts({n: scenes.read(frame.props) for n, frame in held.items()}) if self._cuts else ()
            return Held(numbers=frozenset(held), cuts=frozenset(cuts), image=image)

        # What the group before did not have is sure to be needed. Read here, while the network runs another group.
        for number in numbers:
            if group == 0 or number > numbers[-1] - grid.step:
                image(number)
        written: dict[tuple[int, int], vs.VideoFrame] = {}  # an image that comes twice is written once

        def coding(number: int) -> Coding | None:
            return self._output.coding(held[grid.place(number)[0]].props)

        def write(number: int, made: Image) -> vs.VideoFrame:
            source, _ = grid.place(number)
            shown = grid.shown(source)
            key, properties = (id(made), source), held[source].props
            if key not in written:
                written[key] = self._output.write(number, made, properties)
            output = written[key].copy()
            scenes.write(output.props, scenes.divide(scenes.read(properties), number - shown.start, len(shown)))
            return output

        work = self._engine.render(group, wanted, known(), write, coding)
        try:
            need = next(work)
            while True:
                # while it waits, a request holds no frame twice: VapourSynth has them
                held.clear()
                inputs.clear()
                image.cache_clear()
                numbers, inputs = yield need
                held.update(zip(numbers, inputs, strict=True))
                need = work.send(known())
        except StopIteration as end:
            outputs: list[vs.VideoFrame] = end.value
            return outputs
