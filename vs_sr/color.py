"""Colour of a clip as H.273 code points (the numbers of ``core.resize`` and of frame properties). Pure integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from vs_sr.errors import ArgumentError, FrameError


class Matrix(IntEnum):
    """Matrix coefficients (H.273, table 4), those that zimg knows."""

    RGB = 0
    BT709 = 1
    UNSPECIFIED = 2
    FCC = 4
    BT470_BG = 5
    ST170_M = 6
    ST240_M = 7
    YCGCO = 8
    BT2020_NCL = 9
    BT2020_CL = 10
    CHROMATICITY_NCL = 12
    CHROMATICITY_CL = 13
    ICTCP = 14


_NEEDS_PRIMARIES = {Matrix.BT2020_CL, Matrix.CHROMATICITY_NCL, Matrix.CHROMATICITY_CL, Matrix.ICTCP}
"""These are no plain matrices: zimg also needs the primaries and the transfer curve."""


class Range(IntEnum):
    """Range of integer code values, as ``_Range`` and ``core.resize`` number it."""

    LIMITED = 0
    FULL = 1


@dataclass(frozen=True)
class Tags:
    """What has to be known of a frame, to make RGB of it and to go back."""

    matrix: int
    """:class:`Matrix`; RGB for RGB frames."""
    range: int
    """:class:`Range`."""
    chroma_location: int | None
    """``_ChromaLocation``; None where absent."""
    guessed: bool = False
    """The frame names no matrix, so that it was taken from the size."""


type Family = Literal["YUV", "RGB", "GRAY"]


def matrix_of_size(width: int, height: int) -> Matrix:
    """The usual matrix of untagged video: BT.601 for standard definition, else BT.709."""
    return Matrix.BT709 if height > 576 or width > 1024 else Matrix.ST170_M


def read(
    properties: Mapping[str, int],
    family: Family,
    width: int,
    height: int,
    *,
    matrix: int | None = None,
    range: int | None = None,
) -> Tags:
    """The tags of a frame: arguments first, then its properties, then what is usual for its size.

    Args:
        properties: integer properties of the frame.
        family: its colour family.
        width: in pixels.
        height: in pixels.
        matrix: overrides ``_Matrix``.
        range: overrides ``_Range``.

    Raises:
        FrameError: the properties contradict the format, or lack what the matrix needs.
    """
    if range is None:
        range = properties.get("_Range")
    if range is None and "_ColorRange" in properties:  # deprecated, with the values swapped
        range = 1 - properties["_ColorRange"]
    if range is None:
        range = Range.FULL if family == "RGB" else Range.LIMITED
    if family == "RGB":
        return Tags(Matrix.RGB, range, None)
    tagged = properties.get("_Matrix", Matrix.UNSPECIFIED) if matrix is None else matrix
    if family == "GRAY" and tagged == Matrix.RGB:  # a plane taken out of RGB: grey whatever the matrix
        tagged = Matrix.UNSPECIFIED
    if tagged == Matrix.RGB:
        raise FrameError("a YUV frame is tagged _Matrix=0 (RGB); use matrix_in=1 (or 6, 9) to say what it is")
    guessed = tagged == Matrix.UNSPECIFIED
    if guessed:
        tagged = matrix_of_size(width, height)
    if tagged in _NEEDS_PRIMARIES and not all(properties.get(name, 2) != 2 for name in ("_Primaries", "_Transfer")):
        raise FrameError(
            f"_Matrix={tagged} needs the properties _Primaries and _Transfer; set them with std.SetFrameProps"
        )
    return Tags(tagged, range, properties.get("_ChromaLocation"), guessed)


def check_matrix(name: str, value: int | None) -> None:
    """Refuse a matrix argument that is none.

    Raises:
        ArgumentError: not a matrix that zimg knows, or one that says nothing (unspecified).
    """
    if value is not None and (value == Matrix.UNSPECIFIED or value not in set(Matrix)):
        choices = ", ".join(f"{m.value} ({m.name})" for m in Matrix if m is not Matrix.UNSPECIFIED)
        raise ArgumentError(f"{name}={value} is no matrix; choices: {choices}")


def check_range(name: str, value: int | None) -> None:
    """Refuse a range argument that is neither 0 nor 1.

    Raises:
        ArgumentError: it is not.
    """
    if value is not None and value not in set(Range):
        raise ArgumentError(f"{name}={value} is no range; choices: 0 (limited), 1 (full)")
