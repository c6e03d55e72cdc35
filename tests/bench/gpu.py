"""The kernels against a card's own ceilings and against their peers: ``python -m tests.bench.gpu --json gpu.json``.

First the ceilings, in this process: copying 8.6 GB and a product of 8192 x 8192 halves. A case's floor is the larger
of bytes / copy and flops / product. Times are medians over replays of a CUDA graph of 20 calls, which go through
enough sets of inputs (at least 4, and 240 MB) that the L2 cache does not serve them. Peers run in the same call, on
the same data, and every result's error against float64 stands beside its time.

Work is done in the order of its worth, and the report is written after each piece: a run that is ended early has
measured what matters most. ``--only`` takes some of the pieces.

``--smoke`` runs everything once on tiny inputs, on the CPU where there is no card: it shows that the program works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vs_sr import files, ops
from vs_sr.backends.kernels import forms
from vs_sr.engine import recurrence
from vs_sr.errors import described
from vs_sr.models import layers
from vs_sr.ops import _launch, _nvrtc
from vs_sr.ops._launch import Launch

from . import published
from .gpu_cases import color_cases, dcn_case, memory_cases, torchvision_dcn
from .timing import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from torch import Tensor

    from .timing import Case

NETWORK_FLOPS = 2.64e12
"""Of Zooming Slow-Mo per 1080p output frame, in steady state."""


def convolutions(bench: Bench, height: int, width: int) -> None:
    """cuDNN's rate for the network's convolutions, as a fraction of the product's."""
    for outputs in (64, 216, 256):
        weight = bench.normal(outputs, 64, 3, 3, scale=1 / 24)
        x = bench.normal(1, 64, height, width)

        def work(x: Tensor = x, weight: Tensor = weight) -> None:
            for _ in range(4):
                nn.functional.conv2d(x, weight, padding=1)

        seconds, _ = bench.seconds(work, calls=4)
        rate = 2.0 * 9 * 64 * outputs * height * width / seconds
        share = bench.report.convolutions[f"64 to {outputs}"] = rate / bench.report.gemm_flops_per_second
        print(f"conv 64 to {outputs:3}: {rate / 1e12:8.1f} TFLOP/s, {share:.2f} of the product's rate")


