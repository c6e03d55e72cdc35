"""The operators as citizens of torch, their CPU side, packing, and the launcher with a pretended CUDA."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from helpers.support import ROOT, environment, python
from torch.library import opcheck
from torch.nn import functional as F
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d  # type: ignore[import-untyped]

from vs_sr import ops
from vs_sr.ops import _launch, _nvrtc, fused, packing, recurrent, sample, shuffle, status
from vs_sr.ops._launch import CaptureError, Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def fused_arguments(dtype: torch.dtype = torch.float32, sets: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    om = normal(2, 216, 6, 7, seed=1)
    om[:, :144] *= 2
    weight = torch.stack([packing.pack_dcn_weight(normal(64, 64, 3, 3, seed=s) / 24) for s in range(sets)])
    return normal(2, 64, 6, 7, dtype=dtype), om.to(dtype), weight.to(dtype), normal(sets, 64, seed=9), 0.1


def sample_arguments(dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    geometry = [3, 3], [1, 2], [1, 1], [1, 1]
    return normal(2, 16, 6, 7, dtype=dtype), normal(2, 54, 6, 4, seed=1, dtype=dtype), 2, *geometry, True, 3, 20


CALLS: dict[str, Callable[[torch.dtype], tuple[Any, ...]]] = {
    "dcn_fused": lambda dtype: fused_arguments(dtype, sets=2),
    "dcn_sample": sample_arguments,
    "shuffle2": lambda dtype: (normal(2, 32, 3, 5, dtype=dtype), normal(32, seed=1), 0.1),
    "lstm_gates": lambda dtype: (
        normal(2, 32, 3, 5, dtype=dtype),
        normal(32, seed=1),
        normal(2, 8, 3, 5, seed=2, dtype=dtype),
    ),
    "up2_into": lambda dtype: (normal(2, 8, 3, 5, dtype=dtype), nhwc(2, 24, 6, 10, dtype), 8, 2.0),
    "bias_act_res": lambda dtype: (
        normal(2, 8, 3, 5, dtype=dtype),
        normal(8, seed=1),
        0.1,
        normal(2, 8, 3, 5, seed=2, dtype=dtype),
    ),
    "act_into": lambda dtype: (normal(2, 8, 3, 5, dtype=dtype), None, 0.1, None, nhwc(2, 24, 3, 5, dtype), 16),
    "rgb_to_yuv": lambda dtype: (normal(3, 4, 6), 10, [1, 1], 1, False, 0, "bicubic"),
    "yuv_to_rgb": lambda dtype: (
        *(torch.randint(256, size, dtype=torch.uint8) for size in ((4, 6), (2, 3), (2, 3))),
        *(8, 1, False, 0, "bicubic"),
    ),
}


def nhwc(batch: int, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(batch, height, width, channels, dtype=dtype).permute(0, 3, 1, 2)


# Citizens of torch


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name: str, dtype: torch.dtype) -> None:
    opcheck(getattr(torch.ops.vs_sr, name).default, CALLS[name](dtype))


@pytest.mark.parametrize("name", CALLS)
def test_compiles_whole(name: str) -> None:
    arguments = CALLS[name](torch.float32)
    op = getattr(torch.ops.vs_sr, name)
    torch.compiler.reset()

    def called(*given: Any) -> list[Tensor]:
        result = op(*given)
        outputs = [result] if isinstance(result, torch.Tensor) else list(result or ())
        return [*outputs, *(t + 1 for t in given if isinstance(t, torch.Tensor) and t.is_floating_point())]

    expected = called(*(a.clone() if isinstance(a, torch.Tensor) else a for a in arguments))
    found = torch.compile(called, fullgraph=True, backend="aot_eager")(*arguments)
    for e, f in zip(expected, found, strict=True):
        assert torch.equal(e, f)


class Packed(torch.nn.Module):
    """What a network does with the operators: a deformable layer, gates, an upsampling layer, a concatenation."""

    def forward(self, x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, cell: Tensor) -> Tensor:
        y = ops.dcn_fused(x, om, weight, bias, 0.1)
        h, c = ops.lstm_gates(torch.cat([y, x, y, x], 1), cell)
        larger = ops.shuffle2(torch.cat([h, c, h, c], 1), slope=0.1)
        both = larger.new_empty((*larger.shape[:1], 128, *larger.shape[2:])).contiguous(
            memory_format=torch.channels_last
        )
        ops.up2_into(h, both, 0, 2.0)
        ops.act_into(larger, both, 64, slope=0.0)
        return ops.bias_act_res(both, residual=both)


def network_arguments() -> tuple[Tensor, ...]:
    x, om, weight, bias, _ = fused_arguments()
    return x, om, weight, bias, normal(2, 64, 6, 7, seed=5)


def test_export() -> None:
    arguments = network_arguments()
    exported = torch.export.export(Packed(), arguments)
    names = {str(node.target) for node in exported.graph.nodes if "vs_sr" in str(node.target)}
    assert {name.split(".")[1] for name in names} >= {"dcn_fused", "lstm_gates", "shuffle2", "bias_act_res"}
    assert torch.equal(exported.module()(*arguments), Packed()(*arguments))


@pytest.mark.slow
def test_inductor_keeps_the_operators_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # the cache knows nothing of an operator's code
    arguments = network_arguments()
    torch.compiler.reset()
    compiled = torch.compile(Packed(), fullgraph=True)(*arguments)
    assert torch.allclose(compiled, Packed()(*arguments), atol=1e-5)


@pytest.mark.slow
def test_import_is_light() -> None:
    code = "import sys, vs_sr.ops; print([m for m in ('cupy', 'vapoursynth') if m in sys.modules])"
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr


# The CPU side


def test_fused_convolution_on_the_cpu_is_torchvisions() -> None:
    x, om, packed, bias, slope = fused_arguments()
    plain = om[:, packing.offset_mask_inverse(64)]
    weight = packing.unpack_dcn_weight(packed[0])
    mask = plain[:, 144:].sigmoid()
    expected = F.leaky_relu(torchvision_deform_conv2d(x, plain[:, :144], weight, bias[0], padding=1, mask=mask), slope)
    assert float((ops.dcn_fused(x, om, packed, bias, slope) - expected).abs().max()) <= 2e-5


@pytest.mark.parametrize(
    ("groups", "stride", "padding", "dilation"), [(8, (1, 1), (1, 1), (1, 1)), (2, (2, 1), (0, 2), (1, 2))]
)
def test_sampling_and_a_product_are_torchvisions(
    groups: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, weight, bias = normal(2, 16, 11, 13), normal(12, 16, 3, 3, seed=1), normal(12, seed=2)
    size = [(n + 2 * p - 2 * d - 1) // s + 1 for n, s, p, d in zip((11, 13), stride, padding, dilation, strict=True)]
    om = normal(2, 27 * groups, *size, seed=3)
    expected = torchvision_deform_conv2d(
        x, om[:, : 18 * groups], weight, bias, stride, padding, dilation, om[:, 18 * groups :].sigmoid()
    )
    arguments: dict[str, Any] = {"groups": groups, "stride": stride, "padding": padding, "dilation": dilation}
    whole = ops.sample_matmul(x, om, weight, bias, **arguments)
    assert float((whole - expected).abs().max()) <= 5e-5  # of values up to 50
    monkeypatch.setattr(sample, "_COLUMN_BYTES", 9 * 16 * 4 * 25)  # 25 pixels at a time
    strips = ops.sample_matmul(x, om, weight, bias, **arguments)
    assert torch.allclose(strips, whole, atol=1e-5)
    logits = torch.cat([om[:, : 18 * groups], om[:, 18 * groups :].sigmoid()], 1)
    assert torch.allclose(ops.sample_matmul(x, logits, weight, bias, logits=False, **arguments), whole, atol=1e-5)


def test_elementwise_operators_on_the_cpu() -> None:
    gates, cell = normal(2, 32, 3, 5), normal(2, 8, 3, 5, seed=1)
    i, f, o, g = gates.chunk(4, 1)
    c = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    hidden, next_cell = ops.lstm_gates(gates, cell)
    assert torch.allclose(next_cell, c)
    assert torch.allclose(hidden, o.sigmoid() * c.tanh())

    x, bias = normal(1, 32, 3, 5), normal(32, seed=1)
    plain = torch.empty_like(x)
    plain[:, packing.shuffle_order(8)] = x + bias.view(1, -1, 1, 1)
    assert torch.equal(ops.shuffle2(x, bias, 0.1), F.leaky_relu(F.pixel_shuffle(plain, 2), 0.1))

    out = nhwc(1, 48, 3, 5, torch.float32) + 7
    ops.act_into(x, out, 8, bias=bias, slope=0.0, residual=x)
    expected = F.relu(x + bias.view(1, -1, 1, 1)) + x
    assert torch.equal(out[:, 8:40], expected)
    assert bool((out[:, :8] == 7).all())
    assert bool((out[:, 40:] == 7).all())
    assert torch.equal(ops.bias_act_res(x, bias, 0.0, x), expected)

    larger = nhwc(1, 32, 6, 10, torch.float32)
    ops.up2_into(x, larger, scale=2.0)
    assert torch.allclose(larger, 2 * F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.dcn_fused(*fused_arguments()[:3], normal(2, 64), 0.1), r"bias must be \(1, 64\)"),
        (lambda: ops.dcn_fused(normal(2, 48, 6, 7), *fused_arguments()[1:]), "C = 32 or 64"),
        (lambda: ops.dcn_fused(normal(2, 64, 6, 8), *fused_arguments()[1:]), "om must be"),
        (lambda: ops.dcn_fused(*fused_arguments(sets=3)), "S a divisor of 2 images"),
        (lambda: ops.dcn_sample(normal(1, 6, 5, 5), normal(1, 54, 5, 5), groups=4), "divisible by groups=4"),
        (lambda: ops.dcn_sample(normal(1, 6, 5, 5), normal(1, 54, 5, 4), groups=2), "om must be"),
        (lambda: ops.dcn_sample(normal(1, 6, 5, 5), normal(1, 54, 5, 5), groups=2, first=25), "first=25"),
        (lambda: ops.shuffle2(normal(1, 6, 2, 2)), r"x must be \(B, 4C, H, W\)"),
        (lambda: ops.shuffle2(normal(1, 8, 2, 2), normal(4)), r"bias must be \(8,\)"),
        (lambda: ops.lstm_gates(normal(1, 8, 2, 2), normal(1, 4, 2, 2)), "gates must be"),
        (lambda: ops.up2_into(normal(1, 8, 2, 2), nhwc(1, 8, 4, 4, torch.float32), 8), "out must be"),
        (lambda: ops.act_into(normal(1, 8, 2, 2), normal(1, 8, 2, 2)), "out must be channels_last"),
        (lambda: ops.bias_act_res(normal(1, 8, 2, 2), residual=normal(1, 8, 2, 3)), "residual like it"),
        (lambda: packing.pack_dcn_weight(normal(32, 64, 3, 3)), "needs"),
        (lambda: packing.pack_shuffle(normal(6, 3), normal(6)), r"4\*C"),
        (lambda: packing.pack_deformable(normal(64, 64, 3, 3), normal(64), normal(27, 64, 3, 3), normal(27)), "216"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Packing


def test_packing_is_a_permutation_that_can_be_undone() -> None:
    weight = torch.arange(64 * 64 * 9).view(64, 64, 3, 3)
    packed = packing.pack_dcn_weight(weight)
    assert torch.equal(packing.unpack_dcn_weight(packed), weight)
    for tap, half, tile, lane, channel in ((0, 0, 0, 0, 0), (5, 1, 6, 27, 3), (8, 1, 7, 31, 7)):
        row, q = lane // 4, lane % 4
        output = 32 * (tile // 4) + 8 * (row // 2) + 2 * (tile % 4) + row % 2
        assert packed[tap, half, tile, lane, channel] == weight[output, 8 * (q + 4 * half) + channel, tap // 3, tap % 3]

    order, inverse = packing.offset_mask_order(64), packing.offset_mask_inverse(64)
    assert torch.equal(order[inverse], torch.arange(216))
    for tap, q, half, axis in ((0, 0, 0, 0), (4, 3, 1, 1), (8, 2, 0, 1)):
        group = q + 4 * half
        assert order[16 * tap + 4 * q + 2 * half + axis] == 18 * group + 2 * tap + axis
        assert order[144 + 8 * tap + 2 * q + half] == 144 + 9 * group + tap


# The launcher, with a pretended CUDA


class FakeFunction:
    """Stands for a loaded kernel."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_regs = 32
        self.max_dynamic_shared_size_bytes = 49152
        self.launches: list[tuple[Any, ...]] = []

    def __call__(self, grid: object, block: object, args: object, *, shared_mem: int, stream: object) -> None:
        self.launches.append((grid, block, args, shared_mem, stream))


