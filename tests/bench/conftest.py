"""Benchmarks that compare: ours against what it replaces, turn by turn in the same run.

Absolute times are noise on a shared machine, so what is reported is the ratio of a round's two times. The table
is printed at the end; ``--record FILE`` writes it as JSON, with the machine and the versions.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

_RESULTS: list[dict[str, Any]] = []
_VERSIONS = ("vs-sr", "torch", "torchvision", "vapoursynth", "numpy")


@pytest.fixture
def versus(benchmark: BenchmarkFixture) -> Callable[..., float]:
    """``versus(title, ours, rival_name, rival, rounds=5, goal=None, frames=None)``: the median of
    time(ours)/time(rival). ``goal`` is what it should stay below; ``frames``, how many ours makes, gives a rate."""

    def compare(
        title: str,
        ours: Callable[[], object],
        rival_name: str,
        rival: Callable[[], object],
        *,
        rounds: int = 5,
        goal: float | None = None,
        frames: int | None = None,
    ) -> float:
        rival_times: list[float] = []

        def time_rival() -> None:
            start = time.perf_counter()
            rival()
            rival_times.append(time.perf_counter() - start)

        benchmark.pedantic(ours, setup=time_rival, rounds=rounds, warmup_rounds=1)
        own_times = list(benchmark.stats.stats.data)
        ratios = [a / b for a, b in zip(own_times, rival_times[-rounds:], strict=True)]
        ratio = statistics.median(ratios)
        result = {
            "what": title,
            "against": rival_name,
            "ratio": round(ratio, 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
            "ours_ms": round(1e3 * statistics.median(own_times), 2),
            "rival_ms": round(1e3 * statistics.median(rival_times[-rounds:]), 2),
            "rounds": rounds,
        }
        if goal is not None:
            result["goal"] = goal
        if frames is not None:
            result["frames_per_second"] = round(frames / statistics.median(own_times), 2)
        benchmark.extra_info.update(result)
        _RESULTS.append(result)
        return ratio

    return compare


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _RESULTS:
        return
    terminalreporter.section("time of ours / time of the other, median of rounds")
    for r in _RESULTS:
        goal = f"  (goal {r['goal']})" if "goal" in r else ""
        rate = f"  {r['frames_per_second']} fps" if "frames_per_second" in r else ""
        terminalreporter.write_line(
            f"{r['ratio']:7.3f}  [{r['lowest']:.3f} .. {r['highest']:.3f}]  {r['what']} / {r['against']}"
            f"  {r['ours_ms']:.1f} ms / {r['rival_ms']:.1f} ms{goal}{rate}"
        )
    path: Path | None = config.getoption("--record")
    if path is not None:
        import torch

        record = {
            "machine": {
                "processor": _processor(),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "capability": torch.backends.cpu.get_cpu_capability(),
                "system": platform.system(),
                "python": platform.python_version(),
            },
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
            "comparisons": _RESULTS,
        }
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
