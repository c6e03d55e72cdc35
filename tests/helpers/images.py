"""Image files for tests, and images that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from vs_sr.evaluation.metrics import psnr
from vs_sr.evaluation.protocols import LUMAS
from vs_sr.evaluation.resample import resize_matrix, round_half_up

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, image: np.ndarray) -> Path:
    """A PNG of (H, W, 3) uint8."""
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def scene(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Waves that move, in color."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for t in range(count):
        planes = [128 + 60 * np.sin((x + 2 * t) / (3 + c)) + 50 * np.cos((y - t) / (4 + c)) for c in range(3)]
        frames.append(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))
    return frames


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """An image (H, W, C) at another size by MATLAB's rules: uint8 is rounded after each pass, others not at all."""
    for axis in (0, 1):
        matrix = resize_matrix(image.shape[axis], scale)
        passed = np.moveaxis(np.tensordot(matrix, image.astype(np.float64), axes=(1, axis)), 0, axis)
        image = round_half_up(passed) if image.dtype == np.uint8 else passed
    return image


def luma(rgb: np.ndarray) -> np.ndarray:
    """MATLAB's Y of (..., 3) in 0..255."""
    return LUMAS["matlab"](rgb)


def psnr_y(a: np.ndarray, b: np.ndarray, border: int = 0) -> float:
    """PSNR of the luma of two images, dB."""
    return psnr(luma(a), luma(b), border=border)
