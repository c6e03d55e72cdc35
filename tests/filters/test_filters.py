"""The filter ``core.vs_sr.ZoomingSlowMo`` on real clips: formats, sizes, tags, time, cuts, orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import networks
from helpers.clips import FORMATS, close, cut_at, digest, moving, pixels, planes, slow

import vs_sr
from vs_sr.engine import recurrence

if TYPE_CHECKING:
    pass


core = vs.core


# Pixels


@pytest.mark.parametrize("length", [2, 3, 4, 5, 7])
def test_float_rgb_equals_the_network_run_by_hand(length: int) -> None:
    clip = moving(length, 30, 22)
    frames = planes(clip)
    net = networks.tiny()
    expected = []
    for start in range(0, length - 1, 3):
        window = frames[start : start + 4]
        out = recurrence.sequence(net, window[None], 2)[0]
        expected += list(out[:-1] if start + 4 < length else out)
    expected.append(expected[-1])
    found = planes(slow(clip, carry=False))
    assert found.shape == (2 * length, 3, 88, 120)
    torch.testing.assert_close(found, torch.stack(expected), atol=0, rtol=0)


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: core.get_video_format(f).name)
def test_every_format_comes_back_in_its_own_format(format: int) -> None:
    """Against the float path: convert by hand, run, convert back by hand."""
    clip = moving(3, format=format)
    family = clip.format.color_family
    rgb = clip.resize.Bicubic(format=vs.RGBS)
    back = {} if family == vs.RGB else {"matrix": 1}
    expected = slow(rgb).resize.Bicubic(format=format, **back)
    found = slow(clip)
    assert found.format.id == format
    assert (found.width, found.height, found.num_frames) == (128, 96, 6)
    for a, b in zip(found.frames(), expected.frames(), strict=True):
        for p, q in zip(pixels(a), pixels(b), strict=True):
            assert close(p, q)


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.YUV420P10, vs.YUV444P16, vs.GRAY8, vs.RGB24, vs.YUV444PS])
def test_colors_do_not_shift(format: int) -> None:
    """A network that adds nothing leaves a flat clip as it was, in both kinds of frames."""
    bits = core.get_video_format(format).bits_per_sample
    flat = [0.4, 0.1, -0.1] if bits == 32 else [c << (bits - 8) for c in (81, 90, 190)]
    planes_count = core.get_video_format(format).num_planes
    clip = core.std.BlankClip(width=32, height=24, format=format, length=3, color=flat[:planes_count])
    for matrix, full in ((1, 0), (6, 0), (9, 1)):
        tagged = clip.std.SetFrameProps(_Range=full)
        if clip.format.color_family != vs.RGB:
            tagged = tagged.std.SetFrameProps(_Matrix=matrix)
        for frame in slow(tagged, weights=str(networks.null_weights())).frames():
            for plane, value in zip(pixels(frame), flat, strict=False):
                tolerance = 1e-5 if bits == 32 else 0 if bits <= 10 else 1
                assert np.abs(plane.astype(np.float64) - value).max() <= tolerance


def test_float_output_is_not_clamped() -> None:
    clip = core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=2, color=[1.5, -0.5, 0.5])
    frame = slow(clip, weights=str(networks.null_weights())).get_frame(1)
    for plane, value in zip(pixels(frame), (1.5, -0.5, 0.5), strict=True):
        assert np.allclose(plane, value, atol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (9, 11), (31, 8), (33, 25)])
@pytest.mark.parametrize("format", [vs.RGB24, vs.YUV444P8, vs.GRAY16])
def test_odd_and_tiny_sizes(width: int, height: int, format: int) -> None:
    frame = slow(moving(2, width, height, format)).get_frame(3)
    assert (frame.width, frame.height) == (4 * width, 4 * height)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions(precision: str) -> None:
    clip = moving(2)
    exact, found = planes(slow(clip, precision="fp32")), planes(slow(clip, precision=precision))
    assert (found - exact).abs().max() <= (0 if precision == "fp32" else 0.02)


# Tags


def test_tags_come_back() -> None:
    tags = {"_Matrix": 9, "_Range": 1, "_ChromaLocation": 2, "_Transfer": 16, "_Primaries": 9, "_SARNum": 4,
            "_SARDen": 3}  # fmt: skip
    clip = moving(2, format=vs.YUV420P10).std.SetFrameProps(**tags, Note="kept")
    for frame in slow(clip).frames():
        assert {key: frame.props[key] for key in tags} == tags
        assert frame.props["Note"] in ("kept", b"kept")
        assert not [key for key in frame.props if key.startswith("_vs_sr")]


def test_untagged_clips_keep_the_matrix_of_their_own_size(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vs_sr")
    clip = moving(2, 300, 160, vs.YUV420P8).std.RemoveFrameProps(["_Matrix"])
    frame = slow(clip).get_frame(0)
    assert (frame.width, frame.height) == (1200, 640)
    assert frame.props["_Matrix"] == 6
    assert "300x160 is taken for ST170_M; matrix_in= says otherwise" in caplog.text


def test_arguments_override_tags() -> None:
    clip = moving(2, format=vs.YUV444P8)
    frame = slow(clip, matrix_in=6, matrix=9, range=1, format=vs.YUV420P16).get_frame(1)
    assert frame.format.id == vs.YUV420P16
    assert (frame.props["_Matrix"], frame.props["_Range"]) == (9, 1)


def test_changing_the_family() -> None:
    to_rgb = slow(moving(2, format=vs.YUV420P8), format=vs.RGB24).get_frame(1)
    assert (to_rgb.format.id, to_rgb.props["_Matrix"], to_rgb.props["_Range"]) == (vs.RGB24, 0, 1)
    to_yuv = slow(moving(2, format=vs.RGB24), format=vs.YUV420P8, matrix=1).get_frame(1)
    assert (to_yuv.format.id, to_yuv.props["_Matrix"], to_yuv.props["_Range"]) == (vs.YUV420P8, 1, 0)


def test_tags_may_change_from_frame_to_frame() -> None:
    parts = [moving(2, format=vs.YUV420P8).std.SetFrameProps(_Matrix=m, _Range=r) for m, r in ((1, 0), (6, 1))]
    clip = core.std.Splice(parts)
    found = [(f.props["_Matrix"], f.props["_Range"]) for f in slow(clip).frames()]
    assert found == [(1, 0)] * 4 + [(6, 1)] * 4


def test_alpha_is_upscaled_too() -> None:
    clip = moving(2, format=vs.RGB24)
    alpha = core.std.BlankClip(width=32, height=24, format=vs.GRAY8, length=2, color=200)
    out = slow(clip.std.ClipToProp(alpha, prop="_Alpha"))
    for frame in out.frames():
        found = frame.props["_Alpha"]
        assert (found.width, found.height, found.format.id) == (128, 96, vs.GRAY8)
        assert np.asarray(found[0]).min() == np.asarray(found[0]).max() == 200


# Time


def test_twice_the_frames_twice_the_rate() -> None:
    out = slow(moving(5))
    assert (out.num_frames, out.fps_num, out.fps_den) == (10, 48000, 1001)
    assert [(f.props["_DurationNum"], f.props["_DurationDen"]) for f in out.frames()] == [(1001, 48000)] * 10


def test_variable_rate_is_kept() -> None:
    clip = moving(3)
    durations = [(1, 24), (1001, 30000), (7, 100)]
    parts = [clip[i].std.SetFrameProps(_DurationNum=n, _DurationDen=d) for i, (n, d) in enumerate(durations)]
    variable = core.std.Splice(parts).std.AssumeFPS(fpsnum=1)
    variable = core.std.FrameEval(variable, lambda n: parts[n]) if variable.fps_num else variable
    clip = core.std.Splice([*parts, core.std.BlankClip(parts[0], length=1, fpsnum=50, fpsden=1)])[:3]
    assert clip.fps_num == 0
    out = slow(clip)
    assert (out.fps_num, out.num_frames) == (0, 6)
    found = [out.get_frame(n).props for n in range(6)]
    assert [(p["_DurationNum"], p["_DurationDen"]) for p in found] == [
        (n, 2 * d) if n % 2 else (n // 2, d) for n, d in durations for _ in range(2)
    ]


def test_super_resolution_alone() -> None:
    clip = moving(5)
    out = slow(clip, multi=1)
    assert (out.num_frames, out.fps_num) == (5, 24000)
    torch.testing.assert_close(planes(out), planes(slow(clip))[::2], atol=0, rtol=0)


def test_a_huge_clip_is_clamped_and_costs_nothing() -> None:
    clip = core.std.BlankClip(width=8, height=8, format=vs.YUV420P8, length=2**31 - 1, fpsnum=0, fpsden=1, keep=True)
    out = slow(clip)
    assert (out.num_frames, out.fps_num) == (2**31 - 1, 0)
    assert out.get_frame(2**31 - 2).width == 32
    assert out.get_frame(0).width == 32


def test_the_last_frame_is_repeated() -> None:
    out = slow(moving(5))
    assert digest(out.get_frame(8)) == digest(out.get_frame(9))
    assert digest(out.get_frame(7)) != digest(out.get_frame(8))


def test_a_clip_of_one_frame() -> None:
    clip = moving(1)
    out = slow(clip)
    assert out.num_frames == 2
    expected = recurrence.sequence(networks.tiny(), planes(clip).repeat(2, 1, 1, 1)[None], 2)[0, 0]
    torch.testing.assert_close(planes(out), expected.repeat(2, 1, 1, 1), atol=0, rtol=0)


# Cuts


@pytest.mark.parametrize(
    ("cuts", "both"), [((0,), True), ((2,), False), ((3,), True), ((1, 2), False), ((2, 3, 4), True), ((5,), False)]
)
def test_nothing_passes_a_cut(cuts: tuple[int, ...], both: bool) -> None:
    """Frames of the other scene may be anything: the output does not change by a bit."""
    clip = moving(7)
    other = core.std.BlankClip(clip, color=[0.9, 0.1, 0.5])
    out = slow(cut_at(clip, *cuts, both=both))
    for cut in cuts:
        before = slow(cut_at(clip[: cut + 1] + other[cut + 1 :], *cuts, both=both))
        after = slow(cut_at(other[: cut + 1] + clip[cut + 1 :], *cuts, both=both))
        for n in range(out.num_frames):
            same = before if n // 2 <= cut else after
            assert digest(out.get_frame(n)) == digest(same.get_frame(n)), (cut, n)
        assert digest(out.get_frame(2 * cut)) == digest(out.get_frame(2 * cut + 1)), "a blend across the cut"


def test_cut_properties_lie_where_the_cut_lies() -> None:
    found = [f.props for f in slow(cut_at(moving(4), 1)).frames()]
    assert [p["_SceneChangeNext"] for p in found] == [0, 0, 0, 1, 0, 0, 0, 0]
    assert [p["_SceneChangePrev"] for p in found] == [0, 0, 0, 0, 1, 0, 0, 0]


def test_cuts_can_be_ignored() -> None:
    clip = moving(4)
    ignored = slow(cut_at(clip, 1), sc=0)
    torch.testing.assert_close(planes(ignored), planes(slow(clip)), atol=0, rtol=0)
    assert ignored.get_frame(3).props["_SceneChangeNext"] == 1


# Sharing


def test_filters_can_be_chained_and_share_their_session() -> None:
    clip = moving(3, 8, 8)
    twice = slow(slow(clip), multi=1)
    assert (twice.width, twice.num_frames) == (128, 6)
    inner = planes(slow(clip))
    expected = recurrence.sequence(networks.tiny(), inner[None, :4], 1)[0, :3]
    torch.testing.assert_close(planes(twice)[:3], expected, atol=0, rtol=0)


def test_the_typed_function_is_the_filter() -> None:
    clip = moving(2)
    weights = str(networks.tiny_weights())
    expected = planes(slow(clip))
    torch.testing.assert_close(planes(vs_sr.ZoomingSlowMo(clip, weights=weights)), expected, atol=0, rtol=0)
    torch.testing.assert_close(
        planes(vs_sr.ZoomingSlowMo(clip, model_path=weights, device_index=-1, fp16=False)), expected, atol=0, rtol=0
    )
    with pytest.raises(vs_sr.ArgumentError, match="model_path and weights are the same argument"):
        vs_sr.ZoomingSlowMo(clip, weights=weights, model_path=weights)
    with pytest.raises(vs_sr.ArgumentError, match="there is no argument 'tiles'; choices: clip, window"):
        vs_sr.ZoomingSlowMo(clip, tiles=2)
