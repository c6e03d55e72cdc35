"""From an operator to its kernel: the implementations for CUDA, with an emulator in the card's place.

Inputs come as a network may have them: NCHW, in the middle of a buffer, at an odd address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from helpers.emulation import card as emulated
from helpers.emulation.checks import HALF, error, normal, output

from vs_sr.ops import _launch, color, deform, fused, packing, recurrent, sample, shuffle

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A card that is an emulator; the kernels that it has run."""
    return emulated.insert(monkeypatch)


def awkward(tensor: Tensor) -> Tensor:
    """The same numbers, contiguous and two bytes off a 16-byte boundary."""
    memory = torch.empty(tensor.numel() + 8, dtype=tensor.dtype)
    start = 1 + (16 - memory.data_ptr() % 16) % 16 // tensor.element_size()
    view = memory[start : start + tensor.numel()].view(tensor.shape)
    assert view.data_ptr() % 16
    return view.copy_(tensor)


def test_dcn_fused(card: list[str]) -> None:
    x, om = normal(2, 64, 5, 6), normal(2, 216, 5, 6, seed=1)
    weight = torch.stack([packing.pack_dcn_weight(normal(64, 64, 3, 3, seed=s, scale=1 / 24)) for s in (2, 3)])
    bias = normal(2, 64, seed=4, dtype=torch.float32)
    expected = fused._dcn_fused(x, om, weight, bias, 0.1)
    assert card == ["dcn_fused"]
    again = fused._dcn_fused(awkward(x), awkward(om), awkward(weight), awkward(bias), 0.1)
    assert torch.equal(again, expected)
    assert error(expected, dcn_reference(x, om, weight, bias)) < HALF


def dcn_reference(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    parts = []
    for i in range(2):  # apart from the operators, so that nothing comes back to the kernels
        plain = om[i : i + 1, packing.offset_mask_inverse(64)].double()
        parts.append(
            torch.ops.vs_sr.deform_conv2d(
                *(x[i : i + 1].double(), plain[:, :144], plain[:, 144:].sigmoid()),
                *(packing.unpack_dcn_weight(weight[i]).double(), bias[i].double(), [1, 1], [1, 1], [1, 1]),
            )
        )
    return torch.nn.functional.leaky_relu(torch.cat(parts), 0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_deform_conv2d(card: list[str], dtype: torch.dtype) -> None:
    """Another stride, dilation and number of groups than the fused kernel's; whole vectors, and single channels."""
    for channels, groups in ((32, 2), (6, 3)):
        x, weight = normal(2, channels, 7, 9, dtype=dtype), normal(5, channels, 3, 3, seed=1, scale=0.1, dtype=dtype)
        offset, mask = (normal(2, groups * n, 3, 4, seed=n, scale=2, dtype=dtype) for n in (18, 9))
        bias = normal(5, seed=4, dtype=dtype)
        how = [2, 2], [1, 1], [2, 2]
        found = sample._deform_conv2d(awkward(x), awkward(offset), awkward(mask), weight, bias, *how)
        wide = (tensor.double() for tensor in (x, offset, mask, weight, bias))
        assert error(found, deform.forward(*wide, *how)) < (2 * HALF if dtype == torch.float16 else 1e-6)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert card == ["dcn_sample"] * 2


def test_elementwise(card: list[str]) -> None:
    gates, cell, bias = normal(2, 256, 3, 5), normal(2, 64, 3, 5, seed=1), normal(256, seed=2, dtype=torch.float32)
    for given in ((gates, cell, bias), (awkward(gates), awkward(cell), awkward(bias))):
        g, c, b = given
        for found, wanted in zip(
            recurrent._lstm_gates(g, b, c), recurrent.gates_reference(gates.double(), bias, cell.double()), strict=True
        ):
            assert error(found, wanted) < HALF
        expected = shuffle.shuffle_reference(gates.double(), bias, 0.1)
        assert error(shuffle._shuffle2(g, b, 0.1), expected) < HALF
        expected = recurrent.bias_reference(cell.double(), bias[:64], 0.1, cell)
        assert error(recurrent._bias_act_res(c, b[:64], 0.1, c), expected) < HALF
        into = output(2, 128, 3, 5)
        recurrent._act_into(c, b[:64], 0.1, c, into, 64)
        assert error(into[:, 64:], expected) < HALF
        larger, wanted = output(2, 128, 6, 10), output(2, 64, 6, 10, dtype=torch.float64)
        recurrent._up2_into(c, larger, 64, 2.0)
        recurrent.up2_reference(cell.double(), wanted, 0, 2.0)
        assert error(larger[:, 64:], wanted) < HALF
    assert set(card) == {"lstm_gates", "shuffle2", "bias_act_res", "up2_into"}


def test_what_the_kernels_do_not_take_is_done_in_torch(card: list[str]) -> None:
    odd = normal(1, 12, 3, 5)
    recurrent._bias_act_res(odd, None, 0.1, None)  # channels that are no multiple of 8
    recurrent._lstm_gates(normal(1, 24, 3, 5), None, normal(1, 6, 3, 5))
    shuffle._shuffle2(odd, None, 0.1)
    recurrent._act_into(normal(1, 8, 3, 5), None, 0.1, None, output(1, 16, 3, 5), 3)
    recurrent._bias_act_res(normal(1, 8, 3, 5, dtype=torch.float32), None, 0.1, None)
    assert card == []


def test_color(card: list[str]) -> None:
    rgb = normal(3, 10, 12, dtype=torch.float32).mul_(0.2).add_(0.5)
    planes = color._rgb_to_yuv(rgb, 10, [1, 1], 1, False, 0, "bicubic")
    expected = color.down_reference(rgb, 10, [1, 1], 1, False, 0, "bicubic")
    for found, wanted in zip(planes, expected, strict=True):
        assert int((found.to(torch.int32) - wanted.to(torch.int32)).abs().max()) <= 1
    y, u, v = planes
    image = color._yuv_to_rgb(y, u, v, 10, 1, False, 0, "bicubic")
    assert torch.allclose(image, color.up_reference(y, u, v, 10, 1, False, 0, "bicubic"), atol=1e-5)
    assert card == ["rgb_to_yuv", "yuv_to_rgb"]


def test_tensors_of_several_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="dcn_fused: all tensors must be on one device, got cpu, meta"):
        _launch.check_device("dcn_fused", torch.zeros(1), None, torch.zeros(1, device="meta"))


def test_an_empty_grid_is_not_launched() -> None:
    x = output(0, 8, 2, 2)
    _launch.run(recurrent.bias_launch(x, None, None, x, 0, 1.0), torch.device("cuda", 0))  # no card is asked
