"""Seconds per megapixel of output of every network, on this machine's CPU: ``python -m tests.bench.models``.

Writes ``benchmarks/models.json``, of which the tables in the README and in docs/models are made
(``python -m tools.generate``). Most weights are random: what they are does not change the time, but where alignment
that moves nothing is left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from vs_sr import registry, settings
from vs_sr.engine import recurrence
from vs_sr.models.merging import quickened
from vs_sr.spec import Request, Variant
from vs_sr.weights import store

if TYPE_CHECKING:
    from torch import nn

    from vs_sr.spec import Backend, Model, Precision

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "models.json"
SIDE = (128, 96)
"""Width and height of the input; of the upscaled one, four times that, for networks that want it upscaled."""
RUNS, SECONDS = 3, 1.0
"""Timed calls: so many at least, and so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration of a model."""

    model: str
    name: str
    config: dict[str, Any]
    scale: int = 4
    color: Literal["rgb", "y"] = "rgb"
    frames: int = 1
    """Given at a time."""
    outputs: int = 1
    """Counted frames of the result: those that a step adds to a film."""
    weights: str = ""
    """Shipped ones; empty: random."""


_EDSR = {"res_scale": 1.0, "value_range": 255.0, "mean": (0.4488, 0.4371, 0.4040), "inner_bias": True}
BASELINE = {**_EDSR, "features": 64, "blocks": 16}
_MDSR = {"scales": (2, 3, 4), "features": 64, "blocks": 16, "value_range": 255.0, "mean": (0.4488, 0.4371, 0.4040)}
_A2N = {"features": 40, "upsampled": 24, "blocks": 16, "reduced": 10, "kernel": 3, "value_range": 255.0}
_RRDB = {"steps": (2, 2), "unshuffle": 1, "features": 64, "growth": 32}
_EDVR = {"frames": 5, "channels": 64, "groups": 8, "front_blocks": 5, "back_blocks": 10, "hr_channels": 64}
_EDVR_PARTS = {"tsa": True, "predeblur": False, "hr_in": False}
_ZSM = {"channels": 64, "groups": 8, "front_blocks": 5, "back_blocks": 40, "hr_channels": 64, "base": "none"}
_COMPACT = {"channels": 32, "groups": 4, "front_blocks": 2, "back_blocks": 8, "hr_channels": 32, "base": "bicubic"}
_TINY = {"channels": 12, "groups": 1, "front_blocks": 2, "back_blocks": 10, "hr_channels": 8, "base": "bicubic"}

CASES = (
    Case(model="SRCNN", name="9-1-5", scale=1, color="y", config={"kernels": (9, 1, 5)}),
    Case(model="SRCNN", name="9-5-5", scale=1, color="y", config={"kernels": (9, 5, 5)}),
    Case(model="VDSR", name="20 layers", scale=1, color="y", config={"zero_mean": False}),
    Case(model="SRResNet", name="MSRResNet, 16 blocks, x4", config={"norm": False, "scale": 4, "blocks": 16}),
    Case(model="SRGAN", name="5 blocks, x2", scale=2, config={"scale": 2, "trunk_norm": False}),
    Case(model="SRGAN", name="5 blocks, x4", config={"scale": 4, "trunk_norm": False}),
    Case(model="EDSR", name="baseline, x2", scale=2, config={**BASELINE, "scale": 2}),
    Case(model="EDSR", name="baseline, x4", config={**BASELINE, "scale": 4}),
    Case(model="EDSR", name="large, x4", config={**_EDSR, "features": 256, "blocks": 32, "res_scale": 0.1, "scale": 4}),
    Case(model="MDSR", name="baseline, x4", config={**_MDSR, "scale": 4}),
    Case(model="A2N", name="x2", scale=2, config={**_A2N, "scale": 2}),
    Case(model="A2N", name="x4", config={**_A2N, "scale": 4}),
    Case(model="ESRGAN", name="23 blocks, x4", config={**_RRDB, "blocks": 23}),
    Case(model="ESRGAN", name="6 blocks (anime), x4", config={**_RRDB, "blocks": 6}),
    Case(
        model="ZoomingSlowMo",
        name="compact (shipped)",
        frames=4,
        outputs=6,
        config=_COMPACT,
        weights="zooming_slow_mo_compact",
    ),
    Case(
        model="ZoomingSlowMo",
        name="tiny (shipped)",
        frames=4,
        outputs=6,
        config=_TINY,
        weights="zooming_slow_mo_tiny",
    ),
    Case(model="ZoomingSlowMo", name="as published", frames=4, outputs=6, config=_ZSM),
    Case(model="EDVR", name="M, 5 frames", frames=5, config={**_EDVR, **_EDVR_PARTS}),
    Case(model="BasicVSR", name="30 blocks, 5 frames", frames=5, outputs=5, config={"channels": 64, "blocks": 30}),
)


def found(case: Case) -> tuple[Model, Variant]:
    """The model of a case, and its variant."""
    variant = Variant(scale=case.scale, color=case.color, upscaled=case.scale == 1, config=case.config)
    return registry.model(case.model), variant


def size(case: Case, side: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, height and width of a case's input."""
    factor = 4 if case.scale == 1 else 1
    return 3 if case.color == "rgb" else 1, side[1] * factor, side[0] * factor


