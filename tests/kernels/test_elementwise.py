"""The elementwise CUDA kernels on the CPU: see test_kernels_emulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from helpers.emulation import emulator as emulation
from helpers.emulation.checks import HALF, Mutated, channels_last, error, mutant, normal, output
from helpers.emulation.emulator import Emulator, guarded, run_all_orders
from torch.nn import functional as F

from vs_sr.models.zooming_slow_mo.network import ConvLSTMCell
from vs_sr.ops import packing, recurrent, shuffle

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from vs_sr.ops._launch import Launch
    from vs_sr.ops._nvrtc import Kernel


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    return emulation.shared()


@pytest.mark.parametrize(("channels", "size", "biased"), [(64, (2, 3, 5), True), (8, (1, 7, 2), False)])
def test_shuffle2(emulator: Emulator, channels: int, size: tuple[int, int, int], biased: bool) -> None:
    batch, height, width = size
    x = normal(batch, 4 * channels, height, width)
    bias = normal(4 * channels, seed=1, dtype=torch.float32) if biased else None

    def launch(x: Tensor, bias: Tensor | None, out: Tensor) -> Launch:
        return shuffle.shuffle_launch(x, bias, out, 0.1)

    (out,) = run_all_orders(emulator, launch, [x, bias], [output(batch, channels, 2 * height, 2 * width)])
    y = x.double() if bias is None else x.double() + bias.double().view(1, -1, 1, 1)
    plain = torch.empty_like(y)
    plain[:, packing.shuffle_order(channels)] = y  # back to (c, dy, dx)
    assert error(out, F.leaky_relu(F.pixel_shuffle(plain, 2), 0.1)) < HALF


@pytest.mark.parametrize("biased", [True, False])
def test_lstm_gates(emulator: Emulator, biased: bool) -> None:
    gates, cell = normal(2, 256, 5, 7, scale=3.0), normal(2, 64, 5, 7, seed=1)
    gates[0, ::64, 0, 0] = torch.tensor([65504.0, -65504.0, 90.0, -90.0])
    bias = normal(256, seed=2, dtype=torch.float32) if biased else None
    hidden, next_cell = run_all_orders(
        emulator, recurrent.gates_launch, [gates, bias, cell], [output(2, 64, 5, 7), torch.zeros_like(cell)]
    )
    expected = recurrent.gates_reference(gates.double(), bias, cell.double())
    assert error(hidden, expected[0]) < HALF
    assert error(next_cell, expected[1]) < HALF
    assert float((hidden.double() - expected[0]).abs().max()) < 2e-3


@pytest.mark.parametrize(("size", "channel"), [((2, 3, 5), 64), ((1, 1, 1), 0), ((1, 4, 1), 8)])
def test_up2_into(emulator: Emulator, size: tuple[int, int, int], channel: int) -> None:
    batch, height, width = size
    x = normal(batch, 64, height, width)

    def launch(x: Tensor, out: Tensor) -> Launch:
        return recurrent.up2_launch(x, out, channel, 2.0)

    (out,) = run_all_orders(emulator, launch, [x], [output(batch, 128, 2 * height, 2 * width)])
    expected = 2 * F.interpolate(x.double(), scale_factor=2, mode="bilinear", align_corners=False)
    assert error(out[:, channel : channel + 64], expected) < HALF
    others = torch.cat([out[:, :channel], out[:, channel + 64 :]], 1)
    assert bool(others.isnan().all())  # as poisoned: not written


@pytest.mark.parametrize(("channel", "biased", "slope", "residual"), [(0, True, 0.0, True), (64, False, 0.1, False)])
def test_bias_act_res(emulator: Emulator, channel: int, biased: bool, slope: float, residual: bool) -> None:
    x = normal(2, 64, 5, 7)
    bias = normal(64, seed=1, dtype=torch.float32) if biased else None
    rest = normal(2, 64, 5, 7, seed=2) if residual else None

    def launch(x: Tensor, bias: Tensor | None, rest: Tensor | None, out: Tensor) -> Launch:
        return recurrent.bias_launch(x, bias, rest, out, channel, slope)

    (out,) = run_all_orders(emulator, launch, [x, bias, rest], [output(2, 128, 5, 7)])
    expected = recurrent.bias_reference(x.double(), bias, slope, None if rest is None else rest.double())
    assert error(out[:, channel : channel + 64], expected) < HALF
    assert bool(torch.cat([out[:, :channel], out[:, channel + 64 :]], 1).isnan().all())
    if channel == 0:  # in place, over its own input
        y = guarded(x)
        emulator.run(recurrent.bias_launch(y, bias, rest, y, 0, slope), "shuffled")
        assert torch.equal(y, out[:, :64])


# Packed layers against plain ones


def test_packed_upsampling_layer_is_the_plain_one(emulator: Emulator) -> None:
    conv = torch.nn.Conv2d(64, 256, 3, padding=1).double()
    x = normal(1, 64, 6, 7).double()
    with torch.no_grad():
        expected = F.leaky_relu(F.pixel_shuffle(conv(x), 2), 0.1)
        weight, bias = packing.pack_shuffle(conv.weight, conv.bias)  # type: ignore[arg-type]
        y = channels_last(F.conv2d(x, weight, padding=1).half())

    def launch(y: Tensor, bias: Tensor, out: Tensor) -> Launch:
        return shuffle.shuffle_launch(y, bias, out, 0.1)

    (out,) = run_all_orders(emulator, launch, [y, bias], [output(1, 64, 12, 14)])
    assert error(out, expected) < HALF


def test_lstm_layer_is_the_plain_one(emulator: Emulator) -> None:
    layer = ConvLSTMCell(64).double()
    x, h, c = (normal(1, 64, 6, 7, seed=seed) for seed in range(3))
    with torch.no_grad():
        expected = layer(x.double(), h.double(), c.double())
        gates = F.conv2d(torch.cat([x, h], 1).double(), layer.conv.weight, padding=1)
        bias = layer.conv.bias.float()  # type: ignore[union-attr]
    hidden, next_cell = run_all_orders(
        emulator,
        recurrent.gates_launch,
        [channels_last(gates.half()), bias, c],
        [output(1, 64, 6, 7), output(1, 64, 6, 7)],
    )
    assert error(hidden, expected[0]) < HALF
    assert error(next_cell, expected[1]) < HALF


# Mutants

SMALL_MUTANTS: dict[str, tuple[Kernel, str, str]] = {
    "shuffle: dy and dx exchanged": (shuffle.SHUFFLE2, "(2 * (y % 2) + x % 2)", "(2 * (x % 2) + y % 2)"),
    "shuffle: row past the end": (shuffle.SHUFFLE2, "if (x >= 2 * width) return;", ""),
    "gates: i and f exchanged": (
        recurrent.GATES,
        "sigmoid(gate[1][e]) * c[e] + sigmoid(gate[0][e])",
        "sigmoid(gate[0][e]) * c[e] + sigmoid(gate[1][e])",
    ),
    "gates: past the end": (recurrent.GATES, "if (index >= vectors) return;", ""),
    "up2: no clamp": (recurrent.UP2, "min(max(near_y + (y % 2 ? 1 : -1), 0), height - 1)", "near_y + (y % 2 ? 1 : -1)"),
    "up2: weights exchanged": (recurrent.UP2, "y % 2 ? 1 : -1", "y % 2 ? -1 : 1"),
    "bias: wrong channel": (recurrent.BIAS_ACT_RES, "load8(bias + c, b);", "load8(bias, b);"),
    "bias: wrong place": (recurrent.BIAS_ACT_RES, "* out_channels + channel + c", "* channels + channel + c"),
}


@pytest.mark.parametrize("name", SMALL_MUTANTS)
@pytest.mark.slow
def test_mutants_of_the_elementwise_kernels_are_seen(emulator: Emulator, name: str) -> None:
    kernel, old, new = SMALL_MUTANTS[name]
    mutated = Mutated(emulator, mutant(kernel, old, new))
    tests: dict[Kernel, Callable[[], None]] = {
        shuffle.SHUFFLE2: lambda: test_shuffle2(mutated, 64, (2, 3, 5), True),
        recurrent.GATES: lambda: test_lstm_gates(mutated, True),
        recurrent.UP2: lambda: test_up2_into(mutated, (2, 3, 5), 64),
        recurrent.BIAS_ACT_RES: lambda: test_bias_act_res(mutated, 64, True, 0.1, True),
    }
    with pytest.raises(AssertionError):
        tests[kernel]()
