"""The table of docs/cluster.md: what many workers bring, by ``vs_sr/render/costs.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.pages import ROOT, replaced
from vs_sr.render.costs import Costs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "cluster.md"
WORKERS = (1, 4, 16, 64, 250, 1000)
_HOUR = 2 * 24 * 3600
"""Frames of an hour at 24 per second, at twice the rate."""
FILMS = (
    ("two hours, every machine sees the film", Costs(frames=2 * _HOUR, frame=0.1, mark=25e-5, join=1e-4)),
    (
        "two hours, 8 GB sent to machines of 4 workers at 1 GB/s, segments sent back",
        Costs(frames=2 * _HOUR, frame=0.1, mark=25e-5, join=1e-4, fetch=8.0, per_machine=4, send=1e-4),
    ),
    (
        "two hours, `carry=1` through scenes of 500 frames",
        Costs(frames=2 * _HOUR, frame=0.1, mark=25e-5, join=1e-4, segment=100, warm=5.0),
    ),
    ("five minutes", Costs(frames=_HOUR // 12, frame=0.1, mark=25e-5, join=1e-4)),
)


def pages() -> dict[Path, str]:
    """The page, as it should be."""
    return {PAGE: replaced(PAGE.read_text(encoding="utf-8"), "workers", table())}


def table() -> str:
    """Time, and how much of the workers' time is of use."""
    lines = [
        f"| a worker makes 10 frames per second | {' | '.join(f'{n:,}' for n in WORKERS)} |",
        f"|---|{'---:|' * len(WORKERS)}",
    ]
    for name, costs in FILMS:
        cells = (f"{_clock(costs.seconds(n))}, {costs.efficiency(n):.0%}" for n in WORKERS)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02} h" if hours else f"{rest // 60}:{rest % 60:02} min"
