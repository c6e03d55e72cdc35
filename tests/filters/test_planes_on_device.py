"""Color on the network's device: planes go up and come down as they are in the video. The CPU stands for a card here,
with the operators' references in the place of the kernels, or with the kernels emulated."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import plain_models
from helpers.clips import digest, moving, pixels, slow
from helpers.emulation import card

import vs_sr
from vs_sr import frames
from vs_sr.engine import device, transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

core = vs.core


class Broken(torch.nn.Module):
    """Every pixel becomes four; what is bright is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.5, torch.nan, x).repeat_interleave(2, 2).repeat_interleave(2, 3)


assert plain_models.MODELS
vs_sr.register(
    vs_sr.Model(
        name="BrokenOnDevice",
        summary="",
        paper="",
        kind="image",
        build=lambda variant: Broken(),
        fixed=vs_sr.Variant(scale=2),
    )
)
twice, broken = core.vs_sr.PlainRgb, core.vs_sr.BrokenOnDevice


@pytest.fixture
def converts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every device convert; gives what was converted, "up" or "down", frame by frame."""
    done: list[str] = []
    rgb, of = transfer.Planes.rgb, transfer.Planes.of

    def up(planes: transfer.Planes, device: str) -> Tensor:
        done.append("up")
        return rgb(planes, device)

    def down(image: Tensor, coding: Any) -> transfer.Planes:
        done.append("down")
        return of(image, coding)

    monkeypatch.setattr(device, "converts", lambda device: True)
    monkeypatch.setattr(transfer.Planes, "rgb", up)
    monkeypatch.setattr(transfer.Planes, "of", down)
    return done


def by_host(clip: vs.VideoNode, call: Callable[..., vs.VideoNode] = twice, **arguments: Any) -> list[vs.VideoFrame]:
    """What comes out where the host converts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "converts", lambda device: False)
        return list(call(clip, **arguments).frames())


def apart(found: vs.VideoFrame, expected: vs.VideoFrame) -> int:
    """Code values between two frames, at most."""
    pairs = zip(pixels(found), pixels(expected), strict=True)
    return max(int(np.abs(a.astype(np.int64) - b).max()) for a, b in pairs)


FORMATS = (vs.YUV420P8, vs.YUV422P8, vs.YUV444P8, vs.YUV420P10, vs.YUV422P12, vs.YUV420P16, vs.YUV444P16)
TAGS: tuple[dict[str, int], ...] = (
    {"_Matrix": 1, "_Range": 0},
    {"_Matrix": 6, "_Range": 1, "_ChromaLocation": 1},
    {"_Matrix": 9, "_Range": 0, "_ChromaLocation": 2},
    {"_Matrix": 8, "_Range": 1},
    {},
)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
def test_it_is_the_host_s_to_one_code_value(format: int, converts: list[str]) -> None:
    for tags in TAGS:
        clip = moving(2, 34, 26, format).std.RemoveFrameProps().std.SetFrameProps(**tags, word=7)
        expected, found = by_host(clip), list(twice(clip).frames())
        for a, b in zip(found, expected, strict=True):
            assert apart(a, b) <= 1
            assert dict(a.props) == dict(b.props)  # nothing of ours, nothing missing
    assert converts == ["up", "down"] * 2 * len(TAGS)


@pytest.mark.parametrize(
    "arguments",
    [{"matrix": 9, "range": 1}, {"matrix_in": 6}, {"tilesize": 16}, {"num_streams": 2}, {"format": vs.YUV444P10}],
    ids=str,
)
def test_arguments(arguments: dict[str, Any], converts: list[str]) -> None:
    format = arguments.pop("format", None)
    call = (lambda clip, **more: twice(clip, format=format, **more)) if format else twice
    clip = moving(4, 36, 28, vs.YUV420P8)
    expected, found = by_host(clip, call, **arguments), list(call(clip, **arguments).frames())
    for a, b in zip(found, expected, strict=True):
        assert apart(a, b) <= 1
        assert dict(a.props) == dict(b.props)
    assert "up" in converts
    assert "down" in converts


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.YUV444P10], ids=str)
def test_a_sequence_in_any_order(format: int, converts: list[str]) -> None:
    clip = moving(9, 32, 24, format)
    expected = by_host(clip, slow, carry=1)
    film = [digest(frame) for frame in slow(clip, carry=1).frames()]
    sought = slow(clip, carry=1)
    for n in random.Random(5).sample(range(18), 18):
        with sought.get_frame(n) as frame:
            assert digest(frame) == film[n]
            # a code value where conversions round otherwise, and what the network makes of it
            assert apart(frame, expected[n]) <= 2 << (clip.format.bits_per_sample - 8)
    assert {"up", "down"} == set(converts)


