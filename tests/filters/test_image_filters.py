"""The filters of the image models on real clips: pixels, formats, tags, streams, tiles, and what they say."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_networks as networks
from helpers.clips import FORMATS, close, cut_at, digest, pixels
from helpers.image_networks import CONFIGS, by_hand, moving, planes, weights
from helpers.matrix import in_turn
from helpers.memory import limited
from helpers.support import ROOT, vspipe

import vs_sr
from vs_sr import cli, messages, registry
from vs_sr.engine import device, session
from vs_sr.spec import Runner, Variant
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

core = vs.core

KINDS = ("EDSR", "VDSR")
"""One that takes RGB, one that takes luma of an upscaled clip: all others go the way of one of them."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def upscale(name: str, clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    return getattr(core.vs_sr, name)(clip, **{"weights": str(weights(name)), **arguments})


def message(name: str, node: vs.VideoNode | None = None, **arguments: Any) -> str:
    """The error of a call, or of the first frame that comes out of it."""
    with pytest.raises(vs.Error) as caught:
        upscale(name, moving() if node is None else node, **arguments).get_frame(0)
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert "\n" not in text
    return text


# Pixels

SCRIPT = f"""
import sys
import vapoursynth as vs
import torch
sys.path.insert(0, {str(ROOT / "tests")!r})
from helpers.image_networks import moving
torch.set_num_threads(1)
core = vs.core
for index, clip in enumerate((moving(2, 62, 46, vs.YUV420P8), moving(2, 63, 47, vs.RGBS))):
    made = [
%s
    ]
    core.std.Splice(made).set_output(index)
"""


def test_all_models_in_one_script(tmp_path: Path) -> None:
    """Through vspipe, against the networks run directly: exact for float, half a code value for 8 bit."""
    calls = "\n".join(f"        core.vs_sr.{name}(clip, weights={str(weights(name))!r})," for name in CONFIGS)
    script = tmp_path / "all.vpy"
    script.write_text(SCRIPT % calls, encoding="utf-8")
    for index, (width, height, format) in enumerate(((62, 46, vs.YUV420P8), (63, 47, vs.RGBS))):
        done = vspipe(script, "-o", str(index))
        assert done.returncode == 0, done.stderr.decode()
        clip = moving(2, width, height, format)
        small = 2 if format == vs.YUV420P8 else 1
        shapes = [(2 * height, 2 * width), *[(2 * height // small, 2 * width // small)] * 2]
        order = (0, 1, 2) if format == vs.YUV420P8 else (1, 2, 0)  # vspipe writes G, B, R
        kind = np.dtype(np.uint8 if format == vs.YUV420P8 else np.float32)
        found = np.frombuffer(done.stdout, kind)
        assert found.size == 2 * len(CONFIGS) * sum(h * w for h, w in shapes)
        at = 0
        for name in CONFIGS:
            for frame in by_hand(name, clip).frames():
                for plane in order:
                    expected = np.asarray(frame[plane])
                    h, w = shapes[plane]
                    part = found[at : at + h * w].reshape(h, w)
                    at += h * w
                    if format == vs.RGBS:
                        assert close(part, expected), (name, plane)
                        continue
                    span, start = (219, 16) if plane == 0 else (224, 128)
                    code = np.clip(expected.astype(np.float64) * span + start, 0, 255)
                    assert np.abs(part - code).max() <= 0.5 + 1e-4, (name, plane)
                    assert code.std() > 2, "the network does something"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: core.get_video_format(f).name)
def test_every_format_comes_back_in_its_own_format(name: str, format: int) -> None:
    """As the network run directly gives it, to half a code value."""
    clip = moving(1, 24, 16, format)
    found = upscale(name, clip)
    assert (found.format.id, found.width, found.height) == (format, 48, 32)
    expected = by_hand(name, clip).get_frame(0)
    bits, rgb = clip.format.bits_per_sample, clip.format.color_family == vs.RGB
    for plane, (p, q) in enumerate(zip(pixels(found.get_frame(0)), pixels(expected), strict=True)):
        if clip.format.sample_type == vs.FLOAT:
            assert np.allclose(p, q, rtol=0, atol=1e-5 if bits == 32 else 2e-3)
            continue
        span, start = (2**bits - 1, 0) if rgb else (s << (bits - 8) for s in ((219, 16) if plane == 0 else (224, 128)))
        code = (q.astype(np.float64) * span + start).clip(0, 2**bits - 1)
        assert np.abs(p - code).max() <= 0.5 + 2e-6 * 2**bits


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.YUV420P10, vs.YUV444P16, vs.GRAY8, vs.RGB24, vs.YUV422PS])
def test_a_luma_network_that_adds_nothing_is_bicubic(format: int, tmp_path: Path) -> None:
    """An independent oracle for luma, chroma, their siting and the way there and back."""
    net = networks.registry.model("VDSR").build(networks.Variant(scale=1, config=CONFIGS["VDSR"][0]))
    net.output.weight.data.zero_()
    path = networks.save("VDSR", net, tmp_path / "null.safetensors")
    clip = moving(1, 32, 24, format)
    found = upscale("VDSR", clip, weights=str(path)).get_frame(0)
    expected = clip.resize.Bicubic(64, 48, filter_param_a=0, filter_param_b=0.5).get_frame(0)
    bits = clip.format.bits_per_sample
    for p, q in zip(pixels(found), pixels(expected), strict=True):
        assert np.abs(p.astype(np.float64) - q).max() <= (1e-5 if bits == 32 else 1 if bits < 16 else 4)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("width", "height", "format"), [(7, 5, vs.RGB24), (4, 9, vs.YUV444P8), (31, 4, vs.GRAY16)])
