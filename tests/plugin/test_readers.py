"""Several readers of one clip: how often a group is computed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import vapoursynth as vs
from helpers.memory import limited
from helpers.support import numbered, vspipe
from helpers.toys import frame_of, toy

if TYPE_CHECKING:
    from collections.abc import Iterator

core = vs.core


@pytest.fixture(params=[1, 4, 16])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = core.num_threads
    core.num_threads = request.param
    yield request.param
    core.num_threads = before


class Calls:
    """A callback without memory that counts: output m of the clip has the value m."""

    def __init__(self, step: int, multi: int, delay: float = 0.002) -> None:
        self.per_group, self.delay = step * multi, delay
        self.groups: list[int] = []

    def __call__(self, g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        self.groups.append(g)
        time.sleep(self.delay)
        return [frame_of(g * self.per_group + k) for k in range(want)]

    def at_most(self, times: int) -> bool:
        return max(map(self.groups.count, self.groups)) <= times and len(self.groups) <= 1.25 * len(set(self.groups))


@pytest.mark.parametrize(("step", "multi"), [(3, 2), (14, 1), (1, 2), (7, 2)])
@pytest.mark.parametrize("places", [2, 3, 4])
def test_up_to_four_places_compute_a_group_at_most_twice(places: int, step: int, multi: int, threads: int) -> None:
    """Far apart, as in a comparison of scenes; what is hardly ever computed twice is never computed three times."""
    calls = Calls(step, multi)
    length = 42
    clip = toy(numbered(places * length), calls, step, multi)
    apart = length * multi
    parts = [clip[apart * i : apart * (i + 1)] for i in range(places)]
    found = [np.asarray(frame[0])[0, ::16].tolist() for frame in core.std.StackHorizontal(parts).frames()]
    assert found == [[n + apart * i for i in range(places)] for n in range(apart)]
    assert calls.at_most(2)


@pytest.mark.parametrize("shift", [1, 5, 6, 40])
def test_readers_that_follow_each_other(shift: int, threads: int) -> None:
    """A clip beside itself some frames later, four times."""
    calls = Calls(3, 2)
    clip = toy(numbered(100), calls)
    parts = [clip[shift * i : shift * i + 80] for i in range(4)]
    for frame in core.std.StackHorizontal(parts).frames(close=True):
        frame.props.get("_")
    # where readers are further apart than what is kept, each is one of its own
    once = set(calls.groups)
    assert len(calls.groups) <= len(once) * (2 if shift < 40 else 4)


def test_four_places_through_vspipe() -> None:
    script = """
import sys, time, threading
import vapoursynth as vs
from vs_sr._bridge import temporal
core = vs.core
core.num_threads = THREADS
calls = []
def callback(group, want, numbers, frames):
    calls.append(group)
    time.sleep(0.002)
    if len(calls) % 10 == 0 or len(set(calls)) == 40:
        print("calls", len(calls), len(set(calls)), file=sys.stderr, flush=True)
    return [core.create_video_frame(core.get_video_format(vs.GRAY8), 16, 16) for _ in range(want)]
source = core.std.BlankClip(format=vs.GRAY8, width=16, height=16, length=121)
sizes = dict(width=16, height=16, format=vs.GRAY8)
clip = temporal("T", source, callback, **sizes, step=3, multi=2, groups=40, before=0, after=1)
core.std.StackHorizontal([clip[60 * i : 60 * (i + 1)] for i in range(4)]).set_output()
"""
    for threads in (1, 16):
        done = vspipe(script.replace("THREADS", str(threads)), output="--")
        errors = done.stderr.decode()
        assert done.returncode == 0, errors
        last = [line.split() for line in errors.splitlines() if line.startswith("calls")][-1]
        assert int(last[2]) == 40
        assert int(last[1]) <= 50, "a few at most are computed twice"


def test_what_is_kept_follows_from_the_size_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three groups, four readers that stand still take turns; with room for eight they do not."""
    made = {}
    for room in (3, 8):
        size = 6 * 2 * 16 * 8
        limited(monkeypatch, 4 * 2 * room * size)
        calls = Calls(3, 2, 0)
        clip = toy(numbered(60), calls)
        for n in range(6):
            for start in (0, 30, 60, 90):
                clip.get_frame(start + n).close()
        made[room] = len(calls.groups)
    assert made == {3: 24, 8: 4}
