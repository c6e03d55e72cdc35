"""The scheduler without VapourSynth: a session without a thread, grids and clips of any kind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from helpers.recurrence import DENSITY, Clip
from vs_sr.windows import Grid

if TYPE_CHECKING:
    from collections.abc import Callable


class Session:
    """A network without a thread and without weights."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.plan = SimpleNamespace(device="cpu", model=SimpleNamespace(name="Recurrence", density=DENSITY))

    def call(self, function: Callable[[Any], Any]) -> Any:
        return function(self.network)


def grid(clip: Clip) -> Grid:
    return Grid(
        frames=clip.frames, window=clip.window, multi=clip.multi, density=clip.density, lookahead=clip.lookahead,
        carry=clip.carry, segment=clip.segment, past=clip.past,
    )  # fmt: skip


def _clip(rate: tuple[int, int], **more: Any) -> Clip:
    return Clip(multi=rate[0], density=rate[1], **more)


clips = st.builds(
    _clip,
    frames=st.integers(1, 40),
    window=st.integers(2, 6),
    rate=st.sampled_from([(1, 1), (1, DENSITY), (2, DENSITY)]),
    lookahead=st.integers(0, 4),
    carry=st.booleans(),
    segment=st.sampled_from([0, 0, 1, 2, 3, 5]),
    cuts=st.frozensets(st.integers(0, 39), max_size=6),
)
