"""Recognition of weights files by the names and shapes of their tensors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden, loading
from helpers.image_models import HINTS, models
from helpers.schemes import SCHEMES
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_sr.errors import WeightsError
from vs_sr.spec import Model, Scheme, Variant
from vs_sr.weights import recognition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vs_sr.spec import Shapes
    from vs_sr.weights.recognition import Recognition


def detect(
    shapes: Shapes,
    hints: Mapping[str, str] | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
) -> Recognition:
    found = values or {}
    return recognition.detect(
        shapes, hints=hints, models=models().values(), values=lambda name: found.get(name, (0.0, 0.0, 0.0))
    )


def built(found: Recognition) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network that the recognition leads to, counters of training apart."""
    with torch.device("meta"):
        network = found.model.build(found.variant)
    state = network.state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}


def fits(found: Recognition, shapes: Shapes) -> bool:
    renamed = {new: shapes[old] for old, new in found.names.items() if not old.endswith("num_batches_tracked")}
    return bool(renamed == built(found))


# Files as they are published

KEYS = sorted(path.stem for path in (golden.DATA / "golden_image/keys").glob("*.json"))
_PARTS = ("srgan_d", "esrgan_vgg128", "mincnet")
_MODEL = {
    "a2n": "A2N",
    "edsr": "EDSR",
    "mdsr": "MDSR",
    "msrresnet": "SRResNet",
    "rrdbnet": "ESRGAN",
    "srcnn": "SRCNN",
    "srgan": "SRGAN",
    "srresnet": "SRResNet",
    "vdsr": "VDSR",
}
_DIV2K = (-0.4488, -0.4371, -0.4040)


@pytest.mark.parametrize("network", [name for name in KEYS if not name.startswith(_PARTS)])
def test_published_image_networks(network: str) -> None:
    shapes = golden.image_shapes(network)
    value_range = 1.0 if "neonleexiang" in network else 255.0
    values = {"sub_mean.bias": [value_range * value for value in _DIV2K]}
    found = detect(shapes, HINTS.get(network), values)
    assert found.model.name == _MODEL[network.partition("_")[0]]
    assert fits(found, shapes)
    for part in network.split("_"):
        if part[0] == "x" and part[1:].isdigit():
            assert found.variant.scale == int(part[1:])
    assert {name.partition(".")[0] for name in found.unused} <= {"sub_mean", "add_mean"}
    if "value_range" in found.variant.config:
        expected = 1.0 if network.startswith("a2n") else value_range
        assert found.variant.config["value_range"] == expected


@pytest.mark.parametrize(
    ("network", "config"),
    [
        ("edsr_large_x4_keys", {"features": 256, "blocks": 32, "res_scale": 0.1, "inner_bias": True}),
        ("edsr_baseline_x3", {"features": 64, "blocks": 16, "res_scale": 1.0}),
        ("edsr_large_basicsr_x4_keys", {"features": 256, "res_scale": 0.1, "value_range": 255.0}),
        ("edsr_neonleexiang_default_x4_keys", {"res_scale": 0.1, "value_range": 1.0, "inner_bias": False}),
        ("mdsr_large_keys", {"blocks": 80, "scales": (2, 3, 4)}),
        ("a2n_m_x4_keys", {"kernel": 1}),
        ("a2n_x4", {"kernel": 3, "features": 40, "upsampled": 24, "blocks": 16, "reduced": 10}),
        ("rrdbnet_basicsr_x1", {"unshuffle": 4, "steps": (2, 2), "blocks": 23}),
        ("rrdbnet_basicsr_x2", {"unshuffle": 2, "steps": (2, 2)}),
        ("rrdbnet_basicsr_x4_6B", {"unshuffle": 1, "blocks": 6, "growth": 32}),
        ("rrdbnet_old_x8_nb3", {"steps": (2, 2, 2), "blocks": 3}),
        ("rrdbnet_old_x1_nb3", {"steps": (), "blocks": 3}),
        ("srcnn_955_yjn870", {"kernels": (9, 5, 5)}),
        ("srgan_g_leftthomas2018_x4", {"trunk_norm": False, "blocks": 5}),
        ("srgan_g_neonleexiang_x4", {"trunk_norm": True}),
        ("vdsr_zeromean20_residual_only", {"zero_mean": True, "depth": 20}),
    ],
)
def test_configurations(network: str, config: Mapping[str, Any]) -> None:
    shapes = golden.image_shapes(network)
    values = {"sub_mean.bias": [255 * value for value in _DIV2K]} if "neonleexiang" not in network else None
    if values is None:
        values = {"sub_mean.bias": list(_DIV2K)}
    found = detect(shapes, HINTS.get(network), values).variant.config
    assert {key: found[key] for key in config} == config


