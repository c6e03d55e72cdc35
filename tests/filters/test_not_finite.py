"""NaN and infinity: going in, they are black pixels and nothing more; coming out of a network, an error."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_networks, networks, plain_models, video_networks
from helpers.clips import digest
from helpers.image_networks import moving
from safetensors.torch import save_file

import vs_sr
from vs_sr.engine import transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

core = vs.core

assert plain_models.MODELS

BAD = (np.nan, np.inf, -np.inf)


def spoiled(clip: vs.VideoNode, value: float, at: int, *planes: int) -> vs.VideoNode:
    """The clip with one value at the same place of some planes of one frame."""

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in planes if n == at else ():
            np.asarray(frame[plane])[3, 5] = value
        return frame

    return clip.std.ModifyFrame(clip, write)


@functools.cache
def call(name: str) -> Callable[..., vs.VideoNode]:
    """Every model with small weights."""
    if name == "ZoomingSlowMo":
        return functools.partial(core.vs_sr.ZoomingSlowMo, weights=str(networks.tiny_weights()), sc=0)
    if name in image_networks.CONFIGS:
        return functools.partial(getattr(core.vs_sr, name), weights=str(image_networks.weights(name)))
    model = video_networks.CONFIGS[name][0]
    return functools.partial(getattr(core.vs_sr, model), weights=str(video_networks.weights(name)), sc=0)


ALL = ("ZoomingSlowMo", "BasicVSR", "5 frames", *image_networks.CONFIGS)
FORMATS = (vs.RGBS, vs.RGBH, vs.YUV444PS, vs.YUV420PH, vs.GRAYS)


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_finite_is_black_and_nothing_else_is_touched(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """As the clip with black pixels gives it, to the bit; formats, values and planes take turns."""
    video = name not in image_networks.CONFIGS
    turn = ALL.index(name)
    for number in (turn,) if video else (turn, turn + 1):
        clip = moving(5 if video else 2, 32 if video else 16, 32 if video else 16, FORMATS[number % len(FORMATS)])
        planes = [*range(clip.format.num_planes)][number % 2 :] or [0]
        arguments = {"carry": 1, "window": 3} if name in ("ZoomingSlowMo", "BasicVSR") else {}
        caplog.clear()
        with caplog.at_level(logging.WARNING, "vs_sr"):
            found = call(name)(spoiled(clip, BAD[number % 3], 1, *planes), **arguments)
            wanted = call(name)(spoiled(clip, 0, 1, *planes), **arguments)
            for a, b in zip(found.frames(), wanted.frames(), strict=True):
                assert digest(a) == digest(b)
                assert dict(a.props) == dict(b.props)
        said = [line for line in caplog.messages if "not finite" in line]
        assert len(said) == 1
        assert "frame 1 of the clip: values that are not finite (NaN, infinity) are taken for black" in said[0]


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: core.get_video_format(f).name)
def test_every_format_plane_and_value(format: int) -> None:
    clip = moving(2, 16, 16, format)
    for plane in range(clip.format.num_planes):
        for value in BAD:
            found, wanted = (core.vs_sr.PlainRgb(spoiled(clip, v, 1, plane)).get_frame(1) for v in (value, 0))
            assert digest(found) == digest(wanted)


@pytest.mark.parametrize("plane", range(3))
def test_chroma_that_goes_around_the_network(plane: int) -> None:
    clip = moving(2, 16, 16, vs.YUV420PS)
    for value in BAD:
        found, wanted = (core.vs_sr.PlainLuma(spoiled(clip, v, 1, plane)).get_frame(1) for v in (value, 0))
        assert digest(found) == digest(wanted)


# Out of the network


class Broken(torch.nn.Module):
    """Adds a value to the top left pixel of frames that are bright there."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = x.clone()
        made[..., 0, 0] += torch.where(x[..., 0, 0] > 0.5, self.value, 0.0)
        return made