def gather_launch(x: Tensor, out: Tensor, mapping: int) -> Launch:
    """``gather.cu``: how lanes share out pixels and groups is all that differs."""
    _, _, height, width = x.shape
    return Launch(
        kernel=_nvrtc.Kernel(name="gather", macros=(("MAPPING", mapping),)),
        grid=(width // 32, height, 1),
        block=(128, 1, 1),
        args=(
            x.data_ptr(),
            out.data_ptr(),
            np.int32(height),
            np.int32(width),
            np.float32(0.7),
        ),
    )


def gather(bench: Bench, height: int, width: int) -> None:
    """Microseconds of the gather by mapping; needs a card."""
    if not bench.on_card:
        return
    import cupy

    x = bench.normal(1, 64, height, width)
    out = torch.zeros(1, dtype=torch.int32, device=bench.device)
    major, minor = torch.cuda.get_device_capability()
    text = Path(__file__).with_name("gather.cu").read_text(encoding="utf-8")
    for mapping, name in enumerate(("8 pixels x 4 groups", "4 pixels x 8 groups", "32 pixels")):
        launch = gather_launch(x, out, mapping)
        arch = _launch.architecture(major * 10 + minor, _nvrtc.architectures())
        assert arch is not None
        with tempfile.NamedTemporaryFile(suffix=f"-{mapping}.cubin") as file:
            file.write(_nvrtc.compile_kernel(launch.kernel, arch, text).cubin)
            file.flush()
            function = cupy.RawModule(path=file.name).get_function("gather")
            _ = function.num_regs  # loads it

        def work(launch: Launch = launch, function: Callable[..., None] = function) -> None:
            stream = _launch._stream(torch.cuda.current_stream())
            function(launch.grid, launch.block, launch.args, stream=stream)

        bench.report.gather[name] = bench.seconds(work)[0] * 1e6
        print(f"gather, {name}: {bench.report.gather[name]:.1f} us")


def networks(bench: Bench, height: int, width: int) -> None:
    """Milliseconds per new output frame; a window of 4 inputs makes 6 of them, one of 2 makes 2."""

    def torchvision(
        x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0
    ) -> Tensor:
        return torchvision_dcn(x, offset, weight, bias, padding=padding, mask=mask)

    def build(dtype: torch.dtype) -> nn.Module:
        return published.network(blocks=(1, 1) if bench.smoke else (5, 40)).to(bench.device, dtype)

    inputs = 2 if bench.smoke else 4
    made = 2 * (inputs - 1)
    frames = bench.normal(1, 3 * inputs, height, width, scale=0.2).add_(0.5).view(1, inputs, 3, height, width)
    ours = vars(layers)["deform_conv2d"]
    variants = {
        "torchvision fp32": (torch.float32, torchvision, False),
        "torchvision fp16": (torch.float16, torchvision, False),
        "vs_sr deform_conv2d fp16": (torch.float16, ours, False),
        "vs_sr kernels fp16": (torch.float16, ours, True),
    }
    with torch.inference_mode():
        for name, (dtype, operator, exchanged) in variants.items():
            network = build(torch.float32)
            network = forms.exchanged(network.cpu(), dtype).to(bench.device) if exchanged else network.to(dtype)
            given = frames.to(dtype)

            def work(network: nn.Module = network, given: Tensor = given) -> None:
                recurrence.sequence(network, given, 2)

            vars(layers)["deform_conv2d"] = operator
            try:
                seconds, captured = bench.seconds(work, calls=made, replays=5)
            except Exception as error:  # a peer that is missing, or memory that does not suffice
                print(f"network, {name:26}: {described(error)}", flush=True)
                continue
            finally:
                vars(layers)["deform_conv2d"] = ours
            bench.report.network[name] = seconds * 1e3
            floor = NETWORK_FLOPS * height * width / (270 * 480) / bench.report.gemm_flops_per_second
            print(
                f"network, {name:26}: {seconds * 1e3:8.2f} ms a frame, {seconds / floor:6.2f} x floor"
                f"{'' if captured else ' (no graph)'}",
                flush=True,
            )


def pieces(bench: Bench) -> dict[str, Iterator[Callable[[], None]]]:
    """The work by name, the most useful first."""
    low, high = ((8, 8), (16, 16)) if bench.smoke else ((270, 480), (1080, 1920))
    sizes = {"480x270 L1": (270, 480), "480x270 L2": (135, 240), "480x270 L3": (68, 120)}
    sizes |= {"960x540 L1": (540, 960), "960x540 L2": (270, 480), "960x540 L3": (135, 240), "112x64": (64, 112)}
    batches, sigmas = [1, 2, 4], [0.5, 4.0, 32.0]
    if bench.smoke:
        sizes, batches, sigmas = {"smoke": (6, 8)}, [1, 2], [0.5]

    def deformable(chosen: Collection[str]) -> Iterator[Callable[[], None]]:
        for name in chosen:
            for batch in batches:
                for sigma in sigmas if batch == 1 else sigmas[:1]:
                    yield lambda name=name, batch=batch, sigma=sigma: bench.run(  # type: ignore[misc]
                        dcn_case(bench, name, batch, *sizes[name], sigma)
                    )

    def cases(made: Callable[..., list[Case]], size: tuple[int, int]) -> Iterator[Callable[[], None]]:
        for case in made(bench, *size):
            yield lambda case=case: bench.run(case)  # type: ignore[misc]

    def compiled() -> None:
        if not bench.smoke:
            bench.run(dcn_case(bench, "480x270 L1, again", 1, *low, 0.5, compiled=True))

    first = next(iter(sizes))
    return {
        "dcn": deformable([first]),
        "memory": cases(memory_cases, low),
        "color": cases(color_cases, high),
        "convolutions": iter([lambda: convolutions(bench, *low)]),
        "gather": iter([lambda: gather(bench, *low)]),
        "network": iter([lambda: networks(bench, *low)]),
        "dcn of other sizes": deformable([name for name in sizes if name != first]),
        "dcn compiled": iter([compiled]),
    }


PIECES = ("dcn", "memory", "color", "convolutions", "gather", "network", "dcn of other sizes", "dcn compiled")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 where one of our own kernels has failed, 2 where there is no card."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description="Measure the CUDA kernels.")
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--only", nargs="+", choices=PIECES, default=PIECES, metavar="PIECE", help=", ".join(PIECES))
    parser.add_argument("--seconds", type=float, help="after so many no other piece is begun; what is left out is said")
    parser.add_argument("--smoke", action="store_true", help="everything once on tiny inputs, on any machine")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    if not torch.cuda.is_available() and not options.smoke:
        print("there is no CUDA device; --smoke shows that the program works", file=sys.stderr)
        return 2
    ops.prepare("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(smoke=options.smoke)
    report = bench.report
    print(f"{report.device}: copy {report.copy_bytes_per_second / 1e12:.2f} TB/s, ", end="")
    print(f"product {report.gemm_flops_per_second / 1e12:.0f} TFLOP/s\n{report.versions['kernels']}")

    work = pieces(bench)
    for name in PIECES:
        for piece in work[name] if name in options.only else ():
            if options.seconds is not None and time.monotonic() - begin > options.seconds:
                report.left_out[name] = report.left_out.get(name, 0) + 1
            else:
                piece()
            if options.json:
                text = json.dumps(asdict(report), indent=2) + "\n"
                with files.replacing(options.json) as file:
                    file.write(text.encode())
    for name, count in report.left_out.items():
        print(f"left out for time: {count} of {name}")
    return int(any(row.failure and row.ours for row in report.rows))


if __name__ == "__main__":
    sys.exit(main())