def video_shapes(name: str) -> dict[str, tuple[int, ...]]:
    state = json.loads(golden.find(f"golden/keys_{name}.json").read_text())["state_dict"]
    return {key: tuple(shape) for key, shape in state.items()}


@pytest.mark.parametrize(
    ("name", "model", "config"),
    [
        ("edvr_m_reds", "EDVR", {"channels": 64, "frames": 5, "back_blocks": 10, "tsa": True}),
        ("edvr_l_reds", "EDVR", {"channels": 128, "frames": 5, "back_blocks": 40}),
        ("edvr_l_vimeo", "EDVR", {"channels": 128, "frames": 7}),
        ("edvr_l_vimeo_OLDREPO", "EDVR", {"channels": 128, "frames": 7}),
        ("edvr_l_srblur", "EDVR", {"predeblur": True, "hr_in": False}),
        ("edvr_l_deblur", "EDVR", {"predeblur": True, "hr_in": True}),
        ("edvr_stage2_OLDREPO", "EDVR", {"predeblur": False, "hr_in": True, "back_blocks": 20}),
        ("basicvsr_b30", "BasicVSR", {"channels": 64, "blocks": 30}),
        ("basicvsr_b10", "BasicVSR", {"channels": 64, "blocks": 10}),
        ("zsm_b40", "ZoomingSlowMo", {"channels": 64, "back_blocks": 40}),
        ("zsm_b10", "ZoomingSlowMo", {"groups": 8, "back_blocks": 10}),
    ],
)
def test_published_video_networks(name: str, model: str, config: Mapping[str, Any]) -> None:
    shapes = video_shapes(name)
    found = detect(shapes)
    assert found.model.name == model
    assert fits(found, shapes)
    assert {key: found.variant.config[key] for key in config} == config
    assert found.variant.scale == (1 if config.get("hr_in") else 4)
    assert found.variant.window == (found.variant.config["frames"] if model == "EDVR" else None)


@pytest.mark.parametrize(
    ("table", "key", "model", "scheme"),
    [
        ("keymap_edvr", "EDVR_old_repo_to_BasicSR", "EDVR", "EDVR old"),
        ("keymap_edvr", "EDVR_mmagic_to_BasicSR", "EDVR", "mmagic"),
        ("keymap_basicvsr", "BasicVSR_mmagic_to_BasicSR", "BasicVSR", "mmagic"),
    ],
)
def test_names_are_mapped_as_in_the_tables(table: str, key: str, model: str, scheme: str) -> None:
    """Tables that were verified by running both networks; the temporal attentions of EDVR change places."""
    expected = json.loads(golden.find(f"golden/{table}.json").read_text())[key]
    rename = next(s.rename for s in models()[model].schemes if s.name == scheme)
    assert rename is not None
    found = rename(dict.fromkeys(expected, ()))
    assert found == {old: new for old, new in expected.items() if not new.startswith(("spynet.mean", "spynet.std"))}
    if scheme == "EDVR old":
        assert found["tsa_fusion.tAtt_2.weight"] == "fusion.temporal_attn1.weight"


_ALIASES = {
    "rrdbnet: ESRGAN old": ("rrdbnet_esrgan_old_x4", "rrdbnet_esrgan_new_x4"),
    "rrdbnet: ESRGAN new": ("rrdbnet_esrgan_new_x4", "rrdbnet_basicsr_x4"),
    "vdsr:": ("vdsr_twtygqyy", "vdsr_neonleexiang"),
    "srgan generator:": ("srgan_g_leftthomas_x4", "srgan_g_neonleexiang_x4"),
    "edsr x2:": ("edsr_baseline_x2", "edsr_baseline_basicsr_x2"),
    "edsr x3:": ("edsr_baseline_x3", "edsr_baseline_basicsr_x3"),
    "edsr x4:": ("edsr_baseline_x4", "edsr_baseline_basicsr_x4"),
    "msrresnet:": ("msrresnet_old_x4", "msrresnet_basicsr_x4"),
}


