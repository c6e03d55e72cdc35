"""Which colours a frame has: arguments before properties before what is usual for the size."""

from __future__ import annotations

import pytest

from vs_sr import color
from vs_sr.color import Tags
from vs_sr.errors import ArgumentError, FrameError


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), 6), ((720, 480), 6), ((1024, 576), 6), ((1280, 720), 1), ((1025, 100), 1), ((100, 577), 1)],
)
def test_untagged_video_is_guessed_by_its_size(size: tuple[int, int], matrix: int) -> None:
    assert color.read({}, "YUV", *size) == Tags(matrix, 0, None, guessed=True)
    assert color.read({"_Matrix": 2}, "YUV", *size).matrix == matrix


def test_properties_and_arguments() -> None:
    properties = {"_Matrix": 9, "_Range": 1, "_ChromaLocation": 2}
    assert color.read(properties, "YUV", 64, 48) == Tags(9, 1, 2)
    assert color.read(properties, "YUV", 64, 48, matrix=1, range=0) == Tags(1, 0, 2)
    assert color.read({"_Matrix": 1, "_ColorRange": 0}, "YUV", 64, 48).range == 1
    assert color.read({"_Matrix": 1, "_ColorRange": 1}, "YUV", 64, 48).range == 0


def test_rgb_and_gray() -> None:
    assert color.read({}, "RGB", 64, 48) == Tags(0, 1, None)
    assert color.read({"_Range": 0}, "RGB", 64, 48).range == 0
    assert color.read({"_Matrix": 0}, "GRAY", 64, 48) == Tags(6, 0, None, guessed=True)


def test_contradictions_are_errors() -> None:
    with pytest.raises(FrameError, match=r"YUV frame is tagged _Matrix=0 .*matrix_in="):
        color.read({"_Matrix": 0}, "YUV", 64, 48)
    with pytest.raises(FrameError, match=r"_Matrix=10 needs .*_Primaries and _Transfer"):
        color.read({"_Matrix": 10}, "YUV", 64, 48)
    assert color.read({"_Matrix": 10, "_Primaries": 9, "_Transfer": 14}, "YUV", 64, 48).matrix == 10


@pytest.mark.parametrize("value", [2, 3, 11, 15, -1])
def test_matrix_arguments_are_checked(value: int) -> None:
    with pytest.raises(ArgumentError, match=rf"matrix_in={value} is no matrix; choices: .*1 \(BT709\)"):
        color.check_matrix("matrix_in", value)


def test_range_arguments_are_checked() -> None:
    color.check_range("range", 1)
    with pytest.raises(ArgumentError, match=r"range=2 is no range; choices: 0 \(limited\), 1 \(full\)"):
        color.check_range("range", 2)
