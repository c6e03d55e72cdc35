"""EDVR and BasicVSR as filters: the networks run by hand, at ends and cuts, in every order, in tiles."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import video_networks as networks
from helpers.clips import close, cut_at, digest, moving, pixels, planes
from helpers.matrix import in_turn
from helpers.memory import limited

import vs_sr
from vs_sr import cli, messages, registry
from vs_sr.engine import recurrence
from vs_sr.engine.scheduler.sliding import Sliding
from vs_sr.evaluation import protocols, upscalers
from vs_sr.models.basicvsr.network import BasicVSR
from vs_sr.models.edvr.network import EDVR
from vs_sr.weights import checkpoint, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

core = vs.core

EDVRS = ("5 frames", "7 frames", "predeblur", "deblurring")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def restore(clip: vs.VideoNode, name: str = "5 frames", ends: str = "", **arguments: Any) -> vs.VideoNode:
    file = networks.weights(name, ends=ends) if ends else networks.weights(name)
    return getattr(core.vs_sr, networks.CONFIGS[name][0])(clip, **{"weights": file, **arguments})


def basic(clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    return restore(clip, "BasicVSR", **arguments)


def same(found: torch.Tensor, expected: torch.Tensor, atol: float = 0) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# EDVR: the windows


def test_the_networks_see_all_of_their_frames() -> None:
    """Else no test below could fail: each frame of a window counts, and so does its place."""
    frames = planes(moving(9, 16, 12))
    for name in EDVRS:
        net: Any = networks.network(name)
        window = frames[: net.frames]
        made = recurrence.multi_frame(net, window[None])[0]
        for n in range(net.frames):
            other = window.clone()
            other[n] = 0.5
            assert (recurrence.multi_frame(net, other[None])[0] - made).abs().max() > 1e-3, (name, n)
        assert (recurrence.multi_frame(net, window.flip(0)[None])[0] - made).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "ends", "length"), in_turn(EDVRS, ["reflection_circle", "replicate"], [1, 2, 3, 4, 9])
)
def test_edvr_equals_the_network_run_by_hand(name: str, ends: str, length: int) -> None:
    clip = moving(length, 18, 14)
    found = planes(restore(clip, name, ends))
    scale = 1 if name == "deblurring" else 4
    assert found.shape == (length, 3, 14 * scale, 18 * scale)
    same(found, networks.edvr_by_hand(name, planes(clip), ends))


@pytest.mark.parametrize(("ends", "length"), in_turn(["reflection", "circle"], [3, 4, 9]))
def test_other_ways_to_continue_a_scene(ends: str, length: int) -> None:
    clip = moving(length, 16, 12)
    same(planes(restore(clip, ends=ends)), networks.edvr_by_hand("5 frames", planes(clip), ends))


@pytest.mark.parametrize(
    ("name", "ends"),
    [("5 frames", "reflection_circle"), ("7 frames", "reflection_circle"), ("predeblur", "replicate"),
     ("deblurring", "replicate")],
)  # fmt: skip
def test_without_a_word_in_the_file_ends_are_the_authors(name: str, ends: str) -> None:
    clip = moving(8, 16, 12)
    other = {"reflection_circle": "replicate", "replicate": "reflection_circle"}[ends]
    found = planes(restore(clip, name))
    same(found, networks.edvr_by_hand(name, planes(clip), ends))
    assert (found - networks.edvr_by_hand(name, planes(clip), other)).abs().max() > 1e-3


def test_a_way_to_continue_scenes_that_there_is_not() -> None:
    with pytest.raises(vs.Error) as caught:
        restore(moving(2), ends="mirror")
    text = str(caught.value)
    assert text.startswith("EDVR: ")
    assert "ends=mirror: the frames that stand for those before a scene's first" in text
    assert text.endswith("choices: replicate, reflection, reflection_circle, circle")


# EDVR: cuts

CUTS = [(4, 9), (0, 1, 2), (5, 6, 12)]


@pytest.mark.parametrize(
    ("cuts", "ends", "both"),
    [
        (cuts, ("reflection_circle", "replicate", "reflection")[number % 3], number % 2 == 0)
        for number, cuts in enumerate(CUTS)
    ],
    ids=str,
)
def test_no_neighbor_is_from_another_scene(ends: str, cuts: tuple[int, ...], both: bool) -> None:
    """A scene that is too short for its ends is continued by "replicate". Which frames these are is asked in full of
    the scheduler, in tests/engine/test_scheduler.py."""
    clip = moving(14, 12, 8)
    found = planes(restore(cut_at(clip, *cuts, both=both), ends=ends))
    same(found, networks.edvr_by_hand("5 frames", planes(clip), ends, cuts))


def test_neighbors_across_a_cut_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that the test above is for."""
    clip = moving(9, 12, 8)
    expected = networks.edvr_by_hand("5 frames", planes(clip), "replicate", (3,))
    monkeypatch.setattr(Sliding, "_scene", lambda self, frame, held: range(self.grid.frames))
    found = planes(restore(cut_at(clip, 3), ends="replicate"))
    differing = [n for n in range(9) if not torch.equal(found[n], expected[n])]
    assert differing == [2, 3, 4, 5]
    assert (found - expected).abs().max() > 1e-3


