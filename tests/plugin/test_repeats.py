"""The plugin's nodes for frames that repeat: what is found in every format, which drawing it is, what is taken over."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers.clips import FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_sr import _bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

core = vs.core

WIDTH, HEIGHT = 40, 36
"""Two whole blocks and a half, in each direction something else."""


def film(format: int, draw: Callable[[int, int, npt.NDArray[Any]], None], length: int = 6) -> vs.VideoNode:
    """A middle gray that ``draw`` changes, given a frame's number, a plane's and its pixels."""
    source = core.std.BlankClip(width=WIDTH, height=HEIGHT, format=format, length=length, keep=True)

    def drawn(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(f.format.num_planes):
            pixels = np.asarray(frame[plane])
            pixels[:] = unit(f.format) * 100
            draw(n, plane, pixels)
        return frame

    return source.std.ModifyFrame(source, drawn)


def unit(format: vs.VideoFormat) -> float:
    """A code value of 8 bits."""
    return 1 / 255 if format.sample_type == vs.FLOAT else 1 << (format.bits_per_sample - 8)


def found(clip: vs.VideoNode, threshold: float = 0, keys: Sequence[str] = ("_Matrix",)) -> list[int]:
    frames = _bridge.repeats(clip, threshold, keys).frames()
    return [n for n, frame in enumerate(frames) if frame.props.get("_vs_sr_repeat") == 1]


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
def test_the_last_bit_of_any_plane_counts(format: int) -> None:
    """Frame 2k repeats none, and frame 2k+1 its predecessor but in one pixel of plane k."""
    planes = core.get_video_format(format).num_planes

    def draw(n: int, plane: int, pixels: npt.NDArray[Any]) -> None:
        pixels[3, 5] += 0.25 * n if pixels.dtype.kind == "f" else n // 2
        if n % 2 and plane == n // 2:
            last = pixels[-1:, -1:]
            last[:] = np.nextafter(last, 2) if pixels.dtype.kind == "f" else last + 1

    def still(n: int, plane: int, pixels: npt.NDArray[Any]) -> None:
        draw(n - n % 2, plane, pixels)

    assert found(film(format, draw, 2 * planes)) == []
    assert found(film(format, still, 2 * planes)) == list(range(1, 2 * planes, 2))


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
def test_a_threshold_is_the_mean_of_the_worst_block(format: int) -> None:
    """A thing of 6x6 pixels that gets 32 code values brighter: 4.5 in its block, hardly any in the whole frame."""

    def draw(n: int, _: int, pixels: npt.NDArray[Any]) -> None:
        step = unit(core.get_video_format(format))
        pixels[:6, :6] = (100 + 32 * n) * step if pixels.dtype.kind == "f" else (100 + 32 * n) * int(step)

    clip = film(format, draw, 4)
    assert found(clip, 4.4) == []
    assert found(clip, 4.6) == [1, 2, 3]
    assert found(clip[::3], 13.4) == []
    assert found(clip[::3], 13.6) == [1]


def test_the_rest_at_the_sides_is_a_block_of_its_own() -> None:
    """8x4 pixels at the corner: a change of their own, not a thirty-second of a whole block's."""

    def draw(n: int, _: int, pixels: npt.NDArray[Any]) -> None:
        pixels[32:, 32:] += 2 * n

    clip = film(vs.GRAY8, draw)
    assert found(clip, 1.9) == []
    assert found(clip, 2) == [1, 2, 3, 4, 5]


def test_tags_count_and_cuts_separate() -> None:
    """A matrix that differs gives another image; a frame beyond a cut is another scene's."""
    clip = core.std.BlankClip(width=WIDTH, height=HEIGHT, format=vs.YUV420P8, length=8, keep=True)
    alpha = core.std.BlankClip(width=WIDTH, height=HEIGHT, format=vs.GRAY8, length=8)

    def tag(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame.props["_Matrix"] = 1 if n < 2 else 6
        frame.props["other"] = n
        if n >= 4:
            frame.props["_Alpha"] = alpha.get_frame(n)
        if n == 5:
            frame.props["_SceneChangeNext"] = 1
        if n == 7:
            frame.props["_SceneChangePrev"] = 1
        return frame

    tagged = clip.std.ModifyFrame(clip, tag)
    assert found(tagged, keys=["_Matrix", "_Alpha"]) == [1, 3, 5]
    assert found(tagged, keys=["none"]) == [1, 2, 3, 4, 5]


def steps(repeats: Sequence[bool]) -> vs.VideoNode:
    """Frames that repeat the one before where it is said so, and carry their number."""
    values = list(itertools.accumulate(0 if again else 1 for again in repeats))
    blank = core.std.BlankClip(width=1, height=1, format=vs.GRAY16, length=len(values), keep=True)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame[0][0, 0] = values[n]
        frame.props["number"] = n
        return frame

    return blank.std.ModifyFrame(blank, draw)


@settings(max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=24).map(lambda again: [False, *again[1:]]))
def test_a_drawing_is_two_to_four_frames(again: list[bool]) -> None:
    """What stands longer is a still image; every frame says how many of its drawing are on either side."""
    clip = steps(again)
    firsts = [n for n, repeats in enumerate(again) if not repeats] + [len(again)]
    wanted: list[Any] = []
    for first, stop in itertools.pairwise(firsts):
        length = stop - first
        wanted += [[n, length - 1 - n] if 2 <= length <= 4 else None for n in range(length)]
    frames = _bridge.drawings(clip, _bridge.repeats(clip, 0, ["none"])).frames()
    assert [frame.props.get(_bridge.DRAWING) for frame in frames] == wanted


@settings(max_examples=60)
@given(
    again=st.lists(st.booleans() | st.just(True), min_size=1, max_size=40).map(lambda again: [False, *again[1:]]),
    order=st.randoms(use_true_random=False),
)
def test_the_first_one_is_taken_over_in_any_order(again: list[bool], order: Any) -> None:
    """Its planes and what comes with them; the rest is the frame's own. A still image is divided at eighths."""
    clip = steps(again)

    def make(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame[0][0, 0] = n
        frame.props["with"] = n
        frame.props["number"] = -n
        if n % 2:
            del frame.props["number"]
            frame.props["odd"] = 1
        return frame

    made = clip.std.ModifyFrame(clip, make)
    out = _bridge.take_over(made, _bridge.repeats(clip, 0, ["none"]), clip, ["with", "odd"])
    numbers = list(range(len(again)))
    order.shuffle(numbers)
    for n in numbers:
        first = n
        while again[first] and first % 8:
            first -= 1
        frame = out.get_frame(n)
        assert frame[0][0, 0] == frame.props["with"] == first
        assert frame.props.get("odd") == (1 if first % 2 else None)
        assert frame.props.get("number") == (n if first < n else None if n % 2 else -n)


def test_what_is_no_clip_of_one_format_is_refused() -> None:
    with pytest.raises(vs.Error, match=r"^XRepeats: clip must have constant format and size, and 8 to 16 bit integers"):
        found(core.std.BlankClip(format=vs.GRAY32))
