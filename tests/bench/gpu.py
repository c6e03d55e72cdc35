"""The kernels against a card's own ceilings and against their peers: ``python -m tests.bench.gpu --json gpu.json``.

First the ceilings, in this process: copying 8.6 GB and a product of 8192 x 8192 halves. A case's floor is the larger
of bytes / copy and flops / product. Times are medians over replays of a CUDA graph of 20 calls, which go through
enough sets of inputs (at least 4, and 240 MB) that the L2 cache does not serve them. Peers run in the same call, on
the same data, and every result's error against float64 stands beside its time.

``--smoke`` runs everything once on tiny inputs, on the CPU where there is no card: it shows that the program works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vs_sr import ops
from vs_sr.engine import recurrence
from vs_sr.models import layers
from vs_sr.models.layers import DeformableConv
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.ops import _launch, _nvrtc, packing
from vs_sr.ops._launch import Launch

from .gpu_cases import color_cases, dcn_case, memory_cases
from .timing import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

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


class FusedDeformableConv(nn.Module):
    """A layer of the network on ``dcn_fused``: what a model would be given once it is loaded."""

    def __init__(self, layer: DeformableConv) -> None:
        super().__init__()
        convolution = layer.get_submodule(layer.name)
        self.packed = packing.pack_deformable(
            layer.weight, layer.bias, convolution.get_parameter("weight"), convolution.get_parameter("bias")
        )

    def forward(self, x: Tensor, offset_feature: Tensor) -> Tensor:
        packed = self.packed
        om = nn.functional.conv2d(offset_feature, packed.offset_weight, packed.offset_bias, padding=1)
        return ops.dcn_fused(x, om, packed.weight, packed.bias)


def with_fused(network: nn.Module) -> nn.Module:
    """The same network, its deformable convolutions replaced, in channels_last."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, DeformableConv):
                setattr(parent, name, FusedDeformableConv(child))
    return network.to(memory_format=torch.channels_last)


def networks(bench: Bench, height: int, width: int) -> None:
    """Milliseconds per new output frame; a window of 4 inputs makes 6 of them, one of 2 makes 2."""
    from torchvision.ops import deform_conv2d as torchvision_dcn  # type: ignore[import-untyped]

    def torchvision(
        x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0
    ) -> Tensor:
        found: Tensor = torchvision_dcn(x, offset, weight, bias, padding=padding, mask=mask)
        return found

    def build(dtype: torch.dtype) -> nn.Module:
        torch.manual_seed(0)
        small = {"front_blocks": 1, "back_blocks": 1} if bench.smoke else {}
        network = ZoomingSlowMo(**small)  # type: ignore[arg-type]
        for name, parameter in network.named_parameters():
            if "conv_offset_mask" in name:  # zero in a new network, which deforms nothing
                nn.init.normal_(parameter, std=0.05)
        return network.to(bench.device, dtype).eval()

    inputs = 2 if bench.smoke else 4
    made = 2 * (inputs - 1)
    frames = bench.normal(1, 3 * inputs, height, width, scale=0.2).add_(0.5).view(1, inputs, 3, height, width)
    ours = vars(layers)["deform_conv2d"]
    variants = {
        "torchvision fp32": (torch.float32, torchvision, False),
        "torchvision fp16": (torch.float16, torchvision, False),
        "vs_sr deform_conv2d fp16": (torch.float16, ours, False),
        "vs_sr dcn_fused fp16": (torch.float16, ours, True),
    }
    with torch.inference_mode():
        for name, (dtype, operator, fused) in variants.items():
            network = build(dtype)
            if fused:
                network = with_fused(network)
            given = frames.to(dtype)

            def work(network: nn.Module = network, given: Tensor = given) -> None:
                recurrence.sequence(network, given, 2)

            vars(layers)["deform_conv2d"] = operator
            try:
                seconds, captured = bench.seconds(work, calls=made, replays=5)
            finally:
                vars(layers)["deform_conv2d"] = ours
            bench.report.network[name] = seconds * 1e3
            floor = NETWORK_FLOPS * height * width / (270 * 480) / bench.report.gemm_flops_per_second
            print(
                f"network, {name:26}: {seconds * 1e3:8.2f} ms a frame, {seconds / floor:6.2f} x floor"
                f"{'' if captured else ' (no graph)'}",
                flush=True,
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 2 where there is no card."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description="Measure the CUDA kernels.")
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--smoke", action="store_true", help="everything once on tiny inputs, on any machine")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() and not options.smoke:
        print("there is no CUDA device; --smoke shows that the program works", file=sys.stderr)
        return 2
    ops.prepare("cuda" if torch.cuda.is_available() else "cpu", color_conversion=True)
    bench = Bench(smoke=options.smoke)
    report = bench.report
    print(f"{report.device}: copy {report.copy_bytes_per_second / 1e12:.2f} TB/s, ", end="")
    print(f"product {report.gemm_flops_per_second / 1e12:.0f} TFLOP/s\n{report.versions['kernels']}")

    levels = {"L1": (270, 480), "L2": (135, 240), "L3": (68, 120)}
    large = {"L1": (540, 960), "L2": (270, 480), "L3": (135, 240)}
    sizes = [(f"480x270 {name}", *size) for name, size in levels.items()]
    sizes += [(f"960x540 {name}", *size) for name, size in large.items()] + [("112x64", 64, 112)]
    batches, sigmas = [1, 2, 4], [0.5, 4.0, 32.0]
    if options.smoke:
        sizes, batches, sigmas = [("smoke", 6, 8)], [1, 2], [0.5]
    for name, height, width in sizes:
        for batch in batches:
            for sigma in sigmas if batch == 1 else sigmas[:1]:
                compiled = not options.smoke and (name, batch, sigma) == (sizes[0][0], 1, 0.5)
                bench.run(dcn_case(bench, name, batch, height, width, sigma, compiled=compiled))
    low, high = ((8, 8), (16, 16)) if options.smoke else ((270, 480), (1080, 1920))
    for case in (*memory_cases(bench, *low), *color_cases(bench, *high)):
        bench.run(case)
    convolutions(bench, *low)
    gather(bench, *low)
    networks(bench, *low)
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
