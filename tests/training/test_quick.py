"""Quick steps: batches out of a device's memory, gradients in one go, clips in a file that can be carried."""

import numpy as np
import pytest
import torch
from helpers import image_networks
from torch.utils._python_dispatch import TorchDispatchMode

from vs_sr.errors import ArgumentError
from vs_sr.training import packed, pool, step
from vs_sr.training.captured import Gradients
from vs_sr.training.clips import Clips, reduce_frames
from vs_sr.training.recipe import Data, Images, Loss, Network, Place, Recipe, Scenes, Stage
from vs_sr.training.resident import Resident

RNG = np.random.default_rng(0)
FILMS = [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((7, 48, 64, 3), (5, 64, 48, 3), (9, 80, 48, 3))]


def clips(degraded=()):
    """Of several sizes and lengths, at two rates."""
    lows = [reduce_frames(film) for film in FILMS]
    return Clips(FILMS, {(4, 1): lows, (4, 2): lows}, degraded)


@pytest.mark.parametrize(("multi", "inputs", "degraded"), [(1, 1, ()), (2, 2, (True, False, True)), (2, 3, ())])
def test_batches_on_a_device_are_the_same_to_the_bit(multi, inputs, degraded):
    host = clips(degraded)
    resident = Resident(host, torch.device("cpu"))
    for seed in range(8):
        facts = {"scale": 4, "multi": multi, "colors": seed % 4 > 0}
        first, second = (each.batch(np.random.default_rng(seed), 6, inputs, 9, **facts) for each in (host, resident))
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert resident.nbytes == sum(film.size for film in FILMS) + 2 * sum(film.size for film in host.lr[4, 1])


class Watched(TorchDispatchMode):
    """Notes what a CUDA graph cannot hold: values that the host reads, and values that come from it."""

    forbidden = ("aten._local_scalar_dense", "aten.lift_fresh", "aten.nonzero", "aten.masked_select", "aten.is_nonzero")

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func).startswith(self.forbidden):
            self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["EDSR", "VDSR", pytest.param("ZoomingSlowMo", marks=pytest.mark.slow)])
def test_a_step_can_be_captured(tmp_path, name):
    """Nothing is read by the host and nothing comes from it, once constants are where they belong."""
    if name == "ZoomingSlowMo":
        config = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1, "hr_channels": 8, "base": "bicubic"}
        network = Network(model=name, config=config, hints={"base": "bicubic"}, initialization="single-image")
        data = Data(multi=(2,), inputs=(2,), patch=8, batch=2, scenes=(Scenes(count=1),))
        loss = Loss(charbonnier=1.0, between=1.2, temporal=0.3, pulse=0.1, offsets=0.1)
    else:
        config, hints = image_networks.CONFIGS[name]
        network = Network(model=name, config=config, hints=hints)
        data = Data(scale=(2,), patch=8, batch=2, scenes=(Scenes(count=1, frames=1),))
        loss = Loss(l1=1.0, tv=0.1)
    recipe = Recipe(name="made", network=network, data=data, loss=loss, stage=(Stage(steps=1, rate=1e-3),))
    place = Place(out=tmp_path, fast=True, steps="eager", device="cpu")
    run = step_run(recipe)
    stepper = step.Stepper(run, recipe, place, Clips.of(FILMS[0][None], data.scale[0], data.multi[0]), None, None)
    lr, hr, scale, multi = stepper._batch(np.random.default_rng(0), "whole", images=False)
    gradients = stepper._gradients
    gradients(lr, hr, (scale, multi, "whole"))
    with Watched() as watched:
        numbers = gradients(lr, hr, (scale, multi, "whole"))
    assert not watched.seen
    assert bool(numbers.isfinite().all())
    with Watched() as watched:  # the test sees what it looks for
        torch.tensor([1.0]).item()
    assert watched.seen == {"aten.lift_fresh.default", "aten._local_scalar_dense.default"}


def step_run(recipe):
    from vs_sr.training.train import _made

    return _made(recipe, Place(out="unused"), "", torch.device("cpu"))


def test_what_cannot_be_compiled_runs_all_the_same_and_is_said_once(monkeypatch, capsys):
    def broken(*args, **facts):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", lambda *args, **facts: broken)
    weight = torch.nn.Parameter(torch.ones(3))
    unused = torch.nn.Parameter(torch.ones(2))
    gradients = Gradients(lambda lr, hr, *facts: ((lr * weight - hr) ** 2).sum()[None], [weight, unused], "compiled")
    for _ in range(2):
        numbers = gradients(torch.full((3,), 3.0), torch.ones(3), (4, 2, "whole"))
    assert numbers.item() == 12.0
    assert weight.grad.tolist() == [24.0] * 3  # two batches add up
    assert unused.grad is None
    assert gradients.way == "eager"
    assert capsys.readouterr().err.count("steps are not compiled here (no compiler here)") == 1


def test_packed_clips_are_carried_within_the_room_there_is(tmp_path):
    y, x = np.mgrid[0:48, 0:64]
    film = np.stack([np.stack([2 * y + t, 2 * x, 99 + 0 * x], axis=2) for t in range(5)]).astype(np.uint8)
    low = reduce_frames(film)
    coded = RNG.integers(0, 256, low.shape, dtype=np.uint8)
    data = Data(multi=(2,), inputs=(2,), patch=8, scenes=(Scenes(count=2, frames=5, size=64),))
    made = Clips([film, film], {(4, 2): [low, coded]}, (False, True))
    path = tmp_path / "clips.zip"
    psnr = packed.pack(path, made, data, {"--video": [["film.mkv", 3, "ab"]]}, "a film", 60_000)
    assert path.stat().st_size <= 60_000
    assert psnr > 38
    found = pool.load(data, Place(out=tmp_path, clips=path))
    assert [each.shape for each in found.hr] == [film.shape] * 2
    assert np.abs(found.hr[0].astype(int) - film).mean() < 3
    np.testing.assert_array_equal(found.lr[4, 2][0], reduce_frames(found.hr[0]))  # LR is that of the HR as it came
    np.testing.assert_array_equal(found.lr[4, 2][1], coded)  # what a codec did is not coded again
    assert list(found.degraded) == [False, True]
    assert pool.given(Place(out=tmp_path, clips=path)) == {"--video": [["film.mkv", 3, "ab"]]}
    assert pool.described(data, Place(out=tmp_path, clips=path)) == "a film"
    with pytest.raises(ArgumentError, match="has clips for another recipe"):
        packed.unpack(path, Data(patch=8, images=(Images(size=32),)), 1)
    with pytest.raises(ArgumentError, match="can be carried; take fewer"):
        packed.pack(path, made, data, {}, "", 2000)
    (tmp_path / "other.zip").write_bytes(b"none")
    with pytest.raises(ArgumentError, match="is no file of packed clips"):
        packed.facts(tmp_path / "other.zip")
