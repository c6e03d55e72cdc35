"""Learning rates over a recipe, and over a recipe in the time there is."""

from itertools import pairwise

import pytest

from vs_sr.training.recipe import Stage
from vs_sr.training.schedule import Plan, rate, stage_at

COSINE = Stage(steps=110, rate=1e-3, warmup=10, schedule="cosine", last=1e-5)


def test_a_cosine_warms_up_and_comes_down():
    rates = [rate([COSINE], step) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[110] == pytest.approx(1e-5)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_each_stage_warms_up_again():
    stages = [Stage(steps=50, rate=1e-3, warmup=10), Stage(steps=50, rate=4e-4, warmup=10, schedule="cosine")]
    rates = [rate(stages, step) for step in range(100)]
    assert rates[10:50] == [1e-3] * 40
    assert rates[50] == pytest.approx(4e-5)
    assert rates[60] == pytest.approx(4e-4)
    assert rates[99] < 1e-5
    assert stage_at(stages, 49.5) == (stages[0], 49.5)
    assert stage_at(stages, 50) == (stages[1], 0)


def test_drops_and_halvings():
    steps = Stage(steps=100, rate=0.1, schedule="step", every=30, factor=0.5)
    assert [rate([steps], at) for at in (0, 29, 30, 60, 99)] == pytest.approx([0.1, 0.1, 0.05, 0.025, 0.0125])
    halving = Stage(steps=100, rate=1.0, schedule="halving", halve=(50, 60))
    assert [rate([halving], at) for at in (49, 50, 60)] == [1.0, 0.5, 0.25]


def test_a_plan_without_a_limit_is_the_recipe():
    plan = Plan(100, 100)
    assert [plan.at(step) for step in (0, 37, 100)] == [0, 37, 100]


@pytest.mark.parametrize("pace", [0.1, 10.0])
def test_a_plan_in_time_ends_at_the_recipes_end_and_never_jumps(pace):
    plan, step = Plan(1000, 1000), 10
    for _ in range(4):
        before = plan.at(step)
        plan = plan.again(step, 3000 - pace * step, pace)
        assert plan.at(step) == pytest.approx(before)
        assert plan.at(plan.end) == 1000
        assert plan.end * pace <= 3000 < (plan.end + 1) * pace + 1e-6
        step = (step + plan.end) // 2


def test_no_time_left_is_the_end():
    plan = Plan(1000, 1000).again(400, -5.0, 1.0)
    assert plan.end == 400
    assert plan.at(400) == 1000
