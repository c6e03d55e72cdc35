"""Scene cuts as frame properties: reading them, and dividing a frame's among its parts."""

from __future__ import annotations

import pytest

from vs_sr import scenes


def test_either_side_tells_a_cut() -> None:
    tags = {3: (0, 0), 4: (0, 1), 5: (None, None), 6: (1, 0), 7: (None, None)}
    assert scenes.cuts(tags) == {4, 5}
    assert scenes.cuts({0: (None, None), 1: (0, 0)}) == set()


@pytest.mark.parametrize(
    ("tags", "parts"),
    [
        ((1, 0), [(1, 0), (0, 0)]),
        ((0, 1), [(0, 0), (0, 1)]),
        ((1, 1), [(1, 0), (0, 1)]),
        ((None, 1), [(None, 0), (None, 1)]),
        ((None, None), [(None, None), (None, None)]),
    ],
)
def test_a_cut_stays_where_it_is(tags: scenes.Tags, parts: list[scenes.Tags]) -> None:
    assert [scenes.divide(tags, part, 2) for part in (0, 1)] == parts
    assert scenes.divide(tags, 0, 1) == tags
