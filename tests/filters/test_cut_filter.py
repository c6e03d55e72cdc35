"""The node that marks cuts, with real frames through real VapourSynth: formats, properties, ends, orders."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from bench import cut_clips
from bench.cuts import marked, source
from helpers.clips import with_marks

from vs_sr import scenes
from vs_sr.training.textures import power_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

core = vs.core

FORMATS = [
    vs.GRAY8, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV444PH, vs.YUV420PS,
    vs.YUV410P8, vs.RGB24, vs.RGB48, vs.RGBH, vs.RGBS,
]  # fmt: skip


@pytest.fixture
def threads() -> Iterator[None]:
    before = core.num_threads
    yield
    core.num_threads = before


def shots(*lengths: int, width: int = 96, height: int = 64, seed: int = 0) -> vs.VideoNode:
    """A GRAY8 clip of shots, each an image with a little grain."""
    rng = np.random.default_rng(seed)
    made = []
    for length in lengths:
        image = 128 + 40 * power_noise(rng, height, width, 1.2, 0.1)
        made += [image + rng.normal(0, 2, image.shape) for _ in range(length)]
    return source(np.stack(made).clip(0, 255).astype(np.uint8))


def tags(clip: vs.VideoNode) -> list[scenes.Tags]:
    return [scenes.read(frame.props) for frame in clip.frames()]


def tagged(clip: vs.VideoNode, wanted: dict[int, dict[str, int]]) -> vs.VideoNode:
    """The clip with properties on single frames."""

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for key, value in wanted.get(n, {}).items():
            frame.props[key] = value
        return frame

    return clip.std.ModifyFrame(clip, write)


def expected(length: int, at: set[int]) -> list[scenes.Tags]:
    """A 1 on both sides of a cut; nothing where nothing was said, since a 0 misleads whoever joins the clip."""
    return [(1 if n - 1 in at else None, 1 if n in at else None) for n in range(length)]


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
@pytest.mark.parametrize("matrix", [None, 0, 1, 2, 10])
def test_every_format_and_matrix(format: int, matrix: int | None) -> None:
    clip = shots(5, 4, 3)
    rgb = core.get_video_format(format).color_family == vs.RGB
    clip = clip.resize.Bicubic(format=format, **({} if rgb else {"matrix": 1}))
    clip = clip.std.RemoveFrameProps("_Matrix") if matrix is None else clip.std.SetFrameProps(_Matrix=matrix)
    assert tags(with_marks(clip)) == expected(12, {4, 8})


@pytest.mark.parametrize("size", [(8, 8), (9, 200), (333, 17), (1, 1)])
def test_every_size(size: tuple[int, int]) -> None:
    width, height = size
    clip = shots(4, 4, width=width, height=height) if min(size) > 1 else core.std.BlankClip(None, 1, 1, vs.GRAY8)
    found = tags(with_marks(clip))
    assert found == expected(len(found), {3} if min(size) > 1 else set())


@pytest.mark.parametrize("props", [{"_FieldBased": 1}, {"_Range": 7}, {"_Transfer": 2, "_Primaries": 250}])
def test_odd_properties_are_no_error_and_stay(props: dict[str, int]) -> None:
    clip = shots(4, 4, height=63).std.SetFrameProps(**props)
    for frame in with_marks(clip).frames():
        assert {key: frame.props[key] for key in props} == props


def test_a_clip_of_wild_numbers_is_no_error() -> None:
    clip = shots(4, 4).resize.Point(format=vs.GRAYS)

    def spoil(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[n] = (np.nan, np.inf, -np.inf, 3e38, -1e30, 65504, 0, 1)[n]
        return frame

    assert len(tags(with_marks(clip.std.ModifyFrame(clip, spoil)))) == 8


@pytest.mark.parametrize(("lengths", "at"), [((1,), set()), ((1, 1), {0}), ((1, 2), {0}), ((2, 1), {1}), ((3,), set())])
def test_short_clips(lengths: tuple[int, ...], at: set[int]) -> None:
    assert tags(with_marks(shots(*lengths))) == expected(sum(lengths), at)


def test_cuts_at_the_ends_and_at_the_borders_of_groups() -> None:
    lengths = (1, 7, 8, 1, 15, 4, 1)
    ends = {int(end) - 1 for end in np.cumsum(lengths)[:-1]}
    assert tags(with_marks(shots(*lengths))) == expected(sum(lengths), ends)


def test_a_clip_of_the_greatest_length_costs_nothing() -> None:
    clip = core.std.BlankClip(format=vs.YUV420P8, width=64, height=64, length=2**31 - 1, keep=True)
    made = with_marks(clip)
    assert made.num_frames == 2**31 - 1
    for n in (0, 10**9, 2**31 - 2):
        assert scenes.read(made.get_frame(n).props) == (None, None)


def at(marked: list[scenes.Tags]) -> set[int]:
    return scenes.cuts(dict(enumerate(marked)))


def test_properties_win() -> None:
    clip = shots(6, 6)
    silent = clip.std.SetFrameProps(_SceneChangePrev=0, _SceneChangeNext=0)
    assert tags(with_marks(silent)) == [(0, 0)] * 12, "what was said stays"
    moved = tagged(silent, {2: {scenes.NEXT: 1}, 3: {scenes.PREVIOUS: 1}})
    assert at(tags(with_marks(moved))) == {2}


@pytest.mark.parametrize("wanted", [{2: {scenes.NEXT: 1}}, {3: {scenes.PREVIOUS: 1}}])
def test_one_side_is_enough_and_the_detector_sees_the_rest(wanted: dict[int, dict[str, int]]) -> None:
    assert tags(with_marks(tagged(shots(8, 6), wanted))) == expected(14, {2, 7})


@pytest.mark.parametrize(("n", "key"), [(5, scenes.NEXT), (6, scenes.PREVIOUS)])
def test_a_frame_that_says_no_is_believed_of_the_side_it_says_it_of(n: int, key: str) -> None:
    assert at(tags(with_marks(tagged(shots(6, 6, 6), {n: {key: 0}})))) == {11}
    other = {scenes.NEXT: scenes.PREVIOUS, scenes.PREVIOUS: scenes.NEXT}[key]
    assert at(tags(with_marks(tagged(shots(6, 6, 6), {n: {other: 0}})))) == {5, 11}


def test_what_is_told_of_the_clips_ends_stays() -> None:
    clip = tagged(shots(8), {0: {scenes.PREVIOUS: 1}, 7: {scenes.NEXT: 1}})
    assert tags(with_marks(clip)) == [(1, None), *[(None, None)] * 6, (None, 1)]
    clip = tagged(shots(8), {0: {scenes.PREVIOUS: 0}, 7: {scenes.NEXT: 0}})
    assert tags(with_marks(clip)) == [(0, None), *[(None, None)] * 6, (None, 0)]


def test_properties_and_durations_stay_and_pixels_too() -> None:
    clip = tagged(
        shots(5, 5), {n: {"_DurationNum": n + 1, "_DurationDen": 7 * n + 24, "mine": n} for n in range(0, 10, 2)}
    )
    for before, after in zip(clip.frames(), with_marks(clip).frames(), strict=True):
        kept = {key: value for key, value in after.props.items() if key not in (scenes.PREVIOUS, scenes.NEXT)}
        assert kept == dict(before.props)
        assert np.array_equal(np.asarray(before[0]), np.asarray(after[0]))
    variable = core.std.AssumeFPS(clip, fpsnum=24, fpsden=1)
    assert with_marks(variable).fps == variable.fps


@pytest.mark.parametrize("count", [1, 8])
def test_any_order_gives_the_same(count: int, threads: None) -> None:
    rng = random.Random(4)
    lengths = [rng.randint(1, 9) for _ in range(12)]

    def run(numbers: list[int]) -> dict[int, scenes.Tags]:
        clip = with_marks(shots(*lengths), 0.3)
        waiting = [(n, clip.get_frame_async(n)) for n in numbers]
        return {n: scenes.read(frame.result().props) for n, frame in waiting}

    core.num_threads = count
    forward = list(range(sum(lengths)))
    shuffled = rng.sample(forward, len(forward))
    in_order = dict(enumerate(tags(with_marks(shots(*lengths), 0.3))))
    assert len(scenes.cuts(in_order)) > 6
    for numbers in (forward, forward[::-1], shuffled, shuffled[:5]):
        assert run(numbers) == {n: in_order[n] for n in numbers}


def test_the_threshold_decides() -> None:
    clip = shots(6, 6)
    assert tags(with_marks(clip, 0.0)) != tags(with_marks(clip, 1.0))


SEEDS = range(50_000, 50_002)
"""Neither those that the constants were chosen on, nor those of the recorded figures."""


def count(kinds: tuple[str, ...]) -> tuple[int, int, int]:
    """Cuts found, false cuts, and cuts that there are."""
    found = false = there = 0
    for kind in kinds:
        for seed in SEEDS:
            clip: Any = cut_clips.make(kind, seed)
            told = marked(source(clip.frames), scenes.THRESHOLD)
            found, false, there = found + len(told & clip.cuts), false + len(told - clip.cuts), there + len(clip.cuts)
    return found, false, there


@pytest.mark.slow
def test_hard_cuts_of_generated_clips_are_found() -> None:
    found, false, there = count(("hard cut", "hard cut through grain", "hard cut, night"))
    assert there == 12
    assert found >= 11
    assert false == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flash", "fade", "pan", "still with grain", "large objects"])
def test_what_is_no_cut_is_not_called_one(kind: str) -> None:
    assert count((kind,))[1] == 0