def test_odd_and_tiny_sizes(name: str, width: int, height: int, format: int) -> None:
    frame = upscale(name, moving(1, width, height, format)).get_frame(0)
    assert (frame.width, frame.height, frame.format.id) == (2 * width, 2 * height, format)


@pytest.mark.parametrize("name", KINDS)
def test_float_output_is_not_clamped(name: str) -> None:
    clip = core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=1, color=[1.5, -0.5, 0.5])
    values = np.concatenate([plane.ravel() for plane in pixels(upscale(name, clip).get_frame(0))])
    assert values.max() > 1
    assert values.min() < 0


# Scale


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_luma_models_upscale_by_what_is_asked_for(scale: int) -> None:
    clip = moving(1, 20, 16, vs.RGBS)
    found = upscale("VDSR", clip, scale=scale)
    assert (found.width, found.height) == (20 * scale, 16 * scale)
    torch.testing.assert_close(planes(found), planes(by_hand("VDSR", clip, scale)), atol=0, rtol=0)
    assert "scale=9 is out of range; 1 (the clip is upscaled already) to 8" in message("VDSR", scale=9)


def test_several_scales_in_one_file() -> None:
    for scale in (2, 3, 4):
        assert upscale("MDSR", moving(1, 16, 12), scale=scale).get_frame(0).width == 16 * scale
    assert "scale=5: the file holds x2, x3, x4; choices: 2, 3, 4" in message("MDSR", scale=5)


def test_the_scale_of_the_weights_cannot_be_changed() -> None:
    assert "scale=3: the tensors are those of a x2 network; leave scale out" in message("EDSR", scale=3)
    assert "scale=0 is no factor" in message("EDSR", scale=0)
    assert upscale("EDSR", moving(1), scale=2).width == 124


