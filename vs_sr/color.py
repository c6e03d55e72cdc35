"""Color of a clip as H.273 code points (the numbers of ``core.resize`` and of frame properties). Pure integers.

What a frame's properties say is read here, and what the output's have to say is decided here. ``core.resize`` gets
its frames without such properties and is told everything by arguments: it prefers a property to an argument, and
refuses what it does not know.
"""

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


UNSPECIFIED = 2
"""Of matrix, transfer and primaries: nothing is said."""

_UNUSABLE = {0: "RGB", 11: "YDzDx", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}
"""What YUV frames cannot be tagged with: no YUV at all, or matrices of H.273 that zimg does not know. They mean
something, so they are not taken for another."""

_TRANSFERS = frozenset({1, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18})
_PRIMARIES = frozenset({1, 4, 5, 6, 7, 8, 9, 11, 12, 22})
_NEEDS: dict[int, tuple[frozenset[int] | None, frozenset[int] | None]] = {
    Matrix.BT2020_CL: (frozenset({1, 6, 7, 14, 15}), None),
    Matrix.CHROMATICITY_NCL: (None, _PRIMARIES),
    Matrix.CHROMATICITY_CL: (_TRANSFERS - {8}, _PRIMARIES),  # there is a way from linear, none back
    Matrix.ICTCP: (frozenset({16, 18}), frozenset({9})),
}
"""Matrices that are none: which transfers and primaries a frame must have for zimg to know what to do; None: any."""

PLAIN = tuple(m for m in Matrix if m not in {Matrix.RGB, Matrix.UNSPECIFIED, *_NEEDS})
"""The matrices that are enough to go from YUV to RGB and back."""


LUMA = {
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.FCC: (0.30, 0.11),
    Matrix.BT470_BG: (0.299, 0.114),
    Matrix.ST170_M: (0.299, 0.114),
    Matrix.ST240_M: (0.212, 0.087),
    Matrix.BT2020_NCL: (0.2627, 0.0593),
}
"""Weights of red and of blue in luma; that of green is what they leave of 1."""


class Range(IntEnum):
    """Range of integer code values, as ``_Range`` and ``core.resize`` number it."""

    LIMITED = 0
    FULL = 1


_LOCATIONS = range(6)
"""Of chroma, as ``_ChromaLocation`` and ``core.resize`` number it."""

MATRIX, RANGE, LOCATION = "_Matrix", "_Range", "_ChromaLocation"
TRANSFER, PRIMARIES = "_Transfer", "_Primaries"
_OLD_MATRIX, _OLD_RANGE = "_ColorSpace", "_ColorRange"
PROPERTIES = (MATRIX, RANGE, LOCATION, TRANSFER, PRIMARIES, _OLD_MATRIX, _OLD_RANGE)
"""All frame properties about color. The last two are older names, still written by mpv, of the first two."""

type Family = Literal["YUV", "RGB", "GRAY"]


@dataclass(frozen=True)
class Coding:
    """How integers of YUV stand for RGB, where a matrix and a filter for chroma are all that lies between them."""

    bits: int
    """8 to 16."""
    subsampling: tuple[int, int]
    """Binary logarithm of how much smaller chroma is, along x and along y: 0 or 1."""
    matrix: int
    """One of :data:`PLAIN`."""
    full: bool
    """Full range; else limited."""
    location: int
    """Of chroma, as ``core.resize`` numbers it."""


