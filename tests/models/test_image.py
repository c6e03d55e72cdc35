"""The image networks against the golden vectors of the networks they are compatible with."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden, loading
from helpers.image_models import HINTS, models
from helpers.mutants import assert_seen, mutate

from vs_sr.models import features
from vs_sr.models.esrgan.discriminator import VGGDiscriminator
from vs_sr.models.features.network import VGGFeatures
from vs_sr.models.merging import quickened
from vs_sr.models.srgan.discriminator import Discriminator
from vs_sr.spec import Variant
from vs_sr.weights import recognition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from vs_sr.weights.recognition import Recognition

_TRAINING = ("srgan_d", "esrgan_vgg128_d", "mincnet")  # no filters
_HEAVY = ("rrdbnet_esrgan", "rrdbnet_basicsr_x2", "rrdbnet_basicsr_x4_g", "rrdbnet_old_x8")
FILTERS = [name for name in sorted(golden.image_index()) if not name.startswith(_TRAINING)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with golden.one_thread():
        yield


def shipped(name: str) -> bool:
    return (golden.DATA / f"golden_image/vectors/{name}.npz").exists()


def marked(names: list[str]) -> list[Any]:
    """Vectors outside tests/data and those of large networks are for the slow suite."""
    return [
        name if shipped(name) and not name.startswith(_HEAVY) else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def recognized(vector: golden.ImageVector, state: Mapping[str, Tensor]) -> Recognition:
    return recognition.detect(
        {key: tuple(tensor.shape) for key, tensor in state.items()},
        hints=HINTS.get(vector.network),
        models=models().values(),
        values=lambda key: state[key].flatten().tolist(),
    )


def run(network: nn.Module, vector: golden.ImageVector) -> Tensor:
    """What the vector's network gives for its input, in the range that the vector was made in."""
    with torch.inference_mode():
        if "residual_only" in vector.name:
            return network.residual(vector.input)  # type: ignore[operator, no-any-return]
        out: Tensor = network(vector.input / vector.input_scale)
        return out * vector.input_scale


@pytest.mark.parametrize("name", marked(FILTERS))
def test_a_file_gives_what_its_own_network_gives(name: str) -> None:
    """From the names in the file alone: recognized, renamed, built, loaded, run."""
    vector = golden.image_index()[name]
    state = vector.state
    found = recognized(vector, state)
    network = found.model.build(found.variant).eval()
    loading.fit(network, {found.names[key]: state[key] for key in found.names}, name)
    assert vector.error(run(network, vector)) <= vector.tolerance
    assert vector.error(run(quickened(network), vector)) <= vector.tolerance  # as sessions run it


def training_network(vector: golden.ImageVector) -> tuple[nn.Module, dict[str, Tensor]]:
    if vector.name.startswith("mincnet"):
        names = features.names(golden.image_shapes(vector.network))
        return VGGFeatures(**features.PRESETS["minc"]), {names[k]: t for k, t in vector.state.items()}
    if vector.name.startswith("srgan_d"):
        return Discriminator(strided="leftthomas" in vector.name), vector.state
    if "basicsr" in vector.name:
        return VGGDiscriminator(), vector.state
    return VGGDiscriminator(inner_bias=True), VGGDiscriminator.rename(vector.state)


@pytest.mark.parametrize("name", marked([n for n in sorted(golden.image_index()) if n.startswith(_TRAINING)]))
def test_networks_that_only_training_uses(name: str) -> None:
    vector = golden.image_index()[name]
    network, state = training_network(vector)
    network.load_state_dict(state)
    with torch.inference_mode():
        if vector.tolerance < 1e-8:  # less than the spacing of float32 numbers of the output's size
            out = network.double().eval()(vector.input.double()).float()
        else:
            out = network.eval()(vector.input)
    assert vector.error(out) <= vector.tolerance


def test_batch_normalization_after_a_bias_is_the_same_as_a_shifted_mean() -> None:
    """What the two naming schemes of ESRGAN's discriminator differ in."""
    vector = golden.image_index()["esrgan_vgg128_d_old_he"]
    state = VGGDiscriminator.rename(vector.state)
    biases = [key for key in state if key.startswith("conv") and key.endswith("bias") and key != "conv0_0.bias"]
    for key in biases:
        state[key.replace("conv", "bn").replace("bias", "running_mean")] -= state.pop(key)
    network = VGGDiscriminator().eval()
    network.load_state_dict(state)
    with torch.inference_mode():
        assert vector.error(network(vector.input)) <= vector.tolerance


# Planted faults: (module, class, vector, what is replaced, by what)

