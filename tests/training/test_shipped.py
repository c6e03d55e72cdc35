"""What the shipped weights reach, and that nothing of their looks would be objected to."""

import json
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import golden
from helpers.images import luma
from safetensors import safe_open

import vs_sr
from vs_sr.arguments import Arguments
from vs_sr.evaluation.measure import Measurement
from vs_sr.evaluation.protocols import preset
from vs_sr.evaluation.resample import round_half_up
from vs_sr.evaluation.upscalers import Bicubic, Network, Output, find
from vs_sr.training import exporting, textures
from vs_sr.training.clips import HELD_OUT_SEED, make_clip, reduce_frames
from vs_sr.weights import store

core = vs.core
ROOT = Path(__file__).resolve().parents[2]
SCALES = (2, 3, 4)
WEIGHTS = Path(vs_sr.__file__).parent / "weights" / "zooming_slow_mo_compact.safetensors"


@pytest.fixture(scope="module")
def shipped():
    """The shipped weights as the evaluation runs them; CPU, float32."""
    return Network(*find(None, None), scale=4, multi=2, options=Arguments(device_id=-1, precision="fp32"))


def upscaled(upscaler, film):
    """What is made of every second frame (T, H, W, 3), reduced: all frames, in 0..255."""
    lows = list(reduce_frames(film[::2]))
    return np.stack([output.rgb for output in upscaler(lows, preset("space-time"))])


def test_shipped_weights_are_small_and_say_what_they_are():
    assert WEIGHTS.stat().st_size <= 5e6
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    assert parameters <= 2.5e6
    assert metadata["architecture"] == "ZoomingSlowMo"
    assert metadata["base"] == "bicubic"
    assert metadata["licence"] == "MIT"


def measurement(upscaler):
    return Measurement(upscaler=upscaler, baseline=Bicubic(4, 2), protocol=preset("space-time"), video=True)


@pytest.mark.slow
def test_shipped_weights_beat_bicubic_on_held_out_scenes(shipped):
    found = [measurement(shipped).clip("", list(make_clip(HELD_OUT_SEED + 100 + i, 5, 96))) for i in range(6)]
    assert np.mean([exporting.gain(clip, "ZoomingSlowMo") for clip in found]) >= 0.25


IMAGE_MODELS = sorted(
    {(entry.model, scale) for entry in store.index().values() for scale in SCALES if entry.scale in (scale, None)}
    - {("ZoomingSlowMo", 4)}
)


FLOORS = {"SRCNN": 0.8, "VDSR": 0.9}
"""Decibels above bicubic; one file of theirs is for all factors."""


@pytest.mark.parametrize(("name", "scale"), IMAGE_MODELS)
def test_image_models_come_with_weights(name, scale):
    clip = core.std.BlankClip(width=24, height=18, format=vs.YUV420P8, length=1, color=[90, 120, 150])
    upscaled = getattr(core.vs_sr, name)(clip, scale=scale, device_id=-1)
    assert (upscaled.width, upscaled.height) == (24 * scale, 18 * scale)
    with upscaled.get_frame(0) as frame:
        middle = np.asarray(frame[0])[8:-8, 8:-8]
    assert abs(middle.astype(int) - 90).max() <= 3  # flat ground stays flat


def test_a_scale_without_weights_names_those_with():
    clip = core.std.BlankClip(width=24, height=18, format=vs.YUV420P8, length=1)
    with pytest.raises(vs.Error, match=r"EDSR: the weights that come with EDSR are for scale 2.*, not 7; give others"):
        core.vs_sr.EDSR(clip, scale=7)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in store.index().items() if entry.model != "ZoomingSlowMo"])
