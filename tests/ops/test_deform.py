"""The deformable convolution against golden vectors and torchvision, and as a citizen of torch."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import golden
from torch.library import opcheck
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

from vs_sr.ops import deform, deform_conv2d

if TYPE_CHECKING:
    from pathlib import Path


def inputs(
    batch: int,
    channels: int,
    outputs: int,
    groups: int,
    size: tuple[int, int],
    *,
    out_size: tuple[int, int] | None = None,
    kernel: int = 3,
    sigma: float = 2.0,
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    out_size = out_size or size
    taps = kernel * kernel
    return [
        normal(batch, channels, *size),
        normal(batch, 2 * groups * taps, *out_size) * sigma,
        normal(batch, groups * taps, *out_size).sigmoid(),
        normal(outputs, channels, kernel, kernel) / (channels * taps) ** 0.5,
        normal(outputs),
    ]


@pytest.mark.parametrize("case", ["big", "mild", "g1"])
def test_golden(case: str) -> None:
    arrays = golden.load("dcnv2")
    tensors = [torch.from_numpy(arrays[f"{case}/{n}"]) for n in ("x", "offset", "mask", "weight", "bias")]
    assert golden.error(deform_conv2d(*tensors, padding=1), f"{case}/out", arrays) < golden.TOLERANCE


@pytest.mark.parametrize("sigma", [0.0, 1.0, 8.0, 40.0, 1e4])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (13, 17), (64, 112), (8, 480)])
def test_equals_torchvision(size: tuple[int, int], sigma: float) -> None:
    x, offset, mask, weight, bias = inputs(2, 64, 64, 8, size, sigma=sigma)
    expected = torchvision_deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
    found = deform_conv2d(x, offset, mask, weight, bias, padding=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("geometry", "out_size", "kernel"),
    [
        ({"stride": 2, "padding": 1}, (7, 9), 3),
        ({"stride": (2, 1), "padding": (0, 2)}, (6, 19), 3),
        ({"dilation": 2, "padding": 2}, (13, 17), 3),
        ({"dilation": (1, 3), "padding": (1, 0)}, (13, 11), 3),
        ({"padding": 2}, (13, 17), 5),
        ({}, (13, 17), 1),
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_other_geometries(geometry: dict[str, int], out_size: tuple[int, int], kernel: int, with_bias: bool) -> None:
    x, offset, mask, weight, bias = inputs(2, 12, 5, 3, (13, 17), out_size=out_size, kernel=kernel)
    chosen = bias if with_bias else None
    expected = torchvision_deform_conv2d(x, offset, weight, chosen, mask=mask, **geometry)
    torch.testing.assert_close(deform_conv2d(x, offset, mask, weight, chosen, **geometry), expected, atol=1e-4, rtol=0)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = inputs(1, 64, 64, 8, (33, 40))
    whole = deform_conv2d(*tensors, padding=1)
    monkeypatch.setattr("vs_sr.ops.deform._COLUMN_BYTES", 1)
    torch.testing.assert_close(deform_conv2d(*tensors, padding=1), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_a_wild_position_spoils_its_pixel_alone(value: float) -> None:
    tensors = inputs(1, 8, 4, 2, (6, 7))
    expected = deform_conv2d(*tensors, padding=1)
    tensors[1][0, 5, 2, 3] = value
    found = deform_conv2d(*tensors, padding=1)
    changed = (found != expected).any(1)[0]  # a NaN differs from everything
    assert changed.nonzero().tolist() == [[2, 3]]
    assert bool(found.isfinite().all()) == (value == value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_are_not_rounded_to_the_features_precision(dtype: torch.dtype) -> None:
    """At column 470 a half's steps are a quarter of a pixel."""
    x, offset, mask, weight, bias = inputs(1, 16, 16, 2, (4, 480))
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    exact = deform_conv2d(x.double(), offset.double(), mask.double(), weight.double(), bias.double(), padding=1)
    found = deform_conv2d(x, offset, mask, weight, bias, padding=1)
    assert found.dtype == dtype
    error = (found.double() - exact).norm() / exact.norm()
    assert error < (1e-3 if dtype == torch.float16 else 8e-3)


def test_gradients() -> None:
    tensors = [t.requires_grad_() for t in inputs(2, 2, 2, 1, (3, 4), sigma=1.0, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, padding=1), tensors)
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, padding=2, dilation=2), tensors)


