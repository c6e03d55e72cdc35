"""The tables of docs/cuts.md, made of ``benchmarks/cuts.json`` (``python -m tests.bench.cuts``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import ROOT, replaced

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ROOT / "benchmarks" / "cuts.json"
PAGE = ROOT / "docs" / "cuts.md"


def ratio(part: int, whole: int) -> str:
    """A share as the tables have it."""
    return f"{part / whole:.3f}" if whole else "-"


def table(record: dict[str, Any]) -> str:
    """The page's lines between the markers."""
    used = str(record["threshold"])
    lines = [
        f"At the default threshold of {used}:",
        "",
        "| with cuts | cuts | recall | precision |",
        "|---|---|---|---|",
    ]
    rows = record["rows"]
    for row in (row for row in rows if row["cuts"]):
        found, false = row["found"][used], row["false"][used]
        lines.append(f"| {row['kind']} | {row['cuts']} | {ratio(found, row['cuts'])} | {ratio(found, found + false)} |")
    lines += ["", "| without cuts | clips | frames | false cuts |", "|---|---|---|---|"]
    lines += [
        f"| {row['kind']} | {row['clips']} | {row['frames']} | {row['false'][used]} |"
        for row in rows
        if not row["cuts"]
    ]
    lines += [
        "",
        "| threshold | hard cuts: recall | precision | all kinds: recall | precision |",
        "|---|---|---|---|---|",
    ]
    for threshold in record["thresholds"]:
        cells = []
        for chosen in (hard(record), rows):
            found, false, all_cuts = total(chosen, threshold)
            cells += [ratio(found, all_cuts), ratio(found, found + false)]
        lines.append(f"| {threshold} | {' | '.join(cells)} |")
    times = record["milliseconds"]
    machine = record["machine"]
    cost = ", ".join(f"{ms:.1f} ms ({kind})" for kind, ms in times.items())
    lines += ["", f"Cost of a frame of 1920x1080 in YUV420P8, {machine['processor']}, time of one processor: {cost}."]
    return "\n".join(lines)


def total(rows: list[dict[str, Any]], threshold: float) -> tuple[int, int, int]:
    """Cuts found, false cuts, and cuts that there are."""
    at = str(threshold)
    return (
        sum(row["found"][at] for row in rows),
        sum(row["false"][at] for row in rows),
        sum(row["cuts"] for row in rows),
    )


def hard(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows by which the goal is measured."""
    return [row for row in record["rows"] if row["kind"] in record["hard"]]


def pages() -> dict[Path, str]:
    """The page as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return {PAGE: replaced(PAGE.read_text(encoding="utf-8"), "cuts", table(record))}
