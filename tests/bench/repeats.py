"""Precision and recall of repeated frames, and what heeding them is worth: ``python -m tests.bench.repeats``.

Writes ``benchmarks/repeats.json``, of which the tables in docs/rates.md are made (``python -m tools.generate``). Films
whose frames are shown one to four times are coded by H.264, where a repeated frame differs in its coding; with
``VS_SR_TEST_DATA``, real frames are coded as well. Evenness and cost are those of the shipped network.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import vapoursynth as vs

import vs_sr
from vs_sr import _bridge, registry

from . import cut_clips
from .cut_clips import HEIGHT, WIDTH, Luma
from .cuts import source
from .models import BASELINE, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    type Frames = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "repeats.json"

FIRST_SEED, SEEDS = 20_000, 6
DRAWINGS = 16
THRESHOLDS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
RECOMMENDED = 2.0
"""For coded films: the highest at which 99 of 100 that are found are repeats, of each kind in each coding."""
CODINGS = ("none", "18", "23", "28")
"""Constant rate factors of x264, and none at all."""
LENGTHS: Mapping[str, tuple[int, ...]] = {
    "in twos": (2,),
    "in threes": (3,),
    "telecined": (2, 3),
    "mixed": (1, 2, 1, 3, 2, 4),
}
"""How often a drawing is shown, in turn."""


# What is shown


def ordinary(rng: np.random.Generator) -> Luma:
    """Scenes as the cut detector's."""
    return cut_clips.scene(rng, DRAWINGS)


def grain(rng: np.random.Generator) -> Luma:
    """The same with grain, which each drawing has of its own, and keeps while it is held."""
    scene = ordinary(rng)
    return scene + rng.normal(0, float(rng.uniform(0.01, 0.03)), scene.shape).astype(np.float32)


def fade(rng: np.random.Generator) -> Luma:
    """To black, in steps of a few code values."""
    return cut_clips.scene(rng, 1) * np.linspace(1, 0.3, DRAWINGS, dtype=np.float32)[:, None, None]


def pan(rng: np.random.Generator) -> Luma:
    """A slow one: by a quarter of a pixel to one for each drawing."""
    return cut_clips.panned(rng, 0.25 / WIDTH, 1 / WIDTH, DRAWINGS)


def small(rng: np.random.Generator) -> Luma:
    """A dot of 4 to 9 pixels that moves by 1 or 2, over a still image: a mouth, a ball, a mouse pointer."""
    frames = np.repeat(cut_clips.scene(rng, 1), DRAWINGS, axis=0)
    side, step = int(rng.integers(4, 10)), int(rng.integers(1, 3))
    top, left = int(rng.integers(10, HEIGHT - 10)), int(rng.integers(10, WIDTH - 50))
    for n, frame in enumerate(frames):
        place = frame[top : top + side, left + n * step : left + n * step + side]
        place[:] = 1.0 if place.mean() < 0.5 else 0.0
    return frames


MAKERS: Mapping[str, Callable[[np.random.Generator], Luma]] = {
    "ordinary motion": ordinary,
    "grain": grain,
    "fade": fade,
    "slow pan": pan,
    "small moving thing": small,
}


def real(folder: Path) -> dict[str, Luma]:
    """Consecutive frames of films, each a drawing; a crop of their middle."""
    found = {}
    for film in sorted((folder / "vid4").iterdir()):
        frames = np.stack([cut_clips.read(path) for path in sorted(film.glob("*.png"))])
        found[film.name] = frames[:, 180:396, 168:552]
    return found


def shown(drawings: Luma, lengths: tuple[int, ...]) -> tuple[Frames, set[int]]:
    """Frames of 8 bits, and which of them repeat the one before."""
    counts = [lengths[n % len(lengths)] for n in range(len(drawings))]
    pixels = (16 + 219 * drawings.clip(0, 1)).round().astype(np.uint8)
    frames = np.repeat(pixels, counts, axis=0)
    firsts = {0, *np.cumsum(counts).tolist()}
    return frames, set(range(len(frames))) - firsts


