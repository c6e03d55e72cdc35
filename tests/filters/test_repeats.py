"""Repeated frames, through real VapourSynth: taken over by image models, spread or held by sequence models."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_networks, video_networks
from helpers.clips import digest, moving, slow
from helpers.counting import made, numbers, run, triple
from helpers.recurrence import Clip
from torch import nn

import vs_sr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

core = vs.core

TWICE = tuple(range(1, 24, 2))
"""Frames that repeat the one before, where every drawing is shown twice."""


def held(clip: vs.VideoNode, lengths: Sequence[int]) -> vs.VideoNode:
    """Frame i of the clip, ``lengths[i]`` times; each has a property and a duration of its own."""
    index = [i for i, length in enumerate(lengths) for _ in range(length)]
    blank = core.std.BlankClip(clip, length=len(index), keep=True)

    def tell(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame.props.update({"n": n, "_DurationNum": 1, "_DurationDen": 24 + n})
        return frame

    film = core.std.FrameEval(blank, lambda n: clip[index[n]].std.Loop(0)[: blank.num_frames])
    return film.std.ModifyFrame(film, tell)


# Image models


calls: list[int] = []


class Counting(nn.Module):
    """Twice the size; counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


vs_sr.register(
    vs_sr.Model(name="CountedRepeats", summary="", paper="", kind="image", build=lambda _: Counting(),
                fixed=vs_sr.Variant(scale=2))
)  # fmt: skip


@pytest.mark.parametrize("streams", [1, 3])
def test_the_network_runs_once_for_frames_that_repeat(streams: int) -> None:
    """A still image of 20 frames is run again where it is divided, at 8 and 16."""
    clip = held(moving(6, 16, 12), [1, 2, 3, 20, 1, 1])
    out = core.vs_sr.CountedRepeats(clip, device_id=-1, repeats=1, num_streams=streams)
    calls.clear()
    assert len([frame.close() for frame in out.frames()]) == 28
    # frames 0, 1, 3, 6, 8, 16, 24 (of the still image, which ends at 25), 26, 27
    assert len(calls) == 9


