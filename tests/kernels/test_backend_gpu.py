"""The backend "kernels" on a card: ``pytest -m gpu``. Networks against float64 on the CPU, graphs against launches."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden

from vs_sr import registry
from vs_sr.backends import kernels
from vs_sr.backends.kernels import forms, graphs
from vs_sr.engine import recurrence
from vs_sr.ops import status
from vs_sr.spec import Request, Variant
from vs_sr.weights import store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda")


def shipped() -> tuple[Any, Variant]:
    model = registry.model("ZoomingSlowMo")
    assert model.weights is not None
    source = store.shipped(model.weights)
    variant = store.recognize(model, source).variant
    return store.network(model, variant, source).eval().requires_grad_(False), variant


def film(count: int, height: int, width: int) -> list[Tensor]:
    """A smooth image that moves by whole pixels."""
    whole = golden.draw01("film", (1, 3, height // 8 + 2, width // 8 + 2 + count))
    whole = torch.nn.functional.interpolate(whole, scale_factor=8, mode="bicubic").clamp(0, 1)
    return [whole[..., :height, 5 * n : 5 * n + width] for n in range(count)]


def images(network: Any, frames: list[Tensor]) -> Tensor:
    timesteps = recurrence.timesteps(network, frames)
    made, _ = recurrence.run(network, timesteps, outputs=range(len(timesteps)))
    return torch.stack([made[t] for t in sorted(made)])


@torch.inference_mode()
def test_half_is_within_fifty_decibels_of_float() -> None:
    net, _ = shipped()
    frames = film(3, 64, 96)
    expected = images(copy.deepcopy(net).double(), [frame.double() for frame in frames])
    exchanged = forms.exchanged(net, torch.float16, fused=status.fused(DEVICE)).to(DEVICE)
    found = images(exchanged, [frame.to(DEVICE) for frame in frames]).double().cpu()
    decibels = float(-10 * torch.log10((found.clamp(0, 1) - expected.clamp(0, 1)).square().mean()))
    assert decibels >= 50


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 96), (270, 480)], ids=str)
def test_graphs_have_the_bits_of_launches(size: tuple[int, int]) -> None:
    card = graphs.Cuda(DEVICE)
    plain, lanes = (
        forms.exchanged(shipped()[0], torch.float16, fused=status.fused(DEVICE), lanes=lanes).to(DEVICE)
        for lanes in (None, card.states)
    )
    graphed = graphs.network(lanes, "sequence", card)
    frames = [frame.to(DEVICE) for frame in film(9, *size)]
    states: list[Any] = [None, None]
    kept = []
    for start in range(0, 6, 2):
        both = []
        for number, network in enumerate((plain, graphed)):
            timesteps = recurrence.timesteps(network, frames[start : start + 4])
            how = {"own": len(timesteps) - 1, "outputs": range(len(timesteps) - 1), "border": len(timesteps) - 1}
            made, states[number] = recurrence.run(network, timesteps, state=states[number], **how)
            both.append(made)
        kept.append(both)
        assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    for expected, found in kept:  # and what was handed over is not written to again
        assert all(torch.equal(found[t], expected[t]) for t in expected)


def test_it_is_what_auto_takes_and_opens(tmp_path: Path) -> None:
    network, variant = shipped()
    model = registry.model("ZoomingSlowMo")
    backend = registry.backend("kernels")
    assert backend.obstacle("cuda:0") is None
    runner = kernels.open(
        Request(
            model=model,
            variant=variant,
            load=lambda: network,
            device="cuda:0",
            precision="fp16",
            batch=1,
            sizes=(),
            cache=tmp_path,
        )
    )
    assert runner.identity.startswith("kernels ")
    assert callable(runner.network.run)
