"""Methods as graphs, with a recording device in the card's place: a replay runs what was captured, where it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden
from helpers.recorder import Recorder, Step, memory

from vs_sr import registry
from vs_sr.backends.kernels import forms, graphs
from vs_sr.engine import recurrence
from vs_sr.spec import Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from vs_sr.backends.kernels.lanes import Lanes

ZSM = {"channels": 32, "groups": 4, "front_blocks": 1, "back_blocks": 1, "hr_channels": 32}
SIZE = (12, 16)


def network(name: str = "ZoomingSlowMo", config: dict[str, Any] = ZSM, lanes: Lanes | None = None) -> nn.Module:
    net = golden.fill(registry.model(name).build(Variant(scale=4, config=config))).eval().requires_grad_(False)
    return forms.exchanged(net, torch.float32, lanes=lanes)


def film(seed: int, count: int = 3, size: tuple[int, int] = SIZE) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, *size, generator=generator) for _ in range(count)]


def window(net: Any, frames: list[Tensor], state: Any = None, **how: Any) -> Any:
    timesteps = recurrence.timesteps(net, frames)
    options = {"own": len(timesteps) - 1, "outputs": range(len(timesteps) - 1), "border": len(timesteps) - 1, **how}
    return recurrence.run(net, timesteps, state=state, **options)


def same(found: Any, expected: Any) -> None:
    images, state = found
    assert sorted(images) == sorted(expected[0])
    assert all(torch.equal(images[t], expected[0][t]) for t in images)
    assert all(torch.equal(a, b) for a, b in zip(state, expected[1], strict=True))


@torch.inference_mode()
def test_windows_have_the_bits_of_the_plain_network() -> None:
    """As they are, captured, replayed with other frames and states; what came before stays as it was."""
    device = Recorder()
    plain = network()
    graphed = graphs.network(plain, "sequence", device)
    state, results = None, []
    for seed in range(4):
        found, expected = window(graphed, film(seed), state), window(plain, film(seed), state)
        same(found, expected)
        results.append((found, expected))
        state = expected[1]
    for found, expected in results:
        same(found, expected)
    # frames in three calls from the second on, pairs, and windows: the first has no state, so the third is captured
    assert device.replays == 11 + 7 + 2
    assert len(device.captured) == 3


@torch.inference_mode()
def test_rebuilds_are_graphs_of_their_own() -> None:
    device = Recorder()
    plain = network()
    graphed = graphs.network(plain, "sequence", device)
    state = window(plain, film(9))[1]
    for seed in range(3):
        same(
            window(graphed, film(seed), state, outputs=()),
            window(plain, film(seed), state, outputs=()),
        )
    operators = {str(step.operator) for step in device.captured[-1]}
    assert "vs_sr.lstm_gates.default" in operators
    assert "vs_sr.shuffle2.default" not in operators  # nothing is reconstructed


@torch.inference_mode()
def test_the_directions_touch_nothing_of_each_other() -> None:
    """From the fork to the join, neither reads or writes what the other writes."""
    device = Recorder()
    graphed = graphs.network(network(), "sequence", device)
    for seed in range(2):
        window(graphed, film(seed))
    (steps,) = [steps for steps in device.captured if any(step.lane == "beside" for step in steps)]
    apart(*([step for step in steps if step.lane == lane] for lane in ("main", "beside")))
    kernels = [str(step.operator) for step in steps if "vs_sr" in str(step.operator)]
    lanes = [step.lane for step in steps]
    assert lanes == sorted(lanes, key=["beside", "main", "after"].index)
    assert list(dict.fromkeys(lanes)) == ["beside", "main", "after"]
    assert kernels.count("vs_sr.lstm_gates.default") == 4 + 5
    assert kernels.count("vs_sr.shuffle2.default") == 2 * 4


@torch.inference_mode()
def test_neither_do_the_states() -> None:
    """From a fork to its join, in a frame's pyramids and in a step of either direction."""
    device = Recorder()
    graphed = graphs.network(network(lanes=device.states), "sequence", device)
    plain = network()
    for seed in range(3):
        same(window(graphed, film(seed)), window(plain, film(seed)))
    count = 0
    for steps in device.captured:
        for fork in {step.fork[0] for step in steps if step.fork}:
            apart(*([step for step in steps if step.fork == (fork, side)] for side in (True, False)))
            count += 1
    assert count == 1 + 1 + 4 + 5  # a frame, a pair, and the steps of a window


