"""Video files as people have them: rotated, anamorphic, of variable rate, in any format."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIZE = 64, 48
_ONE = 1 << 16
MATRICES = {
    "90": (0, _ONE, 0, -_ONE, 0, 0, SIZE[1] << 16, 0, 1 << 30),
    "180": (-_ONE, 0, 0, 0, -_ONE, 0, SIZE[0] << 16, SIZE[1] << 16, 1 << 30),
    "270": (0, -_ONE, 0, _ONE, 0, 0, 0, SIZE[0] << 16, 1 << 30),
    "mirrored": (-_ONE, 0, 0, 0, _ONE, 0, SIZE[0] << 16, 0, 1 << 30),
    "upside down": (_ONE, 0, 0, 0, -_ONE, 0, 0, SIZE[1] << 16, 1 << 30),
}
"""Display matrices of a film of that size, as the header of an MP4 track has them; turns are clockwise."""


def film(
    path: Path,
    frames: int = 5,
    *,
    size: tuple[int, int] = SIZE,
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    sar: Fraction | None = None,
    times: Sequence[int] | None = None,
    matrix: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a film of a bright corner at the top left, on a ground that changes a little, at 25 frames per second.

    Args:
        path: of the file.
        frames: of the film.
        size: width and height.
        pix_fmt: of the codec.
        codec: as FFmpeg names it.
        sar: width of a pixel over its height.
        times: milliseconds at which the frames begin.
        matrix: of ``MATRICES``.
        options: of the codec.
    """
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        container.start_encoding()  # a header, even where no frame follows
        for number in range(frames):
            image = np.full((height, width, 3), 40 + number, np.uint8)
            image[: height // 2, : width // 2] = 220
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if matrix is not None:
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 44
        data[at : at + 36] = struct.pack(">9i", *MATRICES[matrix])
        path.write_bytes(data)
    return path


def scenes(path: Path, frames: int, cut: int) -> Path:
    """Write a film of 16x16, without loss: texture that moves, and is another one, darker, from a frame on."""
    texture = np.random.default_rng(3).integers(0, 255, (2, 16, 16 + frames)) // [[[1]], [[4]]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for number in range(frames):
            image = np.repeat(texture[int(number >= cut), :, number : number + 16, None], 3, 2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def bright(image: np.ndarray) -> tuple[str, str]:
    """In which corner of (H, W, 3) the bright part is."""
    rows, columns = np.nonzero(image.mean(axis=2) > 130)
    return (
        "top" if rows.mean() < image.shape[0] / 2 else "bottom",
        "left" if columns.mean() < image.shape[1] / 2 else "right",
    )


def damage(path: Path, number: int) -> Path:
    """Change a packet of a film in place, so that its frame cannot be decoded."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        start = data.index(bytes(packet), packet.pos)
        data[start : start + packet.size] = bytes(byte ^ 0x5A for byte in bytes(packet))
    path.write_bytes(data)
    return path
