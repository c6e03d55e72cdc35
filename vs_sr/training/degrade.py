"""What happens to films before people have them: blur, noise, subsampled chroma, and a codec at some quality.

The whole LR clip goes through the codec, so that its errors are those of a film: they drift between key frames, and
still ground is copied. Everything follows from the seed, but for the versions of the codecs' libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vs_sr.evaluation.coding import coded
from vs_sr.evaluation.resample import round_half_up

if TYPE_CHECKING:
    from vs_sr.training.recipe import Degradation, Span

Frames = npt.NDArray[np.uint8]


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
        return cls(blur, noise, codec, int(rng.integers(low, high + 1)), int(rng.integers(1 << 32)))

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