def test_cuts_can_be_ignored() -> None:
    clip = moving(6, 12, 8)
    same(planes(restore(cut_at(clip, 2), sc=0)), planes(restore(clip)))


# BasicVSR


def test_basicvsr_sees_the_whole_window() -> None:
    frames = planes(moving(6, 40, 36))
    made = networks.basicvsr_by_hand(frames)
    for changed, seen in ((0, 5), (5, 0)):
        other = frames.clone()
        other[changed] = 0.5
        assert (networks.basicvsr_by_hand(other)[seen] - made[seen]).abs().max() > 1e-5


@pytest.mark.parametrize("length", [2, 3, 15])
def test_basicvsr_in_one_window_equals_the_network_run_by_hand(length: int) -> None:
    clip = moving(length, 36, 20)
    frames = planes(clip)
    net: Any = networks.network("BasicVSR")
    found = planes(basic(clip))
    assert found.shape == (length, 3, 80, 144)
    with torch.inference_mode():
        same(found, recurrence.sequence(net, frames[None], 1)[0])
    same(networks.basicvsr_by_hand(frames), found)


def test_a_clip_of_one_frame_is_that_frame_twice() -> None:
    clip = moving(1, 36, 20)
    net: Any = networks.network("BasicVSR")
    expected = recurrence.sequence(net, planes(clip).repeat(2, 1, 1, 1)[None], 1)[0, :1]
    same(planes(basic(clip)), expected)


JOINED: list[dict[str, int]] = [
    {},
    {"segment": 2},
    {"segment": 0},
    {"carry": 0},
    {"lookahead": 1},
    {"lookahead": 5, "segment": 3},
    {"window": 2, "segment": 0},
    {"window": 6, "lookahead": 2, "carry": 0},
]


@pytest.mark.parametrize("arguments", in_turn(JOINED), ids=str)
def test_windows_are_joined_by_the_definition(arguments: dict[str, int]) -> None:
    """Within 1e-5: states at borders lie in memory otherwise than where a clip is run in one go."""
    clip = moving(19, 12, 8)
    cuts = (3, 6, 14) if arguments.get("segment") != 0 else ()
    given = {"window": 4, **arguments}
    found = planes(basic(cut_at(clip, *cuts), **given))
    same(found, networks.basicvsr_by_hand(planes(clip), cuts=cuts, **given), atol=1e-5)


def test_the_definition_tells_what_is_carried() -> None:
    """Each of the arguments makes a difference that the tolerance above does not cover."""
    frames = planes(moving(19, 12, 8))
    usual = networks.basicvsr_by_hand(frames, window=4, segment=0)
    for other in ({"segment": 2}, {"carry": False}, {"lookahead": 1}, {"cuts": (3,)}, {"window": 5}):
        made = networks.basicvsr_by_hand(frames, **{"window": 4, "segment": 0, **other})
        assert (made - usual).abs().max() > 1e-3, other


@pytest.mark.slow
def test_the_defaults_of_basicvsr() -> None:
    """15 frames a window, carried for four of them."""
    clip = moving(60, 6, 4)
    frames = planes(clip)
    expected = networks.basicvsr_by_hand(frames, window=15, carry=True, segment=4, lookahead=0)
    same(planes(basic(clip, sc=0)), expected, atol=1e-5)
    differing = (networks.basicvsr_by_hand(frames, window=15, segment=0) - expected).abs().amax((1, 2, 3)) > 1e-4
    assert (differing.nonzero()[0], len(differing)) == (56, 60)


def test_basicvsr_does_not_change_the_rate() -> None:
    with pytest.raises(vs.Error, match=r"^BasicVSR: multi=2 is not possible; choices: 1 \(default 1\)$"):
        basic(moving(2), multi=2)


# Orders

FILTERS: list[tuple[str, dict[str, Any]]] = [("5 frames", {}), ("deblurring", {}), ("BasicVSR", {"window": 4})]


