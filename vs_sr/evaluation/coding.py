"""Films as people have them: through 4:2:0 and a codec. The bits are those of the codec's library."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    import av
    import numpy.typing as npt

    Frames = npt.NDArray[np.uint8]

_ENCODERS = {"h264": "libx264", "mpeg2": "mpeg2video"}
_MATRIX = "ITU601"
"""There and back: which one it is makes no difference to what is lost."""


def coded(frames: Frames, codec: str, quality: int) -> Frames:
    """Frames (T, h, w, 3) through 4:2:0 and a codec.

    Args:
        frames: RGB.
        codec: "h264", "mpeg2", "chroma", which is 4:2:0 alone, or "none".
        quality: CRF of H.264; quantizer of MPEG-2, 1..31.
    """
    if codec == "none":
        return frames
    import av

    height, width = frames.shape[1:3]
    # Macroblocks at the edges would be filled up by repetition, too.
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    planes = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_MATRIX
        )
        for frame in even
    ]
    if codec in _ENCODERS:
        planes = _through(planes, codec, quality)
    images = [plane.to_ndarray(format="rgb24", src_colorspace=_MATRIX) for plane in planes]
    return np.stack(images)[:, :height, :width].astype(np.uint8)


def _through(planes: list[av.VideoFrame], codec: str, quality: int) -> list[av.VideoFrame]:
    """The planes after coding and decoding, in one thread, whose order of work is always the same."""
    import av

    options = {"crf": str(quality)} if codec == "h264" else {"qmin": str(quality), "qmax": str(quality), "bf": "2"}
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = cast("av.VideoStream", container.add_stream(_ENCODERS[codec], rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = planes[0].width, planes[0].height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, plane in enumerate(planes):
            plane.pts = number
            container.mux(stream.encode(plane))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as coded:
        coded.streams.video[0].codec_context.thread_count = 1
        found = list(coded.decode(video=0))
    if len(found) != len(planes):
        raise RuntimeError(f"{codec}: {len(planes)} frames went in, {len(found)} came out")
    return found
