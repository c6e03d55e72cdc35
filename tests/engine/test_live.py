"""Live use: mpv's way of asking for frames, as its manual tells it, and what a seek costs."""

from __future__ import annotations

import random
import time
from collections import Counter
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers import memory, networks
from helpers.clips import digest, moving
from helpers.player import TIMEOUT, Player
from helpers.recurrence import Clip, Recurrence
from helpers.support import ROOT, numbered

import vs_sr
from vs_sr import scenes
from vs_sr.spec import Model, Variant

if TYPE_CHECKING:
    from collections.abc import Generator

core = vs.core

SCRIPT = ROOT / "examples" / "mpv.vpy"
ARGUMENTS: dict[str, Any] = {"window": 3, "carry": True, "segment": 8}
"""Those of the script."""
STEP = ARGUMENTS["window"] - 1
FRAMES = 23
"""Of the film: the last window is a whole one, and ends with the last frame."""


def duration(n: int) -> Fraction:
    """Of frame n: a rate that varies."""
    return Fraction(1001, 24000) if n % 3 else Fraction(1, 30)


@pytest.fixture(scope="module")
def film() -> vs.VideoNode:
    return moving(FRAMES, 16, 16, vs.YUV420P8)


def outputs(length: int) -> int:
    """Of a film whose end is not known: those of windows that it has whole, as far as cuts can be looked for."""
    return 2 * (max(0, length - 1 - scenes.REACH) // STEP) * STEP


def player(film: vs.VideoNode, **options: Any) -> Player:
    return Player(SCRIPT, film, duration, user_data=str(networks.tiny_weights()), **options)


def in_order(film: vs.VideoNode, count: int | None = None) -> list[str]:
    """What the filter makes of a clip, one frame after the other."""
    clip = core.vs_sr.ZoomingSlowMo(film, weights=str(networks.tiny_weights()), **ARGUMENTS)
    return [digest(clip.get_frame(n)) for n in range(clip.num_frames if count is None else count)]


@pytest.fixture(scope="module")
def expected(film: vs.VideoNode) -> list[str]:
    return in_order(film)


@pytest.mark.parametrize(
    ("concurrent", "seed"),
    [
        (1, None),
        pytest.param(4, None, marks=pytest.mark.slow),
        (16, None),
        pytest.param(8, 1, marks=pytest.mark.slow),
        (16, 2),
    ],
)
def test_a_film_played(film: vs.VideoNode, expected: list[str], concurrent: int, seed: int | None) -> None:
    """All windows that the film has whole, with mpv's default buffer."""
    playing = player(film, concurrent=concurrent)
    found = list(playing.play(None if seed is None else random.Random(seed)))
    assert len(found) == outputs(FRAMES)
    assert [digest(frame) for frame in found] == expected[: len(found)]
    assert playing.deepest < playing.window
    assert playing.clip.fps == 0
    for n, frame in enumerate(found):
        assert Fraction(frame.props["_DurationNum"], frame.props["_DurationDen"]) == duration(n // 2) / 2


def test_the_end_of_a_film_costs_some_frames_at_most(film: vs.VideoNode, expected: list[str]) -> None:
    """The player does not say how long a film is: a window that it ends in, or the search for cuts, fails as a whole,
    and nothing hangs."""
    for length in (FRAMES - 1, FRAMES - 2, 2, 1):
        playing = player(film[:length])
        found = [digest(frame) for frame in playing.play()]
        assert found == expected[: len(found)]
        assert len(found) == outputs(length)


def test_a_seek_loads_the_script_anew(film: vs.VideoNode) -> None:
    """Each time while frames of the script before are on their way, and with another place in the film."""
    left: Generator[vs.VideoFrame] | None = None
    for start, watched in ((3, 5), (14, 1), (0, 4), (7, 9)):
        playing = player(film, start=start, concurrent=8)
        frames = playing.play()
        found = [digest(frame) for frame in islice(frames, watched)]
        assert found == in_order(film[start:], watched)
        if left is not None:
            left.close()
        left = frames
    assert left is not None
    left.close()


def test_a_buffer_that_is_too_small_is_an_error_and_no_wrong_frame(film: vs.VideoNode, expected: list[str]) -> None:
    """Two frames that can be had: the shared one of two windows is gone before the next has it."""
    playing = player(film, buffered=1, concurrent=1)
    found = [digest(frame) for frame in playing.play()]
    assert found == expected[: len(found)]


@pytest.mark.parametrize("length", [2**31 - 1, 2**31 // 16])
def test_a_length_that_is_not_known_costs_nothing(film: vs.VideoNode, length: int) -> None:
    player(film, length=length)  # what is imported and read once
    before, start = memory.live(), time.perf_counter()
    playing = player(film, length=length)
    assert time.perf_counter() - start < 5
    assert memory.live() - before < 4 << 20
    assert playing.clip.num_frames == min(2 * length, 2**31 - 1)
    assert len(list(islice(playing.play(), 2))) == 2


@pytest.mark.parametrize("threads", [1, 16])
def test_jumps_within_a_clip(film: vs.VideoNode, expected: list[str], threads: int) -> None:
    """Hosts that do not load the script again: several frames at once, semi-randomly, of a clip that has no end."""
    order = random.Random(threads)
    before = core.num_threads
    core.num_threads = threads
    try:
        playing = player(film, buffered=1 << 20)
        for _ in range(4):
            start = order.randrange(outputs(FRAMES) - 12)
            numbers = order.sample(range(start, start + 12), order.randint(4, 12))
            futures = {n: playing.clip.get_frame_async(n) for n in numbers}
            assert {n: digest(future.result(TIMEOUT)) for n, future in futures.items()} == {
                n: expected[n] for n in numbers
            }
    finally:
        core.num_threads = before


# What a seek costs

SEGMENT = 8
made: list[Recurrence] = []


def counted(_: Variant) -> Recurrence:
    made.append(Recurrence())
    return made[-1]


def counting(frames: int, **arguments: Any) -> vs.VideoNode:
    vs_sr.register(
        Model(name="Counting", summary="", paper="", kind="sequence", build=counted, fixed=Variant(scale=1),
              multi=(2, 1), window=4)
    )  # fmt: skip
    made.clear()
    gray = numbered(frames).std.Expr("x", vs.GRAYS)
    clip = core.std.ShufflePlanes([gray] * 3, [0] * 3, vs.RGB)
    return core.vs_sr.Counting(clip, carry=True, device_id=-1, **arguments)


def value(frame: vs.VideoFrame) -> tuple[int, int, int]:
    red, green, blue = (int(np.asarray(plane)[0, 0]) for plane in frame)
    return red, green, blue


@pytest.mark.parametrize("group", [SEGMENT * 3, SEGMENT * 3 + 1, SEGMENT * 3 + 4, SEGMENT * 4 - 1])
def test_a_seek_runs_one_segment_forward_at_most(group: int) -> None:
    """The forward direction alone, from the segment's beginning; each position once, no frame but the window's."""
    frames, step = 3000, 3
    clip = counting(frames, segment=SEGMENT)
    output = 2 * step * group
    truth = Clip(frames=frames, carry=True, segment=SEGMENT)
    assert value(clip.get_frame(output)) == truth.expected(output)
    [network] = made
    back = group % SEGMENT
    calls = network.calls
    assert len(calls["forward"]) == 2 * step * (back + 1) <= 2 * step * SEGMENT
    assert len(calls["reconstruct"]) == 2 * step
    assert sorted(calls["encode"]) == list(range(step * (group - back), step * (group + 1) + 1))
    assert set(Counter(calls["between"]).values()) == {1}


def test_windows_after_a_seek_cost_what_they_cost_in_order() -> None:
    clip = counting(3000, segment=SEGMENT)
    group = 5 * SEGMENT + 6
    clip.get_frame(6 * group)
    [network] = made
    for following in range(group + 1, group + 4):
        for calls in network.calls.values():
            calls.clear()
        clip.get_frame(6 * following)
        assert {name: len(calls) for name, calls in network.calls.items()} == {
            "encode": 3, "between": 3, "forward": 6, "reconstruct": 6
        }  # fmt: skip


# Two filters in one script


@pytest.mark.parametrize("threads", [1, 16])
def test_two_filters_and_a_chain_share_a_network(threads: int) -> None:
    """Both carried; asked for at the same time, out of order. The chain's second filter needs windows of the first."""
    small = moving(9, 8, 8)
    weights = str(networks.tiny_weights())

    def slow(clip: vs.VideoNode) -> vs.VideoNode:
        return core.vs_sr.ZoomingSlowMo(clip, weights=weights, window=3, carry=True, segment=2)

    def graph() -> list[vs.VideoNode]:
        other = small.std.FlipVertical()
        first = slow(other)
        return [slow(small), first, slow(first.resize.Bicubic(8, 8)[:9])]

    expected = [[digest(frame) for frame in clip.frames()] for clip in graph()]
    before = core.num_threads
    core.num_threads = threads
    try:
        clips = graph()
        wanted = [(at, n) for at, clip in enumerate(clips) for n in range(clip.num_frames)]
        random.Random(threads).shuffle(wanted)
        futures = {(at, n): clips[at].get_frame_async(n) for at, n in wanted}
        for (at, n), future in futures.items():
            assert digest(future.result(TIMEOUT)) == expected[at][n]
    finally:
        core.num_threads = before
