"""Segments that are rendered in any order: in the film they are those of a run in order."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vs_sr.render.schedule import LEAST, MOST, Borders, Job, Schedule
from vs_sr.render.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

TOTAL = 1000
RATE = 50
CUTS = (30, 40, 200, 431, 440, 455, 700, 701, 990)


def in_order(total: int, cuts: Collection[int]) -> list[tuple[int, int]]:
    """The segments of a run in order, as the rule of the docs has them."""
    found, start = [], 0
    for n in range(1, total + 1):
        if n == total or n - start == MOST or (n - start >= LEAST and n in cuts):
            found.append((start, n))
            start = n
    return found


def time(number: int) -> Fraction:
    return Fraction(number, RATE)


def rendered(job: Job, cuts: Collection[int]) -> Segment:
    """What a worker makes of a job: it sees its own frames alone."""
    seen = next((n for n in range(job.start + LEAST, job.stop) if n in cuts), None)
    stop = job.stop if seen is None else seen
    return Segment(
        path=Path("segment"),
        start=job.start,
        stop=stop,
        began=job.began,
        fresh=job.start in cuts,
        sure=seen is not None or stop - job.start == MOST,
        time=job.began + time(stop - job.start),
        packets=(),
        extradata="",
        sha256="",
    )


def run(
    guess: Collection[int],
    cuts: Collection[int] = CUTS,
    workers: int = 4,
    seed: int | None = 0,
    clock: Callable[[int], Fraction] = time,
    kept: Sequence[Segment] = (),
    lost: float = 0,
) -> tuple[list[tuple[int, int]], int]:
    """The segments that come of it, and how many were rendered."""
    order, count = random.Random(seed), 0
    schedule = Schedule(TOTAL, 0, Fraction(0), clock, Borders(TOTAL, ((n, n in guess) for n in range(TOTAL))))
    for segment in kept:
        schedule.finished(segment)
    film: list[Segment] = []
    running: list[Job] = []
    while schedule.number < TOTAL:
        while (whole := schedule.whole()) is not None:
            film.append(whole)
        while len(running) < workers and (job := schedule.job()) is not None:
            running.append(job)
        if running:
            count += 1
            done = running.pop(0 if seed is None else order.randrange(len(running)))
            if order.random() < lost:
                schedule.lost(done)
            else:
                schedule.finished(rendered(done, cuts))
        assert schedule.number <= schedule.done({job.start: 1 for job in running}) <= TOTAL
        assert count < 100
    assert all(segment.began == time(segment.start) for segment in film)
    return [(segment.start, segment.stop) for segment in film], count


@pytest.mark.parametrize("workers", [1, 2, 7, 100])
@pytest.mark.parametrize("seed", range(5))
def test_a_film_whose_cuts_are_known_is_rendered_once(workers: int, seed: int) -> None:
    wanted = in_order(TOTAL, CUTS)
    assert run(CUTS, workers=workers, seed=seed) == (wanted, len(wanted))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "guess", [(), (100, 300, 500), range(0, TOTAL, 37), CUTS[:4], [n + 1 for n in CUTS], range(TOTAL)], ids=str
)
def test_wrong_guesses_change_nothing(guess: Collection[int], seed: int) -> None:
    segments, count = run(guess, seed=seed)
    assert segments == in_order(TOTAL, CUTS)
    assert count >= len(segments)


def test_segments_whose_workers_die_are_rendered_again() -> None:
    wanted = in_order(TOTAL, CUTS)
    segments, count = run(CUTS, lost=0.5)
    assert segments == wanted
    assert count > len(wanted)


def test_a_script_without_cuts_is_believed() -> None:
    """After the first guess that was wrong no more are made; what had begun by them is lost."""
    segments, count = run(range(0, TOTAL, 50), cuts=(), seed=None)
    assert segments == in_order(TOTAL, ())
    assert count <= len(segments) + 2 * 4


def test_times_that_the_film_does_not_tell() -> None:
    segments, count = run(CUTS, clock=lambda number: time(number) + (number > 0))
    assert segments == in_order(TOTAL, CUTS)
    assert count > len(segments)


def test_what_is_there_already_is_not_rendered_again() -> None:
    wanted = in_order(TOTAL, CUTS)
    kept = [rendered(Job(start, time(start), stop), CUTS) for start, stop in wanted[1::2]]
    assert run(CUTS, kept=kept) == (wanted, len(wanted) - len(kept))


def test_frames_are_asked_about_as_far_as_is_needed() -> None:
    asked = []

    def marks():  # type: ignore[no-untyped-def]
        for n in range(10**9):
            asked.append(n)
            yield n, n == 50

    borders = Borders(10**9, marks())
    assert (borders.expected(0), borders.expected(50), borders.expected(60)) == (50, 170, 180)
    assert asked[-1] <= 200
