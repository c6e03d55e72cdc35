"""The tables of docs/rates.md, made of ``benchmarks/rates.json``, which ``python -m tests.bench.rates`` writes, and of
``drift_rates.json``: from ``vs-sr evaluate --drift --multi`` of each factor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools import repeats_table
from tools.pages import ROOT, replaced

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ROOT / "benchmarks" / "rates.json"
DRIFT = ROOT / "benchmarks" / "drift_rates.json"
PAGE = ROOT / "docs" / "rates.md"

_CHANGES = ("gain", "near", "far")
"""Of a mode against windows: see docs/drift.md."""


def tables(record: dict[str, Any]) -> str:
    """The page's lines between the markers."""
    rows = record["quality"]
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        clips = {row["multi"]: ", ".join(row["clips"]) for row in rows if row["set"] == name}
        used = "; ".join(f"at {multi}: {names}" for multi, names in clips.items())
        lines += [f"**{name.capitalize()}** (outputs of each) {used}.", ""]
        ways = list(dict.fromkeys(row["way"] for row in rows))
        heads = [f"PSNR-Y at {multi} | steps at {multi}" for multi in clips]
        lines += [f"| | {' | '.join(heads)} |", "|---" * (1 + 2 * len(clips)) + "|"]
        for way in ways:
            own = [row for row in rows if (row["set"], row["way"]) == (name, way)]
            lines.append(f"| {way} | {' | '.join(f'{row["psnr_y"]:.2f} | {row["steps"]:.2f}' for row in own)} |")
        lines.append("")
    times = record["times"]
    machine = record["machine"]
    lines += [
        f"**Time** of a clip of seven frames over that at `multi=2` ({machine['processor']}, {machine['threads']} "
        f"thread{'s' * (machine['threads'] > 1)}):",
        "",
        f"| rate | {' | '.join(times)} |",
        "|---" * (1 + len(times)) + "|",
        f"| time | {' | '.join(f'{ratio:.2f}' for ratio in times.values())} |",
    ]
    return "\n".join(lines)


def drift(records: list[dict[str, Any]]) -> str:
    """The lines on drift between the markers."""
    heads = [f"mean at {each['multi']} | gain | near | far" for each in records]
    lines = [f"| mode | {' | '.join(heads)} |", "|---" * (1 + 4 * len(records)) + "|"]
    modes: dict[str, list[str]] = {}
    for number, each in enumerate(records):
        for row in (row for row in each["modes"] if not row["carry"] or not row["lookahead"]):
            changes = ("" if row[name] is None else f"{round(row[name], 3) + 0.0:+.3f}" for name in _CHANGES)
            cells = modes.setdefault(row["mode"], [" |" * 3] * number)
            cells.append(f"{row['psnr_y']:.3f} | {' | '.join(changes)}")
    for mode, cells in modes.items():
        lines.append(f"| {mode} | {' | '.join(cells + [' |' * 3] * (len(records) - len(cells)))} |")
    most = {each["multi"]: max(abs(row["gain"]) for row in each["modes"]) for each in records}
    words = " and ".join(f"{gain:.4f} dB at {multi}" for multi, gain in most.items())
    return "\n".join([*lines, "", f"The modes that differ most from windows differ by {words}."])


def pages() -> dict[Path, str]:
    """The page as it should be."""
    text = replaced(PAGE.read_text(encoding="utf-8"), "rates", tables(json.loads(RECORD.read_text(encoding="utf-8"))))
    text = replaced(text, "drift", drift(json.loads(DRIFT.read_text(encoding="utf-8"))))
    return {PAGE: repeats_table.page(text)}