_MUTATIONS = [
    ("srcnn", "SRCNN", "srcnn_915_he", "F.relu(self.conv1(", "F.leaky_relu(self.conv1("),
    ("srcnn", "SRCNN", "srcnn_915_he", "self.conv3(features)", "F.relu(self.conv3(features))"),
    ("vdsr", "VDSR", "vdsr_neonleexiang_he", "F.relu(self.input(as_weights(x, self.input)))", "self.input(x)"),
    ("vdsr", "VDSR", "vdsr_neonleexiang_he", "self.residual_layer(features)", "self.residual_layer[::-1](features)"),
    ("vdsr", "VDSR", "vdsr_neonleexiang_he", "return x + self.residual(x)", "return x - self.residual(x)"),
    (
        "vdsr",
        "ZeroMeanVDSR",
        "vdsr_zeromean20_residual_only_he",
        "residual - residual.mean",
        "residual + residual.mean",
    ),
    ("srresnet", "MSRResNet", "msrresnet_basicsr_x4_g3", "self.conv_hr = conv3_lrelu(", "self.conv_hr = conv3("),
    (
        "srresnet",
        "MSRResNet",
        "msrresnet_basicsr_x4_g3",
        'self.get_submodule(f"upconv{number}")(features)',
        'F.pixel_shuffle(nn.Conv2d.forward(self.get_submodule(f"upconv{number}"), features), 2)',
    ),
    (
        "srresnet",
        "MSRResNet",
        "msrresnet_basicsr_x4_g3",
        "self.body(self.conv_first",
        "self.body[::-1](self.conv_first",
    ),
    ("srresnet", "SRResNetIN", "srresnet_twtygqyy_x4_he", "nn.LeakyReLU(0.2)", "nn.LeakyReLU(0.1)"),
    ("srresnet", "SRResNetIN", "srresnet_twtygqyy_x4_he", "first + self.bn_mid(", "self.bn_mid("),
    ("srresnet", "SRResNetIN", "srresnet_twtygqyy_x4_he", "self.residual(first)", "self.residual[::-1](first)"),
    ("srgan", "SRGAN", "srgan_g_leftthomas_x4_g3", "F.pixel_shuffle(self.conv(x), 2)", "_shuffle(self.conv(x))"),
    ("srgan", "SRGAN", "srgan_g_leftthomas_x4_g3", "self.prelu(self.bn1(", "torch.relu(self.bn1("),
    ("srgan", "SRGAN", "srgan_g_leftthomas_x4_g3", "(first + features)", "(features)"),
    ("srgan", "SRGAN", "srgan_g_leftthomas_x4_g3", "(*self.residual, self", "(*self.residual[::-1], self"),
    (
        "edsr",
        "EDSR",
        "edsr_baseline_x2_g3",
        "self.tail(features + self.body(features))",
        "self.tail(self.body(features))",
    ),
    ("edsr", "EDSR", "edsr_baseline_x2_g3", "nn.ReLU()", "nn.LeakyReLU(0.1)"),
    ("edsr", "EDSR", "edsr_baseline_x2_g3", "self.body(features)", "self.body[-1](self.body[-2::-1](features))"),
    ("edsr", "EDSR", "edsr_baseline_x2_g3", "(0.4488, 0.4371, 0.4040)", "(0.4040, 0.4371, 0.4488)"),
    (
        "mdsr",
        "MDSR",
        "mdsr_baseline_scale2_g3",
        "self.pre_process[self.index](",
        "self.pre_process[self.index][::-1](",
    ),
    ("mdsr", "MDSR", "mdsr_baseline_scale2_g3", "self.body(features)", "self.body[-1](self.body[-2::-1](features))"),
    ("mdsr", "MDSR", "mdsr_baseline_scale2_g3", "self.pre_process[self.index]", "self.pre_process[self.index - 1]"),
    (
        "a2n",
        "A2N",
        "a2n_x2_g2",
        "mix[:, 0] * self.attention(features) + mix[:, 1]",
        "mix[:, 1] * self.attention(features) + mix[:, 0]",
    ),
    (
        "a2n",
        "A2N",
        "a2n_x2_g2",
        '_lrelu(self.get_submodule(f"att{number}")(features))',
        'self.get_submodule(f"att{number}")(_lrelu(features))',
    ),
    ("a2n", "A2N", "a2n_x2_g2", "self.AAB_trunk(features)", "self.AAB_trunk[::-1](features)"),
    ("a2n", "A2N", "a2n_x2_g2", "F.leaky_relu(x, 0.2)", "F.leaky_relu(x, 0.1)"),
    ("a2n", "A2N", "a2n_x2_g2", "self.k4(self.k3(x) * weight)", "self.k3(self.k4(x) * weight)"),
    ("esrgan", "RRDBNet", "rrdbnet_basicsr_x4_6B_he", ", seen)", ", seen[::-1])"),
    ("esrgan", "RRDBNet", "rrdbnet_basicsr_x4_6B_he", "_LEAK = 0.2", "_LEAK = 0.1"),
    (
        "esrgan",
        "RRDBNet",
        "rrdbnet_basicsr_x4_6B_he",
        "self.rdb3(self.rdb2(self.rdb1(x)))",
        "self.rdb1(self.rdb2(self.rdb3(x)))",
    ),
    ("esrgan", "RRDBNet", "rrdbnet_old_x3_nb3_he", "features, step, slope=_LEAK", "features, step"),
]