@pytest.mark.parametrize("start", _ALIASES)
def test_two_names_of_a_tensor_lead_to_the_same_place(start: str) -> None:
    aliases = json.loads(golden.find("golden_image/aliases.json").read_text())
    pairs = next(table["pairs"] for key, table in aliases.items() if key.startswith(start))
    values = {"sub_mean.bias": [255 * value for value in _DIV2K]}
    one, other = (detect(golden.image_shapes(network), values=values) for network in _ALIASES[start])
    for old, new in pairs:
        assert one.names[old] == other.names[new]


# Variants of our own, written in every scheme


def _variants() -> Mapping[str, st.SearchStrategy[tuple[dict[str, Any], dict[str, str]]]]:
    """By model: configurations, and the hints to find them again."""
    small = st.integers(1, 3)
    width = st.sampled_from([4, 8])
    return {
        "SRCNN": st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])).map(
            lambda v: ({"kernels": (9, v[0], 5), "widths": (8, 4), "channels": v[1]}, {})
        ),
        "VDSR": st.tuples(small, width, st.booleans()).map(
            lambda v: ({"depth": v[0], "features": v[1], "zero_mean": v[2], "channels": 1}, {})
        ),
        "SRResNet": st.tuples(st.sampled_from([2, 3, 4]), small, width, st.booleans()).map(
            lambda v: (
                {"norm": True, "features": v[2], "blocks": v[1]}
                if v[3]
                else {"norm": False, "scale": v[0], "features": v[2], "blocks": v[1]},
                {},
            )
        ),
        "SRGAN": st.tuples(st.sampled_from([2, 4, 8]), small, width, st.booleans()).map(
            lambda v: ({"scale": v[0], "blocks": v[1], "features": v[2], "trunk_norm": v[3]}, {})
        ),
        "EDSR": st.tuples(st.sampled_from([2, 3, 4, 8]), small, width, st.booleans()).map(
            lambda v: (
                {
                    "scale": v[0],
                    "blocks": v[1],
                    "features": v[2],
                    "inner_bias": v[3],
                    "res_scale": 0.5,
                    "value_range": 255.0,
                    "mean": (0.4488, 0.4371, 0.4040),
                },
                {"res_scale": "0.5", "range": "255"},
            )
        ),
        "MDSR": st.tuples(st.sampled_from([2, 3, 4]), small, width).map(
            lambda v: (
                {
                    "scale": v[0],
                    "scales": (2, 3, 4),
                    "blocks": v[1],
                    "features": v[2],
                    "value_range": 1.0,
                    "mean": (0.0, 0.0, 0.0),
                },
                {"scale": str(v[0]), "range": "1", "mean": "none"},
            )
        ),
        "A2N": st.tuples(st.sampled_from([2, 3, 4]), small, st.sampled_from([1, 3])).map(
            lambda v: (
                {
                    "scale": v[0],
                    "blocks": v[1],
                    "kernel": v[2],
                    "features": 8,
                    "upsampled": 4,
                    "reduced": 2,
                    "value_range": 255.0,
                },
                {"scale": str(v[0]), "range": "255"},
            )
        ),
        "ESRGAN": st.tuples(
            st.sampled_from([((), 1), ((2,), 1), ((3,), 1), ((2, 2), 1), ((2, 2, 2), 1), ((2, 2), 2), ((2, 2), 4)]),
            small,
            width,
        ).map(
            lambda v: (
                {"steps": v[0][0], "unshuffle": v[0][1], "blocks": v[1], "features": v[2], "growth": 4},
                {"scale": str(v[0][0][0])} if len(v[0][0]) == 1 else {},
            )
        ),
        "EDVR": st.tuples(st.sampled_from([3, 5, 7]), small, st.booleans(), st.booleans(), st.booleans()).map(
            lambda v: (
                {
                    "frames": v[0],
                    "channels": 8,
                    "groups": 2,
                    "front_blocks": v[1],
                    "back_blocks": 4 - v[1],
                    "hr_channels": 4,
                    "tsa": v[2],
                    "predeblur": v[3],
                    "hr_in": v[4],
                },
                {},
            )
        ),
        "BasicVSR": st.tuples(small, width).map(lambda v: ({"channels": v[1], "blocks": v[0], "hr_channels": 4}, {})),
    }


