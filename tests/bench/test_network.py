"""Zooming Slow-Mo against its plain form, each of its rewrites alone, and a film through vspipe."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import golden
from helpers.support import environment

from bench.plain import REWRITES, plain, without
from vs_sr import registry, windows
from vs_sr.arguments import Arguments
from vs_sr.engine import recurrence
from vs_sr.engine.engine import Engine
from vs_sr.engine.pipeline import Pipeline
from vs_sr.engine.plan import Plan
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=96, height=64, format=vs.YUV420P8, length={length}, color=[90, 110, 140])
vs.core.vs_sr.ZoomingSlowMo(clip, device_id=-1, precision="fp32").set_output()
"""


@pytest.fixture(scope="module")
def network() -> ZoomingSlowMo:
    """40 blocks, in the memory format that sessions use; so its plain form is quicker, too."""
    return golden.fill(ZoomingSlowMo()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def test_full_size_network(versus: Callable[..., float], network: ZoomingSlowMo) -> None:
    """4 frames of 112x64: 7 frames of 448x256."""
    frames = torch.rand(1, 4, 3, 64, 112)

    def rival() -> torch.Tensor:
        with plain():
            return recurrence.sequence(network, frames, 2)

    with torch.inference_mode():
        torch.testing.assert_close(recurrence.sequence(network, frames, 2), rival(), atol=1e-4, rtol=0)
        goal = 0.5
        ratio = versus(
            "ZoomingSlowMo, full size, 4 x 112x64",
            lambda: recurrence.sequence(network, frames, 2),
            "plain form with torchvision's operator",
            rival,
            rounds=3,
            goal=goal,
        )
    assert ratio < goal


@pytest.mark.parametrize("rewrite", REWRITES)
def test_each_rewrite(versus: Callable[..., float], network: ZoomingSlowMo, rewrite: str) -> None:
    """2 frames of 112x64: 3 frames of 448x256."""
    frames = torch.rand(1, 2, 3, 64, 112)

    def rival() -> torch.Tensor:
        with without(rewrite):
            return recurrence.sequence(network, frames, 2)

    with torch.inference_mode():
        torch.testing.assert_close(recurrence.sequence(network, frames, 2), rival(), atol=1e-4, rtol=0)
        ratio = versus(
            f"ZoomingSlowMo: {rewrite}",
            lambda: recurrence.sequence(network, frames, 2),
            "the form before",
            rival,
            rounds=5,
            goal=1.0,
        )
    assert ratio < 1.02  # the least of them wins a hundredth, which load hides


def test_a_film_through_vspipe(versus: Callable[..., float]) -> None:
    """The shipped weights, 96x64: what everything around the network costs, start-up included."""
    length = 73
    model = registry.model("ZoomingSlowMo")
    source = store.shipped(model.weights or "")
    grid = windows.grid(model, length)
    pipeline = Pipeline(
        model=model,
        variant=store.recognize(model, source).variant,
        source=source,
        size=(96, 64),
        grid=grid,
        options=Arguments(device_id=-1),
    )
    engine = Engine(Plan(pipeline), grid)

    def network_alone() -> None:
        list(engine.clip(list(torch.rand(length, 3, 64, 96))))

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "film.vpy"
        script.write_text(SCRIPT.format(length=length), encoding="utf-8")

        def film() -> None:
            command = [Path(sys.executable).with_name("vspipe"), script, "--"]
            subprocess.run(command, env=environment(), check=True, capture_output=True)

        versus(
            f"vspipe, {2 * length} frames of 384x256",
            film,
            f"the network alone, {grid.groups} windows",
            network_alone,
            frames=2 * length,
        )
