"""The tables of docs/quality.md, made of ``benchmarks/quality.json``, which ``python -m tests.bench.quality`` writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import ROOT, replaced

if TYPE_CHECKING:
    from pathlib import Path

    type Rows = dict[str, dict[str, float]]

RECORD = ROOT / "benchmarks" / "quality.json"
PAGE = ROOT / "docs" / "quality.md"


def mean(rows: Rows, figure: str) -> float:
    """Of a figure over the clips of a set."""
    return sum(row[figure] for row in rows.values()) / len(rows)


def gain(rows: Rows) -> float:
    """PSNR-Y over bicubic and blend, dB; mean over the clips."""
    return mean(rows, "psnr_y") - mean(rows, "bicubic")


def sequences(record: dict[str, Any]) -> str:
    """The lines on models of clips."""
    chosen = {name: each["sets"] for name, each in record["weights"].items() if "vid4" in each["sets"]}
    lines: list[str] = []
    for name, sets in chosen.items():
        lines += [f"**`{name}`**", ""]
        lines += ["| clips | PSNR-Y | over bicubic and blend | SSIM-Y | change error | that of bicubic | pulse |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for each, rows in sets.items():
            lines.append(
                f"| {each} | {mean(rows, 'psnr_y'):.3f} | {gain(rows):+.3f} | {mean(rows, 'ssim_y'):.4f} | "
                f"{mean(rows, 'change'):.3f} | {mean(rows, 'bicubic_change'):.3f} | {mean(rows, 'pulse'):+.3f} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def images(record: dict[str, Any]) -> str:
    """The lines on models of images."""
    lines = ["| weights | images | bicubic | PSNR-Y | gain | SSIM-Y |", "|---|---|---|---|---|---|"]
    for name, entry in record["weights"].items():
        for each, rows in entry["sets"].items():
            if each.startswith("Set5"):
                lines.append(
                    f"| `{name}` | {each} | {mean(rows, 'bicubic'):.2f} | {mean(rows, 'psnr_y'):.2f} | "
                    f"{gain(rows):+.2f} | {mean(rows, 'ssim_y'):.4f} |"
                )
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """The page as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = replaced(PAGE.read_text(encoding="utf-8"), "sequences", sequences(record))
    return {PAGE: replaced(text, "images", images(record))}
