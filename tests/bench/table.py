"""The README's table of speed, made of the recorded benchmarks: ``python -m tests.bench.table`` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- speed: python -m tests.bench.table -->", "<!-- /speed -->"


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


def readme(text: str, record: dict[str, Any]) -> str:
    """The README with its table replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record)}\n{END}{after}"


def main() -> None:
    """Rewrite the README."""
    path = ROOT / "README.md"
    record = json.loads((ROOT / "benchmarks" / "cpu.json").read_text(encoding="utf-8"))
    path.write_text(readme(path.read_text(encoding="utf-8"), record), encoding="utf-8")


if __name__ == "__main__":
    main()
