"""Losses against the golden figures of the networks' own code, and what each of them sees."""

import hashlib
import json

import numpy as np
import pytest
import torch
from helpers import golden
from torchvision.models import vgg19

from vs_sr.errors import WeightsError
from vs_sr.training import adversary, losses
from vs_sr.training.perceptual import Perceptual
from vs_sr.training.recipe import Adversary

GOLDEN = json.loads((golden.DATA / "golden_image/ops_metrics_losses.json").read_text())["losses"]


def numbers(key, shape):
    """By the rule that stands in the file."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).random(shape, dtype=np.float32))


X, Y = (numbers(f"loss_{side}", (2, 3, 8, 6)) for side in "xy")
REAL, FAKE = (numbers(f"logit_{side}", (4, 1)) * 6 - 3 for side in ("real", "fake"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l1", losses.l1(X, Y).mean()),
        ("mse", losses.l2(X, Y).mean()),
        ("charbonnier_renht_sum_eps1e6", losses.charbonnier(X, Y, 1e-3).sum()),
        ("charbonnier_basicsr_mean_eps1e12", losses.charbonnier(X, Y, 1e-6).mean()),
        ("tv_leftthomas", losses.total_variation(X)),
        ("ragan_d", adversary.discriminator_loss("relativistic", REAL, FAKE)),
        ("ragan_g", adversary.generator_loss("relativistic", REAL, FAKE)),
        ("edsr_rgan_d_sum", 2 * adversary.discriminator_loss("relativistic", REAL, FAKE)),
        ("edsr_rgan_g_sum", 2 * adversary.generator_loss("relativistic", REAL, FAKE)),
        ("vanilla_d", adversary.discriminator_loss("vanilla", REAL, FAKE)),
        ("vanilla_g", adversary.generator_loss("vanilla", REAL, FAKE)),
        ("srgan_leftthomas_d", adversary.discriminator_loss("srgan", REAL, FAKE)),
        ("srgan_leftthomas_adv_g", adversary.generator_loss("srgan", REAL, FAKE)),
    ],
)
def test_golden(name, value):
    assert float(value) == pytest.approx(GOLDEN[name], rel=2e-6)


def test_every_golden_loss_is_compared():
    marks = test_golden.pytestmark[0].args[1]
    assert {name for name, _ in marks} == GOLDEN.keys()


def test_charbonnier_is_quadratic_near_zero_and_linear_far_away():
    zero = torch.zeros(4)
    assert float(losses.charbonnier(zero, zero, 1e-3).mean()) == pytest.approx(1e-3)
    assert float(losses.charbonnier(zero + 0.5, zero, 1e-3).mean()) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(("multi", "share"), [(2, 1 / 3), (4, 3 / 5)])
def test_frames_in_between_weigh_what_is_asked(multi, share):
    error = torch.zeros(1, 2 * multi - 1 if multi == 2 else 5, 3, 4, 4)
    inner = [t for t in range(error.shape[1]) if t % multi]
    error[:, inner] = 1
    assert float(losses.weighted(error, multi)) == pytest.approx(share)
    twice = 2 * len(inner) / (error.shape[1] + len(inner))
    assert float(losses.weighted(error, multi, 2.0)) == pytest.approx(twice)


def test_temporal_loss_minds_change_of_the_error_and_not_the_error():
    torch.manual_seed(0)
    film = torch.rand(2, 5, 3, 8, 8)
    assert float(losses.temporal(film + 0.25, film)) == pytest.approx(0, abs=1e-6)
    flicker = film.clone()
    flicker[:, 1::2] += 0.125
    assert float(losses.temporal(flicker, film)) == pytest.approx(0.125, rel=1e-5)
    assert float(losses.temporal(film[:, :1], film[:, :1] + 1)) == 0


def test_pulse_sees_softness_in_turns_but_not_where_detail_lies():
    torch.manual_seed(0)
    film = torch.rand(2, 1, 3, 32, 48).repeat(1, 5, 1, 1, 1)
    assert float(losses.pulse(film, film)) == 0
    assert float(losses.pulse(film / 2, film)) == 0  # soft, but steadily so
    assert float(losses.pulse(film.roll(16, -1), film)) == 0
    pulsing = film.clone()
    pulsing[:, 1::2] *= 0.8
    steps = (film.diff(dim=-1).abs().mean() * 0.2).item()
    assert 0 < float(losses.pulse(pulsing, film)) < steps
    assert float(losses.pulse(pulsing, pulsing)) == 0  # the target itself may pulse


@pytest.mark.parametrize(
    ("kind", "network", "size"),
    [
        ("srgan", "srgan", 32),
        ("vanilla", "srgan", 32),
        ("relativistic", "srgan", 32),
        pytest.param("relativistic", "vgg128", 128, marks=pytest.mark.slow),
    ],
)
def test_a_discriminator_learns_to_tell_and_the_network_feels_it(kind, network, size):
    torch.manual_seed(0)
    made = adversary.Adversary(Adversary(kind=kind, network=network, rate=1e-3), size, torch.device("cpu"))
    real, fake = torch.rand(2, 1, 3, size, size), torch.rand(2, 1, 3, size, size) * 0.1
    values = [made.learn(fake, real, 1.0) for _ in range(4)]
    assert values[-1] < 0.8 * values[0]
    before = [parameter.clone() for parameter in made.network.parameters()]
    fake.requires_grad_(True)
    made.judge(fake, real).backward()
    assert float(fake.grad.abs().sum()) > 0
    assert all(parameter.grad is None or torch.equal(parameter, old) for parameter, old in
               zip(made.network.parameters(), before, strict=True))  # fmt: skip


def test_the_vgg_discriminator_takes_one_size():
    with pytest.raises(ValueError, match=r"takes 128x128; data.patch \* scale - 2 \* loss.border is 96"):
        adversary.Adversary(Adversary(network="vgg128"), 96, torch.device("cpu"))


@pytest.mark.slow
def test_perceptual_distance_is_that_of_features_before_activation(tmp_path):
    torch.manual_seed(0)
    network = vgg19()
    path = tmp_path / "vgg19.pth"
    torch.save(network.state_dict(), path)
    x, y = torch.rand(2, 3, 3, 32, 32), torch.rand(2, 3, 3, 32, 32)
    mean, std = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    features = network.features[:35].eval()
    with torch.no_grad():
        a, b = (features(((each - mean) / std).flatten(0, 1)) for each in (x, y))
    x.requires_grad_(True)
    found = Perceptual(path, "vgg19")(x, y)
    assert float(found.detach()) == pytest.approx(float((a - b).abs().mean()), rel=1e-5)
    assert float(Perceptual(path, "vgg19", "l2")(x, y)) == pytest.approx(float((a - b).square().mean()), rel=1e-5)
    found.backward()
    assert float(x.grad.abs().sum()) > 0


def test_features_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError):
        Perceptual(path, "vgg19")
