"""The order-sensitive model as a filter, ``core.vs_sr.Recurrence``: with numbers for pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import vapoursynth as vs

import vs_sr
from helpers.recurrence import Recurrence

if TYPE_CHECKING:
    from helpers.recurrence import Clip

core = vs.core

made: list[Recurrence] = []
"""Every network that was built, the last one at the end."""


def build(variant: vs_sr.Variant) -> Recurrence:
    made.append(Recurrence())
    return made[-1]


vs_sr.register(
    vs_sr.Model(
        name="Recurrence",
        summary="whole numbers that tell every difference in order",
        paper="",
        kind="sequence",
        build=build,
        fixed=vs_sr.Variant(scale=1, channels=1),
        multi=(2, 1, 4, 8),
        window=4,
    )
)


def numbers(
    length: int, cuts: tuple[int, ...] = (), width: int = 2, height: int = 1, clip: Clip | None = None
) -> vs.VideoNode:
    """Every pixel of frame n is n, or the last frame of its drawing in ``clip``; a cut i lies after frame i, said by
    either of the two frames."""
    blank = core.std.BlankClip(length=length, width=width, height=height, format=vs.RGBS, keep=True)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in frame:
            np.asarray(plane)[:] = clip.drawing(n)[-1] if clip else n
        for i in cuts:
            frame.props.update({"_SceneChangeNext": 1} if n == i and i % 2 else {})
            frame.props.update({"_SceneChangePrev": 1} if n == i + 1 and i % 2 == 0 else {})
        frame.props.setdefault("_SceneChangePrev", 0)
        frame.props.setdefault("_SceneChangeNext", 0)
        return frame

    return blank.std.ModifyFrame(blank, write)


def triple(frame: vs.VideoFrame) -> tuple[int, ...]:
    return tuple(int(np.asarray(plane)[0, 0]) for plane in frame)


def run(clip: Clip, **arguments: Any) -> vs.VideoNode:
    rate = {"multi": clip.multi} if clip.per is None else {"fps_num": 24 * clip.multi, "fps_den": clip.per}
    given = {
        "window": clip.window, "carry": clip.carry, "segment": clip.segment, "lookahead": clip.lookahead,
        "device_id": -1, "repeats": clip.repeats, **rate,
    }  # fmt: skip
    film = numbers(clip.frames, tuple(clip.cuts), clip=clip if clip.repeats else None)
    return core.vs_sr.Recurrence(film, **given, **arguments)
