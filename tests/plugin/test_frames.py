"""The plugin's node for groups of frames: the properties, times and planes of its frames."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
import vapoursynth as vs
from helpers.support import numbered
from helpers.toys import echo, frame_of, toy

from vs_sr.windows import Grid

core = vs.core


def with_properties(clip: vs.VideoNode, properties: Sequence[dict[str, Any]]) -> vs.VideoNode:
    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for key in ("_DurationNum", "_DurationDen"):
            del frame.props[key]
        frame.props.update(properties[n])
        return frame

    return clip.std.ModifyFrame(clip, write)


def test_durations_are_divided_and_times_moved() -> None:
    """A variable frame rate: what each frame says is divided, what it does not say stays unsaid."""
    given: list[dict[str, Any]] = [
        {"_DurationNum": 1001, "_DurationDen": 24000, "_AbsoluteTime": 0.0},
        {"_DurationNum": 6, "_DurationDen": 100, "_AbsoluteTime": 0.5, "text": "kept"},
        {"_AbsoluteTime": 0.75, "_Matrix": 6},
        {"_DurationNum": 3, "_DurationDen": 4, "_SceneChangeNext": 1},
        {"_DurationNum": 0, "_DurationDen": 1, "_AbsoluteTime": 1.0},
        {"_DurationNum": 1, "_DurationDen": 2**63 - 1},
        {"_DurationNum": 3, "_DurationDen": 2**62, "_AbsoluteTime": 2.0},
    ]
    clip = toy(with_properties(numbered(7), given), echo(3, 3), multi=3)
    found = [dict(frame.props) for frame in clip.frames()]
    third = {"_DurationNum": 1001, "_DurationDen": 72000}
    fiftieth = {"_DurationNum": 1, "_DurationDen": 50, "text": "kept"}
    quarter = {"_DurationNum": 1, "_DurationDen": 4}  # one cut, not three: where it lies is the callback's to say
    assert found[0:3] == [third | {"_AbsoluteTime": pytest.approx(s * 1001 / 72000)} for s in range(3)]
    assert found[3:6] == [fiftieth | {"_AbsoluteTime": pytest.approx(0.5 + s * 0.02)} for s in range(3)]
    assert found[6:9] == [given[2]] * 3
    assert found[9:12] == [quarter] * 3
    assert found[12:15] == [given[4]] * 3
    assert found[15:18] == [{}] * 3, "a duration that does not fit into 64 bits is better left out"
    assert found[18:21] == [{"_DurationNum": 1, "_DurationDen": 2**62, "_AbsoluteTime": 2.0}] * 3


def test_what_the_callback_says_about_a_frame_wins() -> None:
    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        made = [frame_of(k) for k in range(want)]
        for k, frame in enumerate(made):
            frame.props.update({"_SceneChangeNext": k % 2, "group": g})
        return made

    given = [{"_SceneChangeNext": 1, "_DurationNum": 1, "_DurationDen": 25}] * 3
    found = [dict(f.props) for f in toy(with_properties(numbered(3), given), callback, step=1, share=0).frames()]
    expected = {"_DurationNum": 1, "_DurationDen": 50}
    assert found == [expected | {"_SceneChangeNext": m % 2, "group": m // 2} for m in range(6)]


@pytest.mark.parametrize(
    ("rate", "multi", "expected"),
    [((24000, 1001), 2, (48000, 1001)), ((25, 2), 2, (25, 1)), ((30, 1), 1, (30, 1)), ((1, 3), 6, (2, 1))],
)
def test_the_frame_rate_is_multiplied_as_a_fraction(
    rate: tuple[int, int], multi: int, expected: tuple[int, int]
) -> None:
    clip = toy(numbered(3, fpsnum=rate[0], fpsden=rate[1]), echo(3, multi), multi=multi)
    assert (clip.fps_num, clip.fps_den) == expected
    properties = clip.get_frame(0).props
    assert (properties["_DurationDen"], properties["_DurationNum"]) == expected


def test_a_variable_frame_rate_stays_variable() -> None:
    source = core.std.Splice([numbered(3, fpsnum=24, fpsden=1), numbered(3, fpsnum=30, fpsden=1)])
    assert source.fps_num == 0
    clip = toy(source, echo(3, 2))
    assert (clip.fps_num, clip.fps_den) == (source.fps_num, source.fps_den)


def test_a_frame_rate_without_bounds_is_refused() -> None:
    with pytest.raises(vs.Error, match=r"^Toy: the frame rate 9223372036854775807/1 times 2 does not fit into 64 bits"):
        toy(numbered(3, fpsnum=2**63 - 1, fpsden=1), echo(3, 2))


def test_planes_are_shared_and_not_copied() -> None:
    addresses = []

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        made = [frame_of(k, 64, 32, vs.YUV420P8) for k in range(want)]
        addresses.extend([[f.get_read_ptr(p).value for p in range(3)] for f in made])
        return made

    clip = toy(numbered(3), callback, width=64, height=32, format=vs.YUV420P8)
    frames = list(clip.frames())
    assert [[f.get_read_ptr(p).value for p in range(3)] for f in frames] == addresses


@pytest.mark.parametrize(("multi", "per"), [(5, 2), (1001, 400), (1, 1), (8, 1), (134217727, 16777216)])
def test_at_a_constant_rate_times_are_numbers_over_the_rate(multi: int, per: int) -> None:
    """Each output belongs to the input that ``vs_sr.windows.Grid`` says, whatever durations the inputs name."""
    inputs, step = 20, 3
    source = numbered(inputs, fpsnum=24, fpsden=1)
    given = [{"_AbsoluteTime": n / 24, "input": n} | ({"_DurationNum": 7} if n % 2 else {}) for n in range(inputs)]
    grid = Grid(frames=inputs, window=step + 1, multi=multi, per=per)
    asked: dict[int, int] = {}

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> list[vs.VideoFrame]:
        asked[g] = want
        return [frame_of(k) for k in range(want)]

    clip = toy(with_properties(source, given), callback, step=step, multi=multi, per=per)
    rate = 24 * Fraction(multi, per)
    assert (clip.fps, clip.num_frames) == (rate, ceil(inputs * Fraction(multi, per)))
    for n, frame in enumerate(clip.frames()):
        assert frame.props["input"] == grid.place(n)[0]
        assert Fraction(frame.props["_DurationNum"], frame.props["_DurationDen"]) == 1 / rate
        assert frame.props["_AbsoluteTime"] == pytest.approx(float(n / rate))
    assert asked == {g: len(grid.outputs(g)) for g in range(grid.groups)}


def test_a_constant_rate_needs_one() -> None:
    source = core.std.Splice([numbered(3, fpsnum=24, fpsden=1), numbered(3, fpsnum=30, fpsden=1)])
    with pytest.raises(vs.Error, match=r"^Toy: a clip of variable frame rate has no constant multiple; use std.Assume"):
        toy(source, echo(3, 2), per=1)
    for per in (0, 3):
        with pytest.raises(vs.Error, match=rf"^Toy: per must be from 1 to 2; got {per}"):
            toy(numbered(3), echo(3, 2), per=per)
    with pytest.raises(vs.Error, match=r"^Toy: multi must be at most 4096 times per; got 8194 for 2"):
        toy(numbered(3), echo(3, 2), multi=8194, per=2)
