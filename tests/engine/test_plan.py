"""Plans: tiles follow from the memory that filters made before have left, whoever is asked for a frame first."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from helpers.memory import limited
from helpers.scheduling import pipeline

from vs_sr.arguments import Arguments
from vs_sr.engine import budget
from vs_sr.engine.pipeline import Pipeline
from vs_sr.engine.plan import Plan
from vs_sr.errors import DeviceError
from vs_sr.windows import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = Arguments(device_id=-1)


def wished(options: Arguments = CPU) -> Pipeline:
    """A network that sees 8 pixels far, on frames of 640x360."""
    grid = Grid(frames=9, window=3, multi=1, density=2)
    return replace(pipeline(grid, (640, 360), scale=2, receptive_field=8), device="", options=options)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No plan of an earlier test waits."""
    gc.collect()
    yield
    gc.collect()


def needed(monkeypatch: pytest.MonkeyPatch) -> int:
    """What a whole frame takes."""
    limited(monkeypatch, 1 << 40)
    plan = Plan(wished())
    assert plan.pipeline().tile == (0, 0)
    return budget.of("cpu").features.taken


def test_the_order_of_the_script_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    size = needed(monkeypatch)
    found = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        limited(monkeypatch, 2 * size)  # room for one whole frame, and for little more
        plans = [Plan(wished()) for _ in range(3)]
        for number in order:
            plans[number].pipeline()
        found.append([plan.pipeline().tile for plan in plans])
        assert budget.of("cpu").features.left >= 0
    assert found == [found[0]] * 3
    first, second, third = found[0]
    assert first == (0, 0)
    assert 0 < third[0] < second[0] < 640


def test_what_a_filter_had_is_free_when_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    size = needed(monkeypatch)
    limited(monkeypatch, 2 * size)
    plan = Plan(wished())
    plan.pipeline()
    del plan
    gc.collect()
    assert Plan(wished()).pipeline().tile == (0, 0)


def test_a_filter_that_cannot_run_is_nobody_elses_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 1 << 40)
    broken = Plan(wished(Arguments(device_id=97)))
    assert Plan(wished()).pipeline().device == "cpu"
    with pytest.raises(DeviceError, match="device_id=97"):
        broken.pipeline()


def test_streams_share_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two takes half, so that both cut frames in the same way."""
    size = needed(monkeypatch)
    limited(monkeypatch, 4 * size)
    plan = Plan(wished(replace(CPU, num_streams=2)))
    assert plan.pipeline().tile == (0, 0)
    assert budget.of("cpu").features.taken == 2 * size
    limited(monkeypatch, 2 * size)
    assert Plan(wished(replace(CPU, num_streams=2))).pipeline().tile != (0, 0)


def test_a_tilesize_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 1 << 20)
    assert Plan(wished(replace(CPU, tilesize=(0, 0)))).pipeline().tile == (0, 0)
    assert Plan(wished(replace(CPU, tilesize=(200, 100)))).pipeline().tile == (200, 100)
