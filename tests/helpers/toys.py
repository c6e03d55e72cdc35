"""Small callbacks for the plugin's node for groups of frames."""

from collections.abc import Callable
from typing import Any

import numpy as np
import vapoursynth as vs

from helpers.support import pixel
from vs_sr._bridge import temporal


def frame_of(value: int, width: int = 16, height: int = 8, format: int = vs.GRAY16) -> vs.VideoFrame:
    frame = vs.core.create_video_frame(format, width, height)
    for plane in frame:
        np.asarray(plane)[:] = value
    return frame


def toy(
    clip: vs.VideoNode,
    callback: Callable[..., Any],
    step: int = 3,
    multi: int = 2,
    share: int = 1,
    **more: Any,
) -> vs.VideoNode:
    arguments: dict[str, Any] = {"width": 16, "height": 8, "format": vs.GRAY16, "before": 0, "after": 1}
    arguments["groups"] = max(1, -(-(clip.num_frames - share) // step)) if step > 0 else 1
    return temporal("Toy", clip, callback, **{"step": step, "multi": multi, **arguments, **more})


def echo(step: int, multi: int) -> Callable[..., list[vs.VideoFrame]]:
    """A callback without memory: output k of input i has the value multi*i + k."""

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        values = {n: pixel(f) for n, f in zip(numbers, frames, strict=True)}
        return [frame_of(multi * values[g * step + m // multi] + m % multi) for m in range(want)]

    return callback
