"""The plugin's nodes for frames whose properties decide what is done with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers.support import numbered, pixel

from vs_sr._bridge import attached, route
from vs_sr.errors import ArgumentError

core = vs.core

GRAY = {"width": 8, "height": 8, "format": vs.GRAY16}


def tagged(length: int, tags: Callable[[int], dict[str, Any]]) -> vs.VideoNode:
    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame.props.update(tags(n))
        return frame

    clip = numbered(length)
    return clip.std.ModifyFrame(clip, write)


@pytest.mark.parametrize("order", [range(40), range(39, -1, -1)])
def test_each_frame_goes_the_way_of_its_properties(order: range) -> None:
    """A way is built once for each combination of properties, absent ones told from zeros."""
    clip = tagged(40, lambda n: {"_Matrix": n % 3, "other": n} | ({"_Range": 0} if n % 2 else {}))
    built: list[dict[str, int]] = []

    def build(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        built.append(properties)
        gain = 1 + properties["_Matrix"] + 3 * ("_Range" in properties)
        return clip.std.Expr(f"x {gain} *")

    routed = route("Toy", clip, build, ["_Matrix", "_Range"], **GRAY)
    futures = {n: routed.get_frame_async(n) for n in order}
    for n, future in futures.items():
        frame = future.result()
        assert pixel(frame) == n * (1 + n % 3 + 3 * (n % 2))
        assert frame.props["other"] == n
    assert len(built) == 6
    assert sorted((p["_Matrix"], p.get("_Range", -1)) for p in built) == [
        (matrix, limited) for matrix in range(3) for limited in (-1, 0)
    ]


def test_a_way_that_cannot_be_built_fails_its_frames_alone() -> None:
    clip = tagged(6, lambda n: {"_Matrix": n % 3})
    answers: dict[int, Callable[[], Any]] = {
        0: lambda: clip,
        1: lambda: clip.resize.Point(16, 16),
        2: lambda: [].pop(),
    }

    def build(n: int, properties: dict[str, Any]) -> Any:
        return answers[properties["_Matrix"]]()

    routed = route("Toy", clip, build, ["_Matrix"], **GRAY)
    assert pixel(routed.get_frame(3)) == 3
    with pytest.raises(vs.Error) as caught:
        routed.get_frame(1)
    assert str(caught.value) == "Toy: the callback answered with a clip of another format, size or length"
    with pytest.raises(vs.Error) as caught:
        routed.get_frame(5)
    assert str(caught.value) == "Toy: IndexError: pop from empty list"
    answers[2] = lambda: clip.std.Invert()
    assert pixel(routed.get_frame(5)) == 65530, "a way that failed is tried again"

    def planned(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        raise ArgumentError("no such matrix")

    with pytest.raises(vs.Error) as caught:
        route("Toy", clip, planned, ["_Matrix"], **GRAY).get_frame(0)
    assert str(caught.value) == "Toy: no such matrix"


def test_a_way_is_told_the_frame_it_is_first_built_for() -> None:
    clip = tagged(9, lambda n: {"_Matrix": n // 3})
    built = []

    def build(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        if properties["_Matrix"] == 1:
            raise ArgumentError(f"no way for frame {n}")
        built.append(n)
        return clip

    routed = route("Toy", clip, build, ["_Matrix"], **GRAY)
    for n in (2, 0, 7, 8):
        routed.get_frame(n)
    assert built == [2, 7]
    for n in (5, 3):
        with pytest.raises(vs.Error, match=f"^Toy: no way for frame {n}$"):
            routed.get_frame(n)


def with_alpha(length: int, size: int = 4) -> vs.VideoNode:
    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        alpha = core.create_video_frame(vs.GRAY8, size, size)
        np.asarray(alpha[0])[:] = 100 + n
        frame.props["_Alpha"] = alpha
        return frame

    clip = numbered(length)
    return clip.std.ModifyFrame(clip, write)


def test_a_property_that_is_a_frame_counts_as_its_format_and_size() -> None:
    clip = with_alpha(3)
    seen = []

    def build(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        seen.append(properties)
        return clip

    list(route("Toy", clip, build, ["_Alpha", "_Matrix"], **GRAY).frames())
    assert seen == [{"_Alpha": [int(vs.GRAY8), 4, 4]}]


def test_attached_frames_as_a_clip() -> None:
    clip = attached(with_alpha(5), "_Alpha", width=4, height=4, format=vs.GRAY8)
    assert (clip.width, clip.height, clip.format.id, clip.num_frames) == (4, 4, vs.GRAY8, 5)
    assert [pixel(frame) for frame in clip.frames()] == [100, 101, 102, 103, 104]


def test_attached_frames_that_are_not_there_or_differ() -> None:
    with pytest.raises(vs.Error, match=r"^frame 2 has no frame as its property _Alpha$"):
        attached(numbered(3), "_Alpha", width=4, height=4, format=vs.GRAY8).get_frame(2)
    with pytest.raises(vs.Error, match=r"^frame 1: the property _Alpha is a frame of another size or format"):
        attached(with_alpha(3), "_Alpha", width=8, height=4, format=vs.GRAY8).get_frame(1)