def opened(
    backend: Backend,
    model: Model,
    variant: Variant,
    network: nn.Module,
    precision: Precision = "fp32",
    *sizes: tuple[int, int],
) -> Any:
    """A runner's network on the CPU, as sessions open it.

    Args:
        backend: that opens it.
        model: of the network.
        variant: likewise.
        network: with weights; used up.
        precision: of the weights.
        sizes: width and height of the images that will come.
    """
    asked: dict[str, Any] = {"device": "cpu", "batch": 1, "cache": settings.cache_folder()}
    load = partial(quickened, network)
    run = backend.open(
        Request(model=model, variant=variant, load=load, precision=precision, sizes=sizes, **asked)
    ).network
    return (lambda image: torch.from_numpy(run(image.contiguous().numpy()))) if backend.arrays else run


def measure(case: Case) -> dict[str, Any]:
    """The row of a case: median seconds per megapixel of output, and the network's size."""
    model, variant = found(case)
    source = store.shipped(case.weights) if case.weights else None
    network = store.network(model, variant, source).eval().requires_grad_(False)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    eager = opened(registry.backend("eager"), model, variant, network)
    run = {
        "image": eager,
        "multi-frame": partial(recurrence.multi_frame, eager),
        "sequence": partial(recurrence.sequence, eager),
    }[model.kind]
    shape = size(case, SIDE)
    frames = torch.rand(1, *shape) if model.kind == "image" else torch.rand(1, case.frames, *shape)
    arguments = (model.multi[0],) if model.kind == "sequence" else ()
    times: list[float] = []
    with torch.inference_mode():
        out = run(frames, *arguments)
        while len(times) < RUNS or sum(times) < SECONDS:
            start = time.perf_counter()
            run(frames, *arguments)
            times.append(time.perf_counter() - start)
    megapixels = out.shape[-1] * out.shape[-2] * case.outputs / 1e6
    return {
        "model": case.model,
        "configuration": case.name,
        "parameters": parameters,
        "seconds_per_megapixel": round(statistics.median(times) / megapixels, 4),
        "runs": len(times),
        "input": f"{shape[2]}x{shape[1]}",
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": processor, "threads": torch.get_num_threads(), "capability": capability}


def main() -> None:
    """Measure all cases, or those of ``--only``, and write the record; rows of other models are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", help="models to measure")
    options = parser.parse_args()
    old = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() and options.only else {}
    kept = {(row["model"], row["configuration"]): row for row in old.get("rows", [])}
    rows = []
    for case in CASES:
        if options.only and case.model not in options.only:
            if (case.model, case.name) in kept:
                rows.append(kept[case.model, case.name])
            continue
        rows.append(measure(case))
        print(f"{case.model} {case.name}: {rows[-1]['seconds_per_megapixel']:.3f} s/Mpx", file=sys.stderr, flush=True)
    versions = {"torch": importlib.metadata.version("torch"), "python": platform.python_version()}
    record = {"machine": machine(), "versions": versions, "rows": rows}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
