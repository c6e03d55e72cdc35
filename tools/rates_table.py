"""The tables of docs/rates.md, made of ``benchmarks/rates.json``, which ``python -m tests.bench.rates`` writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import ROOT, replaced

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ROOT / "benchmarks" / "rates.json"
PAGE = ROOT / "docs" / "rates.md"


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


def pages() -> dict[Path, str]:
    """The page as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return {PAGE: replaced(PAGE.read_text(encoding="utf-8"), "rates", tables(record))}
