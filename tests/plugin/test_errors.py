"""The plugin's node for groups of frames: what may go wrong, and the exact words about it."""

from collections.abc import Callable
from typing import Any

import pytest
import vapoursynth as vs
from helpers.support import numbered, pixel
from helpers.toys import echo, frame_of, toy

from vs_sr._bridge import Need, Work
from vs_sr.errors import FrameError

core = vs.core


def asks(need: Need) -> Callable[..., Work]:
    """A callback that needs more frames, and makes none."""

    def callback(*_: Any) -> Work:
        yield need
        return []

    return callback


ANSWERS: dict[str, tuple[Callable[..., Any], str]] = {
    "exception": (
        lambda *_: [][1],
        "Toy: IndexError: list index out of range",
    ),
    "planned error": (
        lambda *_: (_ for _ in ()).throw(FrameError("frame 6 is combed; deinterlace first")),
        "Toy: frame 6 is combed; deinterlace first",
    ),
    "nothing": (lambda *_: [], "Toy: group 2: the callback made 0 frames; 6 are wanted"),
    "too few": (
        lambda g, want, n, f: [frame_of(0)] * (want - 1),
        "Toy: group 2: the callback made 5 frames; 6 are wanted",
    ),
    "too many": (
        lambda g, want, n, f: [frame_of(0)] * (want + 1),
        "Toy: group 2: the callback made 7 frames; 6 are wanted",
    ),
    "no frames": (lambda *_: [1, 2], "Toy: TypeError: the callback made a int; a VideoFrame is wanted"),
    "no list": (lambda *_: 5, "Toy: TypeError: 'int' object is not iterable"),
    "size": (
        lambda g, want, n, f: [frame_of(0)] * (want - 1) + [frame_of(0, 16, 10)],
        "Toy: group 2: frame 5 of the callback's answer is 16x10 Gray16; 16x8 Gray16 is wanted",
    ),
    "format": (
        lambda g, want, n, f: [frame_of(0, format=vs.RGB24)] * want,
        "Toy: group 2: frame 0 of the callback's answer is 16x8 RGB24; 16x8 Gray16 is wanted",
    ),
    "need too high": (
        asks(Need([0, 12])),
        "Toy: group 2: needs input frame 12; the clip has frames 0 to 11",
    ),
    "need negative": (
        asks(Need([-1])),
        "Toy: group 2: needs input frame -1; the clip has frames 0 to 11",
    ),
    "need held": (asks(Need([7])), "Toy: group 2: needs input frame 7, which it holds already"),
    "need twice": (asks(Need([1, 1])), "Toy: group 2: needs input frame 1, which it holds already"),
    "need none": (asks(Need([])), "Toy: ValueError: the callback needs frames but names none"),
    "drop unknown": (
        asks(Need([0], drop=[1])),
        "Toy: group 2: drops input frame 1, which it does not hold",
    ),
    "drop own": (
        asks(Need([0], drop=[7])),
        "Toy: group 2: drops input frame 7, which is one of its own",
    ),
}