@pytest.mark.parametrize(("folder", "kind", "name", "old", "new"), _MUTATIONS, ids=lambda value: str(value)[:40])
def test_a_planted_fault_is_seen(folder: str, kind: str, name: str, old: str, new: str) -> None:
    vector = golden.image_index()[name]
    state = vector.state
    found = recognized(vector, state)
    renamed = {found.names[key]: state[key] for key in found.names}
    module = mutate(f"vs_sr.models.{folder}.network", old, new)
    module.__dict__["_shuffle"] = lambda x: (  # sub-pixels column by column instead of row by row
        torch.nn.functional.pixel_shuffle(x.unflatten(1, (-1, 2, 2)).transpose(2, 3).flatten(1, 3), 2)
    )
    config = {k: v for k, v in found.variant.config.items() if k not in ("zero_mean", "norm")}
    if "mean" in config:
        config.pop("mean")  # the module's own
    faulty: nn.Module = getattr(module, kind)(**config).eval()
    loading.fit(faulty, renamed, name)
    assert_seen(run(faulty, vector), vector.output.shape, vector.error, vector.tolerance)


_MINC = features.PRESETS["minc"]
_TRAINING_MUTATIONS = [
    ("srgan.discriminator", "Discriminator", {}, "srgan_d_leftthomas_he", "number % 2 == 0", "number % 2 == 1"),
    (
        "srgan.discriminator",
        "Discriminator",
        {},
        "srgan_d_leftthomas_he",
        "torch.sigmoid(self.net(x)",
        "torch.tanh(self.net(x)",
    ),
    (
        "esrgan.discriminator",
        "VGGDiscriminator",
        {},
        "esrgan_vgg128_d_basicsr_he",
        "F.leaky_relu(x, 0.2)",
        "F.leaky_relu(x, 0.1)",
    ),
    (
        "esrgan.discriminator",
        "VGGDiscriminator",
        {},
        "esrgan_vgg128_d_basicsr_he",
        "self.linear2(_lrelu(self.linear1(",
        "self.linear2((self.linear1(",
    ),
    # before its activation, not after it
    ("features.network", "VGGFeatures", _MINC, "mincnet_vgg16_he", "if not activated:", "if activated:"),
    ("features.network", "VGGFeatures", _MINC, "mincnet_vgg16_he", "nn.ReLU()", "nn.LeakyReLU(0.1)"),
    ("features.network", "VGGFeatures", _MINC, "mincnet_vgg16_he", "nn.MaxPool2d(2,", "nn.AvgPool2d(2,"),
    (
        "features.network",
        "VGGFeatures",
        _MINC,
        "mincnet_vgg16_he",
        "self.normalize = normalize",
        "self.normalize = True",
    ),
]


@pytest.mark.parametrize(("path", "kind", "config", "name", "old", "new"), _TRAINING_MUTATIONS)
def test_a_planted_fault_in_training_networks_is_seen(
    path: str, kind: str, config: Mapping[str, Any], name: str, old: str, new: str
) -> None:
    vector = golden.image_index()[name]
    _, state = training_network(vector)
    network = getattr(mutate(f"vs_sr.models.{path}", old, new), kind)(**config).eval()
    network.load_state_dict(state)
    with torch.inference_mode():
        out = network(vector.input)
    assert_seen(out, vector.output.shape, vector.error, vector.tolerance)


# What the vectors do not say


