"""PSNR and SSIM as the super-resolution papers compute them.

All functions take images in the 8-bit range (0..255), uint8 or floating point, and compute in float64. The
papers' figures come from images rounded to uint8; rounding is left to the caller.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.generic]
Float64 = npt.NDArray[np.float64]
type Padding = Literal["valid", "zero"]

# Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
SSIM_SIZE = 11
SSIM_SIGMA = 1.5
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2
_BLOCK = 64
"""Rows that are blurred at a time: the window is narrow, so most of its matrix is zero."""


def _pair(a: Image, b: Image, border: int) -> tuple[Float64, Float64]:
    """Both images in float64 without ``border`` pixels on each side."""
    if a.shape != b.shape:
        raise ValueError(f"images must have one shape; got {a.shape} and {b.shape}")
    if border < 0 or 2 * border >= min(a.shape[:2]):
        raise ValueError(f"border must leave pixels of a {a.shape[:2]} image; got {border}")
    window = (slice(border, a.shape[0] - border), slice(border, a.shape[1] - border))
    return a[window].astype(np.float64), b[window].astype(np.float64)


def psnr(a: Image, b: Image, *, border: int = 0) -> float:
    """PSNR in dB over all samples of two images (H, W[, C]) in 0..255 (peak 255); inf where they are equal.

    ``border`` pixels are left out on each side (papers on single images: the scale; on video: 0).

    Raises:
        ValueError: shapes differ, or the border leaves no pixel.
    """
    x, y = _pair(a, b, border)
    mse = float(np.mean((x - y) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def sharpness(plane: Image) -> float:
    """Mean length of the gradient of a plane (H, W), by differences of neighbors, in the plane's units.

    Raises:
        ValueError: no plane, or fewer than two pixels in a direction.
    """
    if plane.ndim != 2 or min(plane.shape) < 2:
        raise ValueError(f"sharpness needs a plane (H, W) of at least 2 x 2 pixels; got shape {plane.shape}")
    y = plane.astype(np.float64)
    down, right = y[1:, :-1] - y[:-1, :-1], y[:-1, 1:] - y[:-1, :-1]
    return float(np.mean(np.hypot(down, right)))


@functools.lru_cache(maxsize=8)
def _blur_matrix(length: int, padding: Padding) -> Float64:
    """The SSIM window along one axis: (length - 10, length), valid positions only; (length, length) with zeros."""
    x = np.arange(SSIM_SIZE) - SSIM_SIZE // 2
    window = np.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    window /= window.sum()
    margin = 0 if padding == "valid" else SSIM_SIZE // 2
    rows = length + 2 * margin - SSIM_SIZE + 1
    matrix = np.zeros((rows, length + 2 * margin))
    for tap, weight in enumerate(window):
        matrix[np.arange(rows), np.arange(rows) + tap] = weight
    return matrix[:, margin : margin + length]


def _blur_rows(matrix: Float64, plane: Float64) -> Float64:
    """``matrix @ plane`` for a matrix of :func:`_blur_matrix`."""
    blurred = np.empty((len(matrix), plane.shape[1]))
    margin = (SSIM_SIZE - 1 + len(matrix) - len(plane)) // 2
    for top in range(0, len(matrix), _BLOCK):
        bottom = min(top + _BLOCK, len(matrix))
        near = slice(max(0, top - margin), bottom - margin + SSIM_SIZE - 1)
        np.matmul(matrix[top:bottom, near], plane[near], out=blurred[top:bottom])
    return blurred


def ssim(a: Image, b: Image, *, border: int = 0, padding: Padding = "valid") -> float:
    """Mean SSIM of two images (H, W) in 0..255: 11x11 Gaussian window, sigma 1.5, valid region.

    ``padding="zero"`` continues the images by zeros instead and takes the mean over all pixels, as the
    ``pytorch_ssim`` that some repositories report with.

    Raises:
        ValueError: shapes differ or are not (H, W), or fewer than 11 pixels are left in a direction.
    """
    if a.ndim != 2:
        raise ValueError(f"SSIM is computed on one plane (H, W); got shape {a.shape}")
    x, y = _pair(a, b, border)
    if min(x.shape) < SSIM_SIZE:
        raise ValueError(f"SSIM needs at least {SSIM_SIZE} pixels in each direction; got {x.shape}")
    vertical, horizontal = _blur_matrix(x.shape[0], padding), _blur_matrix(x.shape[1], padding)

    def blur(plane: Float64) -> Float64:
        return _blur_rows(horizontal, _blur_rows(vertical, plane).T).T

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2))))


def ssim_rgb(a: Image, b: Image, *, border: int = 0, padding: Padding = "valid") -> float:
    """Mean of the channels' SSIM of two images (H, W, C) in 0..255; see :func:`ssim`."""
    if a.ndim != 3:
        raise ValueError(f"images must be (H, W, C); got shape {a.shape}")
    channels = zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True)
    return float(np.mean([ssim(x, y, border=border, padding=padding) for x, y in channels]))
