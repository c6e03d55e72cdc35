"""What is run on a card, in the order of its worth, and how long each may take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tools.card import kit
from tools.card.machine import ROOT
from tools.card.run import Part

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = 30.0
"""Seconds for making the environment; what it takes more is missing in the end."""
TOTAL = 300.0
"""All limits together stay below it."""


def parts(python: Path, scratch: Path, *, rehearsal: bool) -> list[Part]:
    """The parts, the most useful first.

    Args:
        python: of the environment.
        scratch: a folder for their figures.
        rehearsal: tiny inputs, on the CPU where there is no card.
    """
    smoke = ("--smoke",) if rehearsal else ()

    def bench(name: str, what: str, limit: float, module: str, *arguments: str) -> Part:
        figures = scratch / f"{name}.json"
        command = (str(python), "-m", f"tests.bench.{module}", "--json", str(figures), *smoke, *arguments)
        return Part(name=name, what=what, limit=limit, command=command, figures=figures)

    tests = (str(python), "-m", "pytest", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "-vv")
    selection = ("-m", "gpu and not slow", *gpu_files())
    return [
        Part(
            name="tests",
            what="the tests that need a card",
            limit=80,
            command=(*tests, *selection),
            read=counted,
        ),
        bench(
            "kernels",
            "kernels against the card's ceilings and their peers",
            60,
            "gpu",
            *("--only", "dcn", "memory", "color", "convolutions", "gather", "dcn of other sizes", "--seconds", "50"),
        ),
        bench("stages", "the network by stage", 30, "stages"),
        bench("pipe", "480x270 to 1080p through vspipe", 45, "pipe", "--seconds", "4" if rehearsal else "10"),
        bench("peers", "the network with its peers' operators", 25, "gpu", "--only", "network"),
        bench("precision", "half precision against float", 15, "precision", "--frames", str(kit.FOLDER / kit.FRAMES)),
        Part(
            name="doctor",
            what="what the command says of this machine",
            limit=10,
            command=(str(python), "-m", "vs_sr", "doctor"),
        ),
    ]


def gpu_files() -> list[str]:
    """The test modules that have such tests: only these are imported."""
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8")]
    return [str(path.relative_to(ROOT)) for path in sorted(found)]


def counted(text: str) -> dict[str, Any]:
    """How many tests passed, failed and were skipped, and the names of those that failed.

    Of the lines that a verbose pytest prints as it goes: there are some where time ran out, too.
    """
    results = re.findall(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)\b", text, re.MULTILINE)
    bad = list(dict.fromkeys(name for name, result in results if result in ("FAILED", "ERROR")))
    names = {result: {name for name, other in results if other == result} for result in ("PASSED", "SKIPPED")}
    return {"passed": len(names["PASSED"]), "failed": bad, "skipped": len(names["SKIPPED"])}
