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
        (24 * GIB, 6 * 3840 * 2160 * 12, 4),
        (GIB, 6 * 7680 * 4320 * 12, FEWEST),
        (GIB, 0, MOST),
    ],
)
def test_the_number_of_groups(total: int, size: int, count: int) -> None:
    assert Budget(total).groups(size, Filter()) == count


def test_a_second_filter_plans_with_what_the_first_has_left_and_gets_it_back() -> None:
    budget, size = Budget(4 * 100), 10
    first, second, third = Filter(), Filter(), Filter()
    assert budget.groups(size, first) == 4
    assert budget.kept.left == 50, "beside those that are kept, one is in the making"
    assert budget.groups(size, second) == FEWEST
    assert budget.groups(size, third) == FEWEST
    assert budget.kept.left == -30, "three are needed in any case"
    del first, second, third
    gc.collect()
    assert budget.kept.left == 100
    assert budget.groups(size, Filter()) == 4


def test_networks_take_half_of_the_device_and_leave_something_to_others() -> None:
    budget = Budget(1000)
    assert budget.allowance(1) == 500
    assert budget.allowance(2) == 250, "each of two that run side by side"
    first, second = Filter(), Filter()
    budget.features.take(first, 500)
    assert budget.allowance(1) == 100
    budget.features.take(second, 200)  # the smallest tiles take more
    assert budget.allowance(1) == 0
    del first
    gc.collect()
    assert budget.allowance(1) == 340


def test_checkpoints_take_what_is_asked_for_or_half_of_what_is_left() -> None:
    first, second, third = Filter(), Filter(), Filter()
    budget = Budget(64 * GIB)
    assert budget.states(None, first) == GIB
    assert budget.states(None, second) == GIB
    budget = Budget(16 * 1000)
    assert budget.states(None, first) == 500
    assert budget.states(5000, second) == 5000
    assert budget.states(None, third) == 0
