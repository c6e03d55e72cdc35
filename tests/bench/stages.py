"""Where a network's time goes on a card: ``python -m tests.bench.stages --json stages.json``.

For the shipped network and the published one (random weights), and for every backend that can: milliseconds per new
output frame, eager and as one CUDA graph; then by method of the network (eager: launches count), and by kernel.
``--smoke`` runs it on tiny inputs, on the CPU where there is no card.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vs_sr import files, isolation, ops, registry
from vs_sr.engine import choice, recurrence
from vs_sr.errors import described
from vs_sr.spec import METHODS, Request
from vs_sr.weights import store

from . import published
from .gpu import NETWORK_FLOPS
from .timing import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from vs_sr.weights.store import Source

TOP = 20
"""Kernels that are listed."""
MODEL = registry.model("ZoomingSlowMo")


class Clock:
    """Time of calls, on the device."""

    def __init__(self, device: torch.device) -> None:
        self._on_card = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []

    def timed[**P, T](self, name: str, call: Callable[P, T]) -> Callable[P, T]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            begin = self._now()
            result = call(*args, **kwargs)
            self._spans.append((name, begin, self._now()))
            return result

        return timed

    def totals(self) -> dict[str, tuple[float, int]]:
        """Milliseconds and calls by name."""
        if self._on_card:
            torch.cuda.synchronize()
        found: dict[str, tuple[float, int]] = {}
        for name, begin, end in self._spans:
            spent, calls = found.get(name, (0.0, 0))
            passed = begin.elapsed_time(end) if self._on_card else 1e3 * (end - begin)
            found[name] = spent + passed, calls + 1
        return found

    def _now(self) -> Any:
        if not self._on_card:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def watched(network: Any, clock: Clock) -> Iterator[None]:
    """Every method of the contract is timed, and ``run`` where a backend runs windows whole."""
    before = dict(vars(network))
    for name in (*METHODS["sequence"], "run"):
        if hasattr(network, name):
            vars(network)[name] = clock.timed(name, getattr(network, name))
    try:
        yield
    finally:
        vars(network).clear()
        vars(network).update(before)


def kernels(work: Callable[[], object], made: int, *, on_card: bool) -> list[dict[str, Any]]:
    """The kernels (on the CPU: operators) that take the most time, per new output frame."""
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if on_card else activity.CPU]) as profile:
        work()
        if on_card:
            torch.cuda.synchronize()
    found = [
        {
            "name": event.key[:120],
            "milliseconds": round(
                (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e3 / made, 4
            ),
            "calls": round(event.count / made, 1),
        }
        for event in profile.key_averages()
    ]
    return sorted(found, key=lambda row: -row["milliseconds"])[:TOP]


def measure(bench: Bench, network: Any, frames: Tensor, found: dict[str, Any]) -> None:
    """Put the figures of an opened network, per new output frame, into a row as they come."""
    made = 2 * (frames.shape[1] - 1)

    def work() -> None:
        recurrence.sequence(network, frames, 2)

    work()  # chooses algorithms, and fills the allocator's pool
    eager = []
    for _ in range(1 if bench.smoke else 5):
        clock = Clock(bench.device)
        clock.timed("all", work)()
        eager.append(clock.totals()["all"][0])
    found["milliseconds"] = round(statistics.median(eager) / made, 3)
    clock = Clock(bench.device)
    with watched(network, clock):
        work()
    found["stages"] = {
        name: {"milliseconds": round(spent / made, 3), "calls": round(calls / made, 2)}
        for name, (spent, calls) in clock.totals().items()
    }
    try:
        found["kernels"] = kernels(work, made, on_card=bench.on_card)
    except Exception as error:  # machines that let nobody look at their card
        print(f"no kernels by name: {described(error)}", flush=True)
        found["kernels"] = []
    if bench.on_card:  # last: a capture that fails can leave a stream unusable
        seconds, captured = bench.seconds(work, calls=made, replays=5)
        found["graph_milliseconds"] = round(seconds * 1e3, 3) if captured else None


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """One for each network and backend."""
    height, width, inputs = (8, 8, 2) if bench.smoke else (270, 480, 4)
    frames = bench.normal(1, 3 * inputs, height, width, scale=0.2, dtype=torch.float32).add_(0.5)
    frames = frames.contiguous().view(1, inputs, 3, height, width)
    device, precision = ("cuda:0", "fp16") if bench.on_card else ("cpu", "fp32")
    with tempfile.TemporaryDirectory() as folder:
        weights = published.write(Path(folder) / "published.safetensors", small=bench.smoke)
        networks: dict[str, Source] = {
            "as published": store.given(weights),
            "compact (shipped)": store.shipped(MODEL.weights or ""),
        }
        for name, source in networks.items():
            variant = store.recognize(MODEL, source).variant
            for backend in choice.candidates("auto", MODEL, variant, device, precision)[0]:  # type: ignore[arg-type]
                row: dict[str, Any] = {"network": name, "backend": backend.name, "precision": precision}
                try:
                    runner = backend.open(
                        Request(
                            model=MODEL,
                            variant=variant,
                            load=lambda: store.network(MODEL, variant, source).eval().requires_grad_(False),  # noqa: B023
                            device=device,
                            precision=precision,  # type: ignore[arg-type]
                            batch=1,
                            sizes=((width, height),),
                            cache=Path(folder),
                        )
                    )
                    row["identity"] = runner.identity
                    measure(bench, runner.network, frames, row)
                    runner.close()
                except Exception as error:
                    row["failure"] = described(error)
                if name == "as published" and not bench.smoke:
                    flops = NETWORK_FLOPS * height * width / (270 * 480)
                    row["floor_milliseconds"] = round(1e3 * flops / bench.report.gemm_flops_per_second, 3)
                yield row


def line(row: dict[str, Any]) -> str:
    """For the screen."""
    head = f"{row['network']:18} {row['backend']:10}"
    if "failure" in row:
        return f"{head} {row['failure']}"
    stages = ", ".join(f"{name} {stage['milliseconds']:.2f}" for name, stage in row["stages"].items())
    graph = row.get("graph_milliseconds")
    return f"{head} {row['milliseconds']:8.2f} ms a frame, {graph or '-'} as a graph ({stages})"


def main() -> int:
    """Run the benchmark; 1 where a backend has failed, 2 where there is no card."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stages", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--json", type=Path, help="where to write the figures, after each network")
    parser.add_argument("--smoke", action="store_true", help="everything once on tiny inputs, on any machine")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.smoke:
        print("there is no CUDA device; --smoke shows that the program works", file=sys.stderr)
        return 2
    ops.prepare("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(smoke=options.smoke)
    found: list[dict[str, Any]] = []
    with isolation.ours(str(bench.device)):  # torch as filters have it
        for row in rows(bench):
            found.append(row)
            print(line(row), flush=True)
            if options.json:
                with files.replacing(options.json) as file:
                    file.write(json.dumps({"rows": found}, indent=1).encode())
    return int(any("failure" in row for row in found))


if __name__ == "__main__":
    sys.exit(main())
