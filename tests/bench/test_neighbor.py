"""The cores shared with others, as with the encoder at the other end of the pipe: threads that sleep against threads
that spin as torch has them, which is what filters had before.

Both sides are processes of their own, since the choice is made once, when torch is loaded; ``GOMP_SPINCOUNT`` in the
environment wins over ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers.support import BIN, environment

from vs_sr import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCRIPT = """
import vapoursynth as vs
clip = vs.core.std.BlankClip(width={width}, height={height}, format=vs.YUV420P8, length={length}, color=[90, 110, 140])
vs.core.vs_sr.ZoomingSlowMo(clip, device_id=-1, precision="fp32").set_output()
"""
SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What GNU's runtime does when nobody says anything."""
ASLEEP = dict.fromkeys(("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
LENGTH = 24
"""Frames given: enough for loading torch to be the smaller part."""

pytestmark = pytest.mark.skipif(machine.cores() == 1, reason="one thread waits for nobody")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[int, int, int], Path]:
    def write(width: int, height: int, length: int) -> Path:
        path = tmp_path / "film.vpy"
        path.write_text(SCRIPT.format(width=width, height=height, length=length), encoding="utf-8")
        return path

    return write


@contextmanager
def neighbors(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
        for process in busy:
            process.wait()


def render(path: Path, threads: dict[str, str] | dict[str, None], output: Path | None = None, busy: int = 0) -> float:
    """Seconds of vspipe, into libx264 where there is a file to write."""
    env = {key: value for key, value in {**environment(), **threads}.items() if value is not None}
    command = f"'{BIN}/vspipe' '{path}' --"
    if output is not None:
        command = f"'{BIN}/vspipe' -c y4m '{path}' - | ffmpeg -loglevel error -y -i - -c:v libx264 '{output}'"
    with neighbors(busy):
        start = time.perf_counter()
        subprocess.run(["bash", "-o", "pipefail", "-c", command], env=env, check=True, capture_output=True)
        return time.perf_counter() - start


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_a_neighbor_on_the_cores(versus: Callable[..., float], script: Callable[..., Path], busy: int) -> None:
    """Alone they may lose a little; beside others they win several times over."""
    path = script(96, 64, LENGTH)
    goal = (1.2, 0.9, 0.8)[busy]
    beside = ("alone", "beside a busy process", "beside two busy processes")[busy]
    ratio = versus(
        f"vspipe, {2 * LENGTH} frames of 384x256, {beside}",
        lambda: render(path, ASLEEP, busy=busy),
        "threads that spin while they wait",
        lambda: render(path, SPINNING, busy=busy),
        rounds=3,
        goal=goal,
        frames=2 * LENGTH,
    )
    assert ratio < goal


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_a_whole_film_into_an_encoder(
    versus: Callable[..., float], script: Callable[..., Path], tmp_path: Path
) -> None:
    """README's own command; the encoder is the neighbor."""
    path, goal = script(160, 90, LENGTH), 1.1
    ratio = versus(
        f"vspipe into libx264 of ffmpeg, {2 * LENGTH} frames of 640x360",
        lambda: render(path, ASLEEP, tmp_path / "ours.mp4"),
        "threads that spin while they wait",
        lambda: render(path, SPINNING, tmp_path / "theirs.mp4"),
        rounds=3,
        goal=goal,
        frames=2 * LENGTH,
    )
    assert ratio < goal


def test_beside_neighbors_against_alone(versus: Callable[..., float], script: Callable[..., Path]) -> None:
    """As many busy processes as cores: with all of them served alike, twice the time is what is left."""
    path, goal, busy = script(96, 64, LENGTH), 2.5, os.cpu_count() or 1
    ratio = versus(
        f"vspipe, {2 * LENGTH} frames of 384x256, beside {busy} busy processes",
        lambda: render(path, ASLEEP, busy=busy),
        "alone",
        lambda: render(path, ASLEEP),
        rounds=3,
        goal=goal,
    )
    assert ratio < goal