def apart(*lanes: list[Step]) -> None:
    """Each of two does something, and neither reads or writes what the other writes."""
    for lane, other in (lanes, lanes[::-1]):
        written = results(other)
        assert written
        for step in lane:
            assert not step.memories() & written, step.operator


def results(steps: Any) -> set[int]:
    found: set[int] = set()
    for step in steps:
        given = {memory(t) for t in leaves(step.arguments)}
        found |= {memory(t) for t in leaves(step.made)} - given | {memory(t) for t in written_into(step)}
    return found


def leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def written_into(step: Step) -> list[Tensor]:
    """The arguments that an operator's schema says it writes to."""
    named = zip(step.operator._schema.arguments, step.arguments, strict=False)
    return [
        value
        for argument, value in named
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, torch.Tensor)
    ]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "config", "kind"),
    [
        ("SRResNet", {"norm": False, "scale": 4, "features": 16, "blocks": 1}, "image"),
        ("EDVR", {"channels": 32, "groups": 4, "front_blocks": 1, "back_blocks": 1}, "multi-frame"),
        ("BasicVSR", {"channels": 16, "blocks": 1, "hr_channels": 16}, "sequence"),
    ],
)
def test_other_kinds(name: str, config: dict[str, Any], kind: str) -> None:
    device = Recorder()
    plain = network(name, config)
    graphed = graphs.network(plain, kind, device)

    def run(net: Any, seed: int) -> Any:
        frames = film(seed, 5)
        if kind == "image":
            return net(frames[0])
        return recurrence.multi_frame(net, torch.stack(frames, 1)) if kind == "multi-frame" else window(net, frames)

    for seed in range(3):
        found, expected = run(graphed, seed), run(plain, seed)
        if kind == "sequence":
            same(found, expected)
        else:
            assert torch.equal(found, expected)
    assert device.replays


def halved(x: Tensor, y: tuple[Tensor, None]) -> tuple[Tensor, Tensor, None]:
    z = (x + y[0]) / 2
    return z, z, None


def test_a_tensor_in_several_places_is_one() -> None:
    device = Recorder()
    graphed = graphs.Graphed(halved, device)
    for n in range(3):
        x = torch.full((2, 3), float(n))
        a, b, c = graphed(x, (x, None))
        assert a is b
        assert c is None
        assert torch.equal(a, x)
    a, b, _ = graphed(torch.ones(2, 3), (torch.zeros(2, 3), None))  # two tensors: another shape of arguments
    assert torch.equal(a, torch.full((2, 3), 0.5))
    assert len(device.captured) == 1


@pytest.mark.parametrize("other", [torch.ones(3, 2), torch.ones(2, 3, dtype=torch.float64), torch.ones(3, 2).t()])
def test_another_shape_type_or_order_is_another_graph(other: Tensor) -> None:
    device = Recorder()
    graphed = graphs.Graphed(lambda x: x * 2, device)
    for x in (torch.ones(2, 3), torch.zeros(2, 3), other, other + 1):
        made = graphed(x)
        assert torch.equal(made, x * 2)
        assert made.stride() == (x * 2).stride()
    assert len(device.captured) == 2


def test_only_so_many_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_MOST", 2)
    device = Recorder()
    graphed = graphs.Graphed(lambda x: x + 1, device)
    for width in range(1, 5):
        for _ in range(3):
            assert torch.equal(graphed(torch.ones(width)), torch.full((width,), 2.0))
    assert len(device.captured) == 2


def test_where_no_graph_can_be_made_it_is_said_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    device = Recorder()
    graphed = graphs.Graphed(lambda x: x + 1, device)
    for _ in range(2):
        graphed(torch.ones(3))

    def fail(work: Callable[[], object]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    device.capture = fail  # type: ignore[assignment, method-assign]
    with caplog.at_level(logging.WARNING, "vs_sr"):
        for _ in range(3):
            assert torch.equal(graphed(torch.ones(4)), torch.full((4,), 2.0))
    assert sum("no CUDA graphs from here on" in record.message for record in caplog.records) == 1
    assert torch.equal(graphed(torch.ones(3)), torch.full((3,), 2.0))