def _writes(scheme: str, config: Mapping[str, Any]) -> bool:
    """Whether files of the scheme exist for the configuration."""
    if scheme == "zero-mean residual":
        return bool(config["zero_mean"])
    if scheme in ("pytorch-vdsr", "input_layer/output_layer"):
        return not config["zero_mean"]
    if "norm" in config:
        return bool(config["norm"] == ("instance" in scheme))
    if scheme in ("ESRGAN new", "ESRGAN old"):
        return bool(config["unshuffle"] == 1)
    if scheme == "EDVR old":  # its names for large blurred frames are tested with its published list
        return not (config["hr_in"] and config["predeblur"])
    return True


@pytest.mark.parametrize("model", sorted(SCHEMES))
@settings(max_examples=8)
@given(data=st.data())
def test_every_variant_in_every_scheme(model: str, data: st.DataObject) -> None:
    config, told = data.draw(_variants()[model])
    with torch.device("meta"):
        network = models()[model].build(Variant(scale=1, config=config))
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for scheme, write in SCHEMES[model].items():
        if not _writes(scheme, config):
            continue
        shapes = dict(zip(write(list(own)), own.values(), strict=True))
        prefix = data.draw(st.sampled_from(["", "module.", "generator.", "_orig_mod.module.", "model."]))
        found = detect({prefix + name: shape for name, shape in shapes.items()}, told)
        assert (found.model.name, found.scheme.name, found.prefix) == (model, scheme, prefix)
        assert found.variant.config == config
        assert [found.names[prefix + name] for name in shapes] == list(own)
        # what the variant says of itself is enough to find it again under the network's names
        again = recognition.detect(own, found.variant.metadata, models=[models()[model]])
        expected = {**found.variant.config}
        assert again.variant.config == expected


def test_every_scheme_is_written() -> None:
    listed = {name: {scheme.name for scheme in model.schemes} for name, model in models().items() if model.schemes}
    assert listed == {name: set(schemes) for name, schemes in SCHEMES.items()}


# Prefixes and company


def test_old_esrgan_names_are_no_prefix() -> None:
    shapes = golden.image_shapes("rrdbnet_esrgan_old_x4")
    assert detect(shapes).prefix == ""
    assert detect({f"module.{name}": shape for name, shape in shapes.items()}).prefix == "module."
    assert detect({f"model.{name}": shape for name, shape in shapes.items()}).prefix == "model."


def test_a_discriminator_beside_the_generator_is_left_out() -> None:
    shapes = {f"generator.{name}": shape for name, shape in golden.image_shapes("msrresnet_basicsr_x4").items()}
    others = {f"discriminator.{name}": shape for name, shape in golden.image_shapes("esrgan_vgg128_d_old").items()}
    found = detect({**shapes, **others, "step_counter": ()})
    assert (found.model.name, found.prefix) == ("SRResNet", "generator.")
    assert set(found.unused) == {*others, "step_counter"}


def test_the_averaged_generator_is_preferred() -> None:
    shapes = golden.image_shapes("msrresnet_basicsr_x4")
    both = {f"{part}.{name}": shape for part in ("generator", "generator_ema") for name, shape in shapes.items()}
    assert detect(both).prefix == "generator_ema."


def test_counters_may_be_there_or_not() -> None:
    shapes = golden.image_shapes("srgan_g_leftthomas_x2")
    without = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    assert detect(without).variant == detect(shapes).variant


# Ambiguous files


@pytest.mark.parametrize(
    ("network", "hints", "message"),
    [
        ("a2n_x2", {"range": "1"}, "scale=2 or scale=3"),
        ("a2n_x2", {"scale": "2"}, "range=1 or range=255"),
        ("a2n_x2", {"scale": "4", "range": "1"}, "scale=4: .* choices: 2, 3"),
        ("a2n_x4", {"scale": "2", "range": "1"}, "scale=2: the tensors are those of a x4 network"),
        ("a2n_x4", {"range": "0.5"}, "range=0.5: .* choices: 1, 255"),
        ("rrdbnet_old_x2_nb3", {}, "scale=2 or scale=3"),
        ("rrdbnet_old_x3_nb3", {"scale": "4"}, "choices: 2, 3"),
        ("rrdbnet_esrgan_old_x4", {"scale": "2"}, "those of a x4 network"),
        ("mdsr_baseline_scale2", {}, "the file holds x2, x3, x4; say which with scale=2 or scale=3 or scale=4"),
        ("mdsr_baseline_scale2", {"scale": "8"}, "choices: 2, 3, 4"),
        ("edsr_baseline_x2", {"scale": "3"}, "those of a x2 network"),
        ("edsr_baseline_x2", {"res_scale": "-1"}, "res_scale=-1: needs a number above 0"),
        ("edsr_baseline_x2", {"res_scale": "much"}, "res_scale=much: needs a number above 0"),
        ("edsr_baseline_x2", {"mean": "zero"}, "mean=zero: .* choices: div2k, none"),
        ("srgan_g_leftthomas_x4", {"scale": "2"}, "those of a x4 network"),
    ],
)
def test_what_is_ambiguous_needs_a_hint(network: str, hints: dict[str, str], message: str) -> None:
    values = {"sub_mean.bias": [255 * value for value in _DIV2K]}
    with pytest.raises(WeightsError, match=message):
        detect(golden.image_shapes(network), hints, values)