@pytest.mark.parametrize(
    ("name", "format"),
    [("EDSR", vs.YUV420P8), ("EDSR", vs.RGBS), ("EDSR", vs.YUV444PH), ("VDSR", vs.YUV420P10), ("VDSR", vs.RGB24)],
)
@pytest.mark.parametrize("streams", [1, 2])
def test_what_is_taken_over_has_the_bits_and_its_own_properties(name: str, format: int, streams: int) -> None:
    """In any order, with alpha and tags that change within what stands still."""
    source = held(image_networks.moving(4, format=format), [3, 1, 9, 2])
    alpha = core.std.BlankClip(source, format=vs.GRAY8, color=100, length=1).get_frame(0)

    def tell(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        if n in (2, 6, 7):
            frame.props["_Alpha"] = alpha
        if n >= 10:
            frame.props["_Primaries"] = 5
        return frame

    clip = source.std.ModifyFrame(source, tell)

    def upscaled(repeats: int) -> vs.VideoNode:
        weights = str(image_networks.weights(name))
        arguments = {"weights": weights, "device_id": -1, "repeats": repeats, "num_streams": streams}
        return getattr(core.vs_sr, name)(clip, **arguments)

    plain, once = upscaled(0), upscaled(1)
    assert (plain.num_frames, plain.format, plain.fps) == (once.num_frames, once.format, once.fps)
    order = random.Random(3).sample(range(clip.num_frames), clip.num_frames)
    for n in order:
        a, b = plain.get_frame(n), once.get_frame(n)
        assert digest(a) == digest(b), n
        shown = [
            {key: digest(value) if isinstance(value, vs.VideoFrame) else value for key, value in frame.props.items()}
            for frame in (a, b)
        ]
        assert shown[0] == shown[1], n


def test_a_threshold_takes_over_what_is_nearly_the_same() -> None:
    """The first of those, whose drift a fixed place ends."""
    blank = core.std.BlankClip(width=16, height=16, format=vs.GRAY8, length=12, keep=True)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[:] = 100 + n
        return frame

    clip = blank.std.ModifyFrame(blank, draw)
    for threshold, wanted in ((0.9, range(100, 112)), (1, [100] * 8 + [108] * 4)):
        out = core.vs_sr.CountedRepeats(clip, device_id=-1, repeats=1, repeats_threshold=threshold)
        assert [int(frame[0][0, 0]) for frame in out.frames()] == list(wanted)


# Sequence models


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize(
    "rate", [{"multi": 1}, {"multi": 2}, {"multi": 4}, {"multi": 8}, {"multi": 5, "per": 2}], ids=str
)
@pytest.mark.parametrize(
    "more", [{}, {"carry": True, "lookahead": 1}, {"carry": True, "segment": 2, "window": 2}], ids=str
)
def test_drawings_in_any_order(repeats: int, rate: dict[str, int], more: dict[str, Any]) -> None:
    """Twos, threes, fours and ones, over borders of windows and up to a cut; the marks stay inside."""
    same = {1, 3, 4, 7, 8, 9, 12, 13, 15, 17, 19, 20, 22}
    clip = Clip(frames=23, cuts=(10, 18), repeats=repeats, same=same, **rate, **more)
    out = run(clip)
    order = random.Random(5).sample(range(out.num_frames), out.num_frames)
    for n in order:
        frame = out.get_frame(n)
        assert triple(frame) == clip.expected(n), n
        assert not [key for key in frame.props if key.startswith("_vs_sr")]


def count(clip: Clip) -> dict[str, int]:
    """The calls of the network for all of a clip."""
    out = run(clip)
    other = run(Clip(frames=2))
    other.get_frame(0).close()  # the session that both share is open now
    for each in made[-1].calls.values():
        each.clear()
    for frame in out.frames():
        frame.close()
    return {name: len(each) for name, each in made[-1].calls.items()}


def test_the_network_sees_each_drawing_once() -> None:
    """24 frames of 12 drawings: spread, as many timesteps as before; held, half as many."""
    film = {"frames": 24, "carry": True}
    plain = count(Clip(**film))
    assert plain == {"encode": 24, "between": 23, "forward": 47, "reconstruct": 47}
    assert count(Clip(**film, repeats=1, same=TWICE)) == {
        "encode": 12, "between": 3 * 11, "forward": 4 * 11 + 1, "reconstruct": 4 * 11 + 1,
    }  # fmt: skip
    # frames of which a window begins within the drawing show it again, from the state before it
    once = count(Clip(**film, repeats=2, same=TWICE))
    assert (once["encode"], once["between"]) == (12, 11)
    assert 23 <= once["forward"] <= 23 + 4
    assert once["forward"] == once["reconstruct"]
    assert count(Clip(**film, repeats=1)) == plain


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("arguments", [{}, {"multi": 4, "carry": 1}, {"fps_num": 60, "fps_den": 1}], ids=str)
def test_without_repeated_frames_nothing_changes(repeats: int, arguments: dict[str, int]) -> None:
    clip = moving(6, 18, 10, vs.YUV420P8)
    for a, b in zip(slow(clip, **arguments).frames(), slow(clip, repeats=repeats, **arguments).frames(), strict=True):
        assert digest(a) == digest(b)
        assert dict(a.props) == dict(b.props)


@pytest.mark.parametrize("repeats", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_real_networks_give_the_same_bits_in_any_order(repeats: int) -> None:
    """Also with a carried state that is rebuilt, and states that are saved."""
    clip = held(moving(7, 18, 10, vs.YUV420P8), [2, 2, 1, 3, 2, 4, 1])
    arguments = {"repeats": repeats, "carry": 1}
    wanted = [digest(frame) for frame in slow(clip, **arguments).frames()]
    for seed in range(2):
        out = slow(clip, **arguments)
        for n in random.Random(seed).sample(range(30), 30):
            assert digest(out.get_frame(n)) == wanted[n]


class Edge(nn.Module):
    """Knows where an edge is, and draws it half way between two."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def encode(self, frame: torch.Tensor) -> torch.Tensor:
        return frame

    def between(self, before: torch.Tensor, after: torch.Tensor) -> list[torch.Tensor]:
        where = (position(before) + position(after)) / 2
        x = torch.arange(before.shape[-1], dtype=before.dtype).expand_as(before)
        return [(where - x).clamp(0, 1)]

    def forward_step(self, timestep: torch.Tensor, state: Any) -> tuple[torch.Tensor, ...]:
        return (timestep,)

    backward_step = forward_step

    def reconstruct(self, timestep: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        return timestep


def position(image: torch.Tensor) -> torch.Tensor:
    """Where the white on the left ends, in pixels."""
    return image.sum(-1, keepdim=True)


vs_sr.register(
    vs_sr.Model(name="Edge", summary="", paper="", kind="sequence", build=lambda _: Edge(),
                fixed=vs_sr.Variant(scale=1), multi=(2, 1, 4, 8), window=4)
)  # fmt: skip


def positions(length: int, frames: int, step: float, **arguments: Any) -> list[float]:
    """Of an edge that moves by ``step`` pixels every ``length`` frames, in the outputs."""
    blank = core.std.BlankClip(width=64, height=2, format=vs.RGBS, length=frames, keep=True)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in frame:
            np.asarray(plane)[:] = (4 + step * (n // length) - np.arange(64)).clip(0, 1)
        return frame

    out = core.vs_sr.Edge(blank.std.ModifyFrame(blank, draw), device_id=-1, sc=0, **arguments)
    return [float(np.asarray(frame[0])[0].sum()) for frame in out.frames()]


@pytest.mark.parametrize("length", [2, 4])
@pytest.mark.parametrize("multi", [1, 2])
def test_a_moving_edge_moves_by_equal_steps(length: int, multi: int) -> None:
    """Where it stood still and jumped before; it arrives when the last drawing does."""
    found = positions(length, 20, 3.0, repeats=1, multi=multi)
    moving_for = (20 - length) * multi
    steps = np.diff(found)
    assert steps[:moving_for] == pytest.approx(3 / (length * multi), abs=1e-4)
    assert steps[moving_for:] == pytest.approx(0, abs=1e-6)
    before = np.diff(positions(length, 20, 3.0, multi=multi))[:moving_for]
    assert (before < 1e-6).mean() >= (length - 1) / length - 0.05
    assert before.max() == pytest.approx(3 / multi, abs=1e-4)


@pytest.mark.parametrize("arguments", [{"multi": 2}, {"multi": 8}, {"fps_num": 60}], ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_an_edge_is_where_its_time_is(length: int, arguments: dict[str, int]) -> None:
    """Within an eighth of the way from one drawing to the next."""
    found = positions(length, 21, 3.0, repeats=1, **arguments)
    rate = arguments.get("multi", 2.5)
    last = 20 - 20 % length
    ideal = [4 + 3 * min(n / rate, last) / length for n in range(len(found))]
    assert np.abs(np.subtract(found, ideal)).max() < 3 / 8 + 1e-4


def test_held_drawings_move_between_their_last_frame_and_the_next_drawing_alone() -> None:
    assert positions(3, 7, 4.0, repeats=2) == pytest.approx([4] * 5 + [6] + [8] * 5 + [10] + [12] * 2, abs=1e-4)


def test_a_carried_state_is_that_of_the_same_repeats(tmp_path: Path) -> None:
    path = str(tmp_path / "film.state")
    clip = Clip(frames=7, carry=True, repeats=1, same={1, 4})
    for frame in run(clip, state_out=path).frames():
        frame.close()
    following = numbers(7)
    assert core.vs_sr.Recurrence(following, carry=1, repeats=1, state_in=path, device_id=-1).get_frame(0)
    with pytest.raises(vs.Error, match=r"^Recurrence: .*repeats '1', now '2'"):
        core.vs_sr.Recurrence(following, carry=1, repeats=2, state_in=path, device_id=-1)
    with pytest.raises(vs.Error, match=r"^Recurrence: .*repeats_threshold '0.0', now '0.5'"):
        core.vs_sr.Recurrence(following, carry=1, repeats=1, repeats_threshold=0.5, state_in=path, device_id=-1)


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("same", [{1, 3, 4, 6, 8, 9, 11, 12}, set(TWICE), {12, 13, 14}], ids=str)
def test_a_state_in_the_middle_of_a_drawing_goes_on(repeats: int, same: set[int], tmp_path: Path) -> None:
    """A render that stopped: from the checkpoint on, the frames are those of one in a single run."""
    path = str(tmp_path / "film.state")
    clip = Clip(frames=24, carry=True, repeats=repeats, same=same)
    out = run(clip, state_out=path, checkpoint=4)
    for n in range(25):
        out.get_frame(n)
    del out
    other = run(clip, state_in=path)
    for n in range(24, other.num_frames):
        assert triple(other.get_frame(n)) == clip.expected(n), n


def refused(make: Callable[[], vs.VideoNode]) -> str:
    with pytest.raises(vs.Error) as caught:
        make()
    return str(caught.value)


def test_what_cannot_be_is_refused() -> None:
    clip = moving(3, 32, 32)
    assert refused(lambda: core.vs_sr.CountedRepeats(clip, repeats=2)) == (
        "CountedRepeats: repeats=2 is for sequence models; choices: 0, 1 (the earlier result is taken over)"
    )
    assert refused(lambda: slow(clip, repeats=3)) == ("ZoomingSlowMo: repeats=3 is out of range; 0 to 2 (default 0)")
    assert refused(lambda: slow(clip, repeats=1, repeats_threshold=-0.5)) == (
        "ZoomingSlowMo: repeats_threshold=-0.5 is out of range; 0 to 255 (default 0.0)"
    )
    weights = str(video_networks.weights("BasicVSR"))
    assert refused(lambda: core.vs_sr.BasicVSR(clip, weights=weights, repeats=1)) == (
        "BasicVSR: repeats=1 is not possible: this model does multi=1 only, and has no frames to spread a drawing "
        "with; choices: 0, 2 (it sees each drawing once, and holds it)"
    )
    assert "repeats" in refused(lambda: core.vs_sr.EDVR(clip, repeats=1))


def test_a_model_that_makes_nothing_between_holds_drawings() -> None:
    weights = str(video_networks.weights("BasicVSR"))
    clip = held(moving(4, 64, 64), [2, 1, 3, 2])
    out = core.vs_sr.BasicVSR(clip, weights=weights, repeats=2, device_id=-1, sc=0)
    once = core.vs_sr.BasicVSR(held(moving(4, 64, 64), [1] * 4), weights=weights, device_id=-1, sc=0)
    wanted = [digest(frame) for frame in once.frames()]
    found = [digest(frame) for frame in out.frames()]
    assert found == [wanted[i] for i, length in enumerate([2, 1, 3, 2]) for _ in range(length)]
    assert len(set(found)) == 4
