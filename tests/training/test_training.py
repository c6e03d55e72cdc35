"""The training script, in miniature, and what the shipped weights reach."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import golden
from helpers.images import luma
from safetensors import safe_open
from safetensors.torch import load_file

import vs_sr
from vs_sr.arguments import Arguments
from vs_sr.engine import recurrence
from vs_sr.evaluation.measure import Measurement
from vs_sr.evaluation.protocols import preset
from vs_sr.evaluation.resample import round_half_up
from vs_sr.evaluation.upscalers import Bicubic, Network, Output, find
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.training import textures
from vs_sr.training import zooming_slow_mo as script
from vs_sr.training.clips import HELD_OUT_SEED, Clips, make_clip, reduce_frames

WEIGHTS = Path(vs_sr.__file__).parent / "weights" / "zooming_slow_mo_compact.safetensors"
TINY = ["--channels", "8", "--groups", "2", "--front-blocks", "1", "--back-blocks", "1", "--hr-channels", "8",
        "--clips", "2", "--clip-size", "64", "--patch", "8", "--frames", "4", "--warmup", "1", "--workers", "1",
        "--threads", "1", "--device", "cpu", "--single-iterations", "0"]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pool():
    return Clips.of(np.stack([make_clip(seed, 7, 64) for seed in (3, 4)]))


@pytest.fixture(autouse=True)
def quick(monkeypatch, pool):
    """One small pool for all runs, one small scene to measure on."""
    monkeypatch.setattr(script, "load_clips", lambda *args, **kwargs: pool)
    monkeypatch.setattr(script, "held_out_clips", lambda: [pool.hr[0]])


def options(out, *extra):
    return script.options(["--out", str(out), *TINY, *extra])


def test_untrained_network_is_the_base(tmp_path):
    net = script.build(options(tmp_path))
    frames = torch.rand(1, 2, 3, 8, 8)
    with torch.no_grad():
        out = recurrence.sequence(net, frames, 2)
    assert torch.equal(out, script.bicubic_and_blend(frames))


def test_whole_network_starts_close_to_the_single_image_one(tmp_path):
    net = script.build(options(tmp_path))
    torch.nn.init.normal_(net.conv_last.weight, std=0.1)
    frames = torch.rand(2, 3, 3, 16, 16)
    with torch.no_grad():
        base = script.bicubic_and_blend(frames)
        single, whole = script.single_image(net, frames) - base, recurrence.sequence(net, frames, 2) - base
    assert float(single.std()) > 0.01
    assert float((whole - single).std()) < 0.6 * float(single.std())


def test_first_part_leaves_alignment_and_recurrence_alone(tmp_path):
    args = options(tmp_path, "--single-iterations", "2", "--iterations", "1", "--save-every", "2")
    start = dict(script.build(args).named_parameters())
    seen = {}

    def look(path, step, net, ema, optimizer):
        seen[step] = {name: not torch.equal(value, start[name]) for name, value in net.named_parameters()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "save_checkpoint", look)
        script.train(args)
    assert not any(moved for name, moved in seen[2].items() if "ConvBLSTM" in name or "pcd_align" in name)
    assert seen[2]["conv_last.weight"]
    assert seen[3]["ConvBLSTM.conv_1x1.weight"]


def test_sub_pixels_start_equal(tmp_path):
    net = script.build(options(tmp_path))
    with torch.no_grad():
        shuffled = net.upconv1(torch.rand(1, 8, 6, 6))
    assert torch.equal(shuffled[..., ::2, ::2], shuffled[..., 1::2, 1::2])


def test_schedule_warms_up_and_follows_a_cosine(tmp_path):
    args = options(tmp_path, "--iterations", "110", "--warmup", "10", "--lr", "1e-3", "--lr-last", "1e-5")
    rates = [script.learning_rate(step, args) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[110] == pytest.approx(1e-5)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_first_part_keeps_its_rate_and_the_second_warms_up_again(tmp_path):
    args = options(tmp_path, "--single-iterations", "50", "--iterations", "50", "--warmup", "10")
    args.single_lr, args.lr = 1e-3, 4e-4
    rates = [script.learning_rate(step, args) for step in range(100)]
    assert rates[10:50] == [1e-3] * 40
    assert rates[50] == pytest.approx(4e-5)
    assert rates[60] == pytest.approx(4e-4)
    assert rates[99] < 1e-5


def test_charbonnier_is_quadratic_near_zero_and_linear_far_away():
    zero = torch.zeros(4)
    assert float(script.charbonnier(zero, zero, 1e-3)) == pytest.approx(1e-3)
    assert float(script.charbonnier(zero + 0.5, zero, 1e-3)) == pytest.approx(0.5, rel=1e-4)


def test_frames_in_between_weigh_what_is_asked():
    zero, output = torch.zeros(1, 3, 3, 4, 4), torch.zeros(1, 3, 3, 4, 4)
    output[:, 1] = 0.5
    assert float(script.charbonnier(output, zero, 1e-6)) == pytest.approx(1 / 6, rel=1e-4)
    assert float(script.charbonnier(output, zero, 1e-6, between=2.0)) == pytest.approx(1 / 4, rel=1e-4)


def test_pulse_sees_softness_in_turns_but_not_where_detail_lies():
    torch.manual_seed(0)
    film = torch.rand(2, 1, 3, 32, 48).repeat(1, 5, 1, 1, 1)
    assert float(script.pulse(film, film)) == 0
    assert float(script.pulse(film / 2, film)) == 0  # soft, but steadily so
    assert float(script.pulse(film.roll(16, -1), film)) == 0
    pulsing = film.clone()
    pulsing[:, 1::2] *= 0.8
    steps = (film.diff(dim=-1).abs().mean() * 0.2).item()
    assert 0 < float(script.pulse(pulsing, film)) < steps
    assert float(script.pulse(pulsing, pulsing)) == 0  # the target itself may pulse


def test_start_replaces_the_first_part(tmp_path):
    first = script.train(options(tmp_path / "first", "--iterations", "1", "--single-iterations", "1"))
    again = ["--out", str(tmp_path / "second"), *TINY[:-2], "--start", str(first), "--iterations", "1"]
    args = script.options([*again, "--between", "1.5", "--pulse", "0.5"])
    assert args.single_iterations == 0
    assert script.options([*again, "--single-iterations", "3"]).single_iterations == 3
    assert script.options(["--out", "x"]).single_iterations == 1600
    stored = load_file(first)
    for name, parameter in script.build(args).state_dict().items():
        assert torch.equal(parameter, stored[name].float()), name
    with safe_open(first, "pt") as file:
        before = file.metadata()
    with safe_open(script.train(args), "pt") as file:
        metadata = file.metadata()
    assert metadata["recipe"].splitlines() == [before["recipe"], script.recipe(args)]
    assert "--start START --" in script.recipe(args)
    assert metadata["iterations"] == "3"


def test_a_few_steps_lower_the_loss(tmp_path, pool):
    args = options(tmp_path, "--single-iterations", "120", "--iterations", "4", "--single-lr", "3e-3", "--ema", "0.9")
    path = script.train(args)
    net = ZoomingSlowMo(channels=8, groups=2, front_blocks=1, back_blocks=1, hr_channels=8, base="bicubic")
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    lr, hr = pool.batch(np.random.default_rng(0), 4, 2, 16)
    with torch.no_grad():
        trained, base = recurrence.sequence(net, lr, 2), script.bicubic_and_blend(lr)
    assert float((trained - hr).square().mean()) < 0.995 * float((base - hr).square().mean())


@pytest.mark.slow
@pytest.mark.parametrize("single", [0, 4], ids=["in the second part", "in the first part"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, single):
    extra = ["--single-iterations", str(single), "--iterations", str(6 - single), "--save-every", "3"]
    whole = load_file(script.train(options(tmp_path / "whole", *extra)))
    part = options(tmp_path / "part", *extra)

    class PowerFailureError(Exception):
        pass

    save, calls = script.save_checkpoint, []

    def save_then_stop(*args):
        save(*args)
        calls.append(args)
        raise PowerFailureError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "save_checkpoint", save_then_stop)
        with pytest.raises(PowerFailureError):
            script.train(part)
    assert len(calls) == 1
    resumed = load_file(script.train(part))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_export_names_its_recipe(tmp_path):
    args = options(tmp_path, "--iterations", "1")
    path = script.train(args)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    expected = {"architecture": "ZoomingSlowMo", "scale": "4", "value_range": "0-1", "border": "zero-pad-4",
                "base": "bicubic", "licence": "MIT"}  # fmt: skip
    assert expected.items() <= metadata.items()
    assert str(tmp_path) not in json.dumps(metadata)
    words = metadata["recipe"].split()
    again = script.options([str(tmp_path) if word == "OUT" else word for word in words[3:]])
    assert script.recipe(again) == metadata["recipe"]
    assert math.isfinite(json.loads(metadata["psnr"])["held-out 0"]["psnr_y"])


def test_wrong_options_are_refused(tmp_path, capsys):
    for extra in (["--patch", "7"], ["--iterations", "0"], ["--clip-frames", "5"], ["--patch", "32"]):
        with pytest.raises(SystemExit):
            options(tmp_path, *extra)
    assert "must" in capsys.readouterr().err


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


def test_shipped_weights_beat_bicubic_on_held_out_scenes(shipped):
    found = [measurement(shipped).clip("", list(make_clip(HELD_OUT_SEED + 100 + i, 5, 96))) for i in range(6)]
    assert np.mean([script.gain(clip) for clip in found]) >= 0.25


def test_frames_that_are_softer_in_turns():
    class Softer(Bicubic):
        label = "ZoomingSlowMo"

        def __call__(self, lows, protocol):
            for index, frame in enumerate(film):
                yield Output(frame if index % 2 == 0 else 100 + (frame - 100.0) * 0.75)

    film = np.random.default_rng(2).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    found = measurement(Softer(4, 2)).clip("noise", list(film))
    assert script.softness(found, "ZoomingSlowMo") == pytest.approx(-0.25, abs=0.01)
    assert script.softness(found, "bicubic") < -0.1  # a mean is softer than its terms


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
    """The figures of docs/training.md."""
    for clip, psnr, gain, softness in (("calendar", 21.221, 1.007, -0.003), ("city", 25.730, 0.655, -0.059)):
        found = measurement(shipped).folder(golden.test_data(f"footage/vid4/{clip}"))
        assert found.mean("ZoomingSlowMo", "psnr_y") == pytest.approx(psnr, abs=1e-3)
        assert script.gain(found) == pytest.approx(gain, abs=1e-3)
        assert script.softness(found, "ZoomingSlowMo") == pytest.approx(softness, abs=1e-3)