class Pretended:
    """A CUDA device of one's own making: what was loaded, and whether a graph is being captured."""

    def __init__(self) -> None:
        self.functions: list[FakeFunction] = []
        self.capturing = False
        self.stream = types.SimpleNamespace(cuda_stream=1234)


class FakeStream:
    """Stands for torch's stream."""

    cuda_stream = 1234

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[Pretended]:
    """A machine with one sm_90 card, so far as the launcher can tell."""
    machine = Pretended()

    class RawModule:
        def __init__(self, *, path: str) -> None:
            self.path = path

        def get_function(self, name: str) -> FakeFunction:
            machine.functions.append(FakeFunction(name))
            return machine.functions[-1]

    class Stream:
        @staticmethod
        def from_external(stream: FakeStream) -> tuple[str, int]:
            return "cupy stream", stream.cuda_stream

    cupy = types.ModuleType("cupy")
    cupy.RawModule = RawModule  # type: ignore[attr-defined]
    cupy.cuda = types.SimpleNamespace(Stream=Stream)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(_nvrtc, "architectures", lambda: (75, 80, 90))
    monkeypatch.setattr(_nvrtc, "cubin_file", lambda kernel, arch: f"/{kernel.name}-sm{arch}")
    monkeypatch.setattr(_launch, "_capability", lambda index: 90)
    monkeypatch.setattr(_launch, "_loaded", {})
    monkeypatch.setattr(_launch, "_broken", {})
    monkeypatch.setattr(torch.cuda, "device", Nothing)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: machine.capturing)
    for cached in (_launch._obstacle, _launch._stream_of):
        cached.cache_clear()
    yield machine
    for cached in (_launch._obstacle, _launch._stream_of):
        cached.cache_clear()


