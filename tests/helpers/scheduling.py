"""The scheduler without VapourSynth and without a session: pipelines, grids and clips of any kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from helpers.recurrence import DENSITY, Clip, Recurrence
from vs_sr.engine.pipeline import Pipeline
from vs_sr.spec import Model, Variant
from vs_sr.windows import Grid


def pipeline(grid: Grid, size: tuple[int, int] = (2, 1), **variant: Any) -> Pipeline:
    """A pipeline of a toy on the CPU, whose images keep their size."""
    kind = "sequence" if grid.window > 1 else "multi-frame"
    return Pipeline(
        model=Model(name="Recurrence", summary="", paper="", kind=kind, build=lambda _: Recurrence(), multi=(DENSITY,)),
        variant=Variant(**{"scale": 1, **variant}),
        source=None,
        size=size,
        grid=grid,
        device="cpu",
    )


def grid(clip: Clip) -> Grid:
    return Grid(
        frames=clip.frames, window=clip.window, multi=clip.multi, density=clip.density, lookahead=clip.lookahead,
        carry=clip.carry, segment=clip.segment, past=clip.past, per=clip.per, repeats=clip.repeats,
    )  # fmt: skip


RATES = [
    (1, 1, None), (1, DENSITY, None), (2, DENSITY, None), (4, DENSITY, None), (8, DENSITY, None),
    (5, DENSITY, 2), (1001, DENSITY, 400), (1, DENSITY, 1), (101, DENSITY, 13),
]  # fmt: skip
"""Frame-rate factor, timesteps at least, and the inputs that the factor is for at a target rate."""


def _clip(rate: tuple[int, int, int | None], **more: Any) -> Clip:
    return Clip(multi=rate[0], density=rate[1], per=rate[2], **more)


clips = st.builds(
    _clip,
    frames=st.integers(1, 40),
    window=st.integers(2, 6),
    rate=st.sampled_from(RATES),
    lookahead=st.integers(0, 4),
    carry=st.booleans(),
    segment=st.sampled_from([0, 0, 1, 2, 3, 5]),
    cuts=st.frozensets(st.integers(0, 39), max_size=6),
    repeats=st.sampled_from([0, 0, 1, 2]),
    same=st.frozensets(st.integers(1, 39), max_size=30),
)
