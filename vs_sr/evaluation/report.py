"""Reports of measurements: a table to read, CSV and JSON to compute with."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vs_sr.evaluation import drift
from vs_sr.evaluation.drift import Drift
from vs_sr.evaluation.measure import FIGURES, Clip, Score, Temporal
from vs_sr.evaluation.protocols import Border, Protocol

HEADS = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB",
    "ssim_rgb": "SSIM-RGB",
    "change_error": "change",
}
"""What figures are called; the last one is of clips alone."""


def table(clips: Sequence[Clip], most: int | None = None) -> str:
    """A row per image, per clip and over all clips (the mean of their means), for each upscaler.

    Args:
        clips: what was measured.
        most: rows of a clip's images for each upscaler: those of the lowest PSNR-Y, in order; None: all.
    """
    heads = HEADS if any(clip.temporal for clip in clips) else FIGURES
    names = [score.frame for clip in clips for scores in clip.scores.values() for score in scores]
    width = max(len(name) for name in [*names, *(clip.name for clip in clips), "mean, interpolated"])
    labels = max(len(label) for clip in clips for label in clip.scores)
    lines = [f"{'':{width}}  {'':{labels}}  " + "  ".join(f"{HEADS[figure]:>8}" for figure in heads)]

    def row(name: str, label: str, value: Callable[[str], float | None]) -> None:
        cells = (_cell(figure, value(figure)) for figure in heads)
        lines.append(f"{name:{width}}  {label:{labels}}  {'  '.join(cells)}")

    for clip in clips:
        lines += ["", clip.name]
        for label, scores in clip.scores.items():
            for score in _worst(scores, most):
                row(score.frame, label, partial(getattr, score))
        for label, scores in clip.scores.items():
            row("mean", label, partial(clip.mean, label))
            if any(score.interpolated for score in scores):
                for name, kind in (("mean, input-time", False), ("mean, interpolated", True)):
                    row(name, label, partial(clip.mean, label, interpolated=kind))
        for label, temporal in clip.temporal.items():
            lines.append(f"{'motion':{width}}  {label:{labels}}  {_motion(temporal)}")
    if len(clips) > 1:
        lines += ["", "all"]
        for label in clips[0].scores:
            row("mean of means", label, partial(overall, clips, label))
    return "\n".join(lines)


def _cell(figure: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return f"{'-':>8}"
    return f"{value:8.4f}" if figure.startswith("ssim") else f"{value:8.3f}"


def _worst(scores: Sequence[Score], most: int | None) -> Sequence[Score]:
    """Those of the lowest PSNR-Y, in their own order."""
    if most is None or len(scores) <= most:
        return scores
    lowest = sorted(range(len(scores)), key=lambda number: scores[number].psnr_y)[:most]
    return [scores[number] for number in sorted(lowest)]


def _motion(temporal: Temporal) -> str:
    text = f"sharpness {temporal.sharpness:.3f}"
    if temporal.pulse is None:
        return text
    return f"{text}, interpolated {temporal.sharpness_interpolated:.3f}, pulse {temporal.pulse:+.3f}"


def overall(clips: Sequence[Clip], label: str, figure: str) -> float:
    """The mean over clips of their means, which is what papers print."""
    return float(np.mean([clip.mean(label, figure) for clip in clips]))


def write_csv(path: Path, clips: Sequence[Clip]) -> None:
    """A line per image and upscaler; PSNR in dB, "inf" where nothing differs; no change error for images alone."""
    rows = (
        (
            clip.name,
            label,
            score.frame,
            int(score.interpolated),
            *_values(score),
        )
        for clip in clips
        for label, scores in clip.scores.items()
        for score in scores
    )
    _write_csv(path, ("clip", "upscaler", "frame", "interpolated", *HEADS), rows)


def write_comparison_csv(path: Path, clip: Clip, times: Sequence[float]) -> None:
    """A line per film and frame, which is shown at these seconds; figures as in :func:`write_csv`."""
    rows = (
        (label, score.frame, f"{at:.6f}", *_values(score))
        for label, scores in clip.scores.items()
        for score, at in zip(scores, times, strict=True)
    )
    _write_csv(path, ("film", "frame", "time", *HEADS), rows)


def _values(score: Score) -> Iterator[str]:
    """Its figures for CSV."""
    values = (getattr(score, figure) for figure in HEADS)
    return ("" if value is None else f"{value:.6f}" for value in values)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def record(clips: Sequence[Clip], protocol: Protocol, upscaler: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured and how, as plain values for JSON.

    null stands for what is no number: a PSNR of equal images, sharpness of interpolated frames where there are none.
    """
    labels = list(clips[0].scores)
    return {
        "upscaler": dict(upscaler),
        "protocol": {
            name: str(value) if isinstance(value, Border) else value
            for name, value in ((name, getattr(protocol, name)) for name in protocol.__dataclass_fields__)
        },
        "mean": {label: {f: _number(overall(clips, label, f)) for f in FIGURES} for label in labels},
        "clips": [clip_record(clip) for clip in clips],
    }