class Nothing:
    """A context that does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


CUDA = torch.device("cuda", 0)


def a_launch() -> Launch:
    x = nhwc(1, 8, 2, 2, torch.float16)
    return recurrent.bias_launch(x, None, None, x, 0, 0.5)


def test_a_launch_goes_to_torchs_stream(pretended: Pretended) -> None:
    launch = a_launch()
    _launch.run(launch, CUDA)
    _launch.run(launch, CUDA)
    (function,) = pretended.functions  # loaded once
    assert function.name == "bias_act_res"
    expected = (launch.grid, launch.block, launch.args, 0, ("cupy stream", 1234))
    assert function.launches == [expected, expected]
    assert [type(a) for a in launch.args] == [int] * 4 + [np.int32] * 4 + [np.float32]


def test_threads_load_a_kernel_once(pretended: Pretended) -> None:
    threads = [threading.Thread(target=_launch.run, args=(a_launch(), CUDA)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pretended.functions) == 1
    assert len(pretended.functions[0].launches) == 8


def test_devices_have_their_own_modules(pretended: Pretended) -> None:
    _launch.run(a_launch(), CUDA)
    _launch.run(a_launch(), torch.device("cuda", 1))
    assert len(pretended.functions) == 2


def test_loading_during_a_capture_is_refused_and_prepare_prevents_it(pretended: Pretended) -> None:
    pretended.capturing = True
    with pytest.raises(CaptureError, match=r"call vs_sr.ops.prepare\(\) first"):
        _launch.usable(recurrent.BIAS_ACT_RES, CUDA)
    pretended.capturing = False
    assert ops.prepare(CUDA)
    assert len(pretended.functions) == len(status.KERNELS)
    pretended.capturing = True
    _launch.run(a_launch(), CUDA)
    fused = [f for f in pretended.functions if f.name == "dcn_fused"]
    # of 64 channels asked of the driver when it was loaded; for 32 what there is suffices
    assert {f.max_dynamic_shared_size_bytes for f in fused} == {49152, 73728}


def test_an_old_card_samples_and_multiplies(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "_capability", lambda index: 75)
    assert not _launch.usable(fused.FUSED[64][8, 2], CUDA)
    assert _launch.usable(sample.SAMPLE[torch.float16, 1], CUDA)
    assert _launch.obstacle(CUDA) is None


@pytest.mark.parametrize("reason", ["no CuPy", "too old", "driver"])
def test_where_kernels_cannot_run_it_is_said_once(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    if reason == "no CuPy":
        monkeypatch.setitem(sys.modules, "cupy", None)
        text = r"pip install 'vs-sr\[cuda\]'"
    elif reason == "too old":
        monkeypatch.setattr(_launch, "_capability", lambda index: 61)
        text = r"compute capability 6\.1"
    else:

        def load(kernel: object, index: int) -> None:
            raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")

        monkeypatch.setattr(_launch, "_load_now", load)
        text = "CUDA_ERROR_NO_BINARY_FOR_GPU"
    with caplog.at_level(logging.WARNING, logger="vs_sr"):
        assert not ops.prepare(CUDA)
        assert not _launch.usable(shuffle.SHUFFLE2, CUDA)
    (record,) = caplog.records
    assert record.name == "vs_sr"
    assert "torch operators instead" in record.getMessage()
    assert re.search(text, str(_launch.obstacle(CUDA)))


def test_status_names_every_device(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no CUDA device" in ops.kernel_status() or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setitem(_launch._broken, 1, "no such thing")
    first, second = ops.kernel_status().splitlines()
    assert first.startswith("CUDA kernels on cuda:0 (Card 0): sm_90, ")
    assert second == "CUDA kernels on cuda:1 (Card 1): not used, no such thing"


def test_nothing_is_prepared_on_the_cpu() -> None:
    assert not ops.prepare("cpu")


# The benchmark, as far as it goes without a card


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    report = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.gpu", "--smoke", "--json", str(report)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(report.read_text(encoding="utf-8"))
    own = [row for row in content["rows"] if not row["contender"].startswith("deformops")]  # a peer that may be missing
    assert not [row["failure"] for row in own if row["failure"]]
    assert not content["left_out"]
    assert {row["contender"] for row in content["rows"]} >= {"dcn_fused", "torchvision fp16 (op alone)", "shuffle2"}
    assert {row["contender"] for row in content["rows"] if row["ours"]} >= {"dcn_fused", "shuffle2"}
    assert all(row["error"] < 2e-3 for row in content["rows"] if row["error"] is not None)
    assert set(content["network"]) >= {"torchvision fp32", "vs_sr kernels fp16"}