@pytest.mark.parametrize(
    "name",
    [
        "vdsr_neonleexiang_he",
        "edsr_baseline_x2_g3",
        "srgan_g_leftthomas_x4_g3",
        "srcnn_915_he",
        "msrresnet_basicsr_x3_g3",
        "rrdbnet_old_x3_nb3_he",
        "rrdbnet_old_x8_nb3_he",
        "mdsr_baseline_scale4_g3",
    ],
)
def test_an_output_pixel_sees_no_farther_than_halo(name: str) -> None:
    """The gradient of an output pixel is zero beyond ``receptive_field``, and nowhere else for certain."""
    vector = golden.image_index()[name]
    found = recognized(vector, vector.state)
    network, receptive_field = _shallow(found.model.name, found.variant)
    size = 2 * receptive_field + 7
    channels = 1 if found.variant.color == "y" else 3
    x = golden.draw01("receptive_field", (1, channels, 3, size)).requires_grad_()
    center = size // 2
    for sub in sorted({0, found.variant.scale - 1}):
        (gradient,) = torch.autograd.grad(network(x)[..., found.variant.scale * center + sub].sum(), x)
        seen = gradient.abs().amax((0, 1, 2)).nonzero().flatten() - center
        assert seen.abs().max() <= receptive_field
    assert receptive_field - 1 <= seen.abs().max()


def _shallow(name: str, variant: Variant) -> tuple[nn.Module, int]:
    """The network with one block, and the receptive field that its model states for that."""
    blocks = {key: 1 for key in ("blocks", "depth") if key in variant.config}
    network = models()[name].build(Variant(scale=variant.scale, config={**variant.config, **blocks})).eval()
    detect = models()[name].detect
    assert detect is not None
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    again = detect(shapes, {"scale": str(variant.scale), "res_scale": "1", "range": "1"})
    assert again is not None
    assert again.receptive_field is not None
    return network, again.receptive_field


@pytest.mark.parametrize(("unshuffle", "scale"), [(2, 2), (4, 1)])
@pytest.mark.parametrize("size", [(9, 7), (8, 12), (5, 4)])
def test_folding_networks_take_any_size(unshuffle: int, scale: int, size: tuple[int, int]) -> None:
    network = models()["ESRGAN"].build(
        Variant(scale=scale, config={"steps": (2, 2), "unshuffle": unshuffle, "blocks": 1, "features": 8, "growth": 4})
    )
    x = golden.draw01("input", (2, 3, *size))
    with torch.inference_mode():
        out = network(x)
        right, bottom = -size[1] % unshuffle, -size[0] % unshuffle
        whole = network(torch.nn.functional.pad(x, (0, right, 0, bottom), mode="reflect"))
    assert out.shape == (2, 3, scale * size[0], scale * size[1])
    assert torch.equal(out, whole[..., : out.shape[2], : out.shape[3]])


@pytest.mark.parametrize(
    "name", ["vdsr_neonleexiang_he", "a2n_x4_g1", "edsr_baseline_x2_g1", "msrresnet_basicsr_x2_g1"]
)
def test_the_skip_keeps_the_precision_of_the_frame(name: str) -> None:
    """With weights in bfloat16 a frame in float32 loses the body's precision, not its own."""
    vector = golden.image_index()[name]
    found = recognized(vector, golden.image_state(vector.network, 1.0, rgb_range=vector.input_scale))
    network = found.model.build(found.variant).eval()
    for parameter in network.parameters():
        parameter.data.mul_(0)  # the body gives nothing: what is left is the skip
    x = golden.draw01("input", (1, 1 if found.variant.color == "y" else 3, 8, 8))
    with torch.inference_mode():
        full = network(x)
        low = network.to(torch.bfloat16)(x)
    assert low.dtype == torch.float32
    assert torch.equal(full, low)


def test_the_discriminator_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="128x128"):
        VGGDiscriminator()(torch.zeros(1, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["vgg16", "vgg19"])
def test_vgg_features_are_those_of_torchvision(preset: str) -> None:
    vgg = importlib.import_module("torchvision.models.vgg")
    torch.manual_seed(0)
    reference = vgg.make_layers(vgg.cfgs["D" if preset == "vgg16" else "E"]).eval()
    state = {f"features.{key}": tensor for key, tensor in reference.state_dict().items()}
    state["classifier.6.weight"] = torch.zeros(1000, 4096)
    ours = VGGFeatures(**features.PRESETS[preset]).eval()
    names = features.names({key: tuple(tensor.shape) for key, tensor in state.items()})
    ours.load_state_dict({key: state[key] for key in names if key in ours.state_dict()})
    x = golden.draw01("input", (1, 3, 40, 56))
    normal = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    last = 31 if preset == "vgg16" else 35  # the last pooling; conv5_4 before its activation
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), reference[:last](normal), rtol=1e-5, atol=1e-5)


def test_vgg_refuses_a_layer_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="conv5_4"):
        VGGFeatures(depth=16, last=(5, 4))
