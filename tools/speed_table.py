"""The README's table of speed, made of the recorded benchmarks."""

from __future__ import annotations

import json
from typing import Any

from tools.pages import ROOT, replaced

RECORD = ROOT / "benchmarks" / "cpu.json"


def table(record: dict[str, Any]) -> str:
    """The lines between the markers."""
    machine, versions = record["machine"], record["versions"]
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, {machine['capability']}, torch {versions['torch']}:",
        "",
        "| | against | time of ours / theirs |",
        "|---|---|---|",
    ]
    for row in record["comparisons"]:
        rate = f" ({row['frames_per_second']} fps)" if "frames_per_second" in row else ""
        lines.append(f"| {row['what']}{rate} | {row['against']} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def readme(text: str) -> str:
    """The README with its table replaced."""
    return replaced(text, "speed", table(json.loads(RECORD.read_text(encoding="utf-8"))))
