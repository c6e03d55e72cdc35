"""Runs: the command, killed and started again; what ends them; every part of a step."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import image_networks
from helpers.support import BIN, environment
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models import vgg16

from vs_sr.errors import ArgumentError, DeviceError, VsSrError
from vs_sr.evaluation.upscalers import find
from vs_sr.training import pool, train
from vs_sr.training.clips import Clips
from vs_sr.training.journal import Journal
from vs_sr.training.recipe import (
    Adversary,
    Data,
    Loss,
    Network,
    Optimizer,
    Place,
    Recipe,
    Scenes,
    Stage,
    load,
)

TINY = Path(__file__).with_name("tiny.toml")


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def command(out, *extra):
    quiet = ["--threads", "1", "--workers", "1", "--held-out", "0", "--save-every", "20"]
    return [BIN / "vs-sr", "train", TINY, "--out", out, *quiet, *extra]


def rows(out):
    with (out / "losses.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_learns_and_goes_on_after_a_kill_with_the_same_losses(tmp_path):
    """Loss at most 0.85 of bicubic's over the last 40 of 200 steps; the killed run gives the same bits."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    done = subprocess.run(command(whole), env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "core.vs_sr.VDSR(clip, weights=...)" in done.stdout
    reached = rows(whole)
    assert len(reached) == 200
    assert np.mean([float(row["ratio"]) for row in reached[-40:]]) <= 0.85

    part.mkdir()
    (part / "pool").symlink_to(whole / "pool")  # made once
    with subprocess.Popen(command(part), env=environment(), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not (part / "checkpoint.safetensors").exists() or len(rows(part)) < 30:
            assert process.poll() is None, "over before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    with safe_open(part / "checkpoint.safetensors", "pt") as file:
        saved = int(file.metadata()["step"])
    assert 0 < saved < 200
    assert saved % 20 == 0
    done = subprocess.run(command(part), env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"from step {saved}\n" in done.stderr
    assert rows(part) == reached
    first, again = (load_file(folder / "tiny.safetensors") for folder in (whole, part))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert find("VDSR", str(whole / "tiny.safetensors"))[1].config["depth"] == 2


def made(**changes):
    """EDSR in miniature."""
    config, hints = image_networks.CONFIGS["EDSR"]
    facts = {
        "name": "made",
        "network": Network(model="EDSR", config=config, hints=hints),
        "data": Data(scale=(2,), patch=16, batch=2, scenes=(Scenes(count=1, frames=1, size=64),)),
        "loss": Loss(l1=1.0),
        "stage": (Stage(steps=4, rate=1e-3),),
    }
    return Recipe(**{**facts, **changes})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Noise in place of clips, but for the runs of the command."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 5, 256, 256, 3), dtype=np.uint8)

    def clips(data, place, report=None):
        found = [Clips.of(noise, scale, multi) for scale in data.scale for multi in data.multi]
        return Clips(found[0].hr, {key: value for each in found for key, value in each.lr.items()})

    monkeypatch.setattr(pool, "load", clips)


def place(out, **extra):
    return Place(**{"out": out, "held_out": 0, "save_every": 2, "log_every": 1, **extra})


GAN = made(
    network=Network(model="SRGAN", config=image_networks.CONFIGS["SRGAN"][0]),
    loss=Loss(l2=1.0, tv=1e-3, perceptual=0.1, features="vgg16", distance="l2", adversarial=1e-2),
    adversary=Adversary(kind="srgan", network="srgan"),
    optimizer=Optimizer(ema=0.9),
)
RECIPES = {
    "adam": made(),
    "sgd": made(optimizer=Optimizer(name="sgd", clip_norm=0.1, rates={"tail.": 0.1})),
    "adamw, averaged, accumulated": made(
        optimizer=Optimizer(name="adamw", weight_decay=1e-2, ema=0.9, accumulate=2, precision="bf16")
    ),
    "adversary and features": GAN,
}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """VGG with random weights: training needs a network of its shape, whatever it sees."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("features") / "vgg16.pth"
    torch.save(vgg16().state_dict(), path)
    return path


@pytest.mark.parametrize(
    "name", ["adam", "sgd", *(pytest.param(name, marks=pytest.mark.slow) for name in list(RECIPES)[2:])]
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, features, name):
    recipe = RECIPES[name]
    given = {"features": features} if recipe.loss.perceptual else {}
    whole = train.train(recipe, place(tmp_path / "whole", **given))
    out = tmp_path / "part"

    class PowerFailureError(Exception):
        pass

    save = train.Run.save

    def save_then_stop(run, *args):
        save(run, *args)
        raise PowerFailureError

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "save", save_then_stop)
        with pytest.raises(PowerFailureError):
            train.train(recipe, place(out, **given))
    assert [row["step"] for row in rows(out)] == ["1", "2"]
    again = train.train(recipe, place(out, **given))
    assert rows(out) == rows(tmp_path / "whole")
    first, second = load_file(whole), load_file(again)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_accumulated_batches_are_one_larger_step(tmp_path):
    """Of the same examples, the mean gradient of two batches is that of both in one."""
    twice = made(optimizer=Optimizer(name="sgd", accumulate=2), stage=(Stage(steps=1, rate=1e-2),), export="fp32")
    once = made(
        optimizer=Optimizer(name="sgd"),
        data=Data(scale=(2,), patch=16, batch=4, scenes=(Scenes(count=1, frames=1, size=64),)),
        stage=(Stage(steps=1, rate=1e-2),),
        export="fp32",
    )
    first = load_file(train.train(twice, place(tmp_path / "a")))
    second = load_file(train.train(once, place(tmp_path / "b")))
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first)


def test_shares_of_the_rate(tmp_path):
    recipe = made(optimizer=Optimizer(name="sgd", rates={"tail.": 0.0}), export="fp32")
    one = made(stage=(Stage(steps=1, rate=1e-30),), export="fp32")
    start, end = (load_file(train.train(each, place(tmp_path / name))) for each, name in ((one, "a"), (recipe, "b")))
    assert torch.equal(start["tail.1.weight"], end["tail.1.weight"])
    assert not torch.equal(start["head.0.weight"], end["head.0.weight"])
    with pytest.raises(ArgumentError, match="no parameter's name begins with 'trunk'"):
        train.train(made(optimizer=Optimizer(rates={"trunk": 1.0})), place(tmp_path / "c"))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_batch(tmp_path):
    recipe = made(stage=(Stage(steps=50, rate=1e30),), optimizer=Optimizer(name="sgd"))
    with pytest.raises(VsSrError, match=r"the loss of step \d+ is NaN or infinite; its batch is in .*not_finite"):
        train.train(recipe, place(tmp_path))
    batch = load_file(tmp_path / "not_finite.safetensors")
    assert batch["lr"].shape == (2, 1, 3, 16, 16)
    assert batch["hr"].shape == (2, 1, 3, 32, 32)


def test_weights_that_overflow_in_float16_stay_and_the_scale_goes_on(tmp_path, monkeypatch):
    """No card has run this: the scaler, which decides, is the same on the CPU."""
    monkeypatch.setattr(train, "_device", lambda recipe, place: torch.device("cpu"))
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *args, **facts: scaler(*args, init_scale=2.0**34, **facts))
    seen = []
    update = train.optimizers.Average.update
    monkeypatch.setattr(
        train.optimizers.Average, "update", lambda average, step: (seen.append(step), update(average, step))[1]
    )
    recipe = made(
        optimizer=Optimizer(name="adam", precision="fp16", ema=0.9, clip_norm=1.0),
        stage=(Stage(steps=12, rate=1e-3),),
    )
    train.train(recipe, place(tmp_path, save_every=1))
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        scale = json.loads(file.metadata()["scaler"])["scale"]
        moments = {int(file.get_tensor(key)) for key in file.keys() if key.startswith("optimizer.step.")}  # noqa: SIM118
    skipped = 12 - len(seen)
    assert 0 < skipped < 12
    assert scale == 2.0 ** (34 - skipped)  # halved where gradients overflowed
    assert seen == list(range(skipped + 1, 13))  # the average takes in no step that was left out
    assert moments == {len(seen)}  # and Adam counts none
    assert len(rows(tmp_path)) == 12  # batches go on, or the same one would overflow again
    again = train.train(recipe, place(tmp_path))
    with safe_open(again, "pt") as file:
        assert file.metadata()["iterations"] == "12"


def test_a_float16_run_resumes_with_its_scale(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "_device", lambda recipe, place: torch.device("cpu"))
    recipe = made(optimizer=Optimizer(precision="fp16", ema=0.9))
    train.train(recipe, place(tmp_path))
    run = train._made(recipe, place(tmp_path), "", torch.device("cpu"))
    run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": 512.0, "_growth_tracker": 7})
    run.save(tmp_path / "other.safetensors", recipe.text)
    fresh = train._made(recipe, place(tmp_path), "", torch.device("cpu"))
    fresh.load(tmp_path / "other.safetensors", recipe.text)
    assert fresh.scaler.get_scale() == 512.0
    assert fresh.scaler.state_dict()["_growth_tracker"] == 7


def test_a_run_goes_on_with_the_files_that_it_began_with(tmp_path):
    first, second = tmp_path / "first.mkv", tmp_path / "second.mkv"
    first.write_bytes(b"1" * 3000)
    second.write_bytes(b"2" * 3000)
    train.train(made(), place(tmp_path / "run", video=(first,)))
    copied = tmp_path / "elsewhere" / "first.mkv"
    copied.parent.mkdir()
    copied.write_bytes(first.read_bytes())  # another place and time, the same film
    train.train(made(), place(tmp_path / "run", video=(copied,)))
    with pytest.raises(ArgumentError) as caught:
        train.train(made(), place(tmp_path / "run", video=(second,)))
    assert "began with first.mkv (3,000 bytes) as --video, not with second.mkv (3,000 bytes)" in str(caught.value)
    with pytest.raises(ArgumentError, match="as --video, not with none; give that again"):
        train.train(made(), place(tmp_path / "run"))
    train.train(made(), place(tmp_path / "run", other_files=True))


def test_a_run_goes_on_with_the_weights_that_it_began_with(tmp_path):
    starts = [train.train(made(seed=seed), place(tmp_path / str(seed))) for seed in (1, 2)]
    train.train(made(), place(tmp_path / "run", start=str(starts[0])))
    with pytest.raises(ArgumentError, match=r"made.safetensors \(.*\) as --start, not with made.safetensors"):
        train.train(made(), place(tmp_path / "run", start=str(starts[1])))


@pytest.mark.slow
def test_a_step_of_several_batches_is_one_of_a_larger_one(tmp_path):
    """As many examples in half the steps, at the square root of two of the rate."""
    stage = Stage(steps=8, rate=1e-3, schedule="cosine", warmup=2)
    once, twice = made(stage=(stage,)), made(stage=(stage,), optimizer=Optimizer(name="sgd"))
    path = train.train(once, place(tmp_path / "adam", batches=2))
    train.train(once, place(tmp_path / "plain"))
    train.train(twice, place(tmp_path / "sgd", batches=2))
    plain, adam, sgd = ([float(row["rate"]) for row in rows(tmp_path / name)] for name in ("plain", "adam", "sgd"))
    assert (len(plain), len(adam), len(sgd)) == (8, 4, 4)
    assert adam == pytest.approx([2**0.5 * rate for rate in plain[::2]])
    assert sgd == pytest.approx([2 * rate for rate in plain[::2]])
    with safe_open(path, "pt") as file:
        assert file.metadata()["batches"] == "2 a step from step 0"
    batch = train.Stepper(
        train._made(once, place(tmp_path), "", torch.device("cpu")), once, place(tmp_path, batches=2),
        pool.load(once.data, None), None, None,
    )._batch(np.random.default_rng(0), "whole", images=False)  # fmt: skip
    assert batch[0].shape[0] == 4


FAST = made(optimizer=Optimizer(name="adamw", ema=0.9, clip_norm=0.5, accumulate=2), stage=(Stage(steps=6, rate=1e-3),))


@pytest.mark.slow
def test_quick_steps_are_those_of_plain_ones_and_resume(tmp_path, monkeypatch, capsys):
    """Of the same batches; in bfloat16, and with losses that are read when someone asks."""
    quick = {"fast": True, "steps": "captured", "save_every": 3, "log_every": 100}
    whole = train.train(FAST, place(tmp_path / "whole", **quick))
    assert capsys.readouterr().err.count("steps are not captured here") == 1  # there is no CUDA: said once
    plain = replace(FAST, optimizer=replace(FAST.optimizer, precision="bf16"))
    train.train(plain, place(tmp_path / "plain"))
    losses = [[float(row["loss"]) for row in rows(tmp_path / name)] for name in ("whole", "plain")]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    pace = json.loads((tmp_path / "whole" / "pace.json").read_text())
    assert (pace["steps"], pace["steps_are"], pace["precision"]) == (6, "eager", "bf16")
    assert set(pace["one_by_one_ms"]) == {"data", "forward", "backward", "optimizer"}
    assert pace["bound_by"] in pace["one_by_one_ms"]

    class PowerFailureError(Exception):
        pass

    save = train.Run.save

    def save_then_stop(run, *args):
        save(run, *args)
        raise PowerFailureError

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "save", save_then_stop)
        with pytest.raises(PowerFailureError):
            train.train(FAST, place(tmp_path / "part", **quick))
    again = train.train(FAST, place(tmp_path / "part", **quick))
    assert rows(tmp_path / "part") == rows(tmp_path / "whole")
    first, second = load_file(whole), load_file(again)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_quick_steps_find_what_is_no_number_when_they_are_read(tmp_path):
    recipe = made(stage=(Stage(steps=50, rate=1e30),), optimizer=Optimizer(name="sgd"))
    with pytest.raises(VsSrError, match=r"the loss of step \d+ is NaN or infinite; its batch is in .*not_finite"):
        train.train(recipe, place(tmp_path, fast=True, save_every=10, log_every=10))
    assert load_file(tmp_path / "not_finite.safetensors")["lr"].shape == (2, 1, 3, 16, 16)
    assert not (tmp_path / "checkpoint.safetensors").exists()  # nothing that is no number is ever kept


@pytest.mark.slow
def test_an_unfinished_run_goes_on_with_its_averages_alone(tmp_path, monkeypatch):
    recipe = made(stage=(Stage(steps=400, rate=1e-3),), optimizer=Optimizer(ema=0.9), text="of one text")
    clock = train.Clock
    monkeypatch.setattr(clock, "left", lambda self: 1.0 if len(self._recent) < 8 else -1.0)
    path = train.train(recipe, place(tmp_path / "first", stop_after=1.0))
    done = len(rows(tmp_path / "first"))
    assert 8 <= done < 20
    again = train.train(recipe, place(tmp_path / "second", stop_after=1.0, go_on=path))
    second = rows(tmp_path / "second")
    assert int(second[0]["step"]) == done + 1
    assert float(second[0]["rate"]) == pytest.approx(1e-3 / 50)  # an optimizer that remembers nothing warms up
    first, more = load_file(path), load_file(again)
    assert any(not torch.equal(first[key], more[key]) for key in first)
    with pytest.raises(ArgumentError, match="is of another recipe"):
        train.train(replace(recipe, text="of another"), place(tmp_path / "third", go_on=path))
    monkeypatch.undo()
    ended = train.train(made(), place(tmp_path / "ended", held_out=0))
    with pytest.raises(ArgumentError, match="is of no unfinished run"):
        train.train(made(), place(tmp_path / "fourth", go_on=ended))


def test_clips_that_take_all_the_time_are_said_to(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    load = pool.load

    def slow(data, place, report):
        for done in range(1, 21):
            now[0] += 30
            report("clips", done, 20)
        return load(data, place)

    monkeypatch.setattr(pool, "load", slow)
    with pytest.raises(VsSrError) as caught:
        train.train(made(), place(tmp_path, minutes=5.0), began=0.0)
    assert "--minutes 5 is over: 7 of 20 clips were made in 210 s. They alone take 10.0 minutes" in str(caught.value)
    monkeypatch.setattr(train.exporting, "cost", lambda *given: 150.0)
    now[0] = 100.0
    with pytest.raises(VsSrError, match=r"--stop-after 14 leaves no time for a step: 700 s went into the start"):
        train.train(made(), place(tmp_path, stop_after=14.0), began=0.0)


def test_what_comes_before_and_after_the_steps_counts(tmp_path, monkeypatch):
    """Five minutes: one for the start, a step each 10 s, and half a minute for measuring; exports in between count."""
    now = [60.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(train.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(train.exporting, "cost", lambda *given: 30.0)
    ended = []

    def export(run, recipe, place):
        now[0] += 30
        ended.append(now[0])
        return tmp_path

    monkeypatch.setattr(train.exporting, "export", export)
    step = train.Stepper.__call__

    def ten_seconds(self):
        now[0] += 10
        return step(self)

    monkeypatch.setattr(train.Stepper, "__call__", ten_seconds)
    recipe = made(stage=(Stage(steps=10_000, rate=1e-3, schedule="cosine", last=1e-9),))
    train.train(recipe, place(tmp_path, minutes=5.0, measure_every=10, log_every=1000, save_every=1000), began=0.0)
    assert len(ended) == 2
    assert 290 < ended[-1] <= 300
    rates = [float(row["rate"]) for row in rows(tmp_path)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 5e-5
    steps = len(rates)
    train.train(recipe, place(tmp_path, minutes=5.0), began=now[0])
    assert len(rows(tmp_path)) == steps  # resumed runs are counted


@pytest.mark.slow
def test_minutes_end_in_time_at_the_end_of_the_schedule(tmp_path):
    stage = Stage(steps=1_000_000, rate=1e-3, schedule="cosine", last=1e-9)
    started = time.monotonic()
    train.train(made(stage=(stage,)), place(tmp_path, minutes=0.05, save_every=10))
    assert time.monotonic() - started < 5  # 3 and what a busy machine adds
    rates = [float(row["rate"]) for row in rows(tmp_path)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] < 1e-4
    assert rates == sorted(rates, reverse=True)
    steps = len(rates)
    train.train(made(stage=(stage,)), place(tmp_path, minutes=0.05, save_every=10))
    assert len(rows(tmp_path)) == steps  # the time is spent


def test_a_run_that_stops_at_a_step_goes_on_from_there(tmp_path):
    recipe = made(stage=(Stage(steps=8, rate=1e-3, schedule="cosine"),))
    train.train(recipe, place(tmp_path / "whole"))
    path = train.train(recipe, place(tmp_path / "part", stop_at=3))
    assert len(rows(tmp_path / "part")) == 3
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == "3"
    path = train.train(recipe, place(tmp_path / "part"))
    assert rows(tmp_path / "part") == rows(tmp_path / "whole")
    with safe_open(path, "pt") as file:
        assert "progress" not in file.metadata()


def test_another_recipe_does_not_go_on_with_a_run(tmp_path):
    train.train(made(text="first"), place(tmp_path))
    with pytest.raises(ArgumentError, match="a run of another recipe"):
        train.train(made(text="second"), place(tmp_path))


def test_a_weights_file_says_where_it_comes_from(tmp_path):
    path = train.train(
        replace(load(TINY), stage=(Stage(steps=1, rate=1e-3),)),
        place(tmp_path, attribution="A film (c) its authors, CC-BY"),
    )
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert metadata["recipe"] == TINY.read_text()
    assert metadata["training_data"].endswith("A film (c) its authors, CC-BY")
    assert (metadata["architecture"], metadata["iterations"], metadata["licence"]) == ("VDSR", "1", "MIT")
    assert str(tmp_path) not in json.dumps(metadata)


def test_begun_weights_hand_on_their_history(tmp_path):
    first = train.train(made(text="first"), place(tmp_path / "first"))
    path = train.train(made(text="second"), place(tmp_path / "second", start=str(first)))
    with safe_open(path, "pt") as file:
        assert file.metadata()["recipe"] == "first\nsecond"
        assert file.metadata()["iterations"] == "8"


def test_without_tensorboard_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(VsSrError, match="install it with: pip install tensorboard"):
        train.train(made(), place(tmp_path, tensorboard=True))


def test_samples_are_images_side_by_side(tmp_path):
    from PIL import Image

    train.train(made(), place(tmp_path, measure_every=4))
    (path,) = (tmp_path / "samples").iterdir()
    with Image.open(path) as image:
        assert image.size == (3 * 32, 32)


def test_a_stage_without_alignment_then_one_with_offsets_that_come_back(tmp_path):
    """Parts of the network learn when their stage has come, and offsets that have strayed are nearer after it."""
    config = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1, "hr_channels": 8, "base": "bicubic"}
    recipe = made(
        network=Network(model="ZoomingSlowMo", config=config, hints={"base": "bicubic"}, initialization="unaligned"),
        data=Data(multi=(2, 4), inputs=(2,), patch=8, batch=2, scenes=(Scenes(count=1, frames=5, size=32),)),
        loss=Loss(charbonnier=1.0, offsets=1.0),
        stage=(Stage(steps=3, rate=1e-2, unaligned=True), Stage(steps=3, rate=1e-2)),
    )
    run = train._made(recipe, place(tmp_path), "", torch.device("cpu"))
    lstm = run.learner.network.ConvBLSTM.forward_net
    offsets = lstm.pcd_h.pcd_align.L1_dcnpack_2.offset_conv.bias
    with torch.no_grad():
        offsets[:36] = 20.0
    journal = Journal(tmp_path, 0, tensorboard=False)
    steps = train.Stepper(run, recipe, place(tmp_path), pool.load(recipe.data, place(tmp_path)), None, journal)
    strayed, gates = offsets.detach().clone(), lstm.cell_list[0].conv.weight.detach().clone()
    for run.progress.step in range(6):
        (kind,), _ = steps()
        assert kind[-1] == ("unaligned" if run.progress.step < 3 else "whole")
        if run.progress.step == 2:
            assert torch.equal(offsets, strayed)
            assert not torch.equal(lstm.cell_list[0].conv.weight, gates)
    journal.close()
    assert bool((offsets[:36] < strayed[:36] - 0.02).all())


def test_what_a_run_needs_is_asked_for_at_once(tmp_path):
    for recipe, message in (
        (made(network=Network(model="EDSR", start="?")), "give them with --start FILE"),
        (made(network=Network(model="EDSR", transfer=True)), "network.transfer is about tensors of other weights"),
        (made(network=Network(model="EDSR", fresh=("tail.",))), "network.fresh is about tensors of other weights"),
        (GAN, "needs weights of vgg16; give them with --features FILE"),
    ):
        with pytest.raises(ArgumentError, match=message):
            train.train(recipe, place(tmp_path))
    with pytest.raises(DeviceError, match="'fp16' needs a CUDA device"):
        train.train(made(optimizer=Optimizer(precision="fp16")), place(tmp_path))
    with pytest.raises(DeviceError, match="there is no device 'gpu'"):
        train.train(made(), place(tmp_path, device="gpu"))