@pytest.mark.parametrize("fault", ANSWERS)
@pytest.mark.parametrize("way", ["get_frame", "async", "frames"])
def test_a_group_that_fails_fails_alone_and_says_why(fault: str, way: str) -> None:
    answer, text = ANSWERS[fault]
    make = echo(3, 2)

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Any:
        return (answer if g == 2 else make)(g, want, numbers, frames)

    clip = toy(numbered(12), callback)
    ask: dict[str, Callable[[], object]] = {
        "get_frame": lambda: clip.get_frame(14),
        "async": lambda: clip.get_frame_async(14).result(),
        "frames": lambda: list(clip.frames()),
    }
    with pytest.raises(vs.Error) as caught:
        ask[way]()
    assert str(caught.value) == text
    others = [n for n in range(24) if n // 6 != 2]
    assert [pixel(clip.get_frame(n)) for n in others] == others


def test_a_need_without_bounds_is_refused() -> None:
    clip = toy(numbered(9000), asks(Need(range(100, 4200))))
    with pytest.raises(vs.Error) as caught:
        clip.get_frame(0)
    assert str(caught.value) == (
        "Toy: group 0: needs 4100 input frames more than the 4 it holds; 4096 at once is the limit"
    )


def test_a_group_may_fail_once_and_succeed_later() -> None:
    make, failures = echo(3, 2), [1]

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Any:
        if failures:
            raise MemoryError(failures.pop())
        return make(g, want, numbers, frames)

    clip = toy(numbered(3), callback)
    with pytest.raises(vs.Error, match=r"^Toy: MemoryError: 1$"):
        clip.get_frame(0)
    assert pixel(clip.get_frame(0)) == 0


def test_an_input_that_fails_is_reported_as_it_is() -> None:
    source = numbered(12)

    def broken(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        if n == 7:
            raise ValueError("disk is gone")
        return f.copy()

    make = echo(3, 2)
    asked = []

    def callback(g: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]) -> Any:
        asked.append(g)
        return asks(Need([7]))() if g == 0 else make(g, want, numbers, frames)

    clip = toy(source.std.ModifyFrame(source, broken), callback)
    for n in (0, 13):
        with pytest.raises(vs.Error, match="disk is gone"):
            clip.get_frame(n)
    assert asked == [0]
    assert pixel(clip.get_frame(23)) == 23


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_is_not_turned_into_an_error(error: type[BaseException]) -> None:
    def callback(*_: Any) -> Any:
        raise error("now")

    with pytest.raises(error):
        toy(numbered(3), callback).get_frame(0)


def test_a_raw_callback_may_answer_error_or_raise() -> None:
    """The plugin's own function, without the typed face before it."""
    arguments = {"width": 16, "height": 8, "format": vs.GRAY16, "step": 3, "multi": 1, "groups": 1}
    for func, text in [
        (lambda **_: {"_error": "not today"}, "not today"),
        (lambda **_: {"need": ["one"]}, 'XTemporal: group 0: "need" must be a list of frame numbers'),
        (lambda **_: {"val": [1]}, "XTemporal: group 0: the callback's answer must be video frames"),
        (lambda **_: {}, "XTemporal: group 0: the callback made 0 frames; 3 are wanted"),
    ]:
        clip = core.vs_sr.XTemporal(numbered(3), func=func, before=0, after=0, **arguments)
        with pytest.raises(vs.Error) as caught:
            clip.get_frame(0)
        assert str(caught.value) == text

    def raising(**_: Any) -> Any:
        raise RuntimeError("not today either")

    clip = core.vs_sr.XTemporal(numbered(3), func=raising, before=0, after=0, **arguments)
    with pytest.raises(vs.Error, match="not today either"):
        clip.get_frame(0)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"step": 0}, "Toy: step must be from 1 to 4096; got 0"),
        ({"multi": -1}, "Toy: multi must be from 1 to 4096; got -1"),
        ({"groups": 0}, "Toy: groups must be from 1 to 2147483647; got 0"),
        ({"groups": 5}, "Toy: groups must be at most 1 of 3 input frames; got 5"),
        ({"parallel": 2}, "Toy: parallel must be from 0 to 1; got 2"),
        ({"before": -1}, "Toy: before must be from 0 to 4096; got -1"),
        ({"after": 2**40}, "Toy: after must be from 0 to 4096; got 1099511627776"),
        ({"before": 2047, "after": 2047}, "Toy: a window of 4097 input frames; 4096 is the limit"),
        ({"cache": 0}, "Toy: cache must be from 1 to 64; got 0"),
        ({"width": 0}, "Toy: width must be from 1 to 65536; got 0"),
        ({"format": 12345}, "Toy: format must be a video format's number; got 12345"),
        ({"format": 0}, "Toy: format must be a video format's number; got 0"),
        (
            {"format": vs.YUV420P8, "height": 7},
            "Toy: the output size 16x7 does not suit the subsampling of its format",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(changed: dict[str, int], text: str) -> None:
    with pytest.raises(vs.Error) as caught:
        toy(numbered(3), echo(3, 2), **changed)
    assert str(caught.value) == text


def test_a_clip_of_variable_format_is_refused() -> None:
    for change in ({"width": 16}, {"format": vs.GRAY8}):
        other = numbered(3).resize.Bicubic(**change)
        clip = core.std.Splice([numbered(3), other], mismatch=True)
        with pytest.raises(vs.Error, match=r"^Toy: clip must have constant format and size; "):
            toy(clip, echo(3, 2))