def test_frames_are_read_as_they_are() -> None:
    clip = moving(1, 32, 24, vs.YUV420P10)
    bare = frames.bare(clip)
    carried = frames.to_network("Test", clip, bare, carried=lambda: True).get_frame(0)
    planes = frames.upload(carried)
    assert isinstance(planes, transfer.Planes)
    assert all(np.array_equal(part.numpy(), plane) for part, plane in zip(planes.parts, clip.get_frame(0), strict=True))


@pytest.mark.parametrize(
    ("format", "arguments"),
    [
        (vs.RGB24, {}),
        (vs.YUV444PS, {}),
        (vs.GRAY8, {}),
        (vs.YUV410P8, {}),
        (vs.YUV420P8, {"format": vs.RGBS}),
        (vs.YUV420P8, {"dither": "ordered"}),
    ],
    ids=str,
)
def test_what_takes_more_is_left_to_the_host(format: int, arguments: dict[str, Any], converts: list[str]) -> None:
    clip = moving(2, 32, 24, format)
    expected, found = by_host(clip, **arguments), list(twice(clip, **arguments).frames())
    up = format == vs.YUV420P8
    assert converts == ["up"] * 2 * up
    for a, b in zip(found, expected, strict=True):
        assert dict(a.props) == dict(b.props)
        if up:
            pairs = zip(pixels(a), pixels(b), strict=True)
            assert all(np.abs(p.astype(np.float64) - q).max() <= (1 if p.dtype.kind == "u" else 1e-5) for p, q in pairs)
        else:
            assert digest(a) == digest(b)


def test_frames_that_differ_in_it(converts: list[str]) -> None:
    """Alpha, and a matrix that is none, in the middle of a clip."""
    clip = moving(6, 32, 24, vs.YUV420P8)
    alpha = core.std.BlankClip(width=32, height=24, format=vs.GRAY8, color=77, length=6)
    constant = clip.std.SetFrameProps(_Matrix=10, _Transfer=1, _Primaries=9)
    ways = [clip, clip.std.ClipToProp(alpha, "_Alpha"), constant]
    mixed = core.std.Interleave(ways).std.AssumeFPS(fpsnum=24)
    expected, found = by_host(mixed), list(twice(mixed).frames())
    for n, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert apart(a, b) <= (0 if n % 3 == 2 else 1)
        assert sorted(a.props) == sorted(b.props)
        assert ("_Alpha" in a.props) == (n % 3 == 1)
    assert converts.count("up") == 12
    assert converts.count("down") == 6


def test_an_image_that_is_not_finite_fails(converts: list[str]) -> None:
    clip = moving(2, 32, 24, vs.YUV420P8).std.Expr(["", "128", "128"])
    with pytest.raises(vs.Error, match=r"frame 0: the network gives NaN or infinity in fp32") as by_device:
        broken(clip).get_frame(0)
    with pytest.raises(vs.Error) as expected:
        by_host(clip, broken)
    assert str(by_device.value) == str(expected.value)
    assert converts == ["up", "down"]


def test_it_is_the_kernels_that_convert(converts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = card.insert(monkeypatch)
    clip = moving(2, 38, 22, vs.YUV420P10)
    expected = by_host(clip)
    for a, b in zip(twice(clip).frames(), expected, strict=True):
        assert apart(a, b) <= 1
    assert names == ["yuv_to_rgb", "rgb_to_yuv"] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
def test_on_a_card(format: int) -> None:
    assert device.converts("cuda:0")
    clip = moving(3, 70, 46, format)
    expected = by_host(clip, device_id=0, precision="fp32")
    found = [frame.copy() for frame in twice(clip, device_id=0, precision="fp32").frames()]
    assert max(apart(a, b) for a, b in zip(found, expected, strict=True)) <= 1
    film = [digest(frame) for frame in slow(moving(9, 64, 48, format), carry=1, device_id=0).frames()]
    sought = slow(moving(9, 64, 48, format), carry=1, device_id=0)
    assert all(digest(sought.get_frame(n)) == film[n] for n in random.Random(5).sample(range(18), 18))
