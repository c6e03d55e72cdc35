"""What happens to films before people have them: blur, noise, subsampled chroma, and a codec at some quality.

The whole LR clip goes through the codec, so that its errors are those of a film: they drift between key frames, and
still ground is copied; a clip is not the film's beginning, so some frames before it go in first. Everything follows
from the seed, but for the versions of the codecs' libraries.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from vs_sr.evaluation.resample import round_half_up

if TYPE_CHECKING:
    import av

    from vs_sr.training.recipe import Degradation, Span

Frames = npt.NDArray[np.uint8]

_ENCODERS = {"h264": "libx264", "mpeg2": "mpeg2video"}
_MATRIX = "ITU601"
"""There and back: which one it is makes no difference to what is lost."""


@dataclass(frozen=True)
class Chain:
    """What a clip goes through, in this order."""

    blur: float
    """Standard deviation in LR pixels; 0: none."""
    noise: float
    """Standard deviation of values in 0..1; 0: none."""
    codec: str
    """"h264", "mpeg2", "chroma" (4:2:0 and back), or "none"."""
    quality: int
    """CRF or quantizer."""
    seed: int
    """Of the noise."""
    run_in: int = 0
    """LR frames before the clip that a codec sees first."""

    @classmethod
    def draw(cls, facts: Degradation, index: int) -> Chain | None:
        """The chain of clip ``index``; None: it stays as it is."""
        rng = np.random.default_rng([facts.seed, index])
        if rng.random() >= facts.share:
            return None
        blur, noise = _between(rng, facts.blur), _between(rng, facts.noise)
        codec: str = str(rng.choice(facts.codecs))
        if codec == "none" and rng.random() < 0.5:
            codec = "chroma"
        low, high = facts.crf if codec == "h264" else facts.quantizer
        quality, seed = int(rng.integers(low, high + 1)), int(rng.integers(1 << 32))
        return cls(blur, noise, codec, quality, seed, int(rng.integers(facts.run_in + 1)) if codec in _ENCODERS else 0)

    def __call__(self, frames: Frames) -> Frames:
        """Frames (T, h, w, 3), RGB in 0..255, as they come out of it; the same shape."""
        values = frames.astype(np.float64)
        if self.blur > 0.05:  # below it the middle tap is all there is
            values = blurred(values, self.blur)
        if self.noise:
            values += np.random.default_rng(self.seed).normal(0, 255 * self.noise, values.shape)
        return coded(round_half_up(values), self.codec, self.quality)


def _between(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def blurred(frames: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """A Gaussian over (T, h, w, 3), the edges repeated."""
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    for axis in (1, 2):
        length = frames.shape[axis]
        padded = np.pad(frames, [(reach, reach) if each == axis else (0, 0) for each in range(4)], mode="edge")
        shifted = (np.take(padded, range(tap, tap + length), axis) for tap in range(len(taps)))
        frames = sum((tap * each for tap, each in zip(taps, shifted, strict=True)), np.zeros(frames.shape))
    return frames


def coded(frames: Frames, codec: str, quality: int) -> Frames:
    """Frames (T, h, w, 3) through 4:2:0 and a codec.

    Args:
        frames: RGB.
        codec: "h264", "mpeg2", "chroma", which is 4:2:0 alone, or "none".
        quality: CRF of H.264; quantizer of MPEG-2, 1..31.
    """
    if codec == "none":
        return frames
    import av  # where clips are packed, there need be none

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
    # x264's assembly looks at what lies beside a frame in memory, and codes the same frames now so, now so.
    h264 = {"crf": str(quality), "x264-params": "no-asm=1"}
    options = h264 if codec == "h264" else {"qmin": str(quality), "qmax": str(quality), "bf": "2"}
    import av

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
