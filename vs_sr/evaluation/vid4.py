"""The space-time protocol on a folder of frames, as Vid4 is used for Zooming Slow-Mo.

Frames 1, 3, 5, ... are reduced x4 and given to the upscaler; all frames are the target, the given times and
those in between. The baseline is measured in the same run: bicubic x4, and for a frame in between the mean
of its two enlarged neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from vs_sr.evaluation.bicubic import imresize, round_half_up
from vs_sr.evaluation.metrics import luma, psnr, psnr_y, sharpness, ssim_y

Frames = npt.NDArray[np.uint8]
Upscaler = Callable[[Frames], npt.NDArray[np.generic]]
"""(T, h, w, 3) uint8 RGB -> (2T-1, 4h, 4w, 3) in 0..255, in time order; rounded here if floating point."""

SCALE = 4


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One output frame against its target."""

    frame: int
    """Index in the folder, from 0; even frames were given, odd ones lie in between."""
    psnr_rgb: float
    """dB over all channels."""
    psnr_y: float
    """dB on BT.601 luma."""
    ssim_y: float
    """On BT.601 luma, -1..1."""
    sharpness: float
    """Of the luma, over that of the target: 1 is the target's, below 1 softer."""

    @property
    def interpolated(self) -> bool:
        """The frame's time was not among the inputs."""
        return self.frame % 2 == 1


@dataclass(frozen=True, slots=True)
class Report:
    """The upscaler and the baseline on one folder, frame by frame."""

    clip: str
    upscaler: tuple[FrameScore, ...]
    baseline: tuple[FrameScore, ...]

    @property
    def psnr_y(self) -> float:
        """Mean PSNR-Y of the upscaler over all frames, dB."""
        return mean_psnr_y(self.upscaler)

    @property
    def baseline_psnr_y(self) -> float:
        """Mean PSNR-Y of bicubic and blend over all frames, dB."""
        return mean_psnr_y(self.baseline)

    @property
    def gain(self) -> float:
        """Mean PSNR-Y above the baseline, dB."""
        return self.psnr_y - self.baseline_psnr_y

    @property
    def between(self) -> float:
        """Sharpness of the upscaler's frames in between; see :func:`sharpness_between`."""
        return sharpness_between(self.upscaler)

    @property
    def baseline_between(self) -> float:
        """The same of bicubic and blend."""
        return sharpness_between(self.baseline)


def mean_psnr_y(scores: Sequence[FrameScore]) -> float:
    """Mean PSNR-Y in dB, as papers take it: of the frames' figures, not of their errors."""
    return float(np.mean([score.psnr_y for score in scores]))


def sharpness_between(scores: Sequence[FrameScore]) -> float:
    """Mean sharpness of the frames in between relative to that of the given ones, minus 1.

    What is seen as pulsing: 0 is steady, -0.1 says that frames in between are a tenth softer.
    """
    between, given = ([score.sharpness for score in scores if score.interpolated is kind] for kind in (True, False))
    return float(np.mean(between) / np.mean(given) - 1)


def read_frames(folder: Path) -> Frames:
    """The PNG files of ``folder`` in the order of their names: (T, H, W, 3) uint8 RGB.

    Raises:
        FileNotFoundError: no PNG file there.
        ValueError: the frames differ in size.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise FileNotFoundError(f"no .png frames in {folder}")
    frames = [_read_image(path) for path in paths]
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"frames of {folder} must have one size; got {sorted(sizes)}")
    return np.stack(frames)


def _read_image(path: Path) -> Frames:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def reduce_frames(frames: Frames) -> Frames:
    """Frames (T, H, W, 3) a quarter of the size, each by MATLAB's uint8 rule: the LR of the benchmarks."""
    return np.stack([imresize(frame, 1 / SCALE) for frame in frames]).astype(np.uint8)


def bicubic_blend(lr: Frames) -> Frames:
    """The baseline: (T, h, w, 3) -> (2T-1, 4h, 4w, 3), bicubic x4, frames in between as the neighbours' mean."""
    enlarged = [np.clip(imresize(frame.astype(np.float64), SCALE), 0, 255) for frame in lr]
    out = [enlarged[0]]
    for before, after in pairwise(enlarged):
        out += [(before + after) / 2, after]
    return round_half_up(np.stack(out))


def relative_sharpness(a: Frames, b: Frames) -> float:
    """Sharpness of the luma of a frame (H, W, 3) over that of another, which is not flat."""
    return sharpness(luma(a)) / max(sharpness(luma(b)), 1e-6)


def score_frames(output: npt.NDArray[np.generic], target: Frames) -> tuple[FrameScore, ...]:
    """Every frame of ``output`` (T, H, W, 3) in 0..255, rounded to uint8, against ``target``.

    Raises:
        ValueError: shapes differ.
    """
    if output.shape != target.shape:
        raise ValueError(f"output must have the target's shape {target.shape}; got {output.shape}")
    rounded = output if output.dtype == np.uint8 else round_half_up(output.astype(np.float64))
    return tuple(
        FrameScore(index, psnr(a, b), psnr_y(a, b), ssim_y(a, b), relative_sharpness(a, b))
        for index, (a, b) in enumerate(zip(rounded, target, strict=True))
    )


def evaluate(frames: Frames, upscale: Upscaler, clip: str = "") -> Report:
    """The protocol on frames (T, H, W, 3) uint8 RGB, T >= 3; an even number loses its last frame.

    The frames are cropped at the bottom and right to multiples of 4.

    Raises:
        ValueError: fewer than three frames, or an upscaler that returns another shape.
    """
    if len(frames) < 3:
        raise ValueError(f"space-time evaluation needs at least 3 frames; got {len(frames)}")
    count = len(frames) - (len(frames) + 1) % 2
    target = frames[:count, : frames.shape[1] // SCALE * SCALE, : frames.shape[2] // SCALE * SCALE]
    lr = reduce_frames(target[::2])
    return Report(clip, score_frames(upscale(lr), target), score_frames(bicubic_blend(lr), target))


def evaluate_folder(folder: Path, upscale: Upscaler) -> Report:
    """The protocol on the PNG frames of a folder; see :func:`evaluate` and :func:`read_frames`."""
    return evaluate(read_frames(folder), upscale, folder.name)
