"""Time of every backend of the CPU over that of "eager", for every image network: ``python -m tests.bench.backends``.

Writes ``benchmarks/backends.json``, of which the table in docs/backends.md and what ``backend="auto"`` takes are made
(``python -m tools.generate``). Backends take turns within a round, so that a machine's moods reach all of them; what
counts is the median of the rounds' ratios. Each result is compared with eager's in float32 before it is timed.

What is measured is written after each network, and a run that was stopped (``--minutes``) goes on where it was;
compiled networks are found in the cache. ``--fresh`` measures everything again, ``--only`` some models.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from helpers.packages import loaded

from vs_sr import isolation, registry, settings, threads
from vs_sr.errors import described

from . import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from vs_sr.spec import Backend, Model, Precision, Variant

RECORD = models.ROOT / "benchmarks" / "backends.json"
PACKAGES = {"openvino": "vs_sr_openvino", "onnxruntime": "vs_sr_onnxruntime"}
"""A module that has to be there, and the package in ``plugins``."""
SIDE = (96, 64)
"""Width and height of the input; of the upscaled one, four times that, for networks that want it upscaled."""
ROUNDS, SECONDS = (3, 15), 8.0
"""At least and at most so many; no further one after so many seconds."""
RIGHT: dict[Precision, float] = {"fp32": 60.0, "bf16": 50.0}
"""PSNR against eager in float32 that a backend must reach, in dB; 60 are a root mean square of 1e-3."""


def backends() -> list[Backend]:
    """Those that run on this CPU, "eager" first."""
    found = [registry.backend("eager"), registry.backend("compile")]
    for needed, package in PACKAGES.items():
        if find_spec(needed):
            found += loaded(models.ROOT / "plugins" / package / f"{package}.py").vs_sr_backends()
    return [backend for backend in found if backend.obstacle("cpu") is None]


def network(model: Model, variant: Variant) -> nn.Module:
    """The same numbers each time, with results in and about 0..1: weights of unit gain."""
    with isolation.OwnRandomNumbers():
        made = model.build(variant).eval().requires_grad_(False)
    for value in made.state_dict().values():
        if value.dim() == 4:
            value *= 3**0.5
    return made


def psnr(found: Tensor, expected: Tensor) -> float:
    """dB of values whose range is that of the expected ones."""
    error = float((found.double() - expected.double()).square().mean())
    return 999.0 if error == 0 else 10 * math.log10(float(expected.max() - expected.min()) ** 2 / error)


def measure(case: models.Case, precision: Precision) -> dict[str, Any]:
    """The row of a network in a precision."""
    model, variant = models.found(case)
    size = models.size(case, SIDE)
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(1))
    row: dict[str, Any] = {
        "model": case.model,
        "configuration": case.name,
        "precision": precision,
        "input": f"{size[2]}x{size[1]}",
        "ratios": {},
        "psnr": {},
        "left_out": {},
    }
    exact = models.opened(registry.backend("eager"), model, variant, network(model, variant), "fp32")(image).clone()
    runs: dict[str, Callable[[Tensor], Tensor]] = {}
    for backend in backends():
        if not backend.supports(model, variant, precision):
            continue
        try:
            run = models.opened(backend, model, variant, network(model, variant), precision, (size[2], size[1]))
            right = psnr(run(image).float(), exact)
        except Exception as error:
            row["left_out"][backend.name] = described(error)[:200]
            continue
        row["psnr"][backend.name] = round(min(right, 999.0), 1)
        if right < RIGHT[precision]:
            row["left_out"][backend.name] = f"its result is {right:.1f} dB from eager's in float32"
        if right >= RIGHT[precision] or backend.name == "eager":
            runs[backend.name] = run
    times: dict[str, list[float]] = {name: [] for name in runs}
    begun = time.monotonic()
    for number in range(ROUNDS[1]):
        if number >= ROUNDS[0] and time.monotonic() - begun > SECONDS:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run(image)
            times[name].append(time.perf_counter() - start)
    for name, own in times.items():
        ratios = sorted(a / b for a, b in zip(own, times["eager"], strict=True))
        row["ratios"][name] = [round(value, 3) for value in (statistics.median(ratios), ratios[0], ratios[-1])]
    return row | {"eager_ms": round(1e3 * statistics.median(times["eager"]), 1), "rounds": len(times["eager"])}


def cases() -> Iterator[tuple[models.Case, Precision]]:
    """What is measured, float first."""
    image = [case for case in models.CASES if registry.model(case.model).kind == "image"]
    yield from ((case, "fp32") for case in image)
    if torch.cpu._is_avx512_bf16_supported():
        yield from ((case, "bf16") for case in image)


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    """What a row is of."""
    return row["model"], row["configuration"], row["precision"]


def main() -> int:
    """Measure what is not recorded yet; 1 where something is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backends", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--json", type=Path, default=RECORD, help="the record")
    parser.add_argument("--minutes", type=float, default=6.0, help="after which no further network is begun")
    parser.add_argument("--only", nargs="*", help="models to measure")
    parser.add_argument("--fresh", action="store_true", help="measure again what is recorded")
    options = parser.parse_args()
    begun = time.monotonic()
    names = ("torch", *(name for name in PACKAGES if find_spec(name)))
    versions = {name: importlib.metadata.version(name) for name in names} | {"python": platform.python_version()}
    isolation.settle()
    record: dict[str, Any] = {"machine": models.machine(), "versions": versions, "rows": []}
    if options.json.is_file() and not options.fresh:
        old = json.loads(options.json.read_text(encoding="utf-8"))
        if (old["machine"], old["versions"]) == (record["machine"], versions):
            record["rows"] = old["rows"]
    done = {key(row): row for row in record["rows"]}
    wanted = [(case, precision) for case, precision in cases() if not options.only or case.model in options.only]
    left = [each for each in wanted if (each[0].model, each[0].name, each[1]) not in done]
    with isolation.ours("cpu"):
        for number, (case, precision) in enumerate(left):
            if time.monotonic() - begun > 60 * options.minutes:
                print(f"{len(left) - number} networks are left: run it again", file=sys.stderr)
                return 1
            row = measure(case, precision)
            done[key(row)] = row
            order = [(each.model, each.name, which) for each, which in cases()]
            record["rows"] = sorted(done.values(), key=lambda row: order.index(key(row)))
            options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            said = ", ".join(f"{name} {ratio[0]:.2f}" for name, ratio in row["ratios"].items() if name != "eager")
            print(f"{case.model} {case.name} {precision}: {said} of eager's {row['eager_ms']} ms", flush=True)
            for name, reason in row["left_out"].items():
                print(f"  not {name}: {reason}", flush=True)
    print(f"{threads.count()} threads; cache: {settings.cache_folder()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
