"""Four and eight times the rate against blending and against the filter applied again: ``python -m tests.bench.rates``.

Writes ``benchmarks/rates.json``, of which the tables in docs/rates.md are made (``python -m tools.generate``). Of
ground truth every fourth or eighth frame is given, at a quarter of its size; all others are measured. Scenes are
generated; with ``VS_SR_TEST_DATA``, crops of real frames are measured as well.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vs_sr.arguments import Arguments
from vs_sr.engine.engine import Engine
from vs_sr.engine.pipeline import Pipeline
from vs_sr.engine.plan import Plan
from vs_sr.evaluation import protocols
from vs_sr.evaluation.upscalers import Bicubic, Network, find
from vs_sr.training.clips import HELD_OUT_SEED, make_clip
from vs_sr.windows import grid

from .models import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    type Frames = list[npt.NDArray[np.uint8]]
    type Lumas = npt.NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "rates.json"
PROTOCOL = protocols.preset("space-time")
SCENES, CROP = 4, (320, 240)
"""Generated scenes; width and height of crops of real frames."""
FACTORS = (4, 8)
ROUNDS = 5
"""Of timings, one rate after the other; their median counts."""
RATES = {"1": (1, None), "2": (2, None), "4": (4, None), "8": (8, None), "24 to 60": (5, 2)}
"""``multi`` and ``per`` of a grid."""


def network(multi: int) -> Network:
    return Network(
        *find("ZoomingSlowMo", None), scale=4, multi=multi, options=Arguments(device_id=-1, precision="fp32")
    )


def reduced(frames: Frames) -> Frames:
    return [protocols.reduce(frame, 4, PROTOCOL) for frame in frames]


def run(multi: int, frames: Frames) -> Frames:
    return [protocols.code_values(output.rgb, PROTOCOL) for output in network(multi)(frames, PROTOCOL)]


def recursion(frames: Frames, multi: int) -> Frames:
    """The filter at this rate."""
    return run(multi, frames)


def blended(frames: Frames, multi: int) -> Frames:
    """The filter at the film's own rate, and blends of its frames."""
    images = [image.astype(np.float64) for image in run(1, frames)]
    made = [images[0]]
    for before, after in pairwise(images):
        made += [((multi - part) * before + part * after) / multi for part in range(1, multi)] + [after]
    return [np.rint(image).astype(np.uint8) for image in made]


def bicubic(frames: Frames, multi: int) -> Frames:
    """Bicubic, and blends of its frames."""
    return [protocols.code_values(o.rgb, PROTOCOL) for o in Bicubic(4, multi)(frames, PROTOCOL)]


def again(frames: Frames, multi: int) -> Frames:
    """The filter at twice the rate, its frames reduced to the input's size, and so on."""
    made = run(2, frames)
    while multi > 2:
        made, multi = run(2, reduced(made)), multi // 2
    return made


WAYS: dict[str, Callable[[Frames, int], Frames]] = {
    "the filter at this rate": recursion,
    "the filter at 2, again and again": again,
    "the filter at 1, blended": blended,
    "bicubic, blended": bicubic,
}


def lumas(frames: Frames) -> Lumas:
    return np.stack([PROTOCOL.luma(frame) for frame in frames])


def figures(made: Lumas, truth: Lumas, multi: int) -> dict[str, float]:
    """PSNR-Y of the frames between, and how far a step from a frame to the next differs from the true one."""
    between = [n for n in range(len(truth)) if n % multi]
    errors = ((made - truth) ** 2).mean(axis=(1, 2))
    steps = np.abs(np.diff(made, axis=0) - np.diff(truth, axis=0)).mean()
    return {"psnr_y": float(np.mean(10 * np.log10(255**2 / errors[between]))), "steps": float(steps)}


def clips() -> dict[str, dict[str, Frames]]:
    """Sets of clips, 17 frames each, or as many as there are."""
    sets = {"generated scenes": {f"scene {i}": list(make_clip(HELD_OUT_SEED + i, 17, 160)) for i in range(SCENES)}}
    folder = os.environ.get("VS_SR_TEST_DATA")
    films = sorted(Path(folder, "footage", "vid4").iterdir()) if folder else []
    real = {}
    for film in films:
        images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(film.glob("*.png"))[:17]]
        top, left = (images[0].shape[0] - CROP[1]) // 2, (images[0].shape[1] - CROP[0]) // 2
        real[film.name] = [image[top : top + CROP[1], left : left + CROP[0]] for image in images]
    return sets | ({"real frames": real} if real else {})


def quality() -> list[dict[str, Any]]:
    rows = []
    for name, films in clips().items():
        for multi in FACTORS:
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            counted = []
            for film, frames in films.items():
                count = len(frames) - (len(frames) - 1) % multi
                if count <= 1:
                    continue
                counted.append(f"{film} ({count})")
                given, truth = reduced(frames[:count:multi]), lumas(frames[:count])
                for way, make in WAYS.items():
                    found[way].append(figures(lumas(make(given, multi)), truth, multi))
            for way, each in found.items():
                means = {key: statistics.fmean(row[key] for row in each) for key in each[0]}
                rows.append({"set": name, "clips": counted, "multi": multi, "way": way, **means})
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def times() -> dict[str, float]:
    """Processor time of a clip at each rate over that at 2, one after the other in each round."""
    import torch

    model, variant, source = find("ZoomingSlowMo", None)
    frames = [torch.rand(3, 48, 64) for _ in range(7)]
    runs = {}
    for name, (multi, per) in RATES.items():
        windows = grid(model, len(frames), multi=multi, per=per)
        options = Arguments(device_id=-1, precision="fp32")
        made = Pipeline(model=model, variant=variant, source=source, size=(64, 48), grid=windows, options=options)
        runs[name] = Engine(Plan(made), windows)
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, engine in runs.items():
            start = time.process_time()
            for _image in engine.clip(frames):
                pass
            spent[name].append(time.process_time() - start)
    return {  # the first round loads the network
        name: statistics.median(t / base for t, base in zip(each[1:], spent["2"][1:], strict=True))
        for name, each in spent.items()
    }


def main() -> None:
    record = {"machine": machine(), "times": times()}
    print(record, file=sys.stderr, flush=True)
    RECORD.write_text(json.dumps(record | {"quality": quality()}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
