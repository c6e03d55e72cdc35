"""Zooming Slow-Mo against the golden vectors of the published network, and for any size and configuration."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import golden
from helpers.mutants import assert_seen, mutate_network
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vs_sr.engine import recurrence
from vs_sr.errors import WeightsError
from vs_sr.models import zooming_slow_mo
from vs_sr.models.zooming_slow_mo import network
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

SIZE = (16, 24)


def keys(blocks: int) -> dict[str, tuple[int, ...]]:
    entries = json.loads(golden.find(f"golden/keys_zsm_b{blocks}.json").read_text())
    return {name: tuple(shape) for name, shape in entries["state_dict"].items()}


def published(blocks: int) -> ZoomingSlowMo:
    net = ZoomingSlowMo(back_blocks=blocks)
    net.load_state_dict(golden.state(keys(blocks)))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> ZoomingSlowMo:
    return published(10)


def pyramid(name: str) -> network.Pyramid:
    h, w = SIZE
    shapes = [(1, 64, h, w), (1, 64, h // 2, w // 2), (1, 64, h // 4, w // 4)]
    return network.Pyramid(*(golden.draw(f"pcd/{name}/L{i}", shape, 1.0) for i, shape in enumerate(shapes, 1)))


def hidden_states(
    net: ZoomingSlowMo, sequence: list[network.Timestep]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of the two directions, both in time order."""
    found: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []
    for step, order, hidden in (
        (net.forward_step, sequence, found[0]),
        (net.backward_step, sequence[::-1], found[1]),
    ):
        state = None
        for timestep in order:
            state = step(timestep, state)
            hidden.append(state[0])
    return found[0], found[1][::-1]


