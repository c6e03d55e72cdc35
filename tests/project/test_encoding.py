"""docs/encoding.md: its commands are run, and what comes out is read back."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from helpers.films import film
from helpers.support import BIN, ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "encoding.md").read_text(encoding="utf-8")
ASK, TAGS, TIMES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(LAST,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

SCRIPT = """
import vapoursynth as vs
core = vs.core
{read}
clip = core.std.Interleave([clip, clip])
clip = core.resize.Point(clip, 4 * clip.width, 4 * clip.height)
clip.set_output()
"""
"""Four times the size and twice the rate, without a network."""

FRAMES = [0, 100, 300, 600]
"""Milliseconds at which the frames of the film of variable rate begin."""


def run(command: str, folder: Path) -> str:
    for program in dict.fromkeys(re.findall(r"\b(?:ffmpeg|ffprobe|mkvmerge)\b", command)):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    env = environment()
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        env={**env, "PATH": f"{BIN}:{env['PATH']}"},
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def brightness(path: Path) -> list[float]:
    """Of the lower right corner, where each frame of the film has a value of its own."""
    with av.open(str(path)) as container:
        return [float(frame.to_ndarray()[150:190, 200:250].mean()) for frame in container.decode(video=0)]


@pytest.mark.parametrize("lossless", [False, True])
def test_the_flags_for_everything_but_frames(lossless: bool, tmp_path: Path) -> None:
    (tmp_path / "slowmo.vpy").write_text(SCRIPT.format(read='clip = core.bs.VideoSource("in.mp4")'))
    film(tmp_path / "in.mp4")
    run(TAGS.replace("-c:v libx264", "-c:v libx264 -qp 0") if lossless else TAGS, tmp_path)
    said = run(ASK.replace("in.mp4", "out.mkv").strip() + " -of default=noprint_wrappers=1", tmp_path)
    assert dict(line.split("=") for line in said.split()) == {
        "sample_aspect_ratio": "16:11",
        "color_range": "pc",
        "color_space": "smpte170m",
        "color_primaries": "smpte170m",
        "color_transfer": "smpte170m",
        "chroma_location": "left",
    }
    if lossless:  # nothing is converted
        run("vspipe -c y4m slowmo.vpy out.y4m", tmp_path)
        assert brightness(tmp_path / "out.mkv") == brightness(tmp_path / "out.y4m")


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


def test_times_that_vary(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", len(FRAMES), times=FRAMES)
    (tmp_path / "slowmo.vpy").write_text(SCRIPT.format(read=LAST))
    run(TIMES, tmp_path)
    halves = [0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.6 + 1 / 48]  # the last frame's duration is the page's
    for name in ("timed.mkv", "timed.mp4"):
        assert times(tmp_path / name) == pytest.approx(halves, abs=2e-3), name
        found = brightness(tmp_path / name)
        assert np.argsort(found[::2]).tolist() == list(range(len(FRAMES))), "in order"
    # what the page warns of
    (tmp_path / "slowmo.vpy").write_text(SCRIPT.format(read=LAST.splitlines()[0]))
    with pytest.raises(AssertionError, match="missing duration at frame 6"):
        run(TIMES.splitlines()[0].replace("frames.mkv", "again.mkv"), tmp_path)