@pytest.mark.slow
def test_gradients_over_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vs_sr.ops.deform._COLUMN_BYTES", 1)
    tensors = [t.requires_grad_() for t in inputs(2, 2, 2, 1, (3, 4), sigma=1.0, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, padding=1), tensors)


@pytest.mark.slow
def test_opcheck() -> None:
    geometry = ([1, 1], [1, 1], [1, 1])
    plain = inputs(2, 4, 3, 2, (5, 6))
    trained = [t.clone().requires_grad_() for t in plain]
    for tensors in (plain, trained, [*plain[:4], None], [*trained[:4], None]):
        opcheck(torch.ops.vs_sr.deform_conv2d.default, (*tensors, *geometry))
    grad = torch.randn(2, 3, 5, 6)
    opcheck(torch.ops.vs_sr.deform_conv2d_backward.default, (grad, *plain[:4], *geometry))


def test_both_ways_of_sampling_agree() -> None:
    """The CPU's, and the one of other devices and of gradients."""
    for layout in (torch.contiguous_format, torch.channels_last):
        x, offset, mask, weight, bias = inputs(2, 16, 8, 2, (13, 17), sigma=4.0)
        x, offset = x.contiguous(memory_format=layout), offset.contiguous(memory_format=layout)
        geometry = ((1, 1), (1, 1), (1, 1))
        found = deform._forward_on_cpu(x, offset, mask, weight, bias, *geometry)
        torch.testing.assert_close(found, deform.forward(x, offset, mask, weight, bias, *geometry), atol=2e-5, rtol=0)


def test_survives_compilation() -> None:
    tensors = inputs(1, 8, 8, 2, (9, 10))

    def layer(*args: torch.Tensor) -> torch.Tensor:
        return torch.relu(deform_conv2d(*args, padding=1)) + 1

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*tensors), layer(*tensors))
    compiled(*(t.requires_grad_() for t in tensors)).sum().backward()
    assert tensors[1].grad is not None
    assert tensors[1].grad.abs().sum() > 0


@pytest.mark.slow
def test_survives_inductor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Inductor's cache on disk knows nothing of the operator's code, its memory format for one.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    tensors = inputs(1, 8, 8, 2, (9, 10))
    compiled = torch.compile(lambda *args: torch.relu(deform_conv2d(*args, padding=1)) + 1, fullgraph=True)
    expected = torch.relu(deform_conv2d(*tensors, padding=1)) + 1
    torch.testing.assert_close(compiled(*tensors), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.zeros(2, 5, 5, 6)}, "x .* and weight .* do not fit"),
        ({1: torch.zeros(2, 35, 5, 6)}, r"offset must be \(2, 36, 5, 6\), got \(2, 35, 5, 6\)"),
        ({2: torch.zeros(2, 18, 5, 5)}, r"mask must be \(2, 18, 5, 6\), got"),
        ({2: torch.zeros(2, 27, 5, 6)}, "3 offset groups .* must divide the 4 channels"),
        ({4: torch.zeros(4)}, r"bias must be \(3,\), got \(4,\)"),
        ({0: torch.zeros(2, 4, 0, 6)}, "smaller than the kernel"),
    ],
)
def test_wrong_shapes_are_named(change: dict[int, torch.Tensor], message: str) -> None:
    tensors = inputs(2, 4, 3, 2, (5, 6))
    for position, tensor in change.items():
        tensors[position] = tensor
    with pytest.raises(ValueError, match=message):
        deform_conv2d(*tensors, padding=1)


@pytest.mark.slow
def test_memory_stays_bounded() -> None:
    """At 480x270 with 64 channels the columns of torchvision's way take 300 MiB; strips stay under 100."""
    code = textwrap.dedent("""
        import resource, torch
        from vs_sr.ops import deform_conv2d
        x = torch.rand(1, 64, 270, 480); offset = torch.rand(1, 144, 270, 480); mask = torch.rand(1, 72, 270, 480)
        weight = torch.rand(64, 64, 3, 3)
        deform_conv2d(x[..., :8, :8], offset[..., :8, :8], mask[..., :8, :8], weight, padding=1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out = deform_conv2d(x, offset, mask, weight, padding=1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before - out.nbytes // 1024)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extra_kib = int(done.stdout)
    assert extra_kib < 100 * 1024
