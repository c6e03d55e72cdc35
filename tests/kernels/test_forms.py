"""Networks whose layers are exchanged for their forms give what plain ones give, by the operators' references and by
the emulated kernels; and the backend that does it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden
from helpers.emulation import card
from helpers.recorder import Recorder
from torch import nn

import vs_sr
from vs_sr import registry
from vs_sr.backends import kernels
from vs_sr.backends.kernels import forms, graphs
from vs_sr.engine import recurrence
from vs_sr.errors import DeviceError
from vs_sr.models import layers
from vs_sr.models.zooming_slow_mo.network import ConvLSTMCell
from vs_sr.ops import status
from vs_sr.spec import Request, Variant
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

SINGLE = 1e-4
"""Largest difference of a whole network in float32."""

NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ZoomingSlowMo, published width": ("ZoomingSlowMo", {"front_blocks": 1, "back_blocks": 2}),
    "ZoomingSlowMo, shipped": ("ZoomingSlowMo", {}),
    "EDVR": ("EDVR", {"front_blocks": 1, "back_blocks": 1}),
    "EDVR, 16 channels a group": ("EDVR", {"channels": 32, "groups": 2, "front_blocks": 1, "back_blocks": 1}),
    "BasicVSR": ("BasicVSR", {"channels": 16, "blocks": 2, "hr_channels": 16}),
    "ESRGAN": ("ESRGAN", {"steps": (2, 2), "unshuffle": 1, "features": 16, "blocks": 1, "growth": 8}),
    "MSRResNet": ("SRResNet", {"norm": False, "scale": 4, "features": 16, "blocks": 1}),
}


def plain(name: str) -> nn.Module:
    """With weights that do displace, in float32."""
    model, config = NETWORKS[name]
    if name.endswith("shipped"):
        spec = registry.model(model)
        assert spec.weights is not None
        source = store.shipped(spec.weights)
        net = store.network(spec, store.recognize(spec, source).variant, source)
    else:
        net = golden.fill(registry.model(model).build(Variant(scale=4, config=config)))
    return net.eval().requires_grad_(False)


def run(network: nn.Module, size: tuple[int, int] = (12, 16)) -> Tensor:
    dtype = torch.float64 if next(network.parameters()).dtype == torch.float64 else torch.float32
    frames = golden.draw01("input", (1, 5, 3, *size)).to(dtype)
    with torch.inference_mode():
        if hasattr(network, "forward_step"):
            return recurrence.sequence(network, frames[:, :3], 2 if hasattr(network, "pcd_align") else 1)
        if hasattr(network, "encode"):
            return recurrence.multi_frame(network, frames)
        return network(frames[:, 0])  # type: ignore[no-any-return]


def off(found: Tensor, expected: Tensor) -> float:
    """Relative L2."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_in_float32_a_network_is_what_it_was(name: str) -> None:
    net = plain(name)
    expected = run(net)
    found = run(forms.exchanged(copy.deepcopy(net), torch.float32))
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < SINGLE * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize(
    "name", [name if name.endswith("shipped") else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_in_half_it_is_as_near_as_torch_s_own(name: str) -> None:
    """To float64: within twice the error of the plain network in half."""
    net = plain(name)
    expected = run(copy.deepcopy(net).double())
    usual = off(run(copy.deepcopy(net).half()), expected)
    assert usual < 0.05
    assert off(run(forms.exchanged(copy.deepcopy(net), torch.float16)), expected) < 2 * usual


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith(("ZoomingSlowMo", "EDVR"))])
def test_on_emulated_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network at 16x12, launched as on a card."""
    net = plain(name)
    expected = run(copy.deepcopy(net).double())
    usual = off(run(copy.deepcopy(net).half()), expected)
    exchanged = forms.exchanged(copy.deepcopy(net), torch.float16)
    launched = card.insert(monkeypatch)
    assert off(run(exchanged), expected) < 2 * usual
    deformed = "dcn_sample" if name.endswith("a group") else "dcn_fused"
    used = {deformed, "bias_act_res", "shuffle2", "up2_into"} | ({"lstm_gates"} if "Zooming" in name else set())
    assert set(launched) == used


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_that_has_a_form_is_exchanged(name: str) -> None:
    net = forms.exchanged(plain(name), torch.float16)
    left = [
        type(module)
        for module in net.modules()
        if type(module) in (layers.DeformableConv, layers.ResidualBlock, layers.Align, ConvLSTMCell)
        or (type(module) in (layers.Conv, layers.NearestConv, layers.ShuffleConv) and module.out_channels % 8 == 0)
    ]
    assert left == []
    for module in net.modules():
        expected = torch.float32 if isinstance(module, forms._Form) else torch.float16
        assert all(buffer.dtype == expected for buffer in module.buffers(recurse=False))
        assert all(weight.dtype == torch.float16 for weight in module.parameters(recurse=False))


def test_layers_of_other_shapes_stay_or_are_sampled() -> None:
    assert forms.exchanged(layers.conv3(8, 3), torch.float32).weight.shape == (3, 8, 3, 3)
    assert type(forms.exchanged(layers.conv3(8, 3), torch.float32)) is layers.Conv
    assert type(forms.exchanged(layers.conv3(8, 8, bias=False), torch.float32)) is layers.Conv
    assert type(forms.exchanged(layers.ShuffleConv(8, 8, 3), torch.float32)) is layers.ShuffleConv
    assert type(forms.exchanged(layers.NearestConv(8, 8, 3), torch.float32)) is layers.NearestConv
    for channels, groups in ((16, 2), (64, 4), (128, 8)):
        layer = layers.DeformableConv(channels, groups)
        assert type(forms.exchanged(layer, torch.float32)) is forms.SampledDeformableConv
    fused = layers.DeformableConv(64, 8)
    assert type(forms.exchanged(fused, torch.float32, fused=False)) is forms.SampledDeformableConv
    assert type(forms.exchanged(layers.DeformableConv(64, 8), torch.float32)) is forms.FusedDeformableConv


def test_a_subclass_of_a_layer_keeps_its_own_way() -> None:
    class Flat(layers.Conv):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1, 2))

    net = nn.Sequential(Flat(8, 8, 1), layers.conv3(8, 8))
    exchanged = forms.exchanged(net, torch.float32)
    assert type(exchanged[0]) is Flat  # type: ignore[index]
    assert type(exchanged[1]) is forms.Conv  # type: ignore[index]


# The backend


def request_for(tmp_path: Path, device: str = "cuda:0") -> Request:
    model = registry.model("ZoomingSlowMo")
    config = {"channels": 32, "groups": 4, "front_blocks": 1, "back_blocks": 1, "hr_channels": 32}
    variant = Variant(scale=4, config=config)
    return Request(
        model=model,
        variant=variant,
        load=lambda: model.build(variant).eval().requires_grad_(False),
        device=device,
        precision="fp16",
        batch=1,
        sizes=((16, 12),),
        cache=tmp_path,
    )


def test_the_backend_is_for_halves_on_cuda() -> None:
    backend = registry.backend("kernels")
    assert backend.priority > registry.backend("eager").priority
    assert backend.obstacle("cpu") == "its kernels are CUDA, and cpu has none"
    model = registry.model("ZoomingSlowMo")
    assert backend.supports(model, Variant(scale=4), "fp16")
    assert not backend.supports(model, Variant(scale=4), "fp32")
    assert not backend.supports(model, Variant(scale=4), "bf16")


def test_who_asks_for_it_without_a_card_hears_why() -> None:
    import vapoursynth as vs

    clip = vs.core.std.BlankClip(width=16, height=12, format=vs.YUV420P8, length=2)
    made = vs_sr.ZoomingSlowMo(clip, backend="kernels", device_id=-1)
    with pytest.raises(vs.Error, match="backend='kernels' cannot be used: its kernels are CUDA, and cpu has none"):
        made.get_frame(0)


def test_opened_it_runs_the_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "prepare", lambda device: True)
    monkeypatch.setattr(status, "fused", lambda device: True)
    monkeypatch.setattr(graphs, "Cuda", lambda device: Recorder())
    runner = kernels.open(request_for(tmp_path, "cpu"))
    network = runner.network.forward_step.__self__
    assert any(isinstance(module, forms.FusedDeformableConv) for module in network.modules())
    assert runner.identity.startswith("kernels ")
    assert f"torch {torch.__version__}" in runner.identity


def test_a_kernel_that_does_not_load_is_an_error_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "prepare", lambda device: False)
    monkeypatch.setattr(status, "obstacle", lambda device: "dcn_fused(...): no such instruction")
    with pytest.raises(DeviceError, match=r"do not run on cuda:0: dcn_fused\(\.\.\.\): no such instruction"):
        kernels.open(request_for(tmp_path))
