"""Reports of measurements: a table to read, CSV and JSON to compute with."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vs_sr.evaluation.measure import FIGURES, Clip
from vs_sr.evaluation.protocols import Border, Protocol

_HEADS = {"psnr_y": "PSNR-Y", "ssim_y": "SSIM-Y", "psnr_rgb": "PSNR-RGB", "ssim_rgb": "SSIM-RGB"}
_COLUMNS = ("clip", "upscaler", "frame", "interpolated", *FIGURES)


def table(clips: Sequence[Clip]) -> str:
    """A row per picture, per clip and over all clips (the mean of their means), for each upscaler."""
    names = [score.frame for clip in clips for scores in clip.scores.values() for score in scores]
    width = max(len(name) for name in [*names, *(clip.name for clip in clips), "mean, in between"])
    labels = max(len(label) for clip in clips for label in clip.scores)
    lines = [f"{'':{width}}  {'':{labels}}  " + "  ".join(f"{_HEADS[figure]:>8}" for figure in FIGURES)]

    def row(name: str, label: str, values: Mapping[str, float]) -> None:
        cells = (f"{values[f]:8.3f}" if f.startswith("psnr") else f"{values[f]:8.4f}" for f in FIGURES)
        lines.append(f"{name:{width}}  {label:{labels}}  {'  '.join(cells)}")

    for clip in clips:
        lines += ["", clip.name]
        for label, scores in clip.scores.items():
            for score in scores:
                row(score.frame, label, {figure: getattr(score, figure) for figure in FIGURES})
        for label, scores in clip.scores.items():
            row("mean", label, {figure: clip.mean(label, figure) for figure in FIGURES})
            if any(score.interpolated for score in scores):
                for name, kind in (("mean, given", False), ("mean, in between", True)):
                    row(name, label, {figure: clip.mean(label, figure, interpolated=kind) for figure in FIGURES})
        for label, temporal in clip.temporal.items():
            lines.append(f"{'motion':{width}}  {label:{labels}}  " + _temporal(asdict(temporal), temporal.pulse))
    if len(clips) > 1:
        lines += ["", "all"]
        for label in clips[0].scores:
            row("mean of means", label, {figure: overall(clips, label, figure) for figure in FIGURES})
    return "\n".join(lines)


def _temporal(values: Mapping[str, float | None], pulse: float | None) -> str:
    text = f"change error {values['change_error']:.3f}, sharpness {values['sharpness']:.3f}"
    if pulse is None:
        return text
    return f"{text}, in between {values['sharpness_between']:.3f}, pulse {pulse:+.3f}"


def overall(clips: Sequence[Clip], label: str, figure: str) -> float:
    """The mean over clips of their means, which is what papers print."""
    return float(np.mean([clip.mean(label, figure) for clip in clips]))


def write_csv(path: Path, clips: Sequence[Clip]) -> None:
    """A line per picture and upscaler; PSNR in dB, "inf" where nothing differs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for clip in clips:
            for label, scores in clip.scores.items():
                for score in scores:
                    figures = (f"{getattr(score, figure):.6f}" for figure in FIGURES)
                    writer.writerow([clip.name, label, score.frame, int(score.interpolated), *figures])


def record(clips: Sequence[Clip], protocol: Protocol, upscaler: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured and how, as plain values for JSON.

    null stands for what is no number: a PSNR of equal pictures, sharpness in between where nothing is.
    """
    labels = list(clips[0].scores)
    return {
        "upscaler": dict(upscaler),
        "protocol": {
            name: str(value) if isinstance(value, Border) else value
            for name, value in ((name, getattr(protocol, name)) for name in protocol.__dataclass_fields__)
        },
        "mean": {label: {f: _number(overall(clips, label, f)) for f in FIGURES} for label in labels},
        "clips": [
            {
                "clip": clip.name,
                "mean": {label: {f: _number(clip.mean(label, f)) for f in FIGURES} for label in clip.scores},
                "temporal": {
                    label: {**asdict(temporal), "pulse": temporal.pulse} for label, temporal in clip.temporal.items()
                },
                "frames": {
                    label: [
                        {
                            "frame": score.frame,
                            "interpolated": score.interpolated,
                            **{f: _number(getattr(score, f)) for f in FIGURES},
                        }
                        for score in scores
                    ]
                    for label, scores in clip.scores.items()
                },
            }
            for clip in clips
        ],
    }


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """:func:`record` as a file."""
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