def test_image_models_reach_their_figures_on_set5(name):
    """The figures of docs/quality.md, well above bicubic for every factor."""
    sets = json.loads((ROOT / "benchmarks" / "quality.json").read_text(encoding="utf-8"))["weights"][name]["sets"]
    for title, rows in sets.items():
        model, variant, source = find(None, name)
        network = Network(
            model, variant, source, scale=int(title[-1]), options=Arguments(device_id=-1, precision="fp32")
        )
        found = Measurement(upscaler=network, protocol=preset("matlab-uint8")).folder(golden.test_data("footage/set5"))
        psnr, bicubic = (np.mean([row[key] for row in rows.values()]) for key in ("psnr_y", "bicubic"))
        assert found.mean(model.name, "psnr_y") == pytest.approx(psnr, abs=2e-3)
        assert psnr >= bicubic + FLOORS.get(model.name, 1.0)


def test_frames_that_are_softer_in_turns():
    class Softer(Bicubic):
        label = "ZoomingSlowMo"

        def __call__(self, lows, protocol):
            for index, frame in enumerate(film):
                yield Output(frame if index % 2 == 0 else 100 + (frame - 100.0) * 0.75)

    film = np.random.default_rng(2).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    found = measurement(Softer(4, 2)).clip("noise", list(film))
    assert exporting.softness(found, "ZoomingSlowMo") == pytest.approx(-0.25, abs=0.01)
    assert exporting.softness(found, "bicubic") < -0.1  # a mean is softer than its terms


def cell(difference):
    """Mean luma difference (T, H, W) at each position of the 4x4 cell that one LR pixel becomes."""
    count, height, width = difference.shape
    return difference.reshape(count, height // 4, 4, width // 4, 4).mean(axis=(0, 1, 3))


@pytest.mark.parametrize("seed", range(3))
def test_shipped_weights_draw_no_grid_on_smooth_ground(shipped, seed):
    # Where nothing hides it, a grid is seen from about half a level on.
    ramp = textures.gradient_image(np.random.default_rng(seed), 96, 96)
    film = np.repeat(round_half_up(255 * ramp)[None], 5, axis=0)
    difference = luma(upscaled(shipped, film)) - luma(film)
    assert np.ptp(cell(difference[:, 16:-16, 16:-16])) < 0.25


def test_shipped_weights_draw_no_line_along_an_edge_that_had_to_be_padded(shipped):
    clip = make_clip(HELD_OUT_SEED + 300, 3, 120)[:, :, :104]  # 30 rows and 26 columns are given
    error, bicubic = (np.abs(luma(upscaled(each, clip)) - luma(clip)) for each in (shipped, Bicubic(4, 2)))
    assert error[:, -4:].mean() < bicubic[:, -4:].mean()
    assert error[..., -4:].mean() < bicubic[..., -4:].mean()


@pytest.mark.slow
def test_shipped_weights_keep_colors_and_add_no_grid_to_detail(shipped):
    # Images have means of their own at the 16 positions: bicubic on the same scenes says how large.
    ours, bicubic = [], []
    for index in range(8):
        clip = make_clip(HELD_OUT_SEED + 200 + index, 5, 96)
        ours.append(upscaled(shipped, clip) - clip.astype(np.float64))
        bicubic.append(upscaled(Bicubic(4, 2), clip) - clip.astype(np.float64))
    ours, bicubic = np.concatenate(ours), np.concatenate(bicubic)
    assert np.abs((ours - bicubic).mean(axis=(0, 1, 2))).max() < 0.5  # levels of 255
    assert np.ptp(cell(ours.mean(axis=3))) < np.ptp(cell(bicubic.mean(axis=3))) + 0.25


@pytest.mark.slow
def test_shipped_weights_reach_their_figures_on_vid4(shipped):
    """Those of benchmarks/quality.json, of one of its clips."""
    record = json.loads((ROOT / "benchmarks" / "quality.json").read_text(encoding="utf-8"))
    known = record["weights"]["zooming_slow_mo_compact"]["sets"]["vid4"]["calendar"]
    found = measurement(shipped).folder(golden.test_data("footage/vid4/calendar"))
    assert found.mean("ZoomingSlowMo", "psnr_y") == pytest.approx(known["psnr_y"], abs=1e-3)
    assert exporting.gain(found, "ZoomingSlowMo") == pytest.approx(known["psnr_y"] - known["bicubic"], abs=1e-3)
