"""Bicubic resampling by name: the rules by which published LR images and baselines were made.

All have Keys' cubic convolution with a = -0.5 (Keys 1981, "Cubic convolution interpolation for digital image
processing"), widened when shrinking, which makes it the antialiasing filter. They differ where the image ends and where
they round, which moves figures by up to 0.5 dB: an LR image made in floating point and rounded once differs from
MATLAB's in a tenth of its values.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vs_sr.errors import ArgumentError
from vs_sr.evaluation import pillow

type Image = npt.NDArray[np.generic]
type Float64 = npt.NDArray[np.float64]
type Rule = Literal["matlab-double", "matlab-uint8", "matlab-once", "pil"]

RULES: tuple[Rule, ...] = get_args(Rule.__value__)
SUMMARY: dict[Rule, str] = {
    "matlab-double": "MATLAB's imresize on floating point: mirrored borders, nothing rounded",
    "matlab-uint8": "MATLAB's imresize on uint8: rounded half up after the rows and again after the columns",
    "matlab-once": "in floating point, rounded once at the end (half to even): what ports of imresize write",
    "pil": "Pillow's BICUBIC on uint8: columns first, kernel cut off at borders",
}


def resample(image: Image, size: tuple[int, int], rule: Rule) -> Image:
    """An image at another size.

    Args:
        image: (H, W, C) in 0..255, uint8 or, for the rule "matlab-double", floating point too.
        size: (height, width) of the result, at least 1.
        rule: one of :data:`RULES`, see :data:`SUMMARY`.

    Returns:
        (height, width, C): float64, not clipped, for "matlab-double"; else uint8.

    Raises:
        ArgumentError: an empty size.
        VsSrError: "pil" without Pillow.
    """
    if min(size) < 1:
        raise ArgumentError(f"an image of {image.shape[1]}x{image.shape[0]} cannot become {size[1]}x{size[0]}")
    if rule == "pil":
        return _pillow(image, size)
    vertical, horizontal = (resize_matrix(old, new / old) for old, new in zip(image.shape, size, strict=False))
    rows = np.tensordot(vertical, image.astype(np.float64), axes=(1, 0))
    if rule == "matlab-uint8":
        rows = round_half_up(rows).astype(np.float64)
    whole = np.moveaxis(np.tensordot(horizontal, rows, axes=(1, 1)), 0, 1)
    if rule == "matlab-uint8":
        return round_half_up(whole)
    return np.rint(whole).clip(0, 255).astype(np.uint8) if rule == "matlab-once" else whole


def _pillow(image: Image, size: tuple[int, int]) -> Image:
    pillow.require("the rule 'pil'")
    from PIL import Image as Pillow

    if image.dtype != np.uint8:
        raise ArgumentError(f"the rule 'pil' takes uint8 images; got {image.dtype}")
    return np.asarray(Pillow.fromarray(image).resize(size[::-1], Pillow.Resampling.BICUBIC))


@lru_cache(maxsize=64)
def resize_matrix(length: int, scale: float) -> Float64:
    """MATLAB's bicubic resampling of one axis as a matrix; beyond its ends the axis is mirrored (half-sample).

    Args:
        length: samples along the axis, at least 1.
        scale: output samples per input sample, > 0.

    Returns:
        (ceil(length * scale), length) float64; every row sums to 1. The array is shared and read-only.
    """
    # 1e-9 absorbs products such as 30 * (1/3 + eps): without it ceil() would add a sample.
    size = max(1, math.ceil(length * scale - 1e-9))
    shrink = min(scale, 1.0)  # < 1 widens the kernel
    width = 4 / shrink  # support of the kernel, in samples
    taps = math.ceil(width) + 2

    # Output centers on the input's axis, counted from 1: MATLAB's own arithmetic, whose last bit decides
    # which way an exact half is rounded at scales such as 1.5.
    center = np.arange(1, size + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(center - width / 2).astype(np.int64)
    index = first[:, None] + np.arange(taps)  # (size, taps)
    weight = _cubic((center[:, None] - index) * shrink)
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = np.mod(index - 1, 2 * length)
    mirrored = np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)

    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size)[:, None], mirrored), weight)
    matrix.setflags(write=False)
    return matrix


def _cubic(x: Float64) -> Float64:
    """Keys' kernel at distances ``x`` (samples); 0 for abs(x) >= 2."""
    a, d = -0.5, np.abs(x)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def round_half_up(x: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Values to uint8 as MATLAB casts them: halves go up, out-of-range values are clipped."""
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)
