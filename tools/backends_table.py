"""What ``backend="auto"`` goes by, and the tables in docs/backends.md.

They are made of ``benchmarks/backends.json`` (``python -m tests.bench.backends``) and ``benchmarks/peers_cpu.json``
(``python -m tests.bench.peers_cpu``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import COMMAND, ROOT, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = ROOT / "benchmarks" / "backends.json"
PEERS = ROOT / "benchmarks" / "peers_cpu.json"
PAGE = ROOT / "docs" / "backends.md"
MODULE = ROOT / "vs_sr" / "backends" / "measured.py"

WORTH = 0.95
"""Of eager's time, at most: less of a gain does not make up for what compiling takes."""


def shares(record: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    """Model, precision and backend to the share of eager's time, of the configuration that gains the least.

    Left out is what fails or is wrong in any of them, and what is not worth it.
    """
    rows = record["rows"]
    found = {}
    for model, precision in dict.fromkeys((row["model"], row["precision"]) for row in rows):
        own = [row["ratios"] for row in rows if (row["model"], row["precision"]) == (model, precision)]
        for backend in sorted(set.intersection(*(set(ratios) for ratios in own)) - {"eager"}):
            if (most := max(ratios[backend][0] for ratios in own)) <= WORTH:
                found[model, precision, backend] = most
    return found


def module(record: dict[str, Any]) -> str:
    """``vs_sr/backends/measured.py``."""
    lines = [
        '"""How quick backends are on the CPU, as measured: what ``backend="auto"`` goes by among equal priorities.',
        "",
        f"Written by `{COMMAND}` from benchmarks/backends.json.",
        '"""',
        "",
        "from collections.abc import Mapping",
        "",
        "SHARES: Mapping[tuple[str, str, str], float] = {",
        *(f"    {_words(*key)}: {share}," for key, share in sorted(shares(record).items())),
        "}",
        '"""Model, precision and backend to the share of the time of "eager"; what gains nothing is left out."""',
    ]
    return "\n".join([*lines, ""])


def _words(*words: str) -> str:
    return f"({', '.join(json.dumps(word) for word in words)})"


def table(record: dict[str, Any]) -> str:
    """The page's lines between the markers."""
    machine, versions = record["machine"], record["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    names = sorted({name for row in record["rows"] for name in row["ratios"]} - {"eager"})
    taken = {key[:2]: backend for key, backend in _best(record)}
    lines = [
        f"{machine['processor']}, {machine['threads']} thread{'s' * (machine['threads'] > 1)}, "
        f"{machine['capability']}; {packages}. Time over that of `eager` in the same precision, the median of rounds "
        "in which backends take turns:",
        "",
        f"| network | precision | input | `eager` | {' | '.join(f'`{name}`' for name in names)} | `auto` takes |",
        "|---" * (5 + len(names)) + "|",
    ]
    for row in record["rows"]:
        cells = (_cell(row, name) for name in names)
        best = taken.get((row["model"], row["precision"]), "eager")
        own = f"{row['model']} {row['configuration']} | {row['precision']} | {row['input']} | {row['eager_ms']:.0f} ms"
        lines.append(f"| {own} | {' | '.join(cells)} | {best} |")
    return "\n".join(lines)


def _best(record: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Those of equal priority that are taken, the quickest last."""
    own = ((key, share) for key, share in shares(record).items() if key[2] != "compile")
    for key, _ in sorted(own, key=lambda each: -each[1]):
        yield key, key[2]


def _cell(row: dict[str, Any], name: str) -> str:
    """Empty where it does not run such a network, or was not there."""
    if name in row["ratios"]:
        return f"{row['ratios'][name][0]:.2f}"
    if name in row["left_out"]:
        return "not right" if name in row["psnr"] else "fails"
    return ""


def films(record: dict[str, Any]) -> str:
    """The lines that compare films with those of other filters."""
    peers = {name: version for name, version in record["versions"].items() if name.startswith("vapoursynth-")}
    heads = " | ".join(f"{name} {version}" for name, version in peers.items())
    lines = [f"| network | precision | our best | {heads} |", "|---" * (3 + len(peers)) + "|"]
    for row in record["rows"]:
        cells = [
            f"{ratios['later']:.2f}; {ratios['command']:.2f}" if (ratios := row["ratios"].get(peer)) else ""
            for peer in peers
        ]
        best = row["best"].removeprefix("vs_sr ")
        lines.append(f"| {row['network']} | {row['precision']} | `{best}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """The module and the page as they should be."""
    record, peers = (json.loads(path.read_text(encoding="utf-8")) for path in (RECORD, PEERS))
    page = replaced(PAGE.read_text(encoding="utf-8"), "backends", table(record))
    return {MODULE: module(record), PAGE: replaced(page, "peers", films(peers))}