@pytest.mark.parametrize(
    ("name", "arguments", "threads"), [(*each, threads) for each, threads in zip(FILTERS, (8, 1, 8), strict=True)],
    ids=str,
)  # fmt: skip
def test_bits_do_not_depend_on_the_order(name: str, arguments: dict[str, Any], threads: int) -> None:
    source = cut_at(moving(16, 20, 16, vs.YUV420P8), 4, 6)
    numbers = list(range(16))
    shuffled = random.Random(3).sample(numbers, len(numbers))
    expected = [digest(frame) for frame in restore(source, name, **arguments).frames()]
    assert len(set(expected)) == 16
    orders: dict[str, Callable[[vs.VideoNode], dict[int, str]]] = {
        "in order": lambda clip: {n: digest(f) for n, f in enumerate(clip.frames())},
        "reversed": lambda clip: {n: digest(clip.get_frame(n)) for n in reversed(numbers)},
        "shuffled": lambda clip: {n: digest(clip.get_frame(n)) for n in shuffled},
        "after a seek": lambda clip: {n: digest(clip.get_frame(n)) for n in [12, *numbers]},
        "asynchronous": lambda clip: {
            n: digest(future.result()) for n, future in [(n, clip.get_frame_async(n)) for n in shuffled]
        },
    }
    before = core.num_threads
    core.num_threads = threads
    try:
        for order, ask in orders.items():
            found = ask(restore(source, name, **arguments))
            assert [found[n] for n in numbers] == expected, order
    finally:
        core.num_threads = before