def coded(frames: Frames, crf: str) -> Frames:
    """Luma as H.264 gives it back, by x264's defaults."""
    if crf == "none":
        return frames
    count, height, width = frames.shape
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=Fraction(24), options={"crf": crf, "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pixels in frames:
            planes = np.concatenate([pixels, np.full((height // 2, width), 128, np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        back = [frame.to_ndarray(format="yuv420p")[:height] for frame in container.decode(video=0)]
    assert len(back) == count
    return np.stack(back)


def detection() -> list[dict[str, Any]]:
    """A row for each kind of film and coding: repeats and others, and how many are taken for repeats at a threshold."""
    films: list[tuple[str, Luma]] = []
    for kind, make in MAKERS.items():
        seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
        films += [(kind, make(np.random.default_rng([seed, list(MAKERS).index(kind)]))) for seed in seeds]
    if folder := os.environ.get("VS_SR_TEST_DATA"):
        films += [("real frames", drawings) for drawings in real(Path(folder) / "footage").values()]
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for kind, drawings in films:
        for how, lengths in LENGTHS.items():
            frames, repeats = shown(drawings, lengths)
            for coding in CODINGS:
                key = kind, how, coding
                empty = {"kind": kind, "shown": how, "crf": coding, "repeats": 0, "others": 0,
                         "found": dict.fromkeys(map(str, THRESHOLDS), 0),
                         "false": dict.fromkeys(map(str, THRESHOLDS), 0)}  # fmt: skip
                row = rows.setdefault(key, empty)
                row["repeats"] += len(repeats)
                row["others"] += len(frames) - 1 - len(repeats)
                clip = source(coded(frames, coding))
                for threshold in THRESHOLDS:
                    told = marked(clip, threshold)
                    row["found"][str(threshold)] += len(told & repeats)
                    row["false"][str(threshold)] += len(told - repeats)
        print(kind, file=sys.stderr, flush=True)
    return list(rows.values())


def marked(clip: vs.VideoNode, threshold: float) -> set[int]:
    """The frames that are taken for repeats."""
    frames = _bridge.repeats(clip, threshold, ["_Matrix"]).frames()
    return {n for n, frame in enumerate(frames) if "_vs_sr_repeat" in frame.props}


# What it is worth


EDGE = 2
"""Pixels that the edge moves from one drawing to the next."""
ROUNDS = 3
"""Of timings, in turn; their median counts."""


def edge(count: int, length: int, width: int = 64, height: int = 40) -> vs.VideoNode:
    """An upright edge that moves with every drawing, each shown ``length`` times."""
    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGBS, length=count * length, keep=True)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in frame:
            np.asarray(plane)[:] = 0.2 + 0.6 * (20.5 + EDGE * (n // length) - np.arange(width)).clip(0, 1)
        return frame

    return blank.std.ModifyFrame(blank, draw)


def unevenness(length: int, repeats: int) -> dict[str, float]:
    """Of the shipped network at twice the rate: how much an edge's steps scatter, and the longest, in mean steps."""
    count = 7
    out = vs.core.vs_sr.ZoomingSlowMo(edge(count, length), device_id=-1, repeats=repeats)
    rows = [np.asarray(frame[1])[64:-64].mean(axis=0, dtype=np.float64) for frame in out.frames()]
    places = np.array([((row - 0.2) / 0.6).sum() for row in rows])
    steps = np.diff(places[: 2 * length * (count - 1) + 1])  # up to the last drawing
    return {"scatter": float(steps.std() / steps.mean()), "longest": float(steps.max() / steps.mean())}


def network() -> None:
    """EDSR's baseline, twice the size, as a filter without a file: what the weights are does not change the time."""
    variant = vs_sr.Variant(scale=2, config={**BASELINE, "scale": 2})
    vs_sr.register(
        vs_sr.Model(
            name="Baseline",
            summary="EDSR of random weights",
            paper="",
            kind="image",
            build=lambda _: registry.model("EDSR").build(variant),
            fixed=variant,
        )
    )


def times() -> dict[str, dict[str, float]]:
    """By filter: processor time of a film with every drawing twice, for each ``repeats`` over that of 0."""
    network()
    clip = edge(12, 2)
    found = {}
    for name, choices in (("Baseline", (0, 1)), ("ZoomingSlowMo", (0, 1, 2))):
        film = getattr(vs.core.vs_sr, name)
        opened = film(clip, device_id=-1)  # as long as it lives, its network is that of the others
        opened.get_frame(0).close()
        seconds: dict[int, list[float]] = {each: [] for each in choices}
        for each in choices * ROUNDS:
            made = film(clip, device_id=-1, repeats=each)  # one from which no frame is kept
            start = time.process_time()
            for frame in made.frames():
                frame.close()
            seconds[each].append(time.process_time() - start)
        base = statistics.median(seconds[0])
        found[name] = {str(each): round(statistics.median(of) / base, 2) for each, of in seconds.items()}
    return found


def milliseconds() -> dict[str, float]:
    """Of comparing two frames of 1920x1080 YUV420P8, in processor time on one thread, by what they are."""
    blank = vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length=2, keep=True)
    rng = np.random.default_rng(1)
    base = [rng.integers(60, 180, plane.shape, np.uint8) for plane in map(np.asarray, blank.get_frame(0))]

    def film(change: int) -> vs.VideoNode:
        made = []
        for n in range(2):
            frame = blank.get_frame(0).copy()
            for plane, pixels in zip(frame, base, strict=True):
                np.copyto(np.asarray(plane), pixels + np.uint8(n * change))
            made.append(frame)
        return blank.std.Loop(50).std.ModifyFrame(blank.std.Loop(50), lambda n, f: made[n % 2])

    def seconds(clip: vs.VideoNode) -> float:
        start = time.process_time()
        for frame in clip.frames():
            frame.close()
        return time.process_time() - start

    threads, vs.core.num_threads = vs.core.num_threads, 1
    found = {}
    for name, change, threshold in (("identical", 0, 0.0), ("nearly the same", 1, 2.0), ("another", 9, 2.0)):
        clip = film(change)
        rounds = [seconds(_bridge.repeats(clip, threshold, ["_Matrix"])) - seconds(clip) for _ in range(ROUNDS)]
        found[name] = round(1000 * statistics.median(rounds) / clip.num_frames, 2)
    vs.core.num_threads = threads
    return found


def main() -> None:
    """Measure all of it and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worth", action="store_true", help="measure evenness and cost alone; the rows stay")
    options = parser.parse_args()
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"] if options.worth else detection()
    record = {
        "machine": machine(),
        "seeds": [FIRST_SEED, SEEDS],
        "thresholds": THRESHOLDS,
        "recommended": RECOMMENDED,
        "evenness": [
            {"length": length, "repeats": repeats, **unevenness(length, repeats)}
            for length in (2, 3, 4)
            for repeats in (0, 1, 2)
        ],
        "times": times(),
        "milliseconds": milliseconds(),
        "rows": rows,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
