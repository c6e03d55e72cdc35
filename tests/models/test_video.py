"""EDVR and BasicSR's video networks against the golden vectors of the networks they are compatible with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden
from helpers.mutants import assert_seen, mutate, mutate_network
from torch.nn import functional as F

from vs_sr.engine import recurrence
from vs_sr.models.basicvsr.network import BasicVSR
from vs_sr.models.basicvsr.spynet import SpyNet, warp
from vs_sr.models.edvr.network import EDVR, PCDAlign, Predeblur, TSAFusion
from vs_sr.models.layers import Pyramid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode(), golden.one_thread():
        yield


# EDVR

_EDVR: Mapping[str, tuple[tuple[int, ...], Mapping[str, Any]]] = {
    "edvr_m_1x5x16x24_full": ((1, 5, 3, 16, 24), {}),
    "edvr_m_1x5x32x48": ((1, 5, 3, 32, 48), {}),
    "edvr_m_wotsa_1x5x16x24": ((1, 5, 3, 16, 24), {"tsa": False}),
    "edvr_m_predeblur_1x5x16x24_full": ((1, 5, 3, 16, 24), {"predeblur": True}),
    "edvr_m_predeblur_hrin_1x5x64x96_full": ((1, 5, 3, 64, 96), {"predeblur": True, "hr_in": True}),
    "edvr_l_vimeo_1x7x8x12": ((1, 7, 3, 8, 12), {"frames": 7, "channels": 128, "back_blocks": 40}),
}
_FAST_EDVR = ("edvr_m_wotsa_1x5x16x24",)  # besides those below


@pytest.mark.parametrize("name", [n if n in _FAST_EDVR else pytest.param(n, marks=pytest.mark.slow) for n in _EDVR])
def test_edvr(name: str) -> None:
    shape, config = _EDVR[name]
    network = golden.fill(EDVR(**config))
    assert (
        golden.error(recurrence.multi_frame(network, golden.draw01("input", shape)), "out", golden.load(name))
        < golden.TOLERANCE
    )


def edvr_intermediates(network: EDVR, frames: Tensor) -> dict[str, Tensor]:
    """What the vectors name, for one window (1, T, 3, H, W)."""
    pyramids = [network.pyramid(frame) for frame in frames.unbind(1)]
    middle = pyramids[network.frames // 2]
    aligned = torch.stack([network.pcd_align(pyramid, middle) for pyramid in pyramids], 1)
    fused = network.fusion(aligned)
    found = {
        "i/feat_l1": torch.cat([pyramid.l1 for pyramid in pyramids]),
        "i/aligned": aligned,
        "i/fusion_out": fused,
        "i/recon": network.reconstruction(fused),
        "i/conv_last_before_base": network.detail(pyramids),
    }
    if isinstance(getattr(network, "predeblur", None), Predeblur):
        features = network.predeblur(frames.flatten(0, 1))
        found |= {"i/predeblur": features, "i/conv_1x1": network.conv_1x1(features)}
    return found


@pytest.mark.parametrize(
    "name",
    ["edvr_m_1x5x16x24_full", pytest.param("edvr_m_predeblur_1x5x16x24_full", marks=pytest.mark.slow)],
)
def test_what_edvr_computes_on_the_way(name: str) -> None:
    shape, config = _EDVR[name]
    network = golden.fill(EDVR(**config))
    assert isinstance(network, EDVR)
    arrays = golden.load(name)
    found = edvr_intermediates(network, golden.draw01("input", shape))
    assert {key.partition("[")[0] for key in arrays} == {*found, "out"}
    base = F.interpolate(golden.draw01("input", shape)[:, 2], scale_factor=4, mode="bilinear", align_corners=False)
    found["out"] = base + found["i/conv_last_before_base"]
    for key, tensor in found.items():
        assert golden.error(tensor, key, arrays) < golden.TOLERANCE, key


def pyramid(name: str) -> Pyramid:
    shapes = ((1, 64, 16, 24), (1, 64, 8, 12), (1, 64, 4, 6))
    return Pyramid(*(golden.draw(f"edvr/pcd/{name}/L{i}", shape, 1.0) for i, shape in enumerate(shapes, 1)))


def test_edvr_alignment_and_fusion_alone() -> None:
    arrays = golden.load("edvr_units")
    align = golden.fill(PCDAlign(64, 8), "pcd_align.")
    assert golden.error(align(pyramid("nbr"), pyramid("ref")), "pcd/out", arrays) < golden.TOLERANCE
    fusion = golden.fill(TSAFusion(64, 5), "fusion.")
    aligned = golden.draw("edvr/tsa/aligned", (1, 5, 64, 16, 24), 1.0)
    assert isinstance(fusion, TSAFusion)
    assert golden.error(fusion.correlation(aligned), "tsa/corr_prob", arrays) < golden.TOLERANCE
    assert golden.error(fusion(aligned), "tsa/out", arrays) < golden.TOLERANCE


@pytest.mark.parametrize(("hr_in", "predeblur"), [(False, False), (True, False), (True, True)])
def test_edvr_takes_any_size(hr_in: bool, predeblur: bool) -> None:
    """A size that is no multiple of anything gives what the frame with its border repeated gives."""
    torch.manual_seed(0)
    network = EDVR(channels=8, groups=2, front_blocks=1, back_blocks=1, hr_channels=8, hr_in=hr_in, predeblur=predeblur)
    frames = golden.draw01("input", (1, 5, 3, 13, 18))
    out = recurrence.multi_frame(network.eval(), frames)
    assert out.shape == (1, 3, 13 * network.scale, 18 * network.scale)
    m = network.multiple
    padded = torch.stack([F.pad(f, (0, -18 % m, 0, -13 % m), mode="replicate") for f in frames.unbind(1)], 1)
    whole = recurrence.multi_frame(network, padded)[..., : out.shape[2], : out.shape[3]]
    inside = (..., slice(0, 12 * network.scale), slice(0, 17 * network.scale))  # the base repeats no border
    torch.testing.assert_close(out[inside], whole[inside], rtol=0, atol=1e-5)


def test_edvr_refuses_another_number_of_frames() -> None:
    with pytest.raises(ValueError, match="takes 5 frames, got 4"):
        recurrence.multi_frame(EDVR(channels=8, groups=2, front_blocks=1, back_blocks=1), torch.zeros(1, 4, 3, 8, 8))


_EDVR_MUTATIONS = [  # (module, what is replaced, by what)
    ("layers", "up2(2 * offset)", "up2(offset)"),
    ("edvr.network", "torch.cat([feature, middle.l1], 1)", "torch.cat([middle.l1, feature], 1)"),
    ("edvr.network", "DeformableConv(channels, groups, slope=LEAK)", "DeformableConv(channels, groups)"),
    ("edvr.network", "self.cas_dcnpack(feature, offset)", "self.cas_dcnpack(offset, feature)"),
    ("edvr.network", "self.temporal_attn1(aligned[:, self.middle])", "self.temporal_attn2(aligned[:, self.middle])"),
    (
        "edvr.network",
        "[F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)]",
        "[F.avg_pool2d(x, 3, 2, 1), F.max_pool2d(x, 3, 2, 1)]",
    ),
    ("edvr.network", "F.avg_pool2d(x, 3, 2, 1)", "F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)"),
    ("edvr.network", "self.pcd_align(pyramid, middle)", "self.pcd_align(middle, pyramid)"),
    ("layers", "level.fuse, [deformed, up2(feature)]", "level.fuse, [up2(feature), deformed]"),
    ("edvr.network", "weighted.flatten(1, 2)", "weighted.flip(1).flatten(1, 2)"),
    ("edvr.network", "2 * feature * torch.sigmoid(attention)", "feature * torch.sigmoid(attention)"),
    ("edvr.network", "self.reconstruction(self.fusion(aligned))", "self.reconstruction[::-1](self.fusion(aligned))"),
    ("edvr.network", "self.feature_extraction(self.stem", "self.feature_extraction[::-1](self.stem"),
    ("edvr.network", "self.conv_first = conv3_lrelu(3, channels)", "self.conv_first = conv3(3, channels)"),
    ("edvr.network", "self.conv_hr = conv3_lrelu(", "self.conv_hr = conv3("),
    ("edvr.network", "middle = pyramids[self.frames // 2]", "middle = pyramids[0]"),
    ("edvr.network", "(image if self.hr_in else upscale(image, 4)) + detail", "detail"),
    ("layers", "LEAK = 0.1", "LEAK = 0.2"),
    ("layers", "deform_conv2d(x, offset, mask,", "deform_conv2d(x, _swapped(offset), mask,"),
    ("layers", 'mode="bilinear", align_corners=False', 'mode="bilinear", align_corners=True'),
]


@pytest.mark.parametrize(("name", "old", "new"), _EDVR_MUTATIONS, ids=lambda value: str(value)[:40])
def test_a_planted_fault_in_edvr_is_seen(name: str, old: str, new: str) -> None:
    """By the output of the whole network."""
    network = golden.fill(mutate_network("edvr.network", name, old, new).EDVR())
    arrays = golden.load("edvr_m_1x5x16x24_full")
    out = recurrence.multi_frame(network, golden.draw01("input", (1, 5, 3, 16, 24)))
    assert_seen(out, (1, 3, 64, 96), lambda out: golden.error(out, "out", arrays), golden.TOLERANCE)


# BasicVSR

_BASICVSR: Mapping[str, tuple[int, int]] = {  # frames, blocks
    "basicvsr_b10_1x3x64x64_full": (3, 10),
    "basicvsr_b10_1x5x64x64": (5, 10),
    "basicvsr_b10_1x3x64x64_mirror": (3, 10),
    "basicvsr_b30_1x5x64x64": (5, 30),
}


def frames_of(frames: int, *, mirror: bool = False) -> Tensor:
    x = golden.draw01("input", (1, frames, 3, 64, 64))
    return torch.cat([x, x.flip(1)], 1) if mirror else x


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_BASICVSR))
def test_basicvsr(name: str) -> None:
    frames, blocks = _BASICVSR[name]
    network = golden.fill(BasicVSR(blocks=blocks))
    out = recurrence.sequence(network, frames_of(frames, mirror=name.endswith("mirror")), 1)
    assert golden.error(out, "out", golden.load(name)) < golden.TOLERANCE


def stepped(network: BasicVSR, frames: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """The features of the backward and of the forward direction, both in time order."""
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for step, order, features in (
        (network.backward_step, frames[::-1], found[0]),
        (network.forward_step, frames, found[1]),
    ):
        state = None
        for frame in order:
            state = step(frame, state)
            features.append(state[0])
    return found[0][::-1], found[1]


def test_what_basicvsr_computes_on_the_way() -> None:
    arrays = golden.load("basicvsr_b10_1x3x64x64_full")
    network = golden.fill(BasicVSR(blocks=10))
    assert isinstance(network, BasicVSR)
    x = frames_of(3).unbind(1)
    forward = [network.spynet(x[t + 1], x[t]) for t in range(2)]
    backward = [network.spynet(x[t], x[t + 1]) for t in range(2)]
    future, past = stepped(network, x)
    both = torch.cat([future[1], past[1]], 1)
    found = {
        "flows_forward": torch.stack(forward, 1),
        "flows_backward": torch.stack(backward, 1),
        "i/backward_feat_last_frame": future[2],
        "i/backward_feat_frame0": future[0],
        "i/backward_trunk_input_frame0": torch.cat([x[0], warp(future[1], backward[0])], 1),
        "i/forward_feat_last_frame": past[2],
        "i/fusion_preact_frame1": F.conv2d(both, network.fusion.weight, network.fusion.bias),
    }
    found["out"] = torch.stack([network.reconstruct(*each) for each in zip(x, past, future, strict=True)], 1)
    assert {key.partition("[")[0] for key in arrays} == set(found)
    for key, tensor in found.items():
        assert golden.error(tensor, key, arrays) < golden.TOLERANCE, key


def test_basicvsr_is_its_steps_one_after_the_other() -> None:
    """The sequence in one call, against the recurrences stepped one by one."""
    network = golden.fill(BasicVSR(channels=8, blocks=1, hr_channels=8))
    assert isinstance(network, BasicVSR)
    x = frames_of(3)[..., :32, :40].unbind(1)
    future, past = stepped(network, x)
    out = torch.stack([network.reconstruct(*each) for each in zip(x, past, future, strict=True)], 1)
    assert torch.equal(recurrence.sequence(network, torch.stack(x, 1), 1), out)


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 64, 96), (2, 70, 90), (1, 128, 160)])
def test_spynet(shape: tuple[int, int, int]) -> None:
    batch, height, width = shape
    name = f"spynet/{{}}/{height}x{width}"
    first, second = (golden.draw01(name.format(x), (batch, 3, height, width)) for x in ("ref", "supp"))
    flow = golden.fill(SpyNet(), "spynet.")(first, second)
    assert golden.error(flow, f"spynet/{height}x{width}", golden.load("basicvsr_units")) < golden.TOLERANCE


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_warp(padding: Any) -> None:
    x = golden.draw("warp/x", (2, 5, 11, 14), 1.0)
    flow = golden.draw("warp/flow", (2, 11, 14, 2), 6.0).permute(0, 3, 1, 2)
    arrays = golden.load("basicvsr_units")
    assert golden.error(warp(x, flow, padding), f"flow_warp/{padding}", arrays) < golden.TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 33), (32, 40)])
def test_spynet_takes_frames_below_its_coarsest_level(height: int, width: int) -> None:
    x = golden.draw01("input", (2, 1, 3, height, width))
    flow = golden.fill(SpyNet(), "spynet.")(x[0], x[1])
    assert flow.shape == (1, 2, height, width)
    assert flow.isfinite().all()


def test_basicvsr_takes_a_single_frame() -> None:
    network = golden.fill(BasicVSR(channels=8, blocks=1, hr_channels=8))
    out = recurrence.sequence(network, frames_of(1)[..., :9, :7], 1)
    assert out.shape == (1, 1, 3, 36, 28)


def test_basicvsr_refuses_to_change_the_rate() -> None:
    with pytest.raises(ValueError, match="2 frames have 2 timesteps, of which multi=2 cannot be made"):
        recurrence.sequence(BasicVSR(channels=8, blocks=1), frames_of(2), 2)


def test_flow_is_computed_in_float32_whatever_the_weights_are() -> None:
    x = golden.draw01("input", (2, 1, 3, 64, 64))
    network = golden.fill(SpyNet(), "spynet.")
    full = network(x[0], x[1])
    half = network.to(torch.bfloat16)(x[0], x[1])
    assert half.dtype == torch.float32
    assert (full - half).abs().max() < 0.1  # of a pixel


def slow(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


_BASICVSR_MUTATIONS = [
    ("network", "self.spynet(frame, neighbor)", "self.spynet(neighbor, frame)"),
    slow("network", "torch.cat([future, past], 1)", "torch.cat([past, future], 1)"),
    slow("network", "conv3_lrelu(3 + channels", "conv3(3 + channels"),
    slow(
        "network",
        "return warp(feature, self.spynet(frame, neighbor))",
        'return warp(feature, self.spynet(frame, neighbor), "border")',
    ),
    slow(
        "network",
        "torch.cat([as_weights(frame, self.main[0]), state], 1)",
        "torch.cat([state, as_weights(frame, self.main[0])], 1)",
    ),
    slow(
        "network",
        "self.main(torch.cat([as_weights(frame, self.main[0]), state], 1))",
        "self.main[2][::-1](self.main[:2](torch.cat([as_weights(frame, self.main[0]), state], 1)))",
    ),
    slow("layers", "F.leaky_relu(x, slope, inplace=True)", "F.relu(x)"),
    ("spynet", "align_corners=True", "align_corners=False"),
    ("spynet", "cols + flow[:, 0]", "cols + flow[:, 1]"),
    ("spynet", 'warp(b, flow, "border")', 'warp(b, flow, "zeros")'),
]


@pytest.mark.parametrize(("name", "old", "new"), _BASICVSR_MUTATIONS, ids=lambda value: str(value)[:40])
def test_a_planted_fault_in_basicvsr_is_seen(name: str, old: str, new: str) -> None:
    if name == "spynet":
        arrays = golden.load("basicvsr_units")
        network: nn.Module = golden.fill(mutate("vs_sr.models.basicvsr.spynet", old, new).SpyNet(), "spynet.")
        out = network(*(golden.draw01(f"spynet/{which}/64x64", (1, 3, 64, 64)) for which in ("ref", "supp")))
        shape, key = (1, 2, 64, 64), "spynet/64x64"
    else:
        arrays = golden.load("basicvsr_b10_1x3x64x64_full")
        network = golden.fill(mutate_network("basicvsr.network", name, old, new).BasicVSR(blocks=10))
        out = recurrence.sequence(network, frames_of(3), 1)
        shape, key = (1, 3, 3, 256, 256), "out"
    assert_seen(out, shape, lambda out: golden.error(out, key, arrays), golden.TOLERANCE)