@pytest.mark.parametrize(("name", "ends"), [("5 frames", "reflection_circle"), ("7 frames", "replicate")])
def test_each_frame_is_encoded_once_in_order(name: str, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At cuts, too; and only a few frames are kept."""
    seen: list[float] = []
    kept: list[int] = []
    encode, render = EDVR.encode, Sliding._render

    def spy(self: EDVR, frame: torch.Tensor) -> Any:
        seen.append(float(frame[0, 0, 0, 0]))
        return encode(self, frame)

    def watch(self: Sliding, *arguments: Any) -> Any:
        made = render(self, *arguments)
        kept.append(len(self._encoded))
        return made

    monkeypatch.setattr(EDVR, "encode", spy)
    monkeypatch.setattr(Sliding, "_render", watch)
    blank = core.std.BlankClip(width=12, height=8, format=vs.RGBS, length=20, color=[0, 0.5, 0.5])
    clip = blank.std.FrameEval(lambda n: blank.std.BlankClip(color=[n / 32, 0.5, 0.5]))
    out = restore(cut_at(clip, 6, 9), name, ends)
    for n in range(20):
        out.get_frame(n)
    assert Counter(seen) == {n / 32: 1 for n in range(20)}
    size = int(name[0])
    assert max(kept) <= 2 * size - 1


# Formats, sizes, tags


@pytest.mark.parametrize(
    ("filter", "format"),
    in_turn(FILTERS, [vs.YUV420P8, vs.YUV420P10, vs.YUV444P16, vs.RGB24, vs.GRAY8, vs.YUV422PH]),
    ids=str,
)
def test_formats_come_back(filter: tuple[str, dict[str, Any]], format: int) -> None:
    """As the float path gives them, converted by hand before and after."""
    name, arguments = filter
    clip = moving(3, 24, 20, format)
    back = {} if clip.format.color_family == vs.RGB else {"matrix": 1}
    expected = restore(clip.resize.Bicubic(format=vs.RGBS), name, **arguments).resize.Bicubic(format=format, **back)
    found = restore(clip, name, **arguments)
    scale = 1 if name == "deblurring" else 4
    assert (found.format.id, found.width, found.height, found.fps) == (format, 24 * scale, 20 * scale, clip.fps)
    for a, b in zip(found.frames(), expected.frames(), strict=True):
        for p, q in zip(pixels(a), pixels(b), strict=True):
            assert close(p, q)


def test_frames_of_eight_bit_equal_the_network_run_by_hand() -> None:
    """YUV420P8, to half a code value."""
    clip = moving(5, 24, 20, vs.YUV420P8)
    frames = planes(clip.resize.Bicubic(format=vs.RGBS))
    for name, expected in (
        ("5 frames", networks.edvr_by_hand("5 frames", frames, "reflection_circle")),
        ("BasicVSR", networks.basicvsr_by_hand(frames)),
    ):
        luma = 0.2126 * expected[:, 0] + 0.7152 * expected[:, 1] + 0.0722 * expected[:, 2]
        code = (16 + 219 * luma).clamp(0, 255).numpy()
        for n, frame in enumerate(restore(clip, name).frames()):
            assert np.abs(pixels(frame)[0] - code[n]).max() <= 0.5 + 1e-3
            assert pixels(frame)[0].std() > 2


@pytest.mark.parametrize(
    ("name", "size"),
    in_turn(["5 frames", "predeblur", "deblurring", "BasicVSR"], [(1, 1), (5, 3), (33, 7), (31, 45)]),
    ids=str,
)
def test_odd_and_tiny_sizes(name: str, size: tuple[int, int]) -> None:
    width, height = size
    clip = moving(3, width, height, vs.YUV444P8)
    scale = 1 if name == "deblurring" else 4
    frame = restore(clip, name).get_frame(1)
    assert (frame.width, frame.height) == (scale * width, scale * height)
    found = planes(restore(moving(3, width, height), name))
    assert found.isfinite().all()


@pytest.mark.parametrize("name", ["5 frames", "BasicVSR"])
def test_time_and_tags_stay_with_their_frames(name: str) -> None:
    clip = cut_at(moving(7, 12, 8, vs.YUV420P8), 2)
    durations = [Fraction(n + 1, 50) for n in range(7)]
    parts = [clip[n].std.SetFrameProps(_DurationNum=time.numerator, _DurationDen=time.denominator, Number=n, _SARNum=4,
                                       _SARDen=3) for n, time in enumerate(durations)]  # fmt: skip
    out = restore(core.std.Splice(parts), name, **({"window": 4} if name == "BasicVSR" else {}))
    assert (out.num_frames, out.fps) == (7, clip.fps)
    found = [frame.props for frame in out.frames()]
    assert [Fraction(p["_DurationNum"], p["_DurationDen"]) for p in found] == durations
    assert [p["Number"] for p in found] == list(range(7))
    assert [p["_SceneChangeNext"] for p in found] == [0, 0, 1, 0, 0, 0, 0]
    assert [p["_SceneChangePrev"] for p in found] == [0, 0, 0, 1, 0, 0, 0]
    assert {(p["_SARNum"], p["_Matrix"]) for p in found} == {(4, 1)}


def test_a_huge_clip_costs_nothing() -> None:
    clip = core.std.BlankClip(width=8, height=8, format=vs.YUV420P8, length=2**31 - 1, fpsnum=0, fpsden=1, keep=True)
    for name in ("5 frames", "BasicVSR"):
        out = restore(clip, name)
        assert (out.num_frames, out.fps_num) == (2**31 - 1, 0)
        assert out.get_frame(2**31 - 2).width == 32


# Tiles


def variant(name: str) -> Any:
    model = registry.model(networks.CONFIGS[name][0])
    return store.recognize(model, store.locate(networks.weights(name), model)).variant


@pytest.mark.parametrize(("name", "multiple"), [("5 frames", 4), ("deblurring", 16), ("BasicVSR", 32)])
def test_what_tiles_and_memory_are_planned_by(name: str, multiple: int) -> None:
    found = variant(name)
    assert (found.multiple, found.receptive_field, found.channels, found.min_size) == (multiple, None, 8, 1)


@pytest.mark.parametrize(
    ("name", "size", "tilesize", "overlap", "tolerance"),
    [
        ("5 frames", (128, 96), (96, 80), 32, 2e-4),
        pytest.param("7 frames", (128, 96), (96, 80), 32, 2e-4, marks=pytest.mark.slow),
        pytest.param("predeblur", (128, 96), (96, 0), 32, 2e-3, marks=pytest.mark.slow),
        ("deblurring", (320, 48), (224, 0), 96, 2e-3),  # its features have a quarter of the frames' size
        ("still", (96, 128), (64, 64), 16, 2e-5),
    ],
)
def test_tiles_equal_the_whole_frame(
    name: str, size: tuple[int, int], tilesize: tuple[int, int], overlap: int, tolerance: float
) -> None:
    """As far as the paths lead that matter; displacements have no bound. Without an overlap the seams show."""
    clip = moving(3, *size)
    whole = planes(restore(clip, name, tilesize=0))
    halves = size[0] // 2, 0
    errors = [
        float((planes(restore(clip, name, tilesize=list(tile), overlap=pixels)) - whole).abs().max())
        for tile, pixels in ((tilesize, overlap), (halves, 0))
    ]
    assert errors[0] <= tolerance < 1e-2 < errors[1]
    assert whole.std() > 0.1


def test_tiles_of_basicvsr_have_flows_of_their_own() -> None:
    """SpyNet goes from coarse to fine over all that it sees: a tile gives another flow, and nearly the same image."""
    clip = moving(2, 128, 96)
    whole = planes(restore(clip, "BasicVSR", tilesize=0))
    found = planes(restore(clip, "BasicVSR", tilesize=96))
    assert 1e-6 < (found - whole).square().mean().sqrt() < 0.05 * whole.std()


@pytest.mark.parametrize("name", ["5 frames", "BasicVSR"])
def test_tiles_that_are_planned_or_found_too_large_overlap(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where memory is short beforehand, and where it runs out on the way."""
    caplog.set_level("INFO", "vs_sr")
    monkeypatch.setattr(messages, "_logged", set())
    clip = moving(2, 160, 40)
    given = planes(restore(clip, name, tilesize=[80, 0]))
    kind = EDVR if name == "5 frames" else BasicVSR
    encode = kind.encode

    def short(self: Any, frame: torch.Tensor) -> Any:
        if frame.shape[-1] > 80:
            raise torch.OutOfMemoryError("tried to allocate 40 GiB")
        return encode(self, frame)

    monkeypatch.setattr(kind, "encode", short)
    same(planes(restore(clip, name, tilesize=0)), given)
    assert "trying tiles of 80x40" in caplog.text
    monkeypatch.undo()
    limited(monkeypatch, 1 << 20)
    monkeypatch.setattr(messages, "_logged", set())
    same(planes(restore(clip, name)), planes(restore(clip, name, tilesize=64)))
    assert "tiles of 64x40" in caplog.text


# Weights


@pytest.mark.parametrize(("model", "file"), [
    ("EDVR", "edvrm_x4_8x4_600k_reds_20210625-e29b71b5.pth"),
    ("BasicVSR", "basicvsr_reds4_20120409-0e599677.pth"),
])  # fmt: skip
def test_without_weights_the_error_says_where_to_get_some(model: str, file: str) -> None:
    with pytest.raises(vs.Error) as caught:
        getattr(core.vs_sr, model)(moving(2))
    text = str(caught.value)
    assert text.startswith(f"{model}: weights must be given")
    assert f"run `vs-sr weights get {file}`, which says how to go on" in text
    assert f"{file} of the repository open-mmlab/mmagic (linked in its configs/{model.lower()}/README.md)" in text


def test_the_way_to_continue_scenes_is_written_into_a_converted_file(tmp_path: Path) -> None:
    """As it is told, or as it was taken for."""
    source = tmp_path / "EDVR.pth"
    torch.save({"params": networks.network("5 frames").state_dict()}, source)
    clip = moving(6, 12, 8)
    for told, ends in (("", "reflection_circle"), ("replicate", "replicate")):
        target = tmp_path / f"{ends}.safetensors"
        options = ["--set", f"ends={told}"] if told else []
        assert cli.main(["weights", "convert", str(source), str(target), *options]) == 0
        assert checkpoint.read(target).metadata["ends"] == ends
        found = planes(core.vs_sr.EDVR(clip, weights=str(target)))
        same(found, networks.edvr_by_hand("5 frames", planes(clip), ends))
    assert cli.main(["weights", "convert", str(source), str(tmp_path / "x.safetensors"), "--set", "ends=no"]) == 1
    assert not (tmp_path / "x.safetensors").exists()


def test_evaluation_continues_clips_as_the_weights_say() -> None:
    """Unless it is told otherwise: the images are the filter's."""
    clip = moving(6, 12, 8)
    rgb = [np.moveaxis(frame.numpy(), 0, 2) * 255 for frame in planes(clip)]
    for ends in ("replicate", "reflection_circle"):
        found = upscalers.find("EDVR", networks.weights("5 frames", ends=ends))
        for asked in (None, "circle"):
            network = upscalers.Network(*found, scale=4, running=upscalers.Running(ends=asked))  # type: ignore[arg-type]
            made = [np.moveaxis(output.rgb, 2, 0) / 255 for output in network(rgb, protocols.preset("vid4"))]
            expected = networks.edvr_by_hand("5 frames", planes(clip), asked or ends)
            np.testing.assert_allclose(np.stack(made), expected.numpy(), atol=1e-4)


# Python


@pytest.mark.parametrize("name", ["5 frames", "BasicVSR"])
def test_the_typed_function_is_the_filter(name: str) -> None:
    clip = moving(2, 16, 12)
    function = getattr(vs_sr, networks.CONFIGS[name][0])
    expected = planes(restore(clip, name))
    same(planes(function(clip, weights=networks.weights(name))), expected)
    same(planes(function(clip, model_path=networks.weights(name), device_index=-1, fp16=False)), expected)
