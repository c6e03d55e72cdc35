"""``vs-sr evaluate`` and what is behind it: published figures, clips, reports, images, errors."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import golden, image_networks, video_networks
from helpers.images import scene, write
from helpers.networks import tiny_weights
from helpers.support import python
from torch import nn

from vs_sr import cli
from vs_sr.arguments import Arguments
from vs_sr.errors import ArgumentError
from vs_sr.evaluation import measure, protocols, report, upscalers
from vs_sr.evaluation.measure import Measurement
from vs_sr.evaluation.upscalers import Bicubic, Network, Running
from vs_sr.spec import Model, Variant

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "waves"
    folder.mkdir()
    for number, frame in enumerate(scene(7)):
        write(folder / f"{number:03}.png", frame)
    return folder


# Published figures


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calendar", "city"])
def test_bicubic_on_vid4(name: str) -> None:
    reference = json.loads(golden.test_data("reference/golden/metrics/vid4_bicubic_metrics.json").read_text())
    table = reference["clips"][name]["per_frame_psnr_rgb_psnrY_ssimY"]
    measurement = Measurement(upscaler=Bicubic(4), protocol=protocols.preset("vid4"), video=True)
    scores = measurement.folder(golden.test_data(f"footage/vid4/{name}")).scores["bicubic"]
    assert len(scores) == 13
    for score, (rgb, y, structure) in zip(scores, table, strict=False):
        assert score.psnr_rgb == pytest.approx(rgb, abs=0.01), score.frame
        assert score.psnr_y == pytest.approx(y, abs=0.01), score.frame
        assert score.ssim_y == pytest.approx(structure, abs=0.0005), score.frame


def set5(weights: str, protocol: str, scale: int | None, **changes: object) -> dict[str, float]:
    model, variant, source = upscalers.find(None, str(golden.test_data(f"weights/{weights}")))
    network = Network(model, variant, source, scale=scale or variant.scale)
    chosen = replace(protocols.preset(protocol), **changes)  # type: ignore[arg-type]
    with golden.one_thread():
        clip = Measurement(upscaler=network, protocol=chosen).folder(golden.test_data("footage/set5"))
    return {figure: clip.mean(model.name, figure) for figure in FIGURES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "scale", "psnr", "ssim"),
    [
        ("vdsr", 2, 37.653, 0.9600),
        ("vdsr", 4, 31.465, 0.8863),
        ("matlab-uint8", 2, 37.561, 0.9587),
        ("matlab-uint8", 4, 31.254, 0.8776),
        ("pil", 3, 33.722, 0.9220),
    ],
)
def test_vdsr_on_set5(protocol: str, scale: int, psnr: float, ssim: float) -> None:
    found = set5("vdsr_twtygqyy_model_epoch_50.pth", protocol, scale)
    assert found["psnr_y"] == pytest.approx(psnr, abs=0.001)
    assert found["ssim_y"] == pytest.approx(ssim, abs=1e-4)


@pytest.mark.slow
def test_rounding_y_costs_vdsr_what_it_should() -> None:
    found = set5("vdsr_twtygqyy_model_epoch_50.pth", "matlab-uint8", 4, round_y=True)
    assert found["psnr_y"] == pytest.approx(31.235, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "psnr"), [(2, 35.47), (4, 30.654)])
def test_srgan_on_set5(scale: int, psnr: float) -> None:
    found = set5(f"srgan_leftthomas_netG_epoch_{scale}_100_2018-01-17.pth", "matlab-uint8", None)
    assert found["psnr_y"] == pytest.approx(psnr, abs=0.005 if scale == 2 else 0.001)
    if scale == 4:
        assert found["ssim_y"] == pytest.approx(0.8642, abs=1e-4)


# Networks, on fakes


class Grow(nn.Module):
    """Nearest neighbor x2 of the image, plus ``tilt`` times a ramp that no mirror leaves alone."""

    def __init__(self, tilt: float = 0.0) -> None:
        super().__init__()
        self.tilt = tilt
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape))
        out = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return out + self.tilt * torch.linspace(0, 1, out.shape[-1])


class Middle(nn.Module):
    """The frame in the middle of those around it, x2."""

    def encode(self, frame: torch.Tensor) -> torch.Tensor:
        return frame

    def reconstruct(self, window: list[torch.Tensor]) -> torch.Tensor:
        return double(window[len(window) // 2])


class Walk(nn.Module):
    """Frames x2 with their means in between, marked by how many positions there were before."""

    def encode(self, frame: torch.Tensor) -> torch.Tensor:
        return frame

    def between(self, before: torch.Tensor, after: torch.Tensor) -> list[torch.Tensor]:
        return [(before + after) / 2]

    def forward_step(self, position: torch.Tensor, state: tuple[torch.Tensor] | None) -> tuple[torch.Tensor]:
        return (torch.zeros(1, 1, 1, 1) if state is None else state[0] + 1,)

    backward_step = forward_step

    def reconstruct(self, position: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        return double(position) + 0.001 * past


def double(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)


_number = count()


def fake(network: nn.Module, kind: str, multi: int = 1, **running: object) -> Network:
    """A model of its own each time: sessions of equal ones are shared."""
    model = Model(
        name=f"Fake{next(_number)}",
        summary="",
        paper="",
        kind=kind,  # type: ignore[arg-type]
        build=lambda _: network,
        fixed=Variant(scale=2, window=3),
        multi=(1,) if multi == 1 else (1, 2),
        window=3,
    )
    return Network(model, model.fixed, None, scale=2, multi=multi, running=Running(**running))  # type: ignore[arg-type]


def grown(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [frame.repeat(2, 0).repeat(2, 1).astype(float) for frame in frames]


PROTOCOL = protocols.preset("vid4")


def outputs(network: Network, frames: list[np.ndarray]) -> list[np.ndarray]:
    return [output.rgb for output in network(frames, PROTOCOL)]


@pytest.mark.parametrize(("network", "kind"), [(Grow(), "image"), (Middle(), "multi-frame")])
def test_pictures_reach_the_network_as_they_are(network: nn.Module, kind: str) -> None:
    frames = scene(4, 12, 16)
    np.testing.assert_allclose(outputs(fake(network, kind, ends="replicate"), frames), grown(frames), atol=1e-4)


def test_chop_runs_overlapping_quarters() -> None:
    frames, whole = scene(1, 31, 44), Grow()
    found = outputs(fake(whole, "image", chop=10), frames)
    np.testing.assert_allclose(found, grown(frames), atol=1e-4)
    assert [shape[2:] for shape in whole.seen] == [(25, 32)] * 4


def test_ensemble_takes_the_mean_over_mirrored_pictures() -> None:
    frames = scene(1, 8, 12)
    tilted = outputs(fake(Grow(0.1), "image"), frames)[0] - grown(frames)[0]
    assert np.ptp(tilted) == pytest.approx(25.5, abs=1e-3)
    flips = outputs(fake(Grow(0.1), "image", ensemble="flips"), frames)[0] - grown(frames)[0]
    np.testing.assert_allclose(flips, 0.05 * 255, atol=1e-3)
    turned = Grow(0.1)
    everything = outputs(fake(turned, "image", ensemble="all"), frames)[0] - grown(frames)[0]
    np.testing.assert_allclose(everything, 0.05 * 255, atol=1e-3)
    assert [shape[2:] for shape in turned.seen] == [(8, 12)] * 4 + [(12, 8)] * 4


@pytest.mark.parametrize(
    ("keep", "tail", "positions"),
    [
        ("first", "short", [0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]),  # windows 0..2, 2..4, 4..5
        ("later", "short", [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]),
        ("first", "drop", [0, 1, 2, 3, 4, 1, 2, 3, 4]),
        ("later", "drop", [0, 1, 2, 3, 0, 1, 2, 3, 4]),
    ],
)
def test_shared_frames_come_from_one_window(keep: str, tail: str, positions: list[int]) -> None:
    frames = scene(6, 8, 8)
    found = outputs(fake(Walk(), "sequence", multi=2, keep=keep, tail=tail), frames)
    upscaled = grown(frames)
    expected = [upscaled[i // 2] if i % 2 == 0 else (upscaled[i // 2] + upscaled[i // 2 + 1]) / 2 for i in range(11)]
    marks = [float((a - b).mean()) / 0.255 for a, b in zip(found, expected, strict=False)]
    np.testing.assert_allclose(marks, positions, atol=1e-3)


def test_whole_clips_chunks_and_mirrored_clips() -> None:
    frames = scene(5, 8, 8)

    def marks(**running: object) -> list[float]:
        found = outputs(fake(Walk(), "sequence", **running), frames)
        return [float((a - b).mean()) / 0.255 for a, b in zip(found, grown(frames), strict=True)]

    np.testing.assert_allclose(marks(window=0), [0, 1, 2, 3, 4], atol=1e-3)
    np.testing.assert_allclose(marks(), [0, 1, 0, 1, 2], atol=1e-3)  # the filter's: the shared frame is the later's
    np.testing.assert_allclose(marks(shared=0), [0, 1, 2, 0, 1], atol=1e-3)
    np.testing.assert_allclose(marks(window=2, shared=0), [0, 1, 0, 1, 0], atol=1e-3)  # the last frame, run as two
    np.testing.assert_allclose(marks(mirrored=True), [4.5] * 5, atol=1e-3)


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ArgumentError, match="cannot do multi=3"):
        fake(Walk(), "sequence", multi=3)
    with pytest.raises(ArgumentError, match="share a frame"):
        fake(Walk(), "sequence", multi=2, shared=0)
    with pytest.raises(ArgumentError, match="windows of 1 frames cannot share 1"):
        outputs(fake(Walk(), "sequence", window=1), scene(4, 8, 8))
    with pytest.raises(ArgumentError, match="chop is for image models"):
        fake(Walk(), "sequence", chop=10)
    with pytest.raises(ArgumentError, match="mirrored is for"):
        fake(Grow(), "image", mirrored=True)
    model = fake(Grow(), "image").model
    with pytest.raises(ArgumentError, match="for x2, not x4"):
        Network(model, Variant(scale=2), None, scale=4)
    with pytest.raises(ArgumentError, match="needs 16 pixels a side; got 12x8"):
        list(Network(model, Variant(scale=2, min_size=16), None, scale=2)(scene(1, 8, 12), PROTOCOL))


@pytest.mark.parametrize("y", list(protocols.LUMAS))
def test_networks_on_y_change_luma_and_leave_chroma(y: str) -> None:
    class Brighter(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1] == 1
            return x + 5 / 255

    variant = Variant(scale=1, color="y", upscaled=True)
    model = fake(Brighter(), "image").model
    network = Network(model, variant, None, scale=3)
    protocol = replace(protocols.preset("matlab-double"), y=y)  # type: ignore[arg-type]
    frame = scene(1, 8, 12)[0] // 2 + 40
    (output,) = network([frame], protocol)
    upscaled = protocols.upscale(frame, 3, protocol)
    assert output.y is not None
    np.testing.assert_allclose(output.y, protocol.luma(upscaled) + 5, atol=1e-4)
    np.testing.assert_allclose(protocol.luma(output.rgb), output.y, atol=1e-6)
    gained = output.rgb - upscaled
    np.testing.assert_allclose(gained, gained[..., :1].repeat(3, 2), atol=1e-9)


# What is measured is what the filter gives


FILTERS = {
    "ZoomingSlowMo": tiny_weights,
    "EDSR": partial(image_networks.weights, "EDSR"),
    "SRCNN": partial(image_networks.weights, "SRCNN"),
    "EDVR": partial(video_networks.weights, "5 frames"),
    "BasicVSR": partial(video_networks.weights, "BasicVSR"),
}


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        *((name, {}) for name in FILTERS),
        *((name, {"tilesize": (24, 16)}) for name in ("ZoomingSlowMo", "EDSR", "EDVR")),
        *((name, {"window": 3}) for name in ("ZoomingSlowMo", "BasicVSR")),
        *((name, {"window": 3, "carry": True}) for name in ("ZoomingSlowMo", "BasicVSR")),
        ("ZoomingSlowMo", {"window": 2, "carry": True, "segment": 2, "lookahead": 1}),
        ("ZoomingSlowMo", {"multi": 1}),
    ],
)
def test_the_bits_are_those_of_the_filter(name: str, ways: dict[str, Any]) -> None:
    """A clip of floats, so that nothing is rounded on its way: ends, windows and tiles included."""
    file, frames = str(FILTERS[name]()), scene(8, 20, 28)
    model, variant, source = upscalers.find(name, file)
    multi = ways.get("multi", model.multi[0])
    network = Network(
        model, variant, source, scale=2 if variant.upscaled else variant.scale, multi=multi,
        options=Arguments(device_id=-1, **{key: ways[key] for key in ways if key not in ("window", "multi")}),
        running=Running(window=ways.get("window")),
    )  # fmt: skip
    if variant.upscaled:  # the filter is given what the protocol upscales
        given, measured = [protocols.upscale(frame, 2, PROTOCOL) for frame in frames], network(frames, PROTOCOL)
        taken = [PROTOCOL.luma(frame)[..., None] / 255 for frame in given]
    else:
        taken, measured = [frame / np.float32(255) for frame in frames], network(frames, PROTOCOL)
    more: dict[str, Any] = {"sc": False} if model.kind != "image" else {}
    more |= {key: list(value) if key == "tilesize" else value for key, value in ways.items()}
    clip = floats(taken, studio=variant.upscaled)
    filtered = getattr(vs.core.vs_sr, name)(
        clip, weights=file, device_id=-1, **({"scale": 1} if variant.upscaled else {}), **more
    )
    found = list(measured)
    assert len(found) == multi * (len(frames) - 1) + 1
    for number, output in enumerate(found):
        frame = filtered.get_frame(number)
        expected = np.stack([np.asarray(plane) for plane in frame], -1).astype(np.float64) * 255
        if output.y is None:
            np.testing.assert_array_equal(output.rgb, expected)
        else:  # the filter's luma is full range in between, which costs a rounding or two
            np.testing.assert_allclose(output.y, (expected[..., 0] * 219 / 255 + 16).clip(0, 255), atol=1e-3)


def floats(frames: list[np.ndarray], studio: bool) -> vs.VideoNode:
    """RGBS of (H, W, 3) in 0..1; or GRAYS of luma that networks take as (16 + 219 y) / 255."""
    height, width, planes = frames[0].shape
    blank = vs.core.std.BlankClip(
        format=vs.RGBS if planes == 3 else vs.GRAYS, width=width, height=height, length=len(frames), keep=True
    )

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(planes):
            values = frames[n][..., plane]
            np.asarray(frame[plane])[:] = (values * 255 - 16) / 219 if studio else values
        return frame

    return blank.std.ModifyFrame(blank, write)


# Measuring


def perfect(frames: list[np.ndarray], multi: int = 1) -> Bicubic:
    """An upscaler that knows the ground truth."""

    class Oracle(Bicubic):
        label = "oracle"

        def __call__(self, low: object, protocol: object) -> object:
            return (upscalers.Output(frame) for frame in frames)

    return Oracle(4, multi)


def test_a_perfect_clip_moves_perfectly(clip: Path) -> None:
    measurement = Measurement(
        upscaler=perfect(scene(7), 2), baseline=Bicubic(4, 2), protocol=protocols.preset("vid4"), video=True
    )
    steps: list[tuple[str, int, int]] = []
    found = measurement.folder(clip, progress=lambda *step: steps.append(step))
    assert steps == [("waves", n, 7) for n in range(8)]
    assert [score.interpolated for score in found.scores["oracle"]] == [False, True] * 3 + [False]
    assert found.mean("oracle", "psnr_y") == math.inf
    assert found.mean("oracle", "ssim_rgb") == pytest.approx(1)
    motion = found.temporal["oracle"]
    assert (motion.change_error, motion.sharpness, motion.pulse) == (0, 1, 0)
    baseline = found.temporal["bicubic"]
    assert baseline.change_error > 0.5
    assert baseline.pulse is not None
    assert baseline.pulse > 0.005  # a mean of two frames is softer than either
    assert found.mean("bicubic", "psnr_y", interpolated=False) > found.mean("bicubic", "psnr_y", interpolated=True)


def test_flicker_is_seen(clip: Path) -> None:
    still = [frame.astype(float) + 4 * (-1) ** t for t, frame in enumerate(scene(7))]
    measurement = Measurement(upscaler=perfect(still), protocol=protocols.preset("matlab-double"), video=True)
    found = measurement.folder(clip).temporal["oracle"]
    assert found.change_error == pytest.approx(8 * 219 / 255, rel=1e-3)
    assert found.sharpness_interpolated is None


def test_a_still_clip_shows_nothing_but_flicker(clip: Path) -> None:
    made = [scene(1)[0].astype(float) + 2 * (-1) ** t for t in range(7)]
    measurement = Measurement(
        upscaler=perfect(made), baseline=Bicubic(4), protocol=protocols.preset("matlab-double"), video=True, still=True
    )
    found = measurement.folder(clip).temporal
    assert found["oracle"].change_error == pytest.approx(4 * 219 / 255, rel=1e-3)
    assert found["bicubic"].change_error == 0  # the ground truth moves, the clip does not


def test_a_coded_clip_is_the_same_for_everyone(clip: Path) -> None:
    seen: list[list[object]] = []

    class Listening(Bicubic):
        label = "listening"

        def __call__(self, frames: Any, protocol: Any) -> Any:
            seen.append(list(frames))
            return super().__call__(frames, protocol)

    gain = {}
    for crf in (None, 10, 30):
        protocol = replace(protocols.preset("vid4"), crf=crf)
        measurement = Measurement(upscaler=Listening(4), baseline=Bicubic(4), protocol=protocol, video=True)
        found = measurement.folder(clip)
        assert found.mean("listening", "psnr_y") == found.mean("bicubic", "psnr_y")
        gain[crf] = found.mean("bicubic", "psnr_y")
    assert gain[None] > gain[10] > gain[30]
    assert [frame.shape for frame in seen[0]] == [frame.shape for frame in seen[1]]  # type: ignore[attr-defined]


def test_pictures_of_any_size_are_no_clip(clip: Path) -> None:
    write(clip / "odd.png", scene(1, 41, 53)[0])
    found = Measurement(upscaler=Bicubic(4), protocol=protocols.preset("matlab-uint8")).folder(clip)
    assert len(found.scores["bicubic"]) == len(found.samples) == 8
    assert not found.temporal
    with pytest.raises(ArgumentError, match=r"must have one size; got 52x40, 64x48"):
        Measurement(upscaler=Bicubic(4), protocol=protocols.preset("vid4"), video=True).folder(clip)


def test_lr_pictures_of_a_benchmark(clip: Path, tmp_path: Path) -> None:
    protocol = protocols.preset("vid4")
    for name, frames in (
        ("all", scene(7)),
        ("half", scene(7)[::2]),
        ("large", [frame.repeat(4, 0) for frame in scene(7)]),
    ):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            write(tmp_path / name / f"{number}.png", np.asarray(protocols.reduce(frame, 4, protocol)))
    measurement = Measurement(upscaler=Bicubic(4, 2), protocol=protocol, video=True)
    own = measurement.folder(clip)
    for name in ("all", "half"):
        assert measurement.folder(clip, tmp_path / name).scores == own.scores
    with pytest.raises(ArgumentError, match="must be 16x12 at x4; got 16x48"):
        measurement.folder(clip, tmp_path / "large")
    with pytest.raises(ArgumentError, match="holds 4 images, but"):
        Measurement(upscaler=Bicubic(4), protocol=protocol).folder(clip, tmp_path / "half")


def test_frames_at_hand_are_measured_as_files_are(clip: Path) -> None:
    measurement = Measurement(upscaler=Bicubic(4, 2), protocol=protocols.preset("space-time"), video=True)
    from_files, at_hand = measurement.folder(clip), measurement.clip("waves", scene(7))
    assert [score.frame for score in at_hand.scores["bicubic"]] == list("0123456")
    assert at_hand.temporal == from_files.temporal
    assert at_hand.mean("bicubic", "psnr_y") == from_files.mean("bicubic", "psnr_y")
    assert len(measurement.clip("waves", scene(6)).scores["bicubic"]) == 5, "nothing follows the last one"
    with pytest.raises(ArgumentError, match="at least 3"):
        measurement.clip("waves", scene(2))


def test_the_baseline_in_between_is_the_mean_of_its_neighbors() -> None:
    lows = [np.full((4, 4, 3), value, dtype=np.uint8) for value in (10, 21)]
    frames = [output.rgb for output in Bicubic(4, 2)(lows, protocols.preset("space-time"))]
    assert [frame.shape for frame in frames] == [(16, 16, 3)] * 3
    assert [float(frame.mean()) for frame in frames] == pytest.approx([10, 15.5, 21])
    edge = np.repeat(np.uint8([0, 255]), 4)[None, :, None].repeat(8, 0).repeat(3, 2)  # bicubic overshoots here
    middle = list(Bicubic(4, 2)([edge, edge[:, ::-1]], protocols.preset("space-time")))[1].rgb
    assert middle.max() == pytest.approx(127.5, abs=1e-9)


def test_the_center_alone(clip: Path) -> None:
    measurement = Measurement(upscaler=Bicubic(4), protocol=protocols.preset("vid4"), video=True, only="center")
    assert [score.frame for score in measurement.folder(clip).scores["bicubic"]] == ["003.png"]


def test_the_part_with_most_detail() -> None:
    plane = np.zeros((200, 300))
    plane[120:140, 200:230] = np.random.default_rng(0).random((20, 30))
    x, y, width, height = measure.detailed_part(plane)
    assert (width, height) == (128, 96)
    assert x <= 200
    assert x + width >= 230
    assert y <= 120
    assert y + height >= 140
    assert measure.detailed_part(plane[:50, :60]) == (0, 0, 60, 50)


# Reports and the command


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["evaluate", *map(str, arguments)])
    return (code, *capsys.readouterr())


def test_the_command_on_a_clip(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PIL")
    files = {name: tmp_path / f"result.{name}" for name in ("csv", "json", "figure.png", "plot.png")}
    options = [part for name, path in files.items() for part in (f"--{name.removesuffix('.png')}", path)]
    code, out, err = run(capsys, clip, "--weights", tiny_weights(), "--device-id", -1, *options)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["PSNR-Y", "SSIM-Y", "PSNR-RGB", "SSIM-RGB", "change"] in lines
    record = json.loads(files["json"].read_text())
    assert record["upscaler"]["upscaler"] == "ZoomingSlowMo"
    assert record["upscaler"]["multi"] == 2
    assert record["protocol"]["resize"] == "matlab-once"
    assert record["protocol"]["border"] == "0"
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    for label in ("ZoomingSlowMo", "bicubic"):
        frames = record["clips"][0]["frames"][label]
        assert [frame["interpolated"] for frame in frames] == [False, True] * 3 + [False]
        mine = [row for row in rows if row["upscaler"] == label]
        assert [float(row["psnr_y"]) for row in mine] == pytest.approx([frame["psnr_y"] for frame in frames], abs=1e-6)
        mean = record["clips"][0]["mean"][label]
        assert mean["psnr_y"] == pytest.approx(np.mean([frame["psnr_y"] for frame in frames]))
        shown = next(line for line in lines if line[:2] == ["mean", label])
        change = record["clips"][0]["temporal"][label]["change_error"]
        assert [float(cell) for cell in shown[2:]] == pytest.approx([*(mean[f] for f in FIGURES), change], abs=6e-4)
        changes = [row["change_error"] for row in mine]
        assert changes[0] == ""
        assert np.mean([float(each) for each in changes[1:]]) == pytest.approx(change)
        assert ["motion", label] in [line[:2] for line in lines]
    assert measure.read(files["figure.png"]).shape[2] == 3
    figure = measure.read(files["figure.png"])
    assert figure.shape[1] > 3 * 64 * 6  # ground truth, network, bicubic, upscaled six times
    assert np.any(np.all(figure == scene(7)[3][20, 30], axis=2))  # the ground truth of the frame in the middle
    assert measure.read(files["plot.png"]).shape == (320, 900, 3)


def test_the_command_on_pictures(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, clip, clip, "--bicubic", "--scale", 3, "--protocol", "vdsr", "--border", "scale+2")
    assert code == 0
    assert out.count("006.png") == 2
    assert "motion" not in out
    overall = out.splitlines()[-1].split()
    means = [line.split() for line in out.splitlines() if line.startswith("mean ")]
    assert overall[:4] == ["mean", "of", "means", "bicubic"]
    assert overall[4:] == means[0][2:] == means[1][2:]


def test_the_table_says_infinity_and_json_does_not(clip: Path, tmp_path: Path) -> None:
    found = Measurement(upscaler=perfect(scene(1)), protocol=protocols.preset("vid4")).folder(clip)
    found = replace(found, scores={"oracle": found.scores["oracle"][:1]})
    assert "inf" in report.table([found])
    report.write_json(tmp_path / "x.json", report.record([found], protocols.preset("vid4"), {}))
    values = json.loads((tmp_path / "x.json").read_text())
    assert values["mean"]["oracle"]["psnr_y"] is None
    assert values["mean"]["oracle"]["ssim_y"] == pytest.approx(1)


def test_flags_change_the_protocol(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--resize pil --ground-truth resize --no-cumulative-modcrop --ssim-border 0 --ssim-padding zero --y jpeg"
    flags += " --round-y --output truncate --border 5 --crf 31"
    code, _, err = run(capsys, clip, "--bicubic", "--scale", 2, *flags.split(), "--json", tmp_path / "x.json")
    assert code == 0, err
    assert json.loads((tmp_path / "x.json").read_text())["protocol"] == {
        "resize": "pil",
        "upscale": None,
        "ground_truth": "resize",
        "cumulative_modcrop": False,
        "border": "5",
        "ssim_border": "0",
        "ssim_padding": "zero",
        "y": "jpeg",
        "output": "truncate",
        "round_y": True,
        "crf": 31,
    }


def test_the_list_of_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--list-protocols")
    assert code == 0
    for name in protocols.PRESETS:
        assert f"  {name} " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give a folder of ground truth"),
        ("none --bicubic --scale 2", "there is no folder none"),
        ("EMPTY --bicubic --scale 2", "holds no images (.png"),
        ("CLIP/000.png", "is a file; ground truth is a folder of images, such as `ffmpeg -i"),
        ("CLIP --bicubic", "--scale is needed"),
        ("CLIP --scale 2", "the weights that come with ZoomingSlowMo are for scale 4, not 2; give others"),
        ("CLIP --model Nothing", "no model is called 'Nothing'"),
        ("CLIP --model MDSR", "MDSR comes without weights"),
        ("CLIP --model EDVR", "EDVR comes without weights"),
        ("CLIP --weights nothing.pth", "neither a name nor a file; names: zooming_slow_mo_compact"),
        ("CLIP --bicubic --scale 2 --model VDSR", "one or the other"),
        ("CLIP --bicubic --scale 0", "--scale 0 is out of range"),
        ("CLIP --bicubic --scale 2 --border 30", "000.png: border must leave pixels"),
        ("CLIP --bicubic --scale 2 --border x", "border 'x' is not known"),
        ("CLIP --bicubic --scale 2 --crop 1,2", "--crop '1,2' must be X,Y,WIDTH,HEIGHT"),
        ("CLIP --bicubic --scale 2 --crop 0,0,100,9", "crop 0,0,100,9 is not inside 000.png of 64x48"),
        (
            "CLIP --bicubic --scale 2 --csv nowhere/x.csv",
            "--csv: nowhere/x.csv cannot be written: there is no such folder",
        ),
        ("CLIP --bicubic --scale 2 --multi -1", "--multi -1 is no factor; 1 or more"),
        ("CLIP --model ZoomingSlowMo --scale 2", "are for scale 4, not 2"),
        ("CLIP --protocol matlab", "there is no protocol 'matlab'; choices: matlab-uint8, "),
        ("CLIP --resize lanczos", "there is no resampling rule 'lanczos'; choices: matlab-double, "),
        ("CLIP --y 709", "there is no Y '709'; choices: matlab, edsr, "),
        ("CLIP --model ZoomingSlowMo --chop", "chop is for image models"),
        ("CLIP CLIP --bicubic --scale 2 --lr CLIP", "--lr is given 1 times for 2 folders"),
        ("CLIP --bicubic --scale 2 --lr CLIP --crf 20", "--crf codes the LR that is made of ground truth"),
        ("CLIP --bicubic --scale 2 --crf 60", "crf=60 is out of range; 0 to 51"),
        ("CLIP --bicubic --scale 2 --no-video --still", "--still is about clips"),
    ],
)
def test_errors(arguments: str, message: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    given = arguments.replace("CLIP", str(clip)).replace("EMPTY", str(tmp_path / "empty")).split()
    code, out, err = run(capsys, *given)
    assert (code, out) == (1, "")
    assert err.startswith("vs-sr evaluate: ")
    assert message in err


def images(folder: Path, *names: str, height: int = 32, width: int = 36) -> Path:
    """A folder of images, each of another part of a scene."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, scene(len(names), height, width), strict=True):
        write(folder / f"{name}.png", frame)
    return folder


