"""Every network of the package in the trainer: built, begun, recognized, run."""

import re

import pytest
import torch
from helpers import image_networks, video_networks
from safetensors.torch import load_file

from vs_sr import _names
from vs_sr.engine import recurrence
from vs_sr.errors import ArgumentError
from vs_sr.evaluation.protocols import LUMAS
from vs_sr.models.layers import DeformableConv
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.training.learner import Learner, upscale
from vs_sr.training.offsets import Offsets
from vs_sr.training.parts import blend, single_image, unaligned
from vs_sr.training.recipe import Data, Loss, Network, Recipe, Scenes, Stage

ZSM = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1, "hr_channels": 8, "base": "bicubic"}
IMAGE = {name: (config, hints, {"scale": (2,)}) for name, (config, hints) in image_networks.CONFIGS.items()}
VIDEO = {
    "ZoomingSlowMo": (ZSM, {"base": "bicubic"}, {"multi": (2,), "inputs": (2,)}),
    "BasicVSR": (video_networks.CONFIGS["BasicVSR"][1], {}, {"inputs": (2,), "patch": 64}),
    "EDVR": (video_networks.CONFIGS["5 frames"][1], {}, {"inputs": (5,)}),
}
EVERY = {**IMAGE, **VIDEO}


def recipe(name, *, config=None, hints=None, loss=None, stage=None, network=None, **data):
    known_config, known_hints, known_data = EVERY[name]
    facts = Network(
        model=name,
        config=known_config if config is None else config,
        hints=known_hints if hints is None else hints,
        **(network or {}),
    )
    return Recipe(
        name="made",
        network=facts,
        data=Data(**{"batch": 8, "patch": 16, "scenes": (Scenes(count=1),), **known_data, **data}),
        loss=loss or Loss(l1=1.0),
        stage=(stage or Stage(steps=2, rate=1e-3),),
    )


def made(name, begin="", **changes):
    return Learner(recipe(name, **changes), begin, torch.device("cpu"))


def refused(name, **changes):
    with pytest.raises(ArgumentError) as caught:
        made(name, **changes)
    return str(caught.value)


def test_every_network_with_weights_is_here():
    assert EVERY.keys() == _names.BUILTIN.keys()


@pytest.mark.parametrize("name", EVERY)
def test_every_network_runs_on_what_it_is_given_and_every_parameter_can_learn(name):
    found = made(name)
    data = recipe(name).data
    scale, multi, inputs = data.scale[0], data.multi[0], data.inputs[0]
    lr = torch.rand(2, inputs, 3, data.patch, data.patch)
    hr = torch.rand(2, multi * (inputs - 1) + 1, 3, scale * data.patch, scale * data.patch)
    given, target = found.prepared(lr, hr, scale)
    output = found.run(given, scale, multi)
    assert output.shape == target.shape == found.base(given, scale, multi).shape
    for parameter in found.network.parameters():  # beyond zeros that wait for those behind them
        parameter.data += 0.01 * torch.randn_like(parameter)
    found.run(given, scale, multi).square().mean().backward()
    idle = {key for key, parameter in found.network.named_parameters() if parameter.grad is None}
    assert all(re.match(r"(pre_process|upsample)\.[12]\.", key) for key in idle)  # MDSR's other scales


def test_mdsr_learns_the_scale_of_each_step():
    found = made("MDSR", scale=(2, 3, 4))
    assert [tuple(found.run(torch.rand(1, 1, 3, 8, 8), scale, 1).shape[-2:]) for scale in (2, 3, 4)] == [
        (16, 16),
        (24, 24),
        (32, 32),
    ]


def test_luma_networks_see_what_filters_give_them():
    found = made("VDSR")
    rgb = torch.rand(1, 1, 3, 8, 8)
    given, target = found.prepared(rgb, torch.rand(1, 1, 3, 16, 16), 2)
    pixels = 255 * rgb[0, 0].movedim(0, 2).double().numpy()
    wanted = torch.from_numpy(LUMAS["matlab"](pixels) / 255).float()
    assert torch.allclose(given[0, 0, 0], upscale(wanted, 2).clamp(0, 1), atol=1e-6)
    assert target.shape == (1, 1, 1, 16, 16)