@dataclass(frozen=True)
class Tags:
    """What has to be known of a frame, to make RGB of it and to go back."""

    family: Family
    """Of its format."""
    matrix: int
    """:class:`Matrix`; RGB for RGB frames, and for a plane taken out of one."""
    range: int
    """:class:`Range`."""
    location: int | None = None
    """``_ChromaLocation``; None where absent."""
    transfer: int | None = None
    """``_Transfer`` as it is, known or not: a plain matrix does not need it. None where absent."""
    primaries: int | None = None
    """``_Primaries``, likewise."""
    guessed: bool = False
    """A YUV frame names no matrix, so that it was taken from the size."""
    doubts: tuple[str, ...] = ()
    """What was not believed of the frame's tags, for people to read."""

    @classmethod
    def of(cls, family: Family, properties: Mapping[str, int]) -> Tags:
        """From what :meth:`properties` gave."""
        location, transfer, primaries = (properties.get(name) for name in (LOCATION, TRANSFER, PRIMARIES))
        return cls(family, properties[MATRIX], properties[RANGE], location, transfer, primaries)

    def properties(self) -> dict[str, int]:
        """The frame properties that say so."""
        said = {
            MATRIX: self.matrix,
            RANGE: self.range,
            LOCATION: self.location,
            TRANSFER: self.transfer,
            PRIMARIES: self.primaries,
        }
        return {name: value for name, value in said.items() if value is not None}

    def coding(self, bits: int, subsampling: tuple[int, int]) -> Coding | None:
        """What a frame of integers with these tags stands for; None: it takes more than a matrix to know.

        Args:
            bits: of its samples.
            subsampling: binary logarithms along x and y, as VapourSynth has them.
        """
        if self.family != "YUV" or self.matrix not in PLAIN or max(subsampling) > 1:
            return None
        return Coding(bits, subsampling, self.matrix, bool(self.range), self.location or 0)

    def arguments(self, end: Literal["", "_in"]) -> dict[str, int]:
        """What ``core.resize`` needs to know of its input ("_in") or its output ("")."""
        given = {f"range{end}": self.range}
        if self.family == "RGB":
            return given
        if self.family == "YUV" and self.location is not None:
            given[f"chromaloc{end}"] = self.location
        if self.matrix == Matrix.RGB or self.lacks():  # gray is gray whatever the matrix
            return given | {f"matrix{end}": Matrix.BT709}
        given[f"matrix{end}"] = self.matrix
        transfers, primaries = _NEEDS.get(self.matrix, (None, None))
        # these two are the same at both ends
        if transfers is not None and self.transfer is not None:
            given["transfer_in"] = self.transfer
        if primaries is not None and self.primaries is not None:
            given["primaries_in"] = self.primaries
        return given

    def lacks(self) -> str:
        """What the matrix needs and the frame does not say; empty: nothing."""
        needs = _NEEDS.get(self.matrix, (None, None))
        wanted = zip((TRANSFER, PRIMARIES), (self.transfer, self.primaries), needs, strict=True)
        return " and ".join(
            f"{name} of {', '.join(map(str, sorted(choices)))} (it is {'absent' if value is None else value})"
            for name, value, choices in wanted
            if choices is not None and value not in choices
        )


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

    Values that H.273 has reserved mean nothing and are taken for unspecified. Transfer and primaries are nobody's
    business here, but where a matrix needs them.

    Args:
        properties: integer properties of the frame.
        family: its color family.
        width: in pixels.
        height: in pixels.
        matrix: overrides ``_Matrix``.
        range: overrides ``_Range``.

    Raises:
        FrameError: the properties contradict the format, or lack what the matrix needs.
    """
    doubts: list[str] = []
    if family == "RGB":
        matrix = Matrix.RGB
    if matrix is None:
        matrix = _matrix(properties, family, doubts)
    guessed = matrix is None and family == "YUV"
    if matrix is None:
        matrix = matrix_of_size(width, height)
    if range is None:
        range = _range(properties, doubts)
    if range is None:
        range = Range.FULL if matrix == Matrix.RGB else Range.LIMITED
    location = None if family == "RGB" else properties.get(LOCATION)
    if location is not None and location not in _LOCATIONS:
        if family == "YUV":
            doubts.append(_reserved(LOCATION, location))
        location = None
    transfer, primaries = properties.get(TRANSFER), properties.get(PRIMARIES)
    tags = Tags(family, matrix, range, location, transfer, primaries, guessed, tuple(doubts))
    if family == "YUV" and (lacks := tags.lacks()):
        raise FrameError(
            f"_Matrix={tags.matrix} ({Matrix(tags.matrix).name}) needs {lacks}; set it with std.SetFrameProps, or use "
            "matrix_in=1 (or 6, 9) to say what the frame is"
        )
    return tags


def _matrix(properties: Mapping[str, int], family: Family, doubts: list[str]) -> int | None:
    """What a YUV or GRAY frame says of its matrix; None: nothing."""
    for name in (MATRIX, _OLD_MATRIX):
        value = properties.get(name, UNSPECIFIED)
        if family == "YUV" and value in _UNUSABLE:
            what = f"{name}={value} ({_UNUSABLE[value]})"
            raise FrameError(f"a YUV frame is tagged {what}; use matrix_in=1 (or 6, 9) to say what it is")
        if value in set(Matrix) - {UNSPECIFIED}:
            return value
        if value != UNSPECIFIED:
            doubts.append(_reserved(name, value))
    return None


def _range(properties: Mapping[str, int], doubts: list[str]) -> int | None:
    """What a frame says of its range; None: nothing."""
    for name, full in ((RANGE, 1), (_OLD_RANGE, 0)):  # the older one has the values swapped
        value = properties.get(name)
        if value in (0, 1):
            return Range.FULL if value == full else Range.LIMITED
        if value is not None:
            doubts.append(_reserved(name, value))
    return None


def _reserved(name: str, value: int) -> str:
    return f"{name}={value} has no meaning and is taken for unspecified"


def output(
    came: Tags, family: Family, width: int, height: int, *, matrix: int | None = None, range: int | None = None
) -> Tags:
    """The tags of an output frame: arguments first, then those of the frame it is made from.

    Args:
        came: of the input frame.
        family: color family of the output.
        width: of the output, in pixels.
        height: of the output, in pixels.
        matrix: as asked for; RGB has none to choose.
        range: as asked for.
    """
    if range is None:
        range = came.range
        if (family == "RGB") != (came.family == "RGB"):
            range = Range.FULL if family == "RGB" else Range.LIMITED
    if family == "RGB":
        matrix = Matrix.RGB
    elif matrix is None:
        known = came.family != "RGB" and (family == came.family or came.matrix in PLAIN or came.family == "YUV")
        matrix = came.matrix if known else matrix_of_size(width, height)
    location = None if family == "RGB" else came.location
    return Tags(family, matrix, range, location, came.transfer, came.primaries)


def check_matrix(name: Literal["matrix_in", "matrix"], value: int | None, family: Family) -> None:
    """Refuse a matrix argument that cannot be.

    Args:
        name: of the argument.
        value: None: not given.
        family: color family of the clip ("matrix_in") or of the output ("matrix").

    Raises:
        ArgumentError: not a matrix, none that this color family can have, or one that is not enough to know.
    """
    whose = "clip" if name == "matrix_in" else "output"
    possible = [Matrix.RGB] if family == "RGB" else [*PLAIN]
    if family == "GRAY" and name == "matrix_in":  # a plane of RGB
        possible.insert(0, Matrix.RGB)
    if value is None or value in possible:
        return
    choices = ", ".join(f"{m.value} ({m.name})" for m in possible)
    if value in _NEEDS and family != "RGB":
        way = {
            "matrix_in": "tag the frames with std.SetFrameProps(_Matrix=..., _Transfer=..., _Primaries=...) instead",
            "matrix": "convert the result with resize.Bicubic, which takes all three",
        }[name]
        raise ArgumentError(
            f"{name}={value} ({Matrix(value).name}) depends on transfer and primaries, too; {way}; choices: {choices}"
        )
    what = f"{value} ({Matrix(value).name})" if value in set(Matrix) else f"{value}"
    raise ArgumentError(f"{name}={what} is not possible: the {whose} is {family}; choices: {choices}")


def check_range(name: str, value: int | None) -> None:
    """Refuse a range argument that is neither 0 nor 1.

    Raises:
        ArgumentError: it is not.
    """
    if value is not None and value not in set(Range):
        raise ArgumentError(f"{name}={value} is no range; choices: 0 (limited), 1 (full)")
