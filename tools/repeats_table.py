"""The tables of repeated frames in docs/rates.md, made of ``benchmarks/repeats.json``, which ``python -m
tests.bench.repeats`` writes."""

from __future__ import annotations

import json
from typing import Any

from tools.cuts_table import ratio
from tools.pages import ROOT, replaced

RECORD = ROOT / "benchmarks" / "repeats.json"
SHOWN = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Thresholds of the page; the record has more."""


def page(text: str) -> str:
    """The page with its lines between the markers."""
    return replaced(text, "repeats", tables(json.loads(RECORD.read_text(encoding="utf-8"))))


def tables(record: dict[str, Any]) -> str:
    """The page's lines between the markers."""
    return "\n".join([*_worth(record), "", *_detection(record)])


def _worth(record: dict[str, Any]) -> list[str]:
    lines = [
        "**Evenness** of `ZoomingSlowMo` at twice the rate, on an edge that moves with every drawing: how much its "
        "steps scatter, and the longest, as multiples of the mean step.",
        "",
        "| a drawing is | `repeats=0` | `repeats=1` | `repeats=2` |",
        "|---|---|---|---|",
    ]
    rows = record["evenness"]
    for length in dict.fromkeys(row["length"] for row in rows):
        own = sorted((row for row in rows if row["length"] == length), key=lambda row: row["repeats"])
        cells = (f"{row['scatter']:.2f}, {row['longest']:.2f}" for row in own)
        lines.append(f"| {length} frames | {' | '.join(cells)} |")
    names = {"Baseline": "EDSR's baseline"}
    lines += [
        "",
        "**Time** of a film that shows every drawing twice, over that at `repeats=0` "
        f"({record['machine']['processor']}):",
        "",
        "| | `repeats=1` | `repeats=2` |",
        "|---|---|---|",
    ]
    for name, times in record["times"].items():
        cells = (f"{times[each]:.2f}" if each in times else "" for each in ("1", "2"))
        lines.append(f"| {names.get(name, f'`{name}`')} | {' | '.join(cells)} |")
    cost = ", ".join(f"{ms:.2f} ms ({kind})" for kind, ms in record["milliseconds"].items())
    return [*lines, "", f"To compare a frame of 1920x1080 in YUV420P8 with the one before takes {cost}."]


def _detection(record: dict[str, Any]) -> list[str]:
    thresholds = SHOWN
    lines = [
        "**Repeats found** at a threshold: recall; precision.",
        "",
        f"| coded | what is shown | repeats | {' | '.join(f'{threshold:g}' for threshold in thresholds)} |",
        "|---" * (3 + len(thresholds)) + "|",
    ]
    rows = record["rows"]
    for crf in dict.fromkeys(row["crf"] for row in rows):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            cells = []
            for threshold in thresholds:
                found, false, there = total(record, kind, crf, threshold)
                cells.append(f"{ratio(found, there)}; {ratio(found, found + false)}")
            how = "not" if crf == "none" else f"CRF {crf}"
            lines.append(f"| {how} | {kind} | {there} | {' | '.join(cells)} |")
    return lines


def total(record: dict[str, Any], kind: str, crf: str, threshold: float) -> tuple[int, int, int]:
    """Repeats found, others that are taken for repeats, and repeats that there are."""
    rows = [row for row in record["rows"] if (row["kind"], row["crf"]) == (kind, crf)]
    at = str(threshold)
    return (
        sum(row["found"][at] for row in rows),
        sum(row["false"][at] for row in rows),
        sum(row["repeats"] for row in rows),
    )
