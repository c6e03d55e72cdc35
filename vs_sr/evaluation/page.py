"""A page to look at films that were compared: one file of HTML that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import json
import math
from fractions import Fraction
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vs_sr.evaluation.report import HEADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    import numpy as np
    import numpy.typing as npt

    from vs_sr.evaluation.comparison import Shown
    from vs_sr.evaluation.measure import Clip

    Frame = npt.NDArray[np.uint8]

FRAMES = 150
"""Of each film on a page at most: five seconds or six."""
BYTES = 48 << 20
"""Of all images on a page; as text they are a third longer."""
_QUANTIZERS = (2, 3, 5)
"""Of JPEG: the first with which all frames are expected to fit, by the size of the first one."""
_MARK = "{{data}}"


class Page:
    """Gathers the frames that a page shows: the first ones, as many as it may hold."""

    def __init__(self, frames: int) -> None:
        """Of so many frames that are compared."""
        self._wanted = min(frames, FRAMES)
        self._quantizer = 0
        self._bytes = 0
        self._images: dict[str, list[str]] = {}

    @property
    def frames(self) -> int:
        """How many of each film it holds."""
        return min((len(images) for images in self._images.values()), default=0)

    def add(self, shown: Shown) -> None:
        """The next frame of every film; left out when there is no more room."""
        if shown.number != self.frames or self.frames == self._wanted:
            return
        if not self._quantizer:
            self._quantizer = next(
                (q for q in _QUANTIZERS if self._wanted * sum(map(len, _coded(shown, q))) <= BYTES), _QUANTIZERS[-1]
            )
        images = _coded(shown, self._quantizer)
        self._bytes += sum(map(len, images))
        if self._bytes > BYTES and self._images:
            self._wanted = self.frames
            return
        for name, image in zip(shown.images, images, strict=True):
            self._images.setdefault(name, []).append(base64.b64encode(image).decode("ascii"))

    def write(
        self,
        file: BinaryIO,
        clip: Clip,
        films: Mapping[str, str],
        times: Sequence[float],
        size: tuple[int, int],
        sar: Fraction,
    ) -> None:
        """Write the page.

        Args:
            file: to write to.
            clip: the figures of all frames.
            films: what the films are called, and the names of their files.
            times: seconds at which each frame is shown.
            size: width and height of frames.
            sar: width of a pixel divided by its height.
        """
        facts = {
            "films": films,
            "reference": clip.name,
            "width": size[0],
            "height": size[1],
            "aspect": float(size[0] * sar / size[1]),
            "times": [round(at, 6) for at in times],
            "first": int(next(iter(clip.scores.values()))[0].frame),
            "heads": HEADS,
            "figures": {
                label: {figure: [_number(getattr(score, figure)) for score in scores] for figure in HEADS}
                for label, scores in clip.scores.items()
            },
            "means": {label: {figure: _number(clip.mean(label, figure)) for figure in HEADS} for label in clip.scores},
            "images": self._images,
        }
        template = files("vs_sr.evaluation").joinpath("page.html").read_text(encoding="utf-8")
        head, tail = template.split(_MARK)
        file.write(head.encode())
        for piece in json.JSONEncoder(allow_nan=False).iterencode(facts):
            file.write(piece.replace("<", "\\u003c").encode())  # no name of a file ends the script
        file.write(tail.encode())


def _number(value: float | None) -> float | str | None:
    """What JSON has no number for: "inf" is that of equal frames, None of the first one's change."""
    if value is None or math.isnan(value):
        return None
    return "inf" if math.isinf(value) else round(value, 5)


def _coded(shown: Shown, quantizer: int) -> list[bytes]:
    return [jpeg(image, quantizer) for image in shown.images.values()]


def jpeg(image: Frame, quantizer: int) -> bytes:
    """An image (H, W, 3) RGB as JPEG, 4:4:4.

    Args:
        image: of any size.
        quantizer: from 2, hardly a difference, to 31.
    """
    import av

    height, width = image.shape[:2]
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuvj444p", dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    frame.pts = 0
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj444p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qmin": str(quantizer), "qmax": str(quantizer)}
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
