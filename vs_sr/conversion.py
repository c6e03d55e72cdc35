"""The numbers of a color conversion, as zimg has them: matrix, range, and the filters that resize chroma."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

from vs_sr.color import LUMA, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

_YCGCO = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
MATRICES = frozenset({*LUMA, Matrix.YCGCO})
"""The matrices that are nothing but a matrix; the others need curves, which are zimg's business."""

DOWN_TAPS, DOWN_FIRST, _UP_TAPS = 8, -3, 4
_DOWN = np.dtype(
    [
        ("matrix", "f4", (3, 3)),
        ("offset", "f4", (3,)),
        ("peak", "f4"),
        ("filter_x", "f4", (DOWN_TAPS,)),
        ("filter_y", "f4", (DOWN_TAPS,)),
    ]
)
_UP = np.dtype(
    [
        ("matrix", "f4", (3, 3)),
        ("offset", "f4", (3,)),
        ("filter_x", "f4", (2, _UP_TAPS)),
        ("filter_y", "f4", (2, _UP_TAPS)),
        ("first_x", "i4", (2,)),
        ("first_y", "i4", (2,)),
    ]
)
"""``struct Conversion`` of the two kernels."""


def _weight(distance: float, filter: str) -> float:
    """The filter at a distance in samples of the smaller image."""
    d = abs(distance)
    if filter == "bilinear":
        return max(0.0, 1.0 - d)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def _shift(location: int, axis: Literal["x", "y"]) -> float:
    """Where chroma sample c lies, in pixels from the middle of pixel 2c."""
    if axis == "x":
        return 0.0 if location in (0, 2, 4) else 0.5
    return {2: 0.0, 3: 0.0, 4: 1.0, 5: 1.0}.get(location, 0.5)


@functools.cache
def _down_filter(shift: int, at: float, filter: str) -> tuple[float, ...]:
    """Weights of the pixels 2c - 3 ... 2c + 4 for chroma sample c; (1, 0, ...) without subsampling."""
    if not shift:
        return (1.0, *(0.0,) * (DOWN_TAPS - 1))
    weights = [_weight((DOWN_FIRST + k - at) / 2, filter) for k in range(DOWN_TAPS)]
    return tuple(w / sum(weights) for w in weights)


@functools.cache
def _up_filter(shift: int, at: float, filter: str) -> tuple[tuple[tuple[float, ...], ...], tuple[int, ...]]:
    """For even and odd pixels: weights of four chroma samples, and the first of them from sample x // 2."""
    if not shift:
        return ((1.0, 0.0, 0.0, 0.0),) * 2, (0, 0)
    phases = []
    starts = []
    for parity in (0, 1):
        position = (parity - at) / 2  # in chroma samples from sample x // 2
        start = int(np.floor(position)) - 1
        weights = [_weight(start + k - position, filter) for k in range(_UP_TAPS)]
        phases.append(tuple(w / sum(weights) for w in weights))
        starts.append(start)
    return tuple(phases), tuple(starts)


def _scales(bits: int, matrix: int, full: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What 1 of Y, U, V is in code values, and which code values 0 is."""
    if full:
        peak = 2.0**bits - 1
        return np.array([peak] * 3), np.array([0.0, 2.0 ** (bits - 1), 2.0 ** (bits - 1)])
    unit = 2.0 ** (bits - 8)
    chroma = 219.0 if matrix == Matrix.YCGCO else 224.0  # YCgCo is sums and differences of limited RGB
    return np.array([219.0, chroma, chroma]) * unit, np.array([16.0, 128.0, 128.0]) * unit


def _to_yuv(matrix: int) -> NDArray[np.float64]:
    """(3, 3): Y, U, V (U and V in -0.5..0.5) from R, G, B in 0..1."""
    if matrix == Matrix.YCGCO:
        return _YCGCO
    red, blue = LUMA[Matrix(matrix)]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - blue))
    v = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - red))
    return np.stack([luma, u, v])


@functools.lru_cache(maxsize=64)
def down_conversion(
    bits: int, shift_x: int, shift_y: int, matrix: int, full: bool, location: int, filter: str
) -> NDArray[np.void]:
    """From RGB in 0..1 to integers of YUV: a record for the kernels and the plugin, as these lay it out.

    Args:
        bits: of the samples.
        shift_x: 1 where chroma has half the width.
        shift_y: 1 where chroma has half the height.
        matrix: of :data:`MATRICES`.
        full: whether the range is full.
        location: of chroma, as ``_ChromaLocation`` has it.
        filter: that resizes chroma, as ``vs_sr.ops.color`` names it.
    """
    scale, offset = _scales(bits, matrix, full)
    conversion = np.zeros(1, _DOWN)
    conversion["matrix"] = _to_yuv(matrix) * scale[:, None]
    conversion["offset"] = offset
    conversion["peak"] = 2.0**bits - 1
    conversion["filter_x"] = _down_filter(shift_x, _shift(location, "x"), filter)
    conversion["filter_y"] = _down_filter(shift_y, _shift(location, "y"), filter)
    return conversion


@functools.lru_cache(maxsize=64)
def up_conversion(
    bits: int, shift_x: int, shift_y: int, matrix: int, full: bool, location: int, filter: str
) -> NDArray[np.void]:
    """The way back: from integers of YUV to RGB in 0..1. Arguments as of :func:`down_conversion`."""
    scale, offset = _scales(bits, matrix, full)
    conversion = np.zeros(1, _UP)
    conversion["matrix"] = np.linalg.inv(_to_yuv(matrix)) / scale
    conversion["offset"] = offset
    conversion["filter_x"], conversion["first_x"] = _up_filter(shift_x, _shift(location, "x"), filter)
    conversion["filter_y"], conversion["first_y"] = _up_filter(shift_y, _shift(location, "y"), filter)
    return conversion
