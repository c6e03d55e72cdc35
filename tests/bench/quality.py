"""What weights are worth: ``python -m tests.bench.quality [--film bbb.mp4] [NAME_OR_FILE ...]``.

Writes ``benchmarks/quality.json``, of which the tables in docs/quality.md are made (``python -m tools.generate``);
entries of weights that are not named stay. Without names all shipped weights are measured.

Sequence models: the benchmark clips (``VS_SR_TEST_DATA/footage/vid4``) as they are, coded, still, and with a carried
state or in windows, whichever is not the default; clips of the last tenth of ``--film``, which no recipe looks at;
generated scenes. Image models: Set5.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vs_sr.arguments import Arguments
from vs_sr.evaluation import protocols
from vs_sr.evaluation.measure import Clip, Measurement
from vs_sr.evaluation.upscalers import Bicubic, Network, find
from vs_sr.training import video
from vs_sr.training.clips import HELD_OUT_SEED, make_clip
from vs_sr.training.recipe import Video
from vs_sr.weights import store

from .models import machine

if TYPE_CHECKING:
    import numpy.typing as npt

    Frames = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "quality.json"
CRFS = (20, 28)
SCENES = 8
FILM = Video(count=8, frames=13, size=160, height=360, until=1.0)
"""Clips of the film, spread over its last tenth, whole frames."""


class Judge:
    """A network, and bicubic beside it, on clips."""

    def __init__(self, weights: str, protocol: str, scale: int | None = None, **options: Any) -> None:
        model, variant, source = find(None, weights)
        self.scale = scale or variant.scale
        arguments = Arguments(device_id=-1, precision="fp32", **options)
        self.network = Network(model, variant, source, scale=self.scale, multi=model.multi[0], options=arguments)
        self.protocol = protocols.preset(protocol)

    def figures(self, clips: dict[str, Frames], *, crf: int | None = None, still: bool = False) -> dict[str, Any]:
        """Of each clip (T, H, W, 3)."""
        measurement = Measurement(
            upscaler=self.network,
            baseline=Bicubic(self.scale, self.network.multi),
            protocol=replace(self.protocol, crf=crf),
            video=len(next(iter(clips.values()))) > 1,
            still=still,
        )
        return {name: self._row(measurement.clip(name, list(frames))) for name, frames in clips.items()}

    def _row(self, clip: Clip) -> dict[str, float]:
        ours, theirs = self.network.label, "bicubic"
        row = {
            "psnr_y": clip.mean(ours, "psnr_y"),
            "bicubic": clip.mean(theirs, "psnr_y"),
            "ssim_y": clip.mean(ours, "ssim_y"),
            "bicubic_ssim_y": clip.mean(theirs, "ssim_y"),
        }
        if clip.temporal:
            row |= {"change": clip.temporal[ours].change_error, "bicubic_change": clip.temporal[theirs].change_error}
            row |= {"sharpness": clip.temporal[ours].sharpness, "pulse": clip.temporal[ours].pulse or 0.0}
        return {key: round(value, 4) for key, value in row.items()}


def read(folder: Path) -> Frames:
    """The images of a folder."""
    from vs_sr.evaluation import measure

    return np.stack([measure.read(path) for path in measure.images(folder)])


def film(path: Path) -> dict[str, Frames]:
    """Clips of the film's last tenth."""
    size = video.size_at(path, FILM.height, 4)
    with video._opened(path) as container:
        count = container.streams.video[0].frames
    starts = np.linspace(0.9 * count, count - 2 * FILM.frames, FILM.count).astype(int)
    spots = [video.Spot(int(start), 0, 0) for start in starts]
    return {f"frame {spot.start}": frames for spot, frames in video.clips(path, FILM, spots, size)}


def sequences(weights: str, data: Path, path: Path | None) -> dict[str, Any]:
    """The rows of a sequence model."""
    vid4 = {name: read(data / "vid4" / name) for name in ("calendar", "city")}
    judge = Judge(weights, "space-time")
    found = {"vid4": judge.figures(vid4)}
    say("vid4", found["vid4"])
    found |= {f"vid4, CRF {crf}": judge.figures(vid4, crf=crf) for crf in CRFS}
    say("coded", found["vid4, CRF 28"])
    found["vid4, still"] = judge.figures(vid4, still=True)
    say("still", found["vid4, still"])
    carried = find(None, weights)[0].carry
    other = "windows" if carried else "carried"
    found[f"vid4, {other}"] = Judge(weights, "space-time", carry=not carried).figures(vid4)
    say(other, found[f"vid4, {other}"])
    scenes = {f"seed {HELD_OUT_SEED + i}": make_clip(HELD_OUT_SEED + i, 13, 160) for i in range(SCENES)}
    found["scenes"] = judge.figures(scenes)
    say("scenes", found["scenes"])
    if path:
        clips = film(path)
        found["film"] = judge.figures(clips)
        say("film", found["film"])
        found["film, CRF 28"] = judge.figures(clips, crf=28)
    return found


def images(weights: str, data: Path) -> dict[str, Any]:
    """The rows of an image model: Set5 at each of its scales."""
    from vs_sr.evaluation import measure

    variant = find(None, weights)[1]
    set5 = {path.stem: measure.read(path)[None] for path in measure.images(data / "set5")}
    found = {}
    for scale in (2, 3, 4) if variant.upscaled else (variant.scale,):
        found[f"Set5 x{scale}"] = Judge(weights, "matlab-uint8", scale).figures(set5)
        say(f"Set5 x{scale}", found[f"Set5 x{scale}"])
    return found


def say(what: str, rows: dict[str, dict[str, float]]) -> None:
    """Means of a set, to stderr."""
    names = next(iter(rows.values()))
    means = {name: float(np.mean([row[name] for row in rows.values()])) for name in names}
    gain = means["psnr_y"] - means["bicubic"]
    moved = f", change {means['change']:.3f} ({means['bicubic_change']:.3f})" if "change" in means else ""
    print(f"  {what}: {means['psnr_y']:.3f} dB, {gain:+.3f}{moved}", file=sys.stderr)


def main() -> None:
    """Measure, and put it into the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", help="shipped names, or files, whose figures are printed alone")
    parser.add_argument("--film", type=Path)
    options = parser.parse_args()
    data = Path(os.environ.get("VS_SR_TEST_DATA", ROOT.parent / "shared")) / "footage"
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"weights": {}}
    for weights in options.weights or store.index():
        print(weights, file=sys.stderr)
        started = time.perf_counter()
        video_model = find(None, weights)[0].kind != "image"
        sets = sequences(weights, data, options.film) if video_model else images(weights, data)
        if weights in store.index():
            entry = {"sha256": store.index()[weights].sha256, "sets": sets}
            record["weights"][weights] = entry
            record["machine"] = machine()
            RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"  {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
