"""Output frames a second of a film through vspipe: ``python -m tests.bench.pipe --json pipe.json``.

Zooming Slow-Mo from 480x270 to 1080p, y4m to /dev/null, with the shipped weights and with random ones as published.
The rate is that of the steady state: from the moment when a quarter of the time is over, so that loading and the
first window do not count; they are reported as the time of the first frame. ``--smoke`` takes a tiny film.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import vapoursynth as vs

from vs_sr import files, settings

from . import published

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60.0
"""Seconds within which frames have to come: the first, and enough others to tell a rate."""

SCRIPT = """\
import vapoursynth as vs

core = vs.core
width, height = {size}
# A view that moves over a still image, so that there is motion and no cut; nothing is computed while it plays.
noise = core.std.BlankClip(width=width // 8, height=height // 8, format=vs.GRAY8, length=1, keep=True)
def paint(n, f):
    made = f.copy()
    for y in range(made.height):
        for x in range(made.width):
            made[0][y, x] = (x * 7919 + y * 104729 + x * y * 31) % 220 + 16
    return made
noise = noise.std.ModifyFrame(noise, paint)
still = noise.resize.Bicubic(width + 64, height + 64, format=vs.YUV420P8, matrix_s="709")
views = [still.std.CropAbs(width, height, 2 * (n if n < 32 else 63 - n), 0) for n in range(64)]
clip = core.std.Loop(core.std.Splice(views), 400)[:{length}].std.SetFrameProps(_Matrix=1)
core.vs_sr.ZoomingSlowMo(clip, {arguments}).set_output()
"""

# Where vspipe finds no shared library of Python: the same by Python itself.
_BY_PYTHON = """
import runpy, sys
import vapoursynth as vs
runpy.run_path(sys.argv[1])
with open("/dev/null", "wb") as sink:
    said = lambda n, total: print(f"Frame: {n}/{total}", file=sys.stderr, flush=True)
    vs.get_output(0).clip.output(sink, y4m=True, progress_update=said)
"""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How a film ran."""

    film: str
    frames_per_second: float
    frames: int
    """That the rate is of."""
    first_frame_seconds: float
    """From the start of the process."""
    program: str


class NoFrameError(Exception):
    """The film did not run; what the program said."""


def film(name: str, script: Path, seconds: float) -> Rate:
    """Run a film for some seconds after its first frame.

    Raises:
        NoFrameError: it does not run.
    """
    program = Path(vs.__file__).with_name("vspipe")  # itself: killing the script that starts it would leave it running
    try:
        return _rate(name, "vspipe", [str(program), "-p", "-c", "y4m", str(script), "/dev/null"], seconds)
    except NoFrameError as error:
        if "VSScript" not in str(error):
            raise
        print(f"{name}: {error}", flush=True)
        return _rate(name, "VideoNode.output", [sys.executable, "-c", _BY_PYTHON, str(script)], seconds)


def _rate(name: str, program: str, command: Sequence[str], seconds: float) -> Rate:
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        env=settings.with_programs(Path(sys.executable).parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    seen: list[tuple[float, int]] = []
    said = b""
    try:
        while time.monotonic() < (start + PATIENCE if len(seen) < 2 else seen[0][0] + seconds):
            new = process.stderr.read() or b""
            said += new
            if numbers := re.findall(rb"(?:Frame: |Output )(\d+)[/ ]", new):
                seen.append((time.monotonic(), int(numbers[-1])))
            if not new and process.poll() is not None:
                break
            time.sleep(0.02)
        status = process.poll()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    if len(seen) < 2 or status:
        raise NoFrameError(said.decode("utf-8", "replace")[-1500:].strip() or "no frame came")
    settled = seen[0][0] + (seen[-1][0] - seen[0][0]) / 4
    began, first = next(each for each in seen if each[0] >= settled)
    ended, last = seen[-1]
    if last == first:
        began, first = seen[0]
    return Rate(
        film=name,
        frames_per_second=round((last - first) / (ended - began), 2),
        frames=last - first,
        first_frame_seconds=round(seen[0][0] - start, 2),
        program=program,
    )


def main() -> int:
    """Run both films; 1 where one does not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pipe", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--json", type=Path, help="where to write the figures, after each film")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="that a film runs for once its first frame is there"
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny film, of a small network, on any machine")
    options = parser.parse_args()
    size, length = ((16, 16), 8) if options.smoke else ((480, 270), 25_000)
    found: dict[str, object] = {"films": []}
    rates: list[object] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        weights = published.write(Path(folder) / "published.safetensors", small=options.smoke)
        for name, arguments in (("as published", f"weights={str(weights)!r}"), ("compact (shipped)", "")):
            script = Path(folder) / "film.vpy"
            script.write_text(SCRIPT.format(size=size, length=length, arguments=arguments), encoding="utf-8")
            try:
                rate = film(name, script, options.seconds)
            except NoFrameError as error:
                failed = True
                rates.append({"film": name, "failure": str(error)[-300:]})
                print(f"{name}: {error}", flush=True)
            else:
                rates.append(asdict(rate))
                print(f"{name}: {rate.frames_per_second} frames a second, the first one after ", end="")
                print(f"{rate.first_frame_seconds} s ({rate.program})", flush=True)
            found["films"] = rates
            if options.json:
                with files.replacing(options.json) as file:
                    file.write(json.dumps(found, indent=1).encode())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