def clip_record(clip: Clip) -> dict[str, Any]:
    """What was measured on a clip; see :func:`record`."""
    return {
        "clip": clip.name,
        "mean": {label: {f: _number(clip.mean(label, f)) for f in FIGURES} for label in clip.scores},
        "temporal": {label: {**asdict(temporal), "pulse": temporal.pulse} for label, temporal in clip.temporal.items()},
        "frames": {
            label: [
                {
                    "frame": score.frame,
                    "interpolated": score.interpolated,
                    **{f: _number(getattr(score, f)) for f in FIGURES},
                    "change_error": score.change_error,
                }
                for score in scores
            ]
            for label, scores in clip.scores.items()
        },
    }


def drift_table(drifts: Sequence[Drift]) -> str:
    """A row per mode and set of clips, in dB of PSNR-Y, and below each set the mode to use."""
    width = max(len(str(row.mode)) for each in drifts for row in each.rows)
    heads = ("mean", "inputs", "interp.", "last 1/4", "gain", "near", "far", "steps")
    lines = []
    for each in drifts:
        lines += ["", each.name, f"{'':{width}}  " + "  ".join(f"{head:>8}" for head in heads)]
        for row in each.rows:
            figures = (row.psnr_y, row.input_time, row.interpolated, row.last_quarter)
            changes = (row.gain, row.near, row.far)
            cells = [f"{figure:8.3f}" for figure in figures]
            cells += [f"{'-':>8}" if change is None else f"{round(change, 3) + 0.0:+8.3f}" for change in changes]
            falls = "  falls" if row.falls else ""
            lines.append(f"{row.mode!s:{width}}  {'  '.join(cells)}  {row.cost:8.2f}{falls}")
        lines += ["", f"advice: {advice(each)}"]
    return "\n".join(lines[1:])


def advice(each: Drift) -> str:
    """A line: the mode that ``drift.advise`` names for a set of clips, and why."""
    row = drift.advise(each.rows)
    mode, best = row.mode, max((row for row in each.rows if not row.falls), key=lambda row: row.psnr_y)
    above = "" if best is row else f" ({best.mode}: {best.psnr_y:.3f} dB)"
    return (
        f"carry={int(mode.carry)}, segment={mode.segment}, lookahead={mode.lookahead}: {row.psnr_y:.3f} dB with "
        f"{row.cost:.2f} timesteps per output; the simplest mode within "
        f"{drift.TOLERANCE} dB of the best of those that do not fall{above}"
    )


def write_drift_csv(path: Path, drifts: Sequence[Drift]) -> None:
    """A line per clip, mode and output frame."""
    rows = (
        (each.name, clip, int(mode.carry), mode.segment, mode.lookahead, output, age.frames, f"{value:.6f}")
        for each in drifts
        for mode, clips in each.psnr.items()
        for clip, grid, psnr in zip(each.clips, each.grids, clips, strict=True)
        for output, (age, value) in enumerate(zip(drift.ages(mode.on(grid)), psnr, strict=False))
    )
    header = ("set", "clip", "carry", "segment", "lookahead", "output", "since_reset", "psnr_y")
    _write_csv(path, header, rows)


def drift_record(drifts: Sequence[Drift], upscaler: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, as plain values for JSON. The first set decides what is advised."""
    grid = drifts[0].grids[0]
    return {
        "upscaler": dict(upscaler),
        "window": grid.window,
        "multi": grid.multi,
        "tolerance": drift.TOLERANCE,
        "advice": asdict(drift.advise(drifts[0].rows).mode),
        "sets": [
            {
                "set": each.name,
                "clips": [
                    {"clip": clip, "outputs": len(psnr)}
                    for clip, psnr in zip(each.clips, next(iter(each.psnr.values())), strict=True)
                ],
                "advice": advice(each),
                "modes": [
                    {
                        "mode": str(row.mode),
                        **asdict(row.mode),
                        **{
                            name: None if value is None else _rounded(value, 6)
                            for name, value in asdict(row).items()
                            if name != "mode"
                        },
                        "falls": row.falls,
                        "curve": {
                            name: [_rounded(getattr(point, name), 4) for point in each.curve(row.mode)]
                            for name in drift.Point._fields
                        },
                    }
                    for row in each.rows
                ],
            }
            for each in drifts
        ],
    }


def _rounded(value: float, digits: int) -> float | None:
    return _number(round(value, digits))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """:func:`record` as a file."""
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