def test_what_a_file_leaves_open_is_asked_for(tmp_path: Path) -> None:
    """First by the argument, then by a command, which works as it is printed."""
    state = {key: value.contiguous() for key, value in networks.network("A2N").state_dict().items()}
    path = tmp_path / "aan_x2.pth"
    torch.save(state, path)
    text = message("A2N", weights=str(path))
    assert "the x2 and the x3 network have the same tensors; say which with scale=2 or scale=3" in text
    text = message("A2N", weights=str(path), scale=2)
    target = tmp_path / "aan_x2.safetensors"
    command = f"vs-sr weights convert {path} {target} --set scale=2 --set range=1"
    assert text.endswith(f"say which in a copy of the file, made by `{command}` (or range=255)")
    assert cli.main(command.split()[1:]) == 0
    found = upscale("A2N", moving(1), weights=str(target))
    torch.testing.assert_close(*(planes(c.resize.Bicubic(format=vs.RGBS)) for c in (found, upscale("A2N", moving(1)))))


# Tags


@pytest.mark.parametrize("name", KINDS)
def test_tags_come_back(name: str) -> None:
    tags = {"_Matrix": 9, "_Range": 1, "_ChromaLocation": 2, "_Transfer": 16, "_Primaries": 9, "_SARNum": 4,
            "_SARDen": 3, "_SceneChangeNext": 1, "_DurationNum": 7, "_DurationDen": 100}  # fmt: skip
    clip = moving(2, format=vs.YUV420P10).std.SetFrameProps(**tags, Note="kept")
    for frame in upscale(name, clip).frames():
        assert {key: frame.props[key] for key in tags} == tags
        assert frame.props["Note"] in ("kept", b"kept")
        assert not [key for key in frame.props if key.startswith("_vs_sr")]


@pytest.mark.parametrize("name", KINDS)
def test_untagged_clips_keep_the_matrix_of_their_own_size(name: str) -> None:
    clip = moving(1, 620, 46).std.RemoveFrameProps(["_Matrix"])
    assert upscale(name, clip).get_frame(0).props["_Matrix"] == 6


@pytest.mark.parametrize("name", KINDS)
def test_arguments_override_tags(name: str) -> None:
    frame = upscale(name, moving(1, format=vs.YUV444P8), matrix_in=6, matrix=9, range=1, format=vs.YUV420P16).get_frame(
        0
    )
    assert (frame.format.id, frame.props["_Matrix"], frame.props["_Range"]) == (vs.YUV420P16, 9, 1)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("given", "wanted", "arguments", "tags"),
    [
        (vs.YUV420P8, vs.RGB24, {}, (0, 1)),
        (vs.RGB24, vs.YUV420P8, {"matrix": 1}, (1, 0)),
        (vs.GRAY8, vs.YUV444P8, {}, (1, 0)),
        (vs.GRAY16, vs.RGB48, {}, (0, 1)),
        (vs.YUV422P8, vs.GRAY8, {}, (1, 0)),
        (vs.RGBS, vs.GRAYS, {"matrix": 6}, (6, 0)),
    ],
)
def test_changing_the_family(
    name: str, given: int, wanted: int, arguments: dict[str, int], tags: tuple[int, int]
) -> None:
    clip = moving(1, format=given)
    frame = upscale(name, clip, format=wanted, **arguments).get_frame(0)
    assert (frame.format.id, frame.props["_Matrix"], frame.props["_Range"]) == (wanted, *tags)
    # the same image as by way of floating point
    family = clip.format.color_family if name == "VDSR" else vs.RGB
    flat = core.query_video_format(family, vs.FLOAT, 32, clip.format.subsampling_w if family == vs.YUV else 0,
                                   clip.format.subsampling_h if family == vs.YUV else 0)  # fmt: skip
    made = upscale(name, clip.resize.Bicubic(format=flat.id, **({"matrix": 1} if family != vs.RGB else {})))
    expected = made.resize.Bicubic(format=wanted, **({"matrix": tags[0]} if tags[0] else {})).get_frame(0)
    for p, q in zip(pixels(frame), pixels(expected), strict=True):
        assert np.abs(p.astype(np.float64) - q).max() <= (1e-5 if p.dtype.kind == "f" else 1)


