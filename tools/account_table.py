"""Where Zooming Slow-Mo's time goes, in docs/models/zooming_slow_mo.md: made of ``benchmarks/account.json``, which
``python -m tests.bench.account`` writes."""

from __future__ import annotations

import json
from typing import Any

from tools.pages import ROOT, replaced

RECORD = ROOT / "benchmarks" / "account.json"
PAGE = ROOT / "docs" / "models" / "zooming_slow_mo.md"
SMALL = 0.01
"""Of the time: rows of less are put together."""


def least(record: dict[str, Any]) -> float:
    """Milliseconds of a frame whose layers all run at the ceiling, with nothing else to do."""
    return float(1e3 * sum(row["gflop"] for row in record["rows"]) / record["ceiling_gflop_per_second"])


def table(record: dict[str, Any]) -> str:
    """The lines between the markers."""
    machine, (ratio, low, high) = record["machine"], record["ratio"]
    top, floor = record["ceiling_gflop_per_second"], least(record)
    whole = sum(row["ms"] for row in record["rows"])
    lines = [
        f"{machine['processor']}, {machine['threads']} thread{'s' * (machine['threads'] > 1)}, "
        f"{machine['capability']}, torch {record['versions']['torch']}, {record['input']}, float32: "
        f"{record['ours_ms']:.0f} ms an output frame, {record['plain_ms']:.0f} in the plain form, a ratio of "
        f"**{ratio:.2f}** ({low:.2f} to {high:.2f}). No 3x3 convolution is quicker here than {top:.0f} GFLOP/s "
        f"({record['ceiling_channels']} channels). At that rate, and with nothing else to do, a frame would take "
        f"{floor:.0f} ms, {floor / record['plain_ms']:.2f} of the plain form.",
        "",
        "| part | layers | output | calls | GFLOP | ms | share | of the ceiling |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    shown = [row for row in record["rows"] if row["ms"] >= SMALL * whole]
    for row in shown:
        rate = f"{row['gflop_per_second'] / top:.0%}" if row["gflop"] else ""
        flops = f"{row['gflop']:.2f}" if row["gflop"] else ""
        lines.append(
            f"| {row['part']} | {row['what']} | {row['size']} | {row['calls']:.1f} | {flops} | {row['ms']:.1f} | "
            f"{row['ms'] / whole:.1%} | {rate} |"
        )
    rest = [row for row in record["rows"] if row not in shown]
    flops, spent = (sum(row[key] for row in rest) for key in ("gflop", "ms"))
    lines.append(f"| all others | | | | {flops:.2f} | {spent:.1f} | {spent / whole:.1%} | |")
    return "\n".join(lines)


def page(text: str) -> str:
    """:data:`PAGE` with its table replaced."""
    return replaced(text, "account", table(json.loads(RECORD.read_text(encoding="utf-8"))))