def test_the_factor_of_unusual_residuals() -> None:
    """By the paper, 1 where there are few features; of wide networks only the paper's own is known."""

    def shorter(network: str, block: int) -> dict[str, tuple[int, ...]]:
        shapes = golden.image_shapes(network)
        return {name: shape for name, shape in shapes.items() if not name.startswith((f"body.{block}.", "sub_mean"))}

    assert detect(shorter("edsr_baseline_x2", 15)).variant.config["res_scale"] == 1
    assert detect(shorter("edsr_baseline_x2", 15), {"res_scale": "0.1"}).variant.config["res_scale"] == 0.1
    wide = shorter("edsr_large_x2_keys", 31)
    with pytest.raises(WeightsError, match="31 blocks of 256 is not known; say which with res_scale="):
        detect(wide)
    assert detect(wide, {"res_scale": "0.2"}).variant.config["res_scale"] == 0.2


def test_the_mean_in_the_file_tells_the_range() -> None:
    shapes = golden.image_shapes("edsr_baseline_x2")
    for value_range in (1.0, 255.0):
        values = {"sub_mean.bias": [value_range * value for value in _DIV2K]}
        assert detect(shapes, values=values).variant.config["value_range"] == value_range
    values = {"sub_mean.bias": [2.0 * value for value in _DIV2K]}
    with pytest.raises(WeightsError, match=r"range=2: .* choices: 1, 255"):
        detect(shapes, values=values)
    assert detect(shapes, {"range": "1", "mean": "none"}, values).variant.config["mean"] == (0.0, 0.0, 0.0)


def test_answers_beat_metadata() -> None:
    shapes = golden.image_shapes("a2n_x2")
    metadata = {"scale": "2", "range": "255", "architecture": "A2N"}
    assert recognition.detect(shapes, metadata, models=models().values()).variant.scale == 2
    found = recognition.detect(shapes, metadata, {"scale": "3"}, models().values())
    assert (found.variant.scale, found.variant.config["value_range"]) == (3, 255.0)


# Files that are none


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a.weight": (1,), "b.weight": (2,)}, "none of the known networks; it has 2 tensors: a.weight, b.weight"),
        ({f"layer{n}": (1,) for n in range(9)}, "layer3 and 5 more"),
        (
            {"head.0.weight": (64, 3, 3, 3), "body.0.body.0.weight": (64, 64, 3, 3), "tail.1.weight": (3, 64, 3, 3)},
            r"the closest is EDSR \(EDSR-PyTorch names\), but it lacks tail.0.0.weight",
        ),
        ({"conv1.weight": (64, 1, 5, 5), "conv1.bias": (64,)}, "the closest is SRCNN"),
    ],
)
def test_an_unknown_file_is_described(shapes: Shapes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        detect(shapes)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("srgan_d_leftthomas", "the discriminator of SRGAN"),
        ("esrgan_vgg128_d_old", "a VGG-like discriminator"),
        ("esrgan_vgg128_d_basicsr", "the discriminator of ESRGAN"),
        ("mincnet_vgg16", "the MINC network"),
    ],
)
def test_networks_of_training_are_named(network: str, message: str) -> None:
    with pytest.raises(WeightsError, match=f"this is {message}.*training"):
        detect(golden.image_shapes(network))


def test_spynet_alone_is_named() -> None:
    with pytest.raises(WeightsError, match="this is SpyNet"):
        detect(video_shapes("spynet"))


def test_extra_paths_are_not_dropped() -> None:
    shapes = golden.image_shapes("rrdbnet_old_x1_nb3")
    extra = {"model.1.sub.0.RDB1.conv1x1.weight": (32, 64, 1, 1)}
    with pytest.raises(WeightsError, match=r"ESRGAN\+"):
        detect({**shapes, **extra})


