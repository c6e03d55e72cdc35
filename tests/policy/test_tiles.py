"""Tiles: every pixel kept once, seen from far enough, on the network's grid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vs_sr import tiles
from vs_sr.errors import ArgumentError
from vs_sr.tiles import Span


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(size, tile, overlap, multiple) that can be covered."""
    multiple = draw(st.sampled_from([1, 2, 4]))
    overlap = draw(st.integers(0, 20))
    tile = draw(st.integers(2 * overlap + 2 * multiple, 100))
    return draw(st.integers(1, 400)), tile, overlap, multiple


@given(axes())
def test_every_pixel_is_kept_once_and_in_order(axis: tuple[int, int, int, int]) -> None:
    kept = [pixel for span in tiles.spans(*axis) for pixel in range(span.first, span.last)]
    assert kept == list(range(axis[0]))


@given(axes())
def test_what_is_kept_is_far_from_the_inner_sides(axis: tuple[int, int, int, int]) -> None:
    size, _, overlap, _ = axis
    for span in tiles.spans(*axis):
        assert 0 <= span.start <= span.first < span.last <= span.stop <= size
        assert span.start == 0 or span.first - span.start >= overlap
        assert span.stop == size or span.stop - span.last >= overlap


@given(axes())
def test_tiles_lie_on_the_grid_and_are_as_long_as_asked_for(axis: tuple[int, int, int, int]) -> None:
    size, tile, _, multiple = axis
    made = tiles.spans(*axis)
    assert all(span.start % multiple == 0 for span in made)
    lengths = [span.stop - span.start for span in made]
    assert len(set(lengths[:-1])) <= 1
    assert len(made) == 1 or all(tile - multiple < length <= tile for length in lengths[:-1])
    assert lengths[-1] < tile + multiple
    assert made[-1].stop == size
    assert len({span.start for span in made}) == len(made)


@given(st.integers(1, 300), st.integers(0, 200), st.sampled_from([1, 2, 4]), st.integers(0, 300))
def test_a_tile_that_is_not_below_the_frame_is_the_frame(size: int, overlap: int, multiple: int, more: int) -> None:
    whole = [Span(0, size, 0, size)]
    assert tiles.spans(size, size + more, overlap, multiple) == whole
    assert tiles.spans(size, 0, overlap, multiple) == whole


@given(axes(), st.integers(1, 4))
def test_results_fit_together(axis: tuple[int, int, int, int], scale: int) -> None:
    size = axis[0]
    whole = list(range(scale * size))
    made = [-1] * len(whole)
    for span in tiles.spans(*axis):
        source, target = span.result(scale)
        part = whole[scale * span.start : scale * span.stop]
        assert len(part[source]) == len(made[target])
        made[target] = part[source]
    assert made == whole


def test_an_example() -> None:
    assert tiles.spans(100, 40, 5) == [
        Span(0, 40, 0, 35),
        Span(30, 70, 35, 65),
        Span(60, 100, 65, 100),
    ]
    assert tiles.spans(43, 16, 2, multiple=4) == [
        Span(0, 16, 0, 14),
        Span(12, 28, 14, 26),
        Span(24, 43, 26, 43),
    ]


@given(axes(), axes())
def test_a_frame_is_covered_row_by_row(columns: tuple[int, int, int, int], rows: tuple[int, int, int, int]) -> None:
    (width, tile_width, across, multiple), (height, tile_height, down, _) = columns, rows
    if tile_height < 2 * down + 2 * multiple:
        return
    made = tiles.cover((width, height), (tile_width, tile_height), (across, down), multiple)
    area = sum((t.columns.last - t.columns.first) * (t.rows.last - t.rows.first) for t in made)
    assert area == width * height if made else tile_width >= width - multiple
    assert list(made) == sorted(made, key=lambda tile: (tile.rows.start, tile.columns.start))


def test_one_tile_is_none() -> None:
    assert tiles.cover((64, 48), (64, 64), (8, 8)) == ()
    assert tiles.cover((64, 48), (0, 0), (8, 8)) == ()
    assert len(tiles.cover((64, 48), (0, 32), (8, 8))) == 2


@pytest.mark.parametrize(
    ("tile", "overlap", "multiple", "least"),
    [(16, 8, 1, 17), (19, 8, 4, 20), (3, 2, 1, 5), (70, 17, 32, 96), (40, 8, 32, 64)],
)
def test_a_tile_that_keeps_nothing(tile: int, overlap: int, multiple: int, least: int) -> None:
    with pytest.raises(ArgumentError, match=rf"overlap={overlap} on both sides .* at least {least}"):
        tiles.spans(100, tile, overlap, multiple)
    tiles.spans(100, least, overlap, multiple)


@pytest.mark.parametrize(
    ("tile", "receptive_field", "overlap"),
    [(256, 10, 10), (256, 350, 32), (256, None, 32), (64, 20, 16), (64, 3, 3), (0, 9, 0)],
)
def test_overlap_where_none_is_asked_for(tile: int, receptive_field: int | None, overlap: int) -> None:
    assert tiles.default_overlap(tile, receptive_field) == overlap


@given(st.integers(64, 500), st.sampled_from([1, 2, 4, 16, 32]), st.integers(1, 2000))
def test_the_default_overlap_leaves_something_of_a_tile(tile: int, multiple: int, size: int) -> None:
    overlap = tiles.default_overlap(tile, None, multiple)
    assert overlap >= 16
    tiles.spans(size, tile, overlap, multiple)


NEEDED = tiles.estimate(scale=4, channels=64, bytes_per_value=2)


def plan(size: tuple[int, int], memory: int) -> tuple[int, int]:
    return tiles.plan(size, NEEDED, memory)


def test_the_planner_takes_whole_frames_where_they_fit() -> None:
    needed = 1920 * 1080 * NEEDED
    assert plan((1920, 1080), needed) == (0, 0)
    assert plan((1920, 1080), needed - 1) != (0, 0)
    assert NEEDED < tiles.estimate(scale=4, channels=64, bytes_per_value=2, timesteps=7) < 2 * NEEDED


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(0, 1 << 36))
def test_planned_tiles_fit_and_do_not_depend_on_chance(width: int, height: int, memory: int) -> None:
    tile = plan((width, height), memory)
    assert tile == plan((width, height), memory)
    if any(tile) and tile != (64, 64):
        assert tile[0] * tile[1] * NEEDED <= memory
    overlap = tiles.default_overlap(tile[0], 20)
    tiles.cover((width, height), tile, (overlap, overlap), 4)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_tiles_are_halved_until_they_are_small(width: int, height: int) -> None:
    tile: tuple[int, int] | None = (0, 0)
    pixels = width * height
    while tile is not None:
        last, tile = tile, tiles.halved((width, height), tile)
        if tile is not None:
            assert pixels // 3 <= tile[0] * tile[1] <= pixels / 2
            pixels = tile[0] * tile[1]
            assert min(tile) >= min(64, width, height)
    assert max(side or whole for side, whole in zip(last, (width, height), strict=True)) < 128
