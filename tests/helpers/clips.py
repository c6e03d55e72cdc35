"""Clips of real pixels, ZoomingSlowMo with tiny weights, and what tests compare of frames."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import vapoursynth as vs

from helpers import networks
from vs_sr import cuts, frames, scenes

if TYPE_CHECKING:
    import numpy.typing as npt

core = vs.core

FORMATS = [
    vs.YUV420P8, vs.YUV420P10, vs.YUV420P16, vs.YUV422P8, vs.YUV422P10, vs.YUV444P8, vs.YUV444P12, vs.YUV444P16,
    vs.YUV420PS, vs.YUV422PS, vs.YUV444PS, vs.YUV420PH, vs.YUV444PH,
    vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS,
    vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS,
]  # fmt: skip


def moving(length: int = 5, width: int = 32, height: int = 24, format: int = vs.RGBS) -> vs.VideoNode:
    """A smooth colorful pattern that moves, away from the ends of the range."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    blank = core.std.BlankClip(length=length, width=width, height=height, format=vs.RGBS, keep=True, fpsnum=24000,
                               fpsden=1001)  # fmt: skip

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane, phase in enumerate((0, 2, 4)):
            wave = np.sin(0.4 * (x + 1.5 * n) + phase) * np.cos(0.3 * (y - n) + 0.5 * phase)
            np.copyto(np.asarray(frame[plane]), (0.5 + 0.3 * wave).astype(np.float32))
        return frame

    clip = blank.std.ModifyFrame(blank, draw)
    if format == vs.RGBS:
        return clip
    family = core.get_video_format(format).color_family
    return clip.resize.Bicubic(format=format, **({} if family == vs.RGB else {"matrix": 1}))


def cut_at(clip: vs.VideoNode, *cuts: int, both: bool = True) -> vs.VideoNode:
    """Mark cuts after the given frames."""

    def mark(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame.props["_SceneChangeNext"] = int(n in cuts)
        if both:
            frame.props["_SceneChangePrev"] = int(n - 1 in cuts)
        return frame

    return clip.std.ModifyFrame(clip, mark)


def slow(clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    return core.vs_sr.ZoomingSlowMo(clip, **{"weights": str(networks.tiny_weights()), **arguments})


def pixels(frame: vs.VideoFrame) -> list[npt.NDArray[Any]]:
    return [np.asarray(plane).copy() for plane in frame]


def digest(frame: vs.VideoFrame) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in frame)).hexdigest()


def planes(clip: vs.VideoNode) -> torch.Tensor:
    """(T, 3, H, W) of an RGBS clip."""
    return torch.stack([torch.stack([torch.from_numpy(p) for p in pixels(f)]) for f in clip.frames()])


def with_marks(clip: vs.VideoNode, threshold: float = scenes.THRESHOLD) -> vs.VideoNode:
    """The clip with a filter's marks of scene cuts."""
    return cuts.mark(clip, cuts.found("Test", frames.bare(clip), threshold))


def close(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    """Whether planes are the same: integers to a code value, in one pixel of a hundred, as the plugin's own conversion
    rounds otherwise than ``core.resize`` now and then."""
    if found.dtype.kind == "f":
        return np.array_equal(found, expected)
    off = np.abs(found.astype(np.int64) - expected)
    return bool(off.max() <= 1 and (off > 0).mean() <= 0.01)
