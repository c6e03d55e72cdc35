"""``make demo`` as a newcomer runs it: a film and a picture that are what they say, and better than bicubic."""

from __future__ import annotations

import subprocess
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.support import BIN, environment
from PIL import Image

from vs_sr.cli import _video, demo
from vs_sr.evaluation.bicubic import imresize
from vs_sr.evaluation.metrics import psnr_y
from vs_sr.training.demo import demo_scene

if TYPE_CHECKING:
    from pathlib import Path


def run_demo(out: Path, *arguments: str) -> tuple[str, str]:
    """The last line of stdout, and stderr."""
    done = subprocess.run(
        [BIN / "vs-sr", "demo", "--out", out, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], done.stderr


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    start = time.perf_counter()
    line, progress = run_demo(out)
    assert time.perf_counter() - start < 300
    film, picture = out / "slowmo.mp4", out / "side_by_side.png"
    assert line == f"48 frames, 768x432, 48 fps: {film}, {picture}"
    assert "Frame: " in progress
    with Image.open(picture) as image:
        assert image.size == (2 * 768 + 4, 432)

    frames = np.stack(_video.frames(film))
    inputs = np.stack(_video.frames(out / "input.mp4"))
    assert frames.shape == (48, 432, 768, 3)
    assert inputs.shape == (24, 108, 192, 3)
    # at the input's times the scene itself is at hand
    truth = (np.asarray(demo_scene(24, 432, 768))[[3, 12, 20]].transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    gains = [
        psnr_y(frames[2 * n], t) - psnr_y(imresize(inputs[n], 4), t) for n, t in zip((3, 12, 20), truth, strict=True)
    ]
    assert np.mean(gains) > 0.5, gains
    # no shift of colour, and no flicker between the two kinds of frames
    assert np.abs(frames[::2].mean((0, 1, 2)) - inputs.mean((0, 1, 2))).max() < 1.5
    sharpness = np.abs(np.diff(frames.astype(np.float64), axis=2)).mean((1, 2, 3))
    assert abs(sharpness[1:-1:2].mean() / sharpness[::2].mean() - 1) < 0.1


@pytest.mark.slow
def test_the_demo_of_a_clip_of_ones_own(tmp_path: Path) -> None:
    clip = tmp_path / "mine.mp4"
    x = np.linspace(0, 40, 160)
    pictures = [
        np.ascontiguousarray(np.broadcast_to((128 + 90 * np.sin(x + n))[None, :, None], (96, 160, 3))).astype(np.uint8)
        for n in range(30)
    ]
    _video.write(clip, pictures, Fraction(12))
    line, _ = run_demo(tmp_path / "demo", "--clip", str(clip))
    assert line.startswith("24 frames, 640x384, 24 fps: ")
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == ["side_by_side.png", "slowmo.mp4"]


def test_a_large_clip_is_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    info = _video.Info(3840, 2160, Fraction(60), {})
    monkeypatch.setattr(demo, "_MINUTES", 0.5)
    width, height = demo._affordable(info)
    assert width < 3840
    assert height < 2160
    assert width % 2 == height % 2 == 0
    assert width / height == pytest.approx(16 / 9, rel=0.2)
    monkeypatch.setattr(demo, "_MINUTES", 1e9)
    assert demo._affordable(info) == (3840, 2160)