def test_the_luma_of_rgb_does_not_depend_on_the_matrix_that_comes_out() -> None:
    """RGB goes to the network by BT.601, whatever YUV is asked for."""
    clip = moving(1, format=vs.RGBS)
    found = upscale("VDSR", clip, format=vs.YUV444PS, matrix=9)
    expected = by_hand("VDSR", clip).resize.Bicubic(format=vs.YUV444PS, matrix=9)
    torch.testing.assert_close(planes(found), planes(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_alpha_is_upscaled_too(name: str) -> None:
    clip = moving(1, format=vs.RGB24)
    alpha = core.std.BlankClip(width=62, height=46, format=vs.GRAY8, length=1, color=200)
    found = upscale(name, clip.std.ClipToProp(alpha, prop="_Alpha")).get_frame(0).props["_Alpha"]
    assert (found.width, found.height, np.asarray(found[0]).min()) == (124, 92, 200)


# Streams and orders


@pytest.mark.parametrize("name", KINDS)
def test_streams_change_no_bit_no_time_and_no_property(name: str) -> None:
    clip = cut_at(moving(7, 20, 16), 2)
    parts = [clip[n].std.SetFrameProps(_DurationNum=n + 1, _DurationDen=50) for n in range(7)]
    clip = core.std.Splice(parts)
    expected = [(digest(f), dict(f.props)) for f in upscale(name, clip).frames()]
    assert len({bits for bits, _ in expected}) == 7
    for count in (2, 3, 16):
        out = upscale(name, clip, num_streams=count)
        assert (out.num_frames, out.fps) == (7, clip.fps)
        shuffled = random.Random(count).sample(range(7), 7)
        futures = {n: out.get_frame_async(n) for n in shuffled}
        found = {n: future.result() for n, future in futures.items()}
        assert [(digest(found[n]), dict(found[n].props)) for n in range(7)] == expected


def test_streams_have_sessions_and_threads_of_their_own() -> None:
    before = set(session._sessions.keys())
    out = upscale("SRGAN", moving(4, 16, 12), num_streams=2, precision="bf16")
    list(out.frames())
    plans = set(session._sessions.keys()) - before
    assert sorted(plan.stream for plan in plans) == [0, 1]
    assert len({id(session._sessions[plan]._worker) for plan in plans}) == 2


def test_filters_that_upscale_by_different_factors_share_a_session() -> None:
    before = set(session._sessions.keys())
    outs = [upscale("VDSR", moving(1, 16, 12), scale=scale, precision="bf16") for scale in (2, 3)]
    assert [out.get_frame(0).width for out in outs] == [32, 48]
    assert len(set(session._sessions.keys()) - before) == 1


def test_a_huge_clip_costs_nothing() -> None:
    clip = core.std.BlankClip(width=8, height=8, format=vs.YUV420P8, length=2**31 - 1, fpsnum=0, fpsden=1, keep=True)
    out = upscale("SRCNN", clip)
    assert (out.num_frames, out.fps_num) == (2**31 - 1, 0)
    assert out.get_frame(2**31 - 2).width == 16


# Tiles


def whole_and_tiled(name: str, **arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    clip = moving(1, 83, 67, vs.RGBS)
    return planes(upscale(name, clip, tilesize=0)), planes(upscale(name, clip, **arguments))


SHAPES = [(13, 13), (7, 11), (1000, 9), (9, 0)]


@pytest.mark.parametrize(("name", "shape"), in_turn(sorted(set(CONFIGS) - {"A2N"}), SHAPES), ids=str)
def test_tiles_show_no_seams(name: str, shape: tuple[int, int]) -> None:
    """An overlap that covers what the network sees; tiles that fit nowhere, beyond the frame, whole lines."""
    variant = store.recognize(registry.model(name), store.given(weights(name))).variant
    receptive_field = variant.receptive_field or 0
    tile = [0 if more == 0 else 2 * receptive_field + variant.multiple + more for more in shape]
    whole, tiled = whole_and_tiled(name, tilesize=tile, overlap=receptive_field)
    assert (whole - tiled).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ["EDSR", "SRCNN", "ESRGAN"])
def test_seams_show_without_an_overlap(name: str) -> None:
    """What the test above would see."""
    whole, tiled = whole_and_tiled(name, tilesize=32, overlap=0)
    assert (whole - tiled).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "config"),
    [("EDSR", {"scale": 2}), ("ESRGAN", {"steps": (2, 2), "blocks": 23})],
)
def test_the_default_overlap_is_enough_where_networks_see_further(name: str, config: dict[str, Any]) -> None:
    """In full size, with weights that carry far (a gain of 1 a layer)."""
    torch.manual_seed(0)
    net = registry.model(name).build(Variant(scale=1, config=config)).eval().requires_grad_(False)
    for value in net.state_dict().values():
        if value.dim() == 4:
            value *= 3**0.5
    net.to(memory_format=torch.channels_last)
    frame = torch.rand(1, 3, 16, 48 + 48)
    with torch.inference_mode():
        whole = net(frame)
        errors = [(net(frame[..., : 48 + overlap].contiguous()) - whole[..., : whole.shape[-1] // 96 * (48 + overlap)])
                  .abs()[..., : whole.shape[-1] // 2].max() / whole.std() for overlap in (2, 32)]  # fmt: skip
    assert errors[0] > 1e-3 > 1e-4 > errors[1]


def test_tiles_of_a_network_that_sees_the_whole_frame() -> None:
    whole, tiled = whole_and_tiled("A2N", tilesize=40)
    assert (whole - tiled).abs().max() > 1e-6
    whole, unset = whole_and_tiled("A2N")
    assert torch.equal(whole, unset)


@pytest.mark.parametrize("name", ["EDSR", "VDSR", "A2N"])
def test_frames_that_do_not_fit_are_cut_up_unasked(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """But not for a network whose image would change."""
    caplog.set_level("INFO", "vs_sr")
    monkeypatch.setattr(messages, "_logged", set())
    limited(monkeypatch, 1 << 20)
    clip = moving(1, 83, 67, vs.RGBS)
    found = planes(upscale(name, clip))
    assert re.search(
        rf"{name}: frames of \d+x\d+ are run {'whole' if name == 'A2N' else 'in .* tiles of 64x64'}", caplog.text
    )
    monkeypatch.undo()
    assert (found - planes(upscale(name, clip))).abs().max() <= 1e-4


def test_memory_is_that_of_the_machine() -> None:
    assert device.memory("cpu") == device.memory("cpu") > 1 << 28


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"tilesize": 20, "overlap": 10}, ["tilesize=20 with overlap=10", "at least 21"]),
        ({"tilesize": [1, 2, 3]}, ["tilesize must be one integer, or two for width and height", "[1, 2, 3]"]),
        ({"tilesize": -4}, ["tilesize must be one integer", "-4"]),
        ({"overlap": [4, -4]}, ["overlap must be one integer", "[4, -4]"]),
        ({"num_streams": 0}, ["num_streams=0 is out of range; 1 to 32"]),
        ({"num_streams": 33}, ["num_streams=33"]),
        ({"precision": "fp8"}, ["precision='fp8'", "auto, fp32, fp16, bf16"]),
        ({"device_id": 99}, ["device_id=99", "no such CUDA device"]),
        ({"backend": "tensor"}, ["'tensor'", "eager"]),
        ({"matrix": 2}, ["matrix=2", "1 (BT709)"]),
        ({"range_in": -1}, ["range_in=-1"]),
        ({"format": vs.GRAY32}, ["Gray32", "8 to 16 bit integer"]),
        ({"weights": "nowhere/x.pth"}, ["no file 'nowhere/x.pth'"]),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_wrong_arguments(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    text = message(name, **arguments)
    for part in parts:
        assert part in text, text


def test_wrong_clips_and_frames() -> None:
    odd = moving(1, 21, 15, vs.RGB24)
    assert "format=YUV420P8 is not possible with an output of 63x45" in message(
        "VDSR", odd, scale=3, format=vs.YUV420P8
    )
    assert "tilesize=1 is too small; this network takes 2" in message("ESRGAN", tilesize=1)
    assert "at least 2x2; got 1x16" in message("ESRGAN", moving(1, 1, 16, vs.RGB24))
    for name in KINDS:
        assert "interlaced (_FieldBased=1)" in message(name, moving().std.SetFrameProps(_FieldBased=1))
        assert "tagged _Matrix=0" in message(name, moving().std.SetFrameProps(_Matrix=0))
    with pytest.raises(vs.Error, match="ZoomingSlowMo: tilesize=3 is too small; this network takes 8 pixels"):
        core.vs_sr.ZoomingSlowMo(moving(), tilesize=3)


# Weights


@pytest.mark.parametrize("name", [name for name in CONFIGS if registry.model(name).weights is None])
def test_without_weights_the_error_says_where_to_get_some(name: str) -> None:
    published = registry.model(name).published
    assert published is not None
    with pytest.raises(vs.Error) as caught:
        getattr(core.vs_sr, name)(moving())
    text = str(caught.value)
    assert published.file in text
    assert f"of the repository {published.repository}" in text
    assert f"run `vs-sr weights get {published.file}`, which says how to go on" in text
    assert set(published.hints) <= set(registry.model(name).hints)


@pytest.mark.parametrize(("held", "used"), [("VDSR", "SRCNN"), ("A2N", "ESRGAN"), ("ESRGAN", "EDSR"), ("EDSR", "MDSR")])
def test_weights_of_another_model(held: str, used: str, tmp_path: Path) -> None:
    """Whether or not the file says itself what it is, and whatever is still open about it."""
    state = {key: value.contiguous() for key, value in networks.network(held).state_dict().items()}
    bare = tmp_path / "bare.pth"
    torch.save(state, bare)
    for path in (bare, weights(held)):
        for arguments in ({}, {"scale": 2}):
            text = message(used, weights=str(path), **arguments)
            assert text == f"{used}: {path} holds weights of {held}; use core.vs_sr.{held}"


def test_running_out_of_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    out = upscale("EDSR", moving(1), precision="bf16")
    out.get_frame(0)
    (held,) = (s for p, s in session._sessions.items() if (p.model.name, p.precision) == ("EDSR", "bf16"))

    def fail(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 40 GiB")

    monkeypatch.setattr(held, "_runner", Runner(network=fail, identity="full"))
    with pytest.raises(
        vs.Error, match=r"out of memory on cpu .* with 62x46 pixels at a time; use a smaller window, tilesize or clip"
    ):
        upscale("EDSR", moving(1), precision="bf16").get_frame(0)


# Python


@pytest.mark.parametrize("name", CONFIGS)
def test_the_typed_function_is_the_filter(name: str) -> None:
    function = getattr(vs_sr, name)
    assert function.__name__ == name
    assert "scale:" in function.__doc__
    clip = moving(1, 40, 30)
    expected = digest(upscale(name, clip, tilesize=36, overlap=12).get_frame(0))
    path = str(weights(name))
    assert digest(function(clip, weights=path, tilesize=36, overlap=[12]).get_frame(0)) == expected
    assert digest(function(clip, model_path=path, tile=36, tile_pad=12, device_index=-1).get_frame(0)) == expected
    with pytest.raises(vs_sr.ArgumentError, match="tile and tilesize are the same argument"):
        function(clip, tilesize=3, tile=3)


def test_aliases_are_those_of_the_filters_arguments() -> None:
    with pytest.raises(
        vs_sr.ArgumentError, match=r"no argument 'scale'; choices: .* device_index, fp16, tile, tile_pad$"
    ):
        vs_sr.ZoomingSlowMo(moving(), scale=3)