def test_the_seed_decides_the_weights():
    first, again = (made("EDSR").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_file_is_begun_with_and_its_metadata_kept(tmp_path):
    path = image_networks.weights("A2N")
    found = made("A2N", str(path), config={}, hints={})
    stored = load_file(path)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in found.network.state_dict().items())
    assert found.metadata["scale"] == "2"
    assert found.metadata["range"] == "1"


def test_x2_becomes_x4_by_the_tensors_that_fit():
    config = {**image_networks.CONFIGS["EDSR"][0], "scale": 4}
    path = image_networks.weights("EDSR")
    found = made("EDSR", str(path), config=config, scale=(4,), network={"transfer": True})
    stored, state = load_file(path), found.network.state_dict()
    assert found.variant.scale == 4
    assert torch.equal(state["body.0.body.0.weight"], stored["body.0.body.0.weight"])
    assert "tail.0.2.weight" in state.keys() - stored.keys()


def test_what_is_fresh_is_not_taken_from_the_file(tmp_path):
    known = image_networks.weights("EDSR")
    found = made("EDSR", str(known), network={"fresh": ("tail.", "body.0.")})
    stored, state = load_file(known), found.network.state_dict()
    for name, tensor in state.items():
        if name.startswith(("tail.", "body.0.")) and "weight" in name:
            assert not torch.equal(tensor, stored[name]), name
        elif not name.startswith(("tail.", "body.0.")):
            assert torch.equal(tensor, stored[name]), name


def test_what_is_fresh_has_to_be_there_and_the_rest_has_to_fit():
    known = str(image_networks.weights("EDSR"))
    with pytest.raises(ArgumentError, match=r"no tensor's name begins with 'taill'"):
        made("EDSR", known, network={"fresh": ("taill",)})
    larger = {**image_networks.CONFIGS["EDSR"][0], "features": 24}
    with pytest.raises(ArgumentError, match=r"EDSR\.safetensors does not fit this network"):
        made("EDSR", known, config=larger, network={"fresh": ("tail.",)})


def test_a_transfer_of_nothing_is_refused():
    config = {**image_networks.CONFIGS["VDSR"][0], "features": 4}
    with pytest.raises(ArgumentError, match=r"no tensor of VDSR\.safetensors fits"):
        made("VDSR", str(image_networks.weights("VDSR")), config=config, network={"transfer": True})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("EDSR", {"scale": (4,)}, "data.scale=[4]; this network is for [2]"),
        ("EDSR", {"inputs": (2,)}, "data.inputs must be 1"),
        ("EDSR", {"multi": (2,)}, "data.multi=[2]; EDSR can do [1]"),
        ("EDSR", {"loss": Loss(l1=1.0, temporal=1.0)}, "loss.temporal and loss.pulse compare frames"),
        ("EDSR", {"stage": Stage(steps=1, rate=1.0, single=True)}, "stage.single is for ZoomingSlowMo alone"),
        ("ZoomingSlowMo", {"multi": (4,), "stage": Stage(steps=1, rate=1.0, single=True)}, "data.multi=[4] has no 2"),
        ("EDSR", {"stage": Stage(steps=1, rate=1.0, unaligned=True)}, "stage.unaligned is for ZoomingSlowMo alone"),
        ("ZoomingSlowMo", {"multi": (4,), "stage": Stage(steps=1, rate=1, unaligned=True)}, "data.multi=[4] has no 2"),
        ("EDSR", {"loss": Loss(l1=1.0, offsets=1.0)}, "loss.offsets is about deformable convolutions; EDSR has none"),
        ("EDSR", {"network": {"initialization": "single-image"}}, "'single-image' is for ZoomingSlowMo alone"),
        ("EDSR", {"config": {"scale": 2, "feature": 8}}, "network.config does not make a network of EDSR"),
        ("EDVR", {"inputs": (3,)}, "data.inputs must be 5"),
        ("VDSR", {"loss": Loss(perceptual=1.0)}, "VDSR gives luma"),
        ("ZoomingSlowMo", {"inputs": (1, 2)}, "data.inputs must be at least 2 where frames are interpolated"),
        ("ZoomingSlowMo", {"hints": {}}, "base='bicubic', but a filter would take it for 'none'"),
    ],
)
def test_what_does_not_fit_is_named(name, changes, message):
    assert message in refused(name, **changes)


