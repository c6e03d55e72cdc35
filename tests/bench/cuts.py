"""Precision and recall of the cut detector on clips whose cuts are known: ``python -m tests.bench.cuts``.

Writes ``benchmarks/cuts.json``, of which the tables in docs/cuts.md are made (``python -m tools.generate``).
The constants of ``vs_sr.scenes`` were chosen on the clips of the first seeds; those that are measured here come
from FIRST_SEED on. With ``VS_SR_TEST_DATA``, real frames are measured as well.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from helpers.clips import with_marks

from vs_sr import scenes

from . import cut_clips
from .models import machine

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "cuts.json"

FIRST_SEED, SEEDS = 10_000, 24
THRESHOLDS = (0.4, scenes.THRESHOLD, 0.6, 0.7)
REAL_CUT, REAL_MOTION = "photographs and films, joined", "photographs under a quick camera"
HARD = [*(kind for kind in cut_clips.CUT if kind.startswith("hard cut")), REAL_CUT]
"""Kinds by which the goal is measured: a precision of 0.98, a recall of 0.95."""


def source(frames: np.ndarray[Any, Any]) -> vs.VideoNode:
    """The frames as a GRAY8 clip."""
    length, height, width = frames.shape
    blank = vs.core.std.BlankClip(format=vs.GRAY8, width=width, height=height, length=length, keep=True)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.copyto(np.asarray(frame[0]), frames[n])
        return frame

    return blank.std.ModifyFrame(blank, write)


def marked(clip: vs.VideoNode, threshold: float) -> set[int]:
    """The cuts that the filter's node puts into the properties of a clip."""
    frames = with_marks(clip, threshold).frames()
    return scenes.cuts({n: scenes.read(frame.props) for n, frame in enumerate(frames)})


def clip_of(kind: str, seed: int) -> cut_clips.Clip:
    """A clip of any kind, real ones among them."""
    if kind in (REAL_CUT, REAL_MOTION):
        make = cut_clips.real_cuts if kind == REAL_CUT else cut_clips.real_motion
        return make(Path(os.environ["VS_SR_TEST_DATA"]) / "footage", seed)
    return cut_clips.make(kind, seed)


def measure(kind: str) -> dict[str, Any]:
    """The row of a kind: at every threshold, the cuts that were found, and those that are none."""
    row: dict[str, Any] = {"kind": kind, "clips": SEEDS, "frames": 0, "cuts": 0}
    found, false = dict.fromkeys(map(str, THRESHOLDS), 0), dict.fromkeys(map(str, THRESHOLDS), 0)
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        clip = clip_of(kind, seed)
        row["frames"] += len(clip.frames)
        row["cuts"] += len(clip.cuts)
        for threshold in THRESHOLDS:
            told = marked(source(clip.frames), threshold)
            found[str(threshold)] += len(told & clip.cuts)
            false[str(threshold)] += len(told - clip.cuts)
    return {**row, "found": found, "false": false}


def milliseconds(kind: str) -> float:
    """What the detector adds to a frame of 1920x1080 YUV420P8 on one thread, in time of the processor: the median
    of seven runs."""
    large = source(clip_of(kind, FIRST_SEED).frames).resize.Bicubic(1920, 1080, format=vs.YUV420P8, matrix_s="709")
    frames = [frame.copy() for frame in large.frames()]
    blank = vs.core.std.BlankClip(large, length=8 * len(frames), keep=True)
    film = blank.std.ModifyFrame(blank, lambda n, f: frames[n % len(frames)])

    def seconds(clip: vs.VideoNode) -> float:
        start = time.process_time()
        for _ in clip.frames():
            pass
        return time.process_time() - start

    threads, vs.core.num_threads = vs.core.num_threads, 1
    times = [seconds(with_marks(film)) - seconds(film) for _ in range(7)]
    vs.core.num_threads = threads
    return round(1000 * statistics.median(times) / film.num_frames, 2)


def detection() -> list[dict[str, Any]]:
    """The rows of all kinds."""
    kinds = [*cut_clips.CUT, *cut_clips.UNCUT]
    if "VS_SR_TEST_DATA" in os.environ:
        kinds += [REAL_CUT, REAL_MOTION]
    rows = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for row in pool.map(measure, kinds):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Measure all kinds and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cost", action="store_true", help="measure the cost alone; the rows of the record stay")
    options = parser.parse_args()
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"] if options.cost else detection()
    versions = {name: importlib.metadata.version(name) for name in ("vapoursynth", "numpy")}
    record = {
        "machine": machine(),
        "versions": {**versions, "python": platform.python_version()},
        "seeds": [FIRST_SEED, SEEDS],
        "threshold": scenes.THRESHOLD,
        "thresholds": THRESHOLDS,
        "hard": HARD,
        "milliseconds": {kind: milliseconds(kind) for kind in ("ordinary motion", "pan", "hard cut")},
        "rows": rows,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
