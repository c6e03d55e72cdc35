"""The tables of docs/drift.md, made of ``benchmarks/drift.json``.

The figures are those of ``vs-sr evaluate --drift --json benchmarks/drift.json --plot docs/drift.png`` with folders of
real frames after it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import ROOT, replaced
from vs_sr import registry

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ROOT / "benchmarks" / "drift.json"
PAGE = ROOT / "docs" / "drift.md"


def defaults(name: str) -> dict[str, int]:
    """The mode that a model runs in unless asked otherwise."""
    model = registry.model(name)
    return {"carry": model.carry, "segment": model.segment, "lookahead": model.lookahead}


def tables(record: dict[str, Any]) -> str:
    """The page's lines between the markers."""
    upscaler = record["upscaler"]
    chosen = ", ".join(f"`{name}={int(value)}`" for name, value in defaults(upscaler["upscaler"]).items())
    lines = [
        f"`{upscaler['upscaler']}` with `{upscaler['weights']}` (sha-256 {upscaler['sha256'][:12]}...), "
        f"window {record['window']}, multi {record['multi']}, {upscaler['precision']}. Its defaults: {chosen}.",
    ]
    for each in record["sets"]:
        names = list(dict.fromkeys(clip["clip"].rpartition(",")[0] for clip in each["clips"]))
        outputs = " or ".join(map(str, sorted({clip["outputs"] for clip in each["clips"]})))
        lines += ["", f"**{each['set'].capitalize()}**: {', '.join(names)}; {outputs} outputs each, both ways.", ""]
        lines += ["| mode | mean | input-time | interpolated | last quarter | gain | near | far | steps |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [_line(row) for row in each["modes"]]
        most = max((row["gain"] for row in each["modes"]), key=abs)
        lines += [
            "",
            f"The mode that differs most from windows differs by {abs(most):.4f} dB. Advice: {each['advice']}.",
        ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    levels = (f"{row[name]:.3f}" for name in ("psnr_y", "input_time", "interpolated", "last_quarter"))
    changes = ("" if row[name] is None else f"{round(row[name], 3) + 0.0:+.3f}" for name in ("gain", "near", "far"))
    falls = " (falls)" if row["falls"] else ""
    return f"| {row['mode']}{falls} | {' | '.join(levels)} | {' | '.join(changes)} | {row['cost']:.2f} |"


def pages() -> dict[Path, str]:
    """The page as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return {PAGE: replaced(PAGE.read_text(encoding="utf-8"), "drift", tables(record))}