def test_pixel_shuffle_upsampling_is_refused() -> None:
    shapes = golden.image_shapes("rrdbnet_esrgan_old_x4")
    moved = {name.replace("model.3.", "model.2."): shape for name, shape in shapes.items()}
    with pytest.raises(WeightsError, match="pixel shuffle"):
        detect(moved)


@pytest.mark.parametrize(
    ("network", "name", "shape", "message"),
    [
        ("rrdbnet_basicsr_x4_6B", "conv_first.weight", (64, 4, 3, 3), "takes 4 channels and gives 3"),
        ("rrdbnet_basicsr_x4_6B", "conv_last.weight", (1, 64, 3, 3), "takes 3 channels and gives 1"),
        ("srcnn_915", "conv1.weight", (64, 2, 9, 9), "none of the known"),
        ("edsr_baseline_basicsr_x2", "upsample.0.weight", (320, 64, 3, 3), "steps of .5.0. times 64 channels"),
        ("msrresnet_basicsr_x2", "upconv1.weight", (1024, 64, 3, 3), "not x2, x3 or x4"),
    ],
)
def test_shapes_that_no_variant_has(network: str, name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        detect({**golden.image_shapes(network), name: shape})


def test_srcnn_of_two_channels_is_refused() -> None:
    shapes = {**golden.image_shapes("srcnn_915"), "conv1.weight": (64, 2, 9, 9), "conv3.weight": (2, 32, 5, 5)}
    with pytest.raises(WeightsError, match="takes 2 channels"):
        detect(shapes)


def test_a_tensor_under_two_names_is_refused() -> None:
    shapes = golden.image_shapes("vdsr_neonleexiang")
    with pytest.raises(WeightsError, match="more than once"):
        detect({**shapes, "input.weight": (64, 1, 3, 3)})


def _toy(name: str) -> Model:
    return Model(
        name=name,
        summary="",
        paper="",
        kind="image",
        build=lambda variant: torch.nn.Conv2d(3, 3, 3),
        detect=lambda shapes, metadata: Variant(scale=1) if "toy.weight" in shapes else None,
    )


def test_a_model_without_schemes_is_found_by_its_own_names() -> None:
    found = recognition.detect({"module.toy.weight": (3, 3, 3, 3)}, models=[_toy("One"), *models().values()])
    assert (found.model.name, found.names) == ("One", {"module.toy.weight": "toy.weight"})


def test_a_file_that_fits_two_models_is_refused_without_a_hint() -> None:
    both = [_toy("One"), _toy("Two")]
    with pytest.raises(WeightsError, match="fit several models: One, Two; say which with architecture="):
        recognition.detect({"toy.weight": (3, 3, 3, 3)}, models=both)
    assert recognition.detect({"toy.weight": (3,)}, hints={"architecture": "Two"}, models=both).model.name == "Two"


def test_facts_of_a_scheme_yield_to_the_user() -> None:
    scheme = Scheme(name="s", signature=("toy.weight",), facts={"range": "1"})
    seen: list[Mapping[str, str]] = []

    def look(shapes: Shapes, metadata: Mapping[str, str]) -> Variant:
        seen.append(metadata)
        return Variant(scale=1)

    model = replace(_toy("Toy"), schemes=(scheme,), detect=look)
    recognition.detect({"toy.weight": (3,)}, {"base": "none"}, models=[model])
    recognition.detect({"toy.weight": (3,)}, {"range": "2"}, {"range": "3"}, models=[model])
    assert [dict(each) for each in seen] == [{"range": "1", "base": "none"}, {"range": "3"}]


# Strict loading


def test_loading_is_strict_but_for_counters() -> None:
    network = models()["SRGAN"].build(Variant(scale=2, config={"scale": 2, "features": 4, "blocks": 1}))
    state = network.state_dict()
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    loading.fit(network, without, "a file")
    wrong = {**without, "block1.0.bias": torch.zeros(5), "extra": torch.zeros(1)}
    del wrong["block1.0.weight"]
    with pytest.raises(WeightsError) as error:
        loading.fit(network, wrong, "a file")
    assert str(error.value) == (
        "a file does not fit the network SRGAN: it lacks block1.0.weight; it has besides extra; "
        "it has block1.0.bias (5,) instead of (4,)"
    )