@pytest.mark.parametrize(
    ("names", "clip"),
    [
        (("001", "002", "003"), True),
        (("frame 8", "frame 9", "frame 10"), True),
        (("im1", "im2", "im3", "im4"), True),
        (("001", "002"), False),  # nothing lies between two frames of which one is given
        (("001", "002", "004"), False),
        (("a001", "b002", "c003"), False),
        (("baby", "bird", "head"), False),
        (("3096", "8023", "12084"), False),
    ],
)
def test_what_looks_like_a_clip(names: tuple[str, ...], clip: bool, tmp_path: Path) -> None:
    assert measure.looks_like_a_clip(images(tmp_path / "x", *names)) is clip
    if clip:
        images(tmp_path / "x", names[0], width=40)
        assert not measure.looks_like_a_clip(tmp_path / "x")


def test_a_folder_is_enough(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames are a clip at twice the rate, images are not; the shipped model, bicubic beside it."""
    code, out, err = run(capsys, clip, "--device-id", -1)
    assert code == 0, err
    heading = out.splitlines()[0]
    assert heading == (
        "ZoomingSlowMo (zooming_slow_mo_compact): x4, every second frame given, on cpu in fp32; "
        "clips by the protocol vid4"
    )
    labels = {tuple(line.split()[:2]) for line in out.splitlines()}
    assert {("mean", "ZoomingSlowMo"), ("mean", "bicubic"), ("motion", "ZoomingSlowMo")} <= labels
    code, out, err = run(capsys, images(tmp_path / "set", "baby", "bird"), "--device-id", -1)
    assert code == 0, err
    assert out.splitlines()[0].endswith(": x4, on cpu in fp32; images by the protocol matlab-uint8")
    assert "motion" not in out
    assert ["baby.png", "ZoomingSlowMo"] in [line.split()[:2] for line in out.splitlines()]


def test_what_is_named_or_said_is_not_deduced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("baby", "bird", "head")
    folder, numbered = images(tmp_path / "set", *names), images(tmp_path / "clip", "1", "2", "3")
    tiny = ("--weights", tiny_weights(), "--device-id", -1, "--no-baseline")
    for given, clips in (
        ((folder, *tiny), True),
        ((folder, *tiny, "--no-video"), False),
        ((numbered, "--device-id", -1, "--no-video"), False),
        ((folder, "--device-id", -1, "--video"), True),
        ((numbered, "--weights", image_networks.weights("EDSR"), "--device-id", -1), False),
    ):
        code, out, err = run(capsys, *given)
        assert code == 0, err
        assert ("; clips by the protocol vid4" in out.splitlines()[0]) is clips, given


def test_a_folder_of_folders(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path / "all" / "b", "1", "2", "3")
    images(tmp_path / "all" / "a", "1", "2", "3")
    (tmp_path / "all" / "empty").mkdir()
    (tmp_path / "all" / "README").write_text("no image")
    code, out, err = run(capsys, tmp_path / "all", clip, "--bicubic", "--scale", 2)
    assert code == 0, err
    names = [line for line in out.splitlines() if line in ("a", "b", "waves")]
    assert names == ["a", "b", "waves"]
    images(tmp_path / "all" / "a", "other", width=20)
    code, out, err = run(capsys, tmp_path / "all")
    assert (code, out) == (1, "")
    assert "looks like the frames of a clip" in err
    assert "--no-video" in err


def test_a_file_that_is_no_image(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clip / "004.png").write_text("no image")
    code, _, err = run(capsys, clip, "--bicubic", "--scale", 2)
    assert code == 1
    assert "004.png cannot be read as an image" in err


def test_without_pillow(clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in ("PIL.Image", "PIL.ImageDraw"):
        monkeypatch.setitem(sys.modules, name, None)
    for flag in (("--figure", clip / "x.png"), ("--protocol", "pil")):
        code, _, err = run(capsys, clip, "--bicubic", "--scale", 2, *flag)
        assert code == 1
        assert "pip install 'vs-sr[demo]'" in err


def test_progress_is_silent_at_first_and_goes_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vs_sr.cli import _progress

    clock = iter([0.0, 1.9, 2.1, 2.1, 3.0, 12.2, 12.2])
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with _progress.Progress() as progress:
        for done in range(1, 5):
            progress("waves", done, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "waves: 2 of 4\nwaves: 4 of 4\n"


def test_progress_does_not_wait_for_the_first_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vs_sr.cli import _progress

    monkeypatch.setattr(_progress, "_PATIENCE", 0.05)
    with _progress.Progress() as progress:
        progress("waves", 0, 4)
        progress._first.join(10)
    assert capsys.readouterr().err == "waves: 0 of 4\n"


def test_evaluation_needs_no_vapoursynth(clip: Path) -> None:
    done = python(
        "import sys; sys.modules['vapoursynth'] = None; from vs_sr import cli;"
        f"code = cli.main(['evaluate', {str(clip)!r}, '--bicubic', '--scale', '2']); sys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
