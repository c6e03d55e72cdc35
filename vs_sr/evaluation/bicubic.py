"""Bicubic resampling as MATLAB's ``imresize`` does it: the rule behind every published LR benchmark image.

The kernel is Keys' cubic convolution with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital
image processing"). When shrinking it is widened by 1/scale, which makes it the antialiasing filter; weights
are normalised; the image is continued by half-sample mirroring. Rows are resampled before columns.

MATLAB keeps the type of the image: on uint8 it rounds half up and clips after *each* of the two passes. An
LR image made in floating point and rounded once differs from the benchmark's in a tenth of its values.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

KEYS_A = -0.5
KERNEL_WIDTH = 4  # support of the cubic kernel at scale 1, in samples


def cubic_kernel(x: Float64) -> Float64:
    """Keys' cubic convolution kernel with a = -0.5 at distances ``x`` (samples); 0 for abs(x) >= 2."""
    d = np.abs(x)
    near = (KEYS_A + 2) * d**3 - (KEYS_A + 3) * d**2 + 1
    far = KEYS_A * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@lru_cache(maxsize=64)
def resize_matrix(length: int, scale: float) -> Float64:
    """The resampling of one axis as a matrix.

    Args:
        length: samples along the axis, at least 1.
        scale: output samples per input sample, > 0.

    Returns:
        (ceil(length * scale), length) float64; every row sums to 1. The array is shared and read-only.

    Raises:
        ValueError: ``length`` or ``scale`` out of range.
    """
    if length < 1 or not scale > 0:
        raise ValueError(f"length must be >= 1 and scale > 0; got length={length}, scale={scale}")
    # 1e-9 absorbs products such as 30 * (1/3 + eps): without it ceil() would add a sample.
    size = max(1, math.ceil(length * scale - 1e-9))
    shrink = min(scale, 1.0)  # < 1 widens the kernel
    width = KERNEL_WIDTH / shrink
    taps = math.ceil(width) + 2

    # Output centres on the input's axis, counted from 1: MATLAB's own arithmetic, whose last bit decides
    # which way an exact half is rounded at scales such as 1.5.
    centre = np.arange(1, size + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2).astype(np.int64)
    index = first[:, None] + np.arange(taps)  # (size, taps)
    weight = cubic_kernel((centre[:, None] - index) * shrink)
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = np.mod(index - 1, 2 * length)
    mirrored = np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)

    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size)[:, None], mirrored), weight)
    matrix.setflags(write=False)
    return matrix


def round_half_up(x: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Values to uint8 as MATLAB casts them: halves go up, out-of-range values are clipped."""
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)


def _apply(matrix: Float64, image: npt.NDArray[np.generic], axis: int) -> Float64:
    """``matrix`` applied along ``axis`` of ``image``."""
    return np.moveaxis(np.tensordot(matrix, image.astype(np.float64), axes=(1, axis)), 0, axis)


def imresize(image: npt.NDArray[np.generic], scale: float) -> npt.NDArray[np.generic]:
    """Resample an image by ``scale`` in both directions, MATLAB-compatible.

    Args:
        image: (H, W) or (H, W, C). uint8 follows MATLAB's uint8 rule (rounded after each pass); floating
            point is resampled in float64 and is not clipped.
        scale: output samples per input sample, > 0; 0.25 makes the usual x4 LR image.

    Returns:
        (ceil(H * scale), ceil(W * scale)[, C]): uint8 for uint8, float64 for floating point.

    Raises:
        TypeError: any other type of sample.
        ValueError: an image that has neither two nor three dimensions, or a scale that is not positive.
    """
    if image.ndim not in (2, 3):
        raise ValueError(f"image must be (H, W) or (H, W, C); got shape {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"image must be uint8 or floating point; got {image.dtype}; convert it first")
    vertical = resize_matrix(image.shape[0], scale)
    horizontal = resize_matrix(image.shape[1], scale)
    rows = _apply(vertical, image, 0)
    if image.dtype == np.uint8:
        return round_half_up(_apply(horizontal, round_half_up(rows), 1))
    return _apply(horizontal, rows, 1)
