"""Layers that are computed in another way than their definition give what it gives."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
import vapoursynth as vs
from helpers.clips import moving
from torch import nn
from torch.nn import functional as F

from vs_sr import registry
from vs_sr.backends import eager
from vs_sr.engine import recurrence
from vs_sr.models.edsr.network import EDSR
from vs_sr.models.layers import Conv, DeformableConv, NearestConv, side_by_side
from vs_sr.models.mdsr.network import MDSR
from vs_sr.models.merging import MergedChain, quickened
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.training.start import single_image

if TYPE_CHECKING:
    from vs_sr.spec import Request, Runner

SIZES = ((1, 1), (1, 9), (3, 4), (4, 3), (4, 4), (5, 13), (16, 12))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_chain_is_one_convolution_up_to_the_edges(scale: int, size: tuple[int, int]) -> None:
    torch.manual_seed(scale)
    net = EDSR(scale=scale, features=12, blocks=1, value_range=1.0, inner_bias=scale != 3).eval()
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected = net(image)
        found = quickened(copy.deepcopy(net))(image)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_of_several_scales_the_one_that_is_used(scale: int) -> None:
    torch.manual_seed(scale)
    net = MDSR(scale=scale, features=12, blocks=1, value_range=1.0).eval()
    image = torch.rand(1, 3, 7, 9)
    with torch.inference_mode():
        torch.testing.assert_close(quickened(copy.deepcopy(net))(image), net(image), atol=1e-6, rtol=1e-6)


def test_a_network_without_chains_stays_as_it_is() -> None:
    net = nn.Conv2d(3, 3, 1)
    assert quickened(net) is net


def test_it_is_what_filters_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[nn.Module] = []
    opened = eager.open

    def open(request: Request) -> Runner:
        seen.extend(request.network.modules())
        return opened(request)

    (backend,) = eager.vs_sr_backends()
    monkeypatch.setitem(registry._backends, "eager", replace(backend, open=open))
    vs.core.vs_sr.EDSR(moving(1, 34, 26), device_id=-1, backend="eager").get_frame(0)
    assert any(isinstance(module, MergedChain) for module in seen)


@pytest.fixture(params=[2, 3])
def layer(request: pytest.FixtureRequest) -> NearestConv:
    torch.manual_seed(request.param)
    return NearestConv(5, 7, request.param, slope=0.2)


@pytest.mark.parametrize("size", SIZES)
def test_repetition_and_a_convolution_are_one(layer: NearestConv, size: tuple[int, int]) -> None:
    """Its gradients, too."""
    x = torch.randn(2, 5, *size, requires_grad=True)
    larger = F.interpolate(x, scale_factor=layer.step, mode="nearest")
    expected = F.leaky_relu(F.conv2d(larger, layer.weight, layer.bias, padding=1), layer.slope)
    torch.testing.assert_close(layer.one_by_one(x), expected, atol=0, rtol=0)
    found = layer(x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    inputs = [x, layer.weight, layer.bias]
    a, b = (torch.autograd.grad(made.square().sum(), inputs) for made in (found, expected))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_of_several_features_is_that_of_all_of_them(size: tuple[int, int]) -> None:
    """Its gradients, too."""
    torch.manual_seed(0)
    layer = Conv(5 + 3 + 2, 7, 3, slope=0.2)
    parts = [torch.randn(2, channels, *size, requires_grad=True) for channels in (5, 3, 2)]
    expected = F.leaky_relu(F.conv2d(torch.cat(parts, 1), layer.weight, layer.bias, padding=1), layer.slope)
    found = side_by_side(layer, parts)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    inputs = [*parts, layer.weight, layer.bias]
    a, b = (torch.autograd.grad(made.square().sum(), inputs) for made in (found, expected))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


def test_in_half_precision_it_is_rounded_once() -> None:
    torch.manual_seed(0)
    layer = Conv(8, 4, 3).bfloat16()
    parts = list(torch.randn(1, 8, 6, 6).bfloat16().split([5, 3], 1))
    expected = F.conv2d(torch.cat(parts, 1), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(side_by_side(layer, parts), expected, atol=0, rtol=0)


@pytest.fixture
def unaligned() -> ZoomingSlowMo:
    """A network that was trained without alignment, which is the identity in it."""
    torch.manual_seed(0)
    net = ZoomingSlowMo(channels=8, groups=1, front_blocks=1, back_blocks=1, hr_channels=4, base="bicubic").eval()
    single_image(net, in_alignment=0.0)
    for name, parameter in net.requires_grad_(False).named_parameters():
        if not any(part in name for part in ("pcd_", "fusion", "fea_L")):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("multi", [1, 2, 4])
def test_alignment_that_moves_nothing_is_left_out(unaligned: ZoomingSlowMo, multi: int) -> None:
    """At sizes that the pyramid does not divide, too."""
    net = quickened(copy.deepcopy(unaligned))
    assert not any(isinstance(module, DeformableConv) for module in net.modules())
    frames = torch.rand(1, 3, 3, 18, 13)
    with torch.inference_mode():
        found, expected = (recurrence.sequence(each, frames, multi) for each in (net, unaligned))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "pcd_align.L1_dcnpack_2.conv_offset_mask.bias",
        "ConvBLSTM.forward_net.pcd_h.pcd_align.L1_dcnpack_1.weight",
        "ConvBLSTM.forward_net.pcd_h.pcd_align.L1_fea_conv_1.weight",
        "ConvBLSTM.forward_net.pcd_c.fusion.bias",
    ],
)
def test_alignment_that_moves_something_stays(unaligned: ZoomingSlowMo, name: str) -> None:
    """Of the part that it is in; a fusion that takes something of the frame stays, too."""
    unaligned.get_parameter(name).view(-1)[0] += 0.25
    net = quickened(copy.deepcopy(unaligned))
    frames = torch.rand(1, 2, 3, 12, 16)
    with torch.inference_mode():
        found, expected = (recurrence.sequence(each, frames, 2) for each in (net, unaligned))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert name in dict(net.named_parameters())
