"""The CUDA kernels run on the CPU, from their own source and through their own launchers.

Each is compared with a float64 reference in torch, in four orders of its threads (all must give the same bits), in
memory that ends at a guard page and begins as NaN. The mutants at the end are the proof that this can fail.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import golden
from helpers.emulation import emulator as emulation
from helpers.emulation.checks import FLOAT, HALF, Mutated, channels_last, error, mutant, normal, output, seen
from helpers.emulation.emulator import Emulator, empty_like, run_all_orders
from torch.nn import functional as F
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d  # type: ignore[import-untyped]

from vs_sr.models.zooming_slow_mo.network import PCDAlign
from vs_sr.ops import deform_conv2d, fused, packing, sample

if TYPE_CHECKING:
    from torch import Tensor

    from vs_sr.ops._launch import Launch

type Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""x, om (offsets in pixels, logits), packed weights, biases."""


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    return emulation.shared()


# The fused deformable convolution


def dcn_inputs(batch: int, height: int, width: int, sigma: float, *, sets: int = 1, channels: int = 64) -> Inputs:
    """Normal numbers; offsets of ``sigma`` pixels."""
    om = normal(batch, packing.offset_mask_channels(channels), height, width, seed=1, dtype=torch.float32)
    om[:, : 18 * channels // 8] *= sigma
    weights = [packing.pack_dcn_weight(normal(channels, channels, 3, 3, seed=2 + s, scale=1 / 24)) for s in range(sets)]
    bias = normal(sets, channels, seed=9, dtype=torch.float32)
    return normal(batch, channels, height, width), om.half(), torch.stack(weights), bias


def run_dcn(emulator: Emulator, inputs: Inputs, *, slope: float = 0.1, wave: int = 1) -> Tensor:
    """By default with the largest tile."""

    def launch(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Launch:
        return fused.fused_launch(x, om, weight, bias, out, slope, wave=wave)

    (out,) = run_all_orders(emulator, launch, inputs, [output(*inputs[0].shape)])
    return out


def dcn_reference(inputs: Inputs, slope: float = 0.1) -> Tensor:
    x, om, weight, bias = inputs
    return fused.fused_reference(x.double(), om.double(), weight.double(), bias.double(), slope)


def test_reference_of_the_fused_convolution_is_torchvisions() -> None:
    x, om, packed, bias = (t.double() for t in dcn_inputs(2, 13, 17, 8))
    plain = om[:, packing.offset_mask_inverse(64)]
    expected = torchvision_deform_conv2d(
        x, plain[:, :144], packing.unpack_dcn_weight(packed[0]), bias[0], padding=1, mask=plain[:, 144:].sigmoid()
    )
    found = fused.fused_reference(x, om, packed, bias, 1.0)
    assert error(found, expected) < 1e-12
    # and in float its own error is far below what the kernel is allowed
    single = fused.fused_reference(x.float(), om.float(), packed.float(), bias.float(), 1.0)
    assert error(single, expected) < FLOAT * 10


QUICK = [((1, 5, 7), 8.0), ((2, 13, 17), 1.0)]
ALL = list(
    itertools.product(
        [(1, 1, 1), (1, 5, 7), (2, 13, 17), (1, 16, 24), (2, 16, 24), (1, 33, 20)], [0.0, 1.0, 8.0, 40.0, 1e4]
    )
)
WIDE = [((1, 2, 480), 1.0), ((1, 2, 960), 1.0), ((1, 64, 112), 2.0)]


@pytest.mark.parametrize(
    ("size", "sigma"),
    [
        *QUICK,
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (*ALL, *WIDE) if case not in QUICK),
    ],
)
def test_dcn_fused(emulator: Emulator, size: tuple[int, int, int], sigma: float) -> None:
    inputs = dcn_inputs(*size, sigma)
    assert error(run_dcn(emulator, inputs), dcn_reference(inputs)) < HALF


@pytest.mark.parametrize(
    ("size", "sigma"),
    [QUICK[1], *(pytest.param(*case, marks=pytest.mark.slow) for case in (*ALL[::4], *WIDE))],
)
def test_dcn_fused_of_32_channels(emulator: Emulator, size: tuple[int, int, int], sigma: float) -> None:
    inputs = dcn_inputs(*size, sigma, channels=32)
    inputs[1][:, 108:] = float("nan")  # what fills up the offsets and logits is not read
    assert error(run_dcn(emulator, inputs), dcn_reference(inputs)) < HALF


@pytest.mark.parametrize("channels", packing.WIDTHS)
def test_dcn_fused_into_a_wider_buffer(emulator: Emulator, channels: int) -> None:
    inputs = dcn_inputs(2, 5, 7, 2.0, channels=channels)

    def launch(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Launch:
        return fused.fused_launch(x, om, weight, bias, out, 0.1, channel=channels, wave=1)

    (out,) = run_all_orders(emulator, launch, inputs, [output(2, 3 * channels, 5, 7)])
    assert torch.equal(out[:, channels : 2 * channels], run_dcn(emulator, inputs))
    assert out[:, :channels].isnan().all()  # what is not ours stays as it was
    assert out[:, 2 * channels :].isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("channels", packing.WIDTHS)
def test_dcn_fused_gives_the_same_bits_with_every_tile(emulator: Emulator, channels: int) -> None:
    inputs = dcn_inputs(4, 20, 36, 2.0, sets=2, channels=channels)
    expected = dcn_reference(inputs)
    x, om, weight, bias = inputs
    waves = (1, 20, 1000)
    launches = [fused.fused_launch(x, om, weight, bias, x, 0.1, wave=wave) for wave in waves]
    assert [launch.kernel for launch in launches] == [*fused.FUSED[channels].values()]
    outs = [run_dcn(emulator, inputs, wave=wave) for wave in waves]
    assert error(outs[0], expected) < HALF
    for out in outs[1:]:
        assert torch.equal(out, outs[0])


def test_dcn_fused_serves_several_weight_sets(emulator: Emulator) -> None:
    inputs = dcn_inputs(4, 3, 5, 2.0, sets=2)
    out = run_dcn(emulator, inputs, slope=1.0, wave=1000)
    assert error(out, dcn_reference(inputs, 1.0)) < HALF
    x, om, weight, bias = inputs
    alone = channels_last(x[2:]), channels_last(om[2:]), weight[1:].clone(), bias[1:].clone()
    assert torch.equal(out[2:], run_dcn(emulator, alone, slope=1.0, wave=1000))


def test_dcn_fused_at_exact_borders_and_beyond(emulator: Emulator) -> None:
    x, om, weight, bias = dcn_inputs(1, 9, 11, 1.0)
    generator = torch.Generator().manual_seed(5)
    special = torch.tensor([-1.0, 0.0, 1.0, 8.0, 9.0, 10.0, -0.5, 65504.0, -65504.0])
    om[:, :144] = special[torch.randint(9, (1, 144, 9, 11), generator=generator)].half()
    inputs = (x, channels_last(om), weight, bias)
    assert error(run_dcn(emulator, inputs), dcn_reference(inputs)) < HALF


def test_dcn_fused_reads_nothing_for_offsets_that_are_no_numbers(emulator: Emulator) -> None:
    x, om, weight, bias = dcn_inputs(1, 5, 7, 1.0)
    om[:, :144] = torch.tensor([float("nan"), float("inf"), -float("inf")])[torch.arange(144) % 3][:, None, None].half()
    out = run_dcn(emulator, (x, om, weight, bias), slope=1.0)
    assert torch.equal(out.float(), bias[0].half().float().view(1, 64, 1, 1).expand_as(out))


def test_dcn_fused_without_offsets_is_a_convolution(emulator: Emulator) -> None:
    x, om, weight, bias = dcn_inputs(1, 13, 17, 0.0)
    om[:, 144:] = 65504.0  # the mask is 1
    out = run_dcn(emulator, (x, om, weight, bias), slope=1.0)
    plain = F.conv2d(x.double(), packing.unpack_dcn_weight(weight[0]).double(), bias[0].double(), padding=1)
    assert error(out, plain) < HALF
    twice = run_dcn(emulator, (x * 2, om, weight, bias * 2), slope=1.0)
    assert torch.equal(twice, out * 2)  # linear, to the bit: a factor of two moves exponents alone


def test_dcn_fused_moves_with_the_image(emulator: Emulator) -> None:
    x, om, weight, bias = dcn_inputs(1, 12, 16, 0.0)
    plain = om[:, packing.offset_mask_inverse(64)].clone()
    plain[:, 0:144:2] = 2.0  # dy
    plain[:, 1:144:2] = -3.0  # dx
    moved = channels_last(plain[:, packing.offset_mask_order(64)])
    shifted = channels_last(torch.roll(x, (-2, 3), (2, 3)))
    inside = (slice(None), slice(None), slice(1, 9), slice(4, 15))  # what neither border reaches
    there = run_dcn(emulator, (x, moved, weight, bias))[inside]
    here = run_dcn(emulator, (shifted, om, weight, bias))[inside]
    assert torch.equal(there, here)


@pytest.mark.parametrize("case", ["big", "mild"])
def test_dcn_fused_on_golden_vectors(emulator: Emulator, case: str) -> None:
    arrays = {key: torch.from_numpy(array) for key, array in golden.load("dcnv2").items()}
    x, offset, mask, weight, bias, expected = (
        arrays[f"{case}/{name}"] for name in ("x", "offset", "mask", "weight", "bias", "out")
    )
    om = torch.cat([offset, torch.logit(mask.double()).float()], 1)[:, packing.offset_mask_order(64)]
    inputs = (
        channels_last(x.half()),
        channels_last(om.half()),
        packing.pack_dcn_weight(weight.half())[None],
        bias[None],
    )
    out = run_dcn(emulator, inputs, slope=1.0)
    assert error(out, dcn_reference(inputs, 1.0)) < HALF
    assert error(out, expected.double()) < 3e-3  # the vector's inputs are floats: rounding them to half is the rest


# The sampling kernel

GEOMETRIES = {  # channels, groups, kernel, stride, padding, dilation
    "network": (64, 8, (3, 3), (1, 1), (1, 1), (1, 1)),
    "strided": (32, 4, (3, 3), (2, 1), (1, 0), (1, 2)),
    "odd channels": (6, 2, (3, 2), (1, 2), (2, 1), (2, 1)),
    "one tap": (16, 1, (1, 1), (1, 1), (0, 0), (1, 1)),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    "geometry",
    ["network", "odd channels", *(pytest.param(name, marks=pytest.mark.slow) for name in ("strided", "one tap"))],
)
def test_dcn_sample(emulator: Emulator, geometry: str, dtype: torch.dtype) -> None:
    channels, groups, kernel, stride, padding, dilation = GEOMETRIES[geometry]
    batch, height, width = 2, 9, 13
    size = [
        (n + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i, n in enumerate((height, width))
    ]
    taps = kernel[0] * kernel[1]
    x = normal(batch, channels, height, width, dtype=dtype)
    om = normal(batch, 3 * groups * taps, size[0], size[1], seed=1, scale=3.0, dtype=dtype)
    pixels = batch * size[0] * size[1]
    for logits, first, count in ((True, 0, pixels), (False, 5, pixels - 11)):

        def launch(x: Tensor, om: Tensor, col: Tensor, logits: bool = logits, first: int = first) -> Launch:
            return sample.sample_launch(x, om, col, groups, kernel, stride, padding, dilation, logits, first)

        (col,) = run_all_orders(emulator, launch, [x, om], [torch.zeros(count, taps * channels, dtype=dtype)])
        expected = sample.sample_reference(
            x.double(), om.double(), groups, kernel, stride, padding, dilation, logits, first, count
        )
        assert error(col, expected) < (FLOAT if dtype == torch.float32 else HALF)


@pytest.mark.parametrize("case", ["big", "mild", "g1"])
def test_dcn_sample_on_golden_vectors(emulator: Emulator, case: str) -> None:
    arrays = {key: torch.from_numpy(array) for key, array in golden.load("dcnv2").items()}
    x, offset, mask, weight, bias, expected = (
        arrays[f"{case}/{name}"] for name in ("x", "offset", "mask", "weight", "bias", "out")
    )
    groups = mask.shape[1] // 9
    om = channels_last(torch.cat([offset, mask], 1))
    three = (3, 3), (1, 1), (1, 1), (1, 1)

    def launch(x: Tensor, om: Tensor, col: Tensor) -> Launch:
        return sample.sample_launch(x, om, col, groups, *three, False, 0)

    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    (col,) = run_all_orders(emulator, launch, [channels_last(x), om], [torch.zeros(pixels, 9 * x.shape[1])])
    matrix = weight.permute(2, 3, 1, 0).reshape(col.shape[1], -1)
    out = (col @ matrix + bias).view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)
    assert float((out - expected).abs().max()) < golden.TOLERANCE


# Packed layers against plain ones


def test_packed_deformable_layer_is_the_plain_one(emulator: Emulator) -> None:
    layer = golden.fill(PCDAlign(64, 8), "pcd_align.").get_submodule("L1_dcnpack_1").double()
    x, feature = normal(1, 64, 12, 19).double(), normal(1, 64, 12, 19, seed=1).double()
    expected = F.leaky_relu(layer(x, feature), 0.1)

    names = ("weight", "bias", "conv_offset_mask.weight", "conv_offset_mask.bias")
    packed = packing.pack_deformable(*(layer.get_parameter(name) for name in names))
    om = F.conv2d(feature, packed.offset_weight, packed.offset_bias, padding=1)
    offsets = om[:, :144].abs()
    assert float(offsets.max()) > 1  # pixels: the layer does deform
    out = run_dcn(emulator, (x.half(), channels_last(om.half()), packed.weight.half(), packed.bias), slope=0.1)
    assert error(out, expected) < 2e-3  # of which rounding the offsets and the weights to half is the most


# Mutants: what these tests are able to see


FUSED_MUTANTS = {
    "no barrier": ("    __syncthreads();  // the weights are here\n", "", "bits|error inf"),
    "no wait for the copies": ("    async_wait();\n", "", "never waited for"),
    "coordinates in half": (
        "base_x[i % 2] + tap_x + d.y;",
        "__half2float(__float2half_rn(base_x[i % 2] + tap_x + d.y));",
        "error",
    ),
    "corner unchecked": (
        "if ((unsigned)cy < (unsigned)height && (unsigned)cx < (unsigned)width)",
        "if ((unsigned)cy < (unsigned)height)",
        "error|invalid access",
    ),
    "store unchecked": ("if (py < height && px < width) store16", "store16", "bits|error|invalid access"),
    "x and y exchanged": ("y[i] = base_y[i / 2] + tap_y + d.x;", "y[i] = base_y[i / 2] + tap_y + d.y;", "error"),
    "wrong corner": ("cx = ix + i % 2;", "cx = ix + i / 2;", "error"),
    "wrong group": ("const unsigned char *group = x + s * 64;", "const unsigned char *group = x + s * 32;", "error"),
    "wrong mask": ("tap * 2 * GROUPS + q * 2 * HALVES;", "tap * 2 * GROUPS + q * HALVES;", "error|aligned"),
    "misaligned": (
        "om_pixel[i] + tap * 4 * GROUPS",
        "om_pixel[i] + tap * 9 * GROUPS / 2",
        "aligned",
    ),
    "wrong fragment": ("a0[2], a1[2], a0[3], a1[3], b.z, b.w", "a0[3], a1[3], a0[2], a1[2], b.z, b.w", "error"),
    "divergent collective": (
        "if (__all_sync(0xffffffffu, inside)) {",
        "if (inside && __all_sync(0xffffffffu, inside)) {",
        "diver",
    ),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "coordinates in half" else pytest.param(name, marks=pytest.mark.slow) for name in FUSED_MUTANTS],
)
def test_mutants_of_the_fused_convolution_are_seen(emulator: Emulator, name: str) -> None:
    old, new, symptom = FUSED_MUTANTS[name]
    text = mutant(fused.FUSED[64][8, 2], old, new)
    size, wave = ((1, 2, 480), 1000) if name == "coordinates in half" else ((1, 7, 19), 1)
    inputs = dcn_inputs(*size, 2.0)
    found = seen(lambda: error(run_dcn(Mutated(emulator, text), inputs, wave=wave), dcn_reference(inputs)))
    assert any(part in found for part in symptom.split("|")), f"{name}: {found or 'not seen'}"


def test_a_missing_barrier_needs_the_greedy_order(emulator: Emulator) -> None:
    """Why there are four orders: the other three finish all copies before the first product."""
    old, new, _ = FUSED_MUTANTS["no barrier"]
    mutated = Mutated(emulator, mutant(fused.FUSED[64][8, 2], old, new))
    inputs = dcn_inputs(1, 5, 7, 1.0)
    x, om, weight, bias = inputs
    wrong = []
    for order in emulation.ORDERS:
        out = empty_like(x)
        mutated.run(fused.fused_launch(x, om, weight, bias, out, 0.1, wave=1), order)
        if not error(out, dcn_reference(inputs)) < HALF:
            wrong.append(order)
    assert "greedy" in wrong


def test_deform_conv2d_agrees_with_what_the_kernels_are_measured_by() -> None:
    """One reference for both operators."""
    x, om, packed, bias = (t.double() for t in dcn_inputs(1, 5, 7, 2.0))
    plain = om[:, packing.offset_mask_inverse(64)]
    out = deform_conv2d(
        x, plain[:, :144], plain[:, 144:].sigmoid(), packing.unpack_dcn_weight(packed[0]), bias[0], padding=1
    )
    columns = sample.sample_matmul(x, plain, packing.unpack_dcn_weight(packed[0]), bias[0], groups=8)
    assert error(columns, out) < 1e-12
