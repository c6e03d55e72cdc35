"""Memory, shared out by plan."""

from __future__ import annotations

import gc

import pytest

from vs_sr.engine.budget import FEWEST, MOST, Budget

GIB = 1 << 30


class Filter:
    """Somebody who keeps groups."""


@pytest.mark.parametrize(
    ("total", "size", "count"),
    [
        (16 * GIB, 6 * 640 * 360 * 12, MOST),  # x4 of 160x90
        (16 * GIB, 6 * 1920 * 1080 * 12, MOST),  # x4 of 480x270
        (16 * GIB, 6 * 3840 * 2160 * 12, 3),  # x4 of 960x540: 570 MiB a group
        (64 * GIB, 6 * 3840 * 2160 * 12, MOST),
        (24 * GIB, 6 * 3840 * 2160 * 12, 5),
        (GIB, 6 * 7680 * 4320 * 12, FEWEST),
        (GIB, 0, MOST),
    ],
)
def test_the_number_of_groups(total: int, size: int, count: int) -> None:
    assert Budget(total).groups(size, Filter()) == count


def test_a_second_filter_plans_with_what_the_first_has_left_and_gets_it_back() -> None:
    budget, size = Budget(4 * 100), 10
    first, second, third = Filter(), Filter(), Filter()
    assert budget.groups(size, first) == 5
    assert budget.kept.left == 50
    assert budget.groups(size, second) == FEWEST
    assert budget.groups(size, third) == FEWEST
    assert budget.kept.left == -10, "three are needed in any case"
    del first, second, third
    gc.collect()
    assert budget.kept.left == 100
    assert budget.groups(size, Filter()) == 5
