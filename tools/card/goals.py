"""What a card should show, and whether it does: goals as ratios within one run, read from its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

type Figures = Mapping[str, Any]
"""Part's name to what it has measured."""

_FIRST = "dcn 480x270 L1, batch 1, sigma 0.5"
_COHERENT = (_FIRST, "dcn 480x270 L1, batch 1, sigma 4")
_LARGE = 64.0
"""Megabytes from which a kernel is to keep up with a copy."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One figure and what is wanted of it."""

    what: str
    found: float
    wanted: float
    least: bool
    """Whether ``wanted`` is the least; else the most."""

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.found >= self.wanted if self.least else self.found <= self.wanted

    def __str__(self) -> str:
        sign = ">=" if self.least else "<="
        return f"{'met ' if self.met else 'MISSED'} {self.what}: {self.found:.3g} ({sign} {self.wanted:g})"


def goals(figures: Figures) -> Iterator[Goal]:
    """Those of which there are figures."""
    rows = figures.get("kernels", {}).get("rows", [])
    times = {(row["case"], row["contender"]): row for row in rows if row["microseconds"] is not None}
    yield from _deformable(times)
    for row in times.values():
        if row["ours"] and row["megabytes"] >= _LARGE and not row["case"].startswith("dcn"):
            ratio = row["microseconds"] / row["floor_microseconds"]
            yield Goal(what=f"{row['case']} / copy floor", found=ratio, wanted=1.25, least=False)
    yield from _network(figures)
    wanted = {"as published": 60.0, "compact (shipped)": 200.0}
    for film in figures.get("pipe", {}).get("films", []):
        if "frames_per_second" in film:
            what = f"vspipe, {film['film']}, frames a second"
            yield Goal(what=what, found=film["frames_per_second"], wanted=wanted[film["film"]], least=True)
    if precision := figures.get("precision"):
        what = f"{precision['precision']} against fp32, dB"
        yield Goal(what=what, found=precision["psnr_lowest"], wanted=50.0, least=True)


def _deformable(times: Mapping[tuple[str, str], Any]) -> Iterator[Goal]:
    for case in _COHERENT:
        ours = times.get((case, "dcn_fused"))
        if ours is None:
            continue
        short = case.removeprefix("dcn ").replace(", batch 1", "")
        for peer, wanted in (("torchvision fp16", 6.0), ("torchvision fp32", 8.0), ("deformops fp16", 1.0)):
            if row := times.get((case, f"{peer} (op alone)")):
                what = f"{peer} / dcn_fused, {short}"
                yield Goal(what=what, found=row["microseconds"] / ours["microseconds"], wanted=wanted, least=True)
        floors = ours["microseconds"] / ours["floor_microseconds"]
        yield Goal(what=f"dcn_fused / floor, {short}", found=floors, wanted=2.2, least=False)
        yield Goal(what=f"dcn_fused error, {short}", found=ours["error"], wanted=5e-4, least=False)


def _network(figures: Figures) -> Iterator[Goal]:
    """The published network, by whichever backend and form is the fastest."""
    rows = [
        row for row in figures.get("stages", {}).get("rows", []) if {"floor_milliseconds", "milliseconds"} <= set(row)
    ]
    times = {min(row["milliseconds"], row.get("graph_milliseconds") or row["milliseconds"]): row for row in rows}
    if not times:
        return
    best = min(times)
    floor = times[best]["floor_milliseconds"]
    yield Goal(what="network as published / arithmetic floor", found=best / floor, wanted=2.6, least=False)
    if peer := figures.get("peers", {}).get("network", {}).get("torchvision fp16"):
        what = "network with torchvision fp16 / ours"
        yield Goal(what=what, found=peer / best, wanted=2.5, least=True)
