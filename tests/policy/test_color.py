"""Which colors a frame has: arguments before properties before what is usual for the size; and what the output says."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from vs_sr import color
from vs_sr.color import Tags
from vs_sr.errors import ArgumentError, FrameError

if TYPE_CHECKING:
    from vs_sr.color import Family

FAMILIES: tuple[Family, ...] = ("YUV", "RGB", "GRAY")
RESERVED = (3, 18, 22, 255, -1, 1 << 40)
"""Matrices that mean nothing."""


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), 6), ((720, 480), 6), ((1024, 576), 6), ((1280, 720), 1), ((1025, 100), 1), ((100, 577), 1)],
)
def test_untagged_video_is_guessed_by_its_size(size: tuple[int, int], matrix: int) -> None:
    assert color.read({}, "YUV", *size) == Tags("YUV", matrix, 0, guessed=True)
    assert color.read({"_Matrix": 2}, "YUV", *size).matrix == matrix


def test_properties_and_arguments() -> None:
    properties = {"_Matrix": 9, "_Range": 1, "_ChromaLocation": 2, "_Transfer": 16, "_Primaries": 3}
    assert color.read(properties, "YUV", 64, 48) == Tags("YUV", 9, 1, 2, 16, 3)
    assert color.read(properties, "YUV", 64, 48, matrix=1, range=0) == Tags("YUV", 1, 0, 2, 16, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_older_names_count_where_today_s_say_nothing(family: Family) -> None:
    def read(**properties: int) -> tuple[int, int]:
        tags = color.read(properties, family, 64, 48)
        return tags.matrix, tags.range

    rgb = family == "RGB"
    for silent in ({}, {"_Matrix": 2, "_Range": 7}):
        assert read(**silent, _ColorSpace=9, _ColorRange=0) == (0 if rgb else 9, 1)
        assert read(**silent, _ColorSpace=9, _ColorRange=1) == (0 if rgb else 9, 0)
    assert read(_Matrix=1, _ColorSpace=9, _Range=1, _ColorRange=1) == (0 if rgb else 1, 1)


def test_a_plane_of_rgb_is_gray_of_full_range() -> None:
    assert color.read({"_Matrix": 0}, "GRAY", 64, 48) == Tags("GRAY", 0, 1)
    assert color.read({"_Matrix": 0, "_Range": 0}, "GRAY", 64, 48).range == 0
    assert color.read({"_Matrix": 0}, "GRAY", 64, 48, matrix=6) == Tags("GRAY", 6, 0)


def test_tags_of_another_family_are_not_for_rgb() -> None:
    left = {"_Matrix": 14, "_ChromaLocation": 2, "_ColorSpace": 11}
    assert color.read(left, "RGB", 64, 48) == Tags("RGB", 0, 1)


@pytest.mark.parametrize("family", ["YUV", "GRAY"])
@pytest.mark.parametrize("value", RESERVED)
def test_reserved_values_say_nothing(family: Family, value: int) -> None:
    for name in ("_Matrix", "_ColorSpace"):
        tags = color.read({name: value}, family, 64, 48)
        assert tags.matrix == 6
        assert tags.doubts == (f"{name}={value} has no meaning and is taken for unspecified",)
    tags = color.read({"_Matrix": 1, "_Range": value, "_ChromaLocation": value}, family, 64, 48)
    assert (tags.matrix, tags.range, tags.location) == (1, 0, 3 if value == 3 else None)
    assert tags.doubts[0].startswith(f"_Range={value} ")


@pytest.mark.parametrize("value", [0, 11, 15, 16, 17])
def test_matrices_that_are_no_yuv_or_unknown_are_errors(value: int) -> None:
    for name in ("_Matrix", "_ColorSpace"):
        with pytest.raises(FrameError, match=rf"YUV frame is tagged {name}={value} \(.*\); use matrix_in=1"):
            color.read({name: value}, "YUV", 64, 48)
        assert color.read({name: value}, "YUV", 64, 48, matrix=1).matrix == 1


@pytest.mark.parametrize(
    ("properties", "lacks"),
    [
        ({"_Matrix": 10}, r"_Matrix=10 \(BT2020_CL\) needs _Transfer of 1, 6, 7, 14, 15 \(it is absent\); set it"),
        ({"_Matrix": 10, "_Transfer": 16}, r"\(it is 16\)"),
        ({"_Matrix": 12, "_Transfer": 1}, r"needs _Primaries of 1, 4"),
        ({"_Matrix": 13, "_Primaries": 1}, r"needs _Transfer of 1, 4"),
        ({"_Matrix": 14}, r"needs _Transfer of 16, 18 \(it is absent\) and _Primaries of 9 \(it is absent\)"),
        ({"_Matrix": 14, "_Transfer": 16, "_Primaries": 1}, r"needs _Primaries of 9 \(it is 1\)"),
    ],
)
def test_matrices_that_need_more(properties: dict[str, int], lacks: str) -> None:
    with pytest.raises(FrameError, match=lacks):
        color.read(properties, "YUV", 64, 48)
    assert color.read(properties, "GRAY", 64, 48).arguments("_in")["matrix_in"] == 1, "gray whatever the matrix"


def test_what_core_resize_is_told() -> None:
    tags = color.read({"_Matrix": 14, "_Primaries": 9, "_Transfer": 16, "_ChromaLocation": 2}, "YUV", 64, 48)
    needed = {"transfer_in": 16, "primaries_in": 9}
    assert tags.arguments("_in") == {"matrix_in": 14, "range_in": 0, "chromaloc_in": 2, **needed}
    assert tags.arguments("") == {"matrix": 14, "range": 0, "chromaloc": 2, **needed}
    plain = color.read({"_Matrix": 1, "_Primaries": 9, "_Transfer": 3}, "YUV", 64, 48)
    assert plain.arguments("_in") == {"matrix_in": 1, "range_in": 0}, "no business of a plain matrix"
    assert color.read({"_Matrix": 1}, "RGB", 64, 48).arguments("") == {"range": 1}


def test_tags_travel_as_properties() -> None:
    for properties in ({"_Matrix": 9, "_Transfer": -4}, {"_Range": 1, "_ChromaLocation": 3, "_Primaries": 0}):
        tags = color.read(properties, "YUV", 2000, 48, matrix=9)
        assert Tags.of("YUV", tags.properties()) == tags


@pytest.mark.parametrize(("came", "family"), [*itertools.product(FAMILIES, FAMILIES)])
def test_the_output_says_what_it_is(came: Family, family: Family) -> None:
    tags = Tags(came, 0 if came == "RGB" else 9, 1, None if came == "RGB" else 2, 16, 250)
    same_kind = (came == "RGB") == (family == "RGB")
    made = color.output(tags, family, 2000, 48)
    assert made.family == family
    assert made.matrix == (0 if family == "RGB" else 9 if same_kind else 1)
    assert made.range == (1 if same_kind or family == "RGB" else 0)
    assert made.location == (2 if "RGB" not in (came, family) else None)
    assert (made.transfer, made.primaries) == (16, 250), "nobody has touched them"
    asked = color.output(tags, family, 2000, 48, matrix=None if family == "RGB" else 6, range=0)
    assert (asked.matrix, asked.range) == (0 if family == "RGB" else 6, 0)


def test_a_plane_of_rgb_stays_one_and_is_no_matrix_of_yuv() -> None:
    tags = color.read({"_Matrix": 0}, "GRAY", 64, 48)
    assert color.output(tags, "GRAY", 256, 192).matrix == 0
    assert color.output(tags, "YUV", 256, 192).matrix == 6


PLAIN = [1, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("value", [*range(-1, 20), 1 << 40])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["matrix_in", "matrix"])
def test_matrix_arguments_are_checked(name: str, family: Family, value: int) -> None:
    possible = [0] if family == "RGB" else PLAIN
    if family == "GRAY" and name == "matrix_in":
        possible = [0, *PLAIN]
    if value in possible:
        color.check_matrix(name, value, family)  # type: ignore[arg-type]
        return
    with pytest.raises(ArgumentError) as caught:
        color.check_matrix(name, value, family)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(f"{name}={value}")
    choices = text.split("choices: ")[1]
    assert [int(choice.split()[0]) for choice in choices.split(", ")] == possible
    if value in (10, 12, 13, 14) and family != "RGB":
        assert ("std.SetFrameProps" if name == "matrix_in" else "resize.Bicubic") in text


def test_range_arguments_are_checked() -> None:
    color.check_range("range", 1)
    with pytest.raises(ArgumentError, match=r"range=2 is no range; choices: 0 \(limited\), 1 \(full\)"):
        color.check_range("range", 2)