class Overflowing(torch.nn.Module):
    """A convolution with a weight that half precision cannot hold the results of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[:, :, None, None] * 1e5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.to(self.conv.weight.dtype)).to(x.dtype)


def register(name: str, build: Callable[[Any], torch.nn.Module]) -> None:
    fixed = vs_sr.Variant(scale=1, receptive_field=1)
    vs_sr.register(vs_sr.Model(name=name, summary="", paper="", kind="image", build=build, fixed=fixed))


for _number, _value in enumerate(BAD):
    register(f"Broken{_number}", lambda variant, value=_value: Broken(value))
register("Overflowing", lambda variant: Overflowing())


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("format", [vs.YUV420P8, vs.GRAY16, vs.RGBS, vs.YUV444PH])
@pytest.mark.parametrize("tilesize", [0, 16])
def test_a_result_that_is_not_finite_is_an_error_of_its_frame_alone(number: int, format: int, tilesize: int) -> None:
    white = core.std.BlankClip(format=vs.RGBS, width=32, height=32, length=1, color=[0.9] * 3)
    black = core.std.BlankClip(white, color=[0.1] * 3, length=2)
    clip = (black + white + black).resize.Bicubic(
        format=format, **({"matrix": 1} if core.get_video_format(format).color_family != vs.RGB else {})
    )
    made = getattr(core.vs_sr, f"Broken{number}")(clip, tilesize=tilesize)
    for n in (0, 1, 3, 4):
        assert np.isfinite(np.asarray(made.get_frame(n)[0]).astype(np.float32)).all()
    with pytest.raises(vs.Error) as caught:
        made.get_frame(2)
    text = str(caught.value)
    assert text.startswith(f"Broken{number}: frame 2: the network gives NaN or infinity in fp32, and precision=")
    assert "weights are damaged" in text


def test_half_precision_that_overflows_names_the_way_out() -> None:
    clip = core.std.BlankClip(format=vs.RGBS, width=16, height=16, length=2, color=[0.9] * 3)
    assert float(np.asarray(core.vs_sr.Overflowing(clip).get_frame(1)[0])[0, 0]) == pytest.approx(9e4)
    assert core.vs_sr.Overflowing(clip, precision="bf16").get_frame(1) is not None
    with pytest.raises(vs.Error) as caught:
        core.vs_sr.Overflowing(clip, precision="fp16").get_frame(1)
    assert str(caught.value) == (
        'Overflowing: frame 1: the network gives NaN or infinity in fp16, whose range it leaves; use precision="fp32"'
    )


@pytest.mark.parametrize("name", ["BasicVSR", "5 frames"])
def test_values_beyond_all_measure_give_an_error_of_their_windows_alone(name: str) -> None:
    clip = spoiled(moving(9, 32, 32, vs.RGBS), 3e38, 1, 0, 1, 2)
    made = call(name)(clip, **({"window": 3, "carry": 0} if name == "BasicVSR" else {}))
    with pytest.raises(vs.Error, match=r"^[A-Za-z]+: frame [01]: the network gives NaN or infinity in fp32"):
        made.get_frame(1)
    for n in (4, 8):
        assert all(np.isfinite(np.asarray(plane)).all() for plane in made.get_frame(n)), "as if nothing were wrong"


def test_a_state_that_is_not_finite_goes_nowhere() -> None:
    """What comes behind fails as well, in order or after a seek: its state would be made of nothing."""
    clip = spoiled(moving(7, 32, 32, vs.RGBS), 3e38, 1, 0, 1, 2)
    for first in (0, 4, 6):
        made = call("BasicVSR")(clip, window=3, carry=1)
        with pytest.raises(
            vs.Error, match="frame [01]: " if first == 0 else "the state before frame [46] of the clip: "
        ):
            made.get_frame(first)
        with pytest.raises(vs.Error, match=r"^BasicVSR: the state before frame 4 of the clip: the network gives NaN"):
            made.get_frame(5)
    made = call("BasicVSR")(clip, window=3, carry=1, segment=2)
    assert np.isfinite(np.asarray(made.get_frame(6)[0])).all(), "the next segment begins at zero"


def test_a_sequence_model_whose_weights_are_too_large(tmp_path: Path) -> None:
    net = networks.tiny()
    net.upconv2.weight.data *= 1e6
    net.conv_last.weight.data *= 1e38
    path = tmp_path / "large.safetensors"
    save_file(networks.state(net), path, metadata={"architecture": "ZoomingSlowMo", "base": "bicubic"})
    made = core.vs_sr.ZoomingSlowMo(moving(5, 16, 16, vs.YUV420P8), weights=str(path), sc=0)
    for n in (0, 7):
        with pytest.raises(vs.Error, match=rf"^ZoomingSlowMo: frame {n // 6 * 6}: the network gives NaN or infinity"):
            made.get_frame(n)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([0.0, -0.0, 1e-45], True), ([3e38] * 4, True), ([-3e38] * 4, True), ([3e38, -3e38] * 9, True),
        ([np.nan], False), ([np.inf], False), ([-np.inf], False), ([np.inf, -np.inf], False),
        ([3e38] * 9 + [np.nan], False),
    ],
)  # fmt: skip
def test_the_check_itself(values: list[float], answer: bool) -> None:
    """Sums that leave the range are no fault of the numbers."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        limit = torch.finfo(dtype).max
        part = torch.tensor(values).nan_to_num(nan=np.nan, posinf=np.inf, neginf=-np.inf)
        part = torch.where(part.isfinite(), part.clamp(-limit, limit), part).to(dtype)
        assert bool(transfer.finite(part)) is answer
        image = torch.zeros(1, 3, 40, 50, dtype=dtype).to(memory_format=torch.channels_last)
        image[0, 2, 39, : len(values)] = part
        assert bool(transfer.finite(image[0])) is answer


# Clips of one frame


@pytest.mark.parametrize("name", ALL)
def test_clips_of_one_frame(name: str) -> None:
    """As many frames as the rate says, all the same: whatever is repeated, the network sees that frame alone."""
    clip = moving(1, 32, 32, vs.YUV420P8)
    made = call(name)(clip)
    frames = [digest(frame) for frame in made.frames()]
    assert len(frames) == (2 if name == "ZoomingSlowMo" else 1)
    assert len(set(frames)) == 1
    if name == "ZoomingSlowMo":
        assert made.fps == 2 * clip.fps