def fused(net: ZoomingSlowMo, past: list[torch.Tensor], future: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([net.ConvBLSTM.fuse(*states) for states in zip(past, future, strict=True)], 1)


def lstm_input(name: str) -> torch.Tensor:
    return golden.draw(f"lstm/{name}", (1, 64, *SIZE), 1.0)


@pytest.mark.parametrize("blocks", [10, 40])
def test_names_and_shapes_are_the_published_ones(blocks: int) -> None:
    ours = {key: tuple(value.shape) for key, value in ZoomingSlowMo(back_blocks=blocks).state_dict().items()}
    assert ours == keys(blocks)


@pytest.mark.parametrize(
    ("blocks", "vector", "shape"),
    [
        (10, "zsm_b10_1x3x16x24_full", (1, 3, 3, 16, 24)),
        (40, "zsm_b40_1x4x32x48", (1, 4, 3, 32, 48)),
    ],
)
def test_whole_network(blocks: int, vector: str, shape: tuple[int, ...]) -> None:
    arrays = golden.load(vector)
    out = recurrence.sequence(published(blocks), golden.draw01("input", shape), 2)
    assert golden.error(out, "out", arrays) < golden.TOLERANCE


def test_intermediate_features(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_b10_1x3x16x24_full")
    frames = golden.draw01("input", (1, 3, 3, 16, 24))
    sequence = recurrence.timesteps(net, frames.unbind(1))
    pyramids = [timestep.pyramid for timestep in sequence[::2] if timestep.pyramid is not None]
    aligned = net.pcd_align(pyramids[0], pyramids[1])
    past, future = hidden_states(net, sequence)
    found = {
        "i/L1_fea": torch.cat([p.l1 for p in pyramids]),
        "i/L2_fea": torch.cat([p.l2 for p in pyramids]),
        "i/L3_fea": torch.cat([p.l3 for p in pyramids]),
        "i/pcd_align_pair0": aligned,
        "i/fusion_pair0": net.interpolate(pyramids[0], pyramids[1]),
        "i/lstm_in": torch.stack([timestep.recurrent[0].l1 for timestep in sequence], 1),
        "i/h_fwd_t0": past[0],
        "i/h_fwd_last": past[-1],
        "i/h_rev_processing_order_last": future[0],
        "i/all_h_fwd": torch.stack(past, 1),
        "i/all_h_rev_in_processing_order": torch.stack(future[::-1], 1),
        "i/lstm_out": fused(net, past, future),
    }
    errors = {name: golden.error(value, name, arrays) for name, value in found.items()}
    assert max(errors.values()) < golden.TOLERANCE, errors


def test_alignment(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_units")
    first, second = pyramid("f1"), pyramid("f2")
    assert golden.error(net.pcd_align(first, second), "pcd_align/out", arrays) < golden.TOLERANCE
    for name in ("L3_dcnpack_1", "L2_dcnpack_1", "L3_dcnpack_2"):
        layer = net.pcd_align.get_submodule(name)
        assert isinstance(layer, network.DeformableConv)
        source = (first if name.endswith("1") else second)[int(name[1]) - 1]
        feature = torch.from_numpy(arrays[f"pcd_align/{name}/offset_feature"])
        offsets = layer.conv_offset_mask(feature)
        assert golden.error(offsets, f"pcd_align/{name}/conv_offset_mask_out", arrays) < golden.TOLERANCE
        key = f"pcd_align/{name}/out_before_lrelu"
        expected = {key: F.leaky_relu(torch.from_numpy(arrays[key]), layer.slope).numpy()}
        assert golden.error(layer(source, feature), key, expected) < golden.TOLERANCE


def test_alignment_of_the_states(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_units")
    lstm = net.ConvBLSTM.forward_net
    for_h, for_c = lstm.pyramids(lstm_input("x"))
    assert golden.error(lstm.pcd_h(for_h, lstm_input("h")), "easy_pcd_h/out", arrays) < golden.TOLERANCE
    assert golden.error(lstm.pcd_c(for_c, lstm_input("c")), "easy_pcd_c/out", arrays) < golden.TOLERANCE


def test_one_step_of_the_recurrence(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_units")
    lstm = net.ConvBLSTM.forward_net
    x, h, c = (lstm_input(name) for name in "xhc")
    zero = torch.zeros_like(h)
    for name, states in {
        "cell": lstm.cell_list[0](x, h, c),
        "step": lstm.step(lstm.pyramids(x), h, c),
        "step_from_zero": lstm.step(lstm.pyramids(x), zero, zero),
    }.items():
        assert golden.error(states[0], f"{name}/h", arrays) < golden.TOLERANCE, name
        assert golden.error(states[1], f"{name}/c", arrays) < golden.TOLERANCE, name


def test_both_directions(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_units")
    lstm, image = net.ConvBLSTM.forward_net, torch.empty(0)  # of the images the recurrence takes nothing
    features = golden.draw("bilstm/x", (1, 5, 64, *SIZE), 1.0).unbind(1)
    past, future = hidden_states(net, [network.Timestep(image, None, lstm.pyramids(x)) for x in features])
    assert golden.error(torch.stack(past, 1), "bilstm/fwd", arrays) < golden.TOLERANCE
    assert golden.error(torch.stack(future, 1), "bilstm/rev_back_in_time_order", arrays) < golden.TOLERANCE
    assert golden.error(fused(net, past, future), "bilstm/out", arrays) < golden.TOLERANCE


def test_deformable_convolution_layer(net: ZoomingSlowMo) -> None:
    arrays = golden.load("zsm_units")
    layer = net.pcd_align.get_submodule("L1_dcnpack_1")
    x, feature = (golden.draw(f"dcnsep/{name}", (1, 64, 13, 17), 1.0) for name in ("x", "fea"))
    assert golden.error(layer(x, feature), "dcn_sep/out", arrays) < golden.TOLERANCE


# Planted faults: the vector must see them.

_MUTATIONS = [  # (module, what is replaced, by what)
    ("zooming_slow_mo.network", "i, f, o, g = ", "i, f, g, o = "),
    ("zooming_slow_mo.network", "torch.sigmoid(o) * torch.tanh(c)", "torch.sigmoid(o) * c"),
    ("zooming_slow_mo.network", "torch.cat([x, h], 1)", "torch.cat([h, x], 1)"),
    ("zooming_slow_mo.network", "torch.cat([past, future], 1)", "torch.cat([future, past], 1)"),
    (
        "zooming_slow_mo.network",
        "self.pcd_align(frame, self.pyramid(state))",
        "self.pcd_align(self.pyramid(state), frame)",
    ),
    ("zooming_slow_mo.network", "self.pcd_align(before, after)", "self.pcd_align(after, before)"),
    ("layers", "up2(2 * offset)", "up2(offset)"),
    ("zooming_slow_mo.network", "self.recon_trunk(feature)", "self.recon_trunk[::-1](feature)"),
    ("layers", "deform_conv2d(x, offset, mask,", "deform_conv2d(x, _swapped(offset), mask,"),
    ("layers", 'mode="bilinear", align_corners=False', 'mode="bilinear", align_corners=True'),
    ("layers", "LEAK = 0.1", "LEAK = 0.2"),
    ("layers", "F.relu(self.conv1(x), inplace=True)", "self.conv1(x)"),
]


@pytest.mark.parametrize(("name", "old", "new"), _MUTATIONS, ids=lambda value: str(value)[:40])
def test_a_planted_fault_is_seen(name: str, old: str, new: str) -> None:
    net = mutate_network("zooming_slow_mo.network", name, old, new).ZoomingSlowMo(back_blocks=10)
    net.load_state_dict(golden.state(keys(10)))
    arrays = golden.load("zsm_b10_1x3x16x24_full")
    with torch.inference_mode():
        out = recurrence.sequence(net, golden.draw01("input", (1, 3, 3, 16, 24)), 2)
    assert_seen(out, (1, 5, 3, 64, 96), lambda out: golden.error(out, "out", arrays), golden.TOLERANCE)


# What the published code cannot do.


@pytest.fixture(scope="module")
def tiny() -> ZoomingSlowMo:
    torch.manual_seed(1)
    net = ZoomingSlowMo(channels=16, groups=2, front_blocks=1, back_blocks=1, hr_channels=8, base="bicubic")
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(8, 8), (9, 11), (13, 22), (10, 35)])
def test_any_size_is_padded_and_cropped(tiny: ZoomingSlowMo, size: tuple[int, int]) -> None:
    frames = torch.rand(1, 3, 3, *size)
    h, w = size
    out = recurrence.sequence(tiny, frames, 2)
    padded = F.pad(frames, (0, -w % 4, 0, -h % 4, 0, 0), "replicate")
    assert out.shape == (1, 5, 3, 4 * h, 4 * w)
    # The base is made of the frame itself, so only what the network adds comes from the padded one.
    base, padded_base = (
        torch.stack([network.bicubic(each.image) for each in recurrence.timesteps(tiny, x.unbind(1))], 1)
        for x in (frames, padded)
    )
    added = recurrence.sequence(tiny, padded, 2) - padded_base
    torch.testing.assert_close(out - base, added[..., : 4 * h, : 4 * w], atol=2e-6, rtol=0)


@pytest.mark.parametrize("length", [2, 3, 5, 8])
def test_any_number_of_frames(tiny: ZoomingSlowMo, length: int) -> None:
    frames = torch.rand(1, length, 3, 12, 12)
    both = recurrence.sequence(tiny, frames, 2)
    assert both.shape[1] == 2 * length - 1
    torch.testing.assert_close(recurrence.sequence(tiny, frames, 1), both[:, ::2], atol=0, rtol=0)


def test_one_frame_is_refused(tiny: ZoomingSlowMo) -> None:
    with pytest.raises(ValueError, match="1 frames have 1 timesteps, of which multi=2 cannot be made"):
        recurrence.sequence(tiny, torch.rand(1, 1, 3, 12, 12), 2)


def test_steps_are_the_sequence(tiny: ZoomingSlowMo) -> None:
    """States that were kept, and timesteps made again, give the sequence bit for bit."""
    frames = torch.rand(1, 3, 3, 12, 16)
    sequence = recurrence.timesteps(tiny, frames.unbind(1))
    past, state = [], None
    for timestep in sequence:
        state = tuple(kept.clone() for kept in tiny.forward_step(timestep, state))
        past.append(state)
    state = None
    again = recurrence.timesteps(tiny, frames.unbind(1))
    made = []
    for t in reversed(range(5)):
        state = tiny.backward_step(again[t], state)
        made.append(tiny.reconstruct(again[t], past[t][0], state[0]))
    torch.testing.assert_close(torch.stack(made[::-1], 1), recurrence.sequence(tiny, frames, 2), atol=0, rtol=0)


def test_an_interpolated_timestep_is_a_neighbor_with_a_pyramid_of_its_own(tiny: ZoomingSlowMo) -> None:
    """The network's own convolutions make it of the feature; the image stays the blend of the frames."""
    first, quarter, middle, *_ = recurrence.timesteps(tiny, frames := torch.rand(2, 1, 3, 12, 16), 4)
    layers = (tiny.fea_L2_conv1, tiny.fea_L2_conv2, tiny.fea_L3_conv1, tiny.fea_L3_conv2)
    assert middle.pyramid is None
    between = network.Pyramid.of(middle.recurrent[0].l1, *layers)
    feature = tiny.fusion(tiny.pcd_align(first.pyramid, between))
    torch.testing.assert_close(quarter.recurrent[0].l1, feature, atol=0, rtol=0)
    torch.testing.assert_close(quarter.image, 0.75 * frames[0] + 0.25 * frames[1], atol=1e-6, rtol=0)


def test_four_times_the_rate_costs_at_most_2_1_times_twice_the_rate() -> None:
    """Operations for an interval of the input, by the shipped network; deformable products are not counted."""
    config = {"channels": 32, "groups": 4, "front_blocks": 2, "back_blocks": 8, "hr_channels": 32, "base": "bicubic"}
    net = ZoomingSlowMo(**config).requires_grad_(False)  # type: ignore[arg-type]

    def operations(frames: int, multi: int) -> int:
        with FlopCounterMode(display=False) as counter:
            recurrence.sequence(net, torch.rand(1, frames, 3, 8, 8), multi)
        return counter.get_total_flops()

    twice, four = (operations(3, multi) - operations(2, multi) for multi in (2, 4))
    assert 1.9 * twice < four <= 2.1 * twice


def test_batches_are_independent(tiny: ZoomingSlowMo) -> None:
    frames = torch.rand(2, 3, 3, 12, 16)
    apart = torch.cat([recurrence.sequence(tiny, each[None], 2) for each in frames])
    torch.testing.assert_close(recurrence.sequence(tiny, frames, 2), apart, atol=2e-6, rtol=0)


def test_base_is_the_frame_upscaled_by_cubic_interpolation() -> None:
    upscaled = network.bicubic(torch.linspace(0, 1, 16).expand(1, 3, 16, 16))
    # away from the border a cubic kernel of a = -0.5 reproduces straight lines
    expected = (torch.arange(64) + 0.5) / 4 - 0.5
    torch.testing.assert_close(upscaled[0, 0, 20, 8:-8], expected[8:-8] / 15, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        {
            "channels": 64,
            "groups": 8,
            "front_blocks": 5,
            "back_blocks": 40,
            "hr_channels": 64,
            "base": "none",
        },
        {
            "channels": 16,
            "groups": 4,
            "front_blocks": 1,
            "back_blocks": 3,
            "hr_channels": 8,
            "base": "bicubic",
        },
        {"channels": 24, "groups": 1, "front_blocks": 2, "back_blocks": 6, "hr_channels": 24, "base": "none"},
    ],
)
def test_configuration_is_read_off_the_shapes(config: dict[str, int | str]) -> None:
    with torch.device("meta"):
        net = ZoomingSlowMo(**config)  # type: ignore[arg-type]
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    variant = zooming_slow_mo.detect(shapes, {"base": str(config["base"])})
    assert variant is not None
    assert variant.config == config
    assert variant.scale == 4


def test_other_files_are_not_taken() -> None:
    assert zooming_slow_mo.detect({"conv_first.weight": (64, 3, 3, 3), "conv_last.weight": (3, 64, 3, 3)}, {}) is None


def test_an_unknown_base_is_an_error() -> None:
    shapes = keys(10)
    with pytest.raises(WeightsError, match=r"'lanczos'.*none, bicubic"):
        zooming_slow_mo.detect(shapes, {"base": "lanczos"})


def test_half_precision_keeps_the_base_exact(tiny: ZoomingSlowMo) -> None:
    """The image itself must not be rounded to the network's precision."""
    net = ZoomingSlowMo(channels=16, groups=2, front_blocks=1, back_blocks=1, hr_channels=8, base="bicubic")
    net.load_state_dict(tiny.state_dict())
    net.conv_last.weight.data.zero_()
    net.conv_last.bias.data.zero_()
    frames = torch.rand(1, 2, 3, 12, 12)
    with torch.inference_mode():
        found = [recurrence.sequence(net.to(dtype), frames, 2) for dtype in (torch.bfloat16, torch.float32)]
        torch.testing.assert_close(*found, atol=0, rtol=0)