def test_untrained_zooming_slow_mo_is_bicubic_and_blend():
    net = made("ZoomingSlowMo", network={"initialization": "single-image"}).network
    frames = torch.rand(1, 2, 3, 32, 32)
    with torch.no_grad():
        out = recurrence.sequence(net, frames, 2)
    base = upscale(blend(frames, 2), 4)
    inner = (..., slice(8, -8), slice(8, -8))  # they continue the frame otherwise beyond its edge
    assert torch.allclose(out[inner], base[inner], atol=1e-5)


def test_the_whole_network_starts_close_to_the_single_image_one():
    net = made("ZoomingSlowMo", network={"initialization": "single-image"}).network
    torch.nn.init.normal_(net.conv_last.weight, std=0.1)
    frames = torch.rand(2, 3, 3, 16, 16)
    with torch.no_grad():
        single, whole = single_image(net, frames), recurrence.sequence(net, frames, 2)
        net.conv_last.weight.zero_()
        base = single_image(net, frames)
    assert float((single - base).std()) > 0.01
    assert float((whole - single).std()) < 0.6 * float((single - base).std())


def test_the_whole_network_can_start_as_the_one_without_alignment():
    net = made("ZoomingSlowMo", network={"initialization": "unaligned"}).network
    torch.nn.init.normal_(net.conv_last.weight, std=0.1)
    torch.nn.init.normal_(net.ConvBLSTM.forward_net.cell_list[0].conv.bias)  # both directions, and every gate, count
    frames = torch.rand(2, 3, 3, 16, 20)
    with torch.no_grad():
        assert torch.allclose(unaligned(net, frames), recurrence.sequence(net, frames, 2), atol=1e-5)
        assert not torch.allclose(unaligned(net, frames), single_image(net, frames), atol=1e-3)


def test_offsets_beyond_reach_are_a_loss_that_brings_them_back():
    conv = DeformableConv(8, 2)
    heard = Offsets(conv)
    with torch.no_grad():
        conv.offset_conv.bias[:36] = 15.0
        conv.offset_conv.bias[:18] = -8.0
        conv.offset_conv.bias[36:] = 99.0  # of the mask
    x = torch.rand(1, 8, 6, 6)
    conv(x, x)
    strayed = heard.strayed(10.0, x.device)
    assert strayed.item() == pytest.approx(2.5)
    strayed.backward()
    assert bool((conv.offset_conv.bias.grad[18:36] > 0).all())
    assert not conv.offset_conv.bias.grad[:18].any()
    assert not conv.offset_conv.bias.grad[36:].any()
    assert float(heard.strayed(10.0, x.device)) == 0  # they are asked for once
    with torch.no_grad():
        conv(x, x)
    assert float(heard.strayed(10.0, x.device)) == 0  # nothing learns of samples


def test_sub_pixels_start_equal():
    net = made("ZoomingSlowMo", network={"initialization": "single-image"}).network
    assert isinstance(net, ZoomingSlowMo)
    with torch.no_grad():
        shuffled = net.upconv1(torch.rand(1, 8, 6, 6))
    assert torch.equal(shuffled[..., ::2, ::2], shuffled[..., 1::2, 1::2])


def test_a_blend_is_in_proportion():
    film = torch.tensor([0.0, 4.0, 0.0]).view(1, 3, 1, 1, 1)
    assert blend(film, 4).flatten().tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0]
    assert torch.equal(blend(film, 1), film)


@pytest.mark.parametrize("name", ["he", "small"])
def test_initializations_have_the_deviation_that_they_name(name):
    net = made("EDSR", config={**image_networks.CONFIGS["EDSR"][0], "features": 32},
               network={"initialization": name}).network  # fmt: skip
    conv = net.body[0].body[0]
    wanted = (2 / (9 * 32)) ** 0.5 * (0.1 if name == "small" else 1)
    assert float(conv.weight.detach().std()) == pytest.approx(wanted, rel=0.1)
    assert not conv.bias.any()
