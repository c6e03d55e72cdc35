"""The model of cost: the formula of the docs against the events, one after another."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from tools import cluster_table
from vs_sr.render.costs import Costs
from vs_sr.render.schedule import LEAST, MOST

BASES = {
    "work": {"frame": 0.1},
    "warm-up": {"frame": 1.0, "warm": 5.0, "start": 20.0},
    "a film that is sent": {"frame": 0.1, "fetch": 5.0, "per_machine": 4},
    "a driver that is busy": {"frame": 0.02, "mark": 0.0005, "send": 0.001, "join": 0.0005, "warm": 1.0},
    "a driver that is too slow": {"frame": 0.02, "fetch": 30.0, "per_machine": 8, "send": 0.002, "mark": 0.001},
}


def lengths(frames: int) -> list[int]:
    """Segments as films have them: at cuts, or in full."""
    order, found = random.Random(5), []
    while frames:
        found.append(min(frames, order.choice([order.randint(LEAST, MOST), order.randint(LEAST, MOST), MOST])))
        frames -= found[-1]
    return found


@pytest.mark.parametrize("base", BASES)
def test_the_formula_says_what_happens(base: str) -> None:
    """To within the time of the longest segment and 2 %, up to 1,000 workers."""
    for frames, workers in product((100, 5_000, 170_000), (1, 2, 3, 8, 16, 50, 100, 250, 500, 1000)):
        film = lengths(frames)
        costs = Costs(frames=frames, segment=frames / len(film), **BASES[base])
        seconds, simulated = costs.seconds(workers), costs.simulated(workers, film)
        assert abs(seconds - simulated) <= costs.warm + max(film) * costs.frame + 0.02 * simulated, (frames, workers)


def test_the_table_of_the_docs_is_within_that() -> None:
    for _, costs in cluster_table.FILMS:
        film = lengths(costs.frames)
        costs = replace(costs, segment=costs.frames / len(film))
        for workers in cluster_table.WORKERS:
            assert 0 < costs.efficiency(workers) <= 1.001
            assert costs.seconds(workers) == pytest.approx(
                costs.simulated(workers, film), rel=0.02, abs=costs.warm + MOST * costs.frame
            )
