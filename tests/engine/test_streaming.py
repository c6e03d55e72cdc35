"""The promise, through real VapourSynth: an output's bits do not depend on what was asked for before."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers.clips import digest, moving, slow
from helpers.counting import made, run, triple
from helpers.matrix import in_turn
from helpers.memory import limited
from helpers.recurrence import Clip, Timestep

from vs_sr import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

core = vs.core


@pytest.fixture(autouse=True)
def threads() -> Iterator[Callable[[int], None]]:
    before = core.num_threads
    yield lambda count: setattr(core, "num_threads", count)
    core.num_threads = before


def fetch(node: vs.VideoNode, order: str, seed: int = 5) -> dict[int, tuple[int, ...]]:
    """All frames, in an order."""
    wanted = list(range(node.num_frames))
    if order == "reversed":
        wanted.reverse()
    elif order in ("shuffled", "seeks", "asynchronous shuffled"):
        random.Random(seed).shuffle(wanted)
    if order == "seeks":  # forward for a while, then somewhere else
        wanted = [n for start in wanted[::5] for n in range(start, min(start + 7, node.num_frames))] + wanted
    if order == "two readers":
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(fetch, node, way) for way in ("in order", "reversed")]
        assert readers[0].result() == readers[1].result()
        return readers[0].result()
    if order.startswith("asynchronous"):
        futures = {n: node.get_frame_async(n) for n in wanted}
        return {n: triple(future.result(60)) for n, future in futures.items()}
    return {n: triple(node.get_frame(n)) for n in wanted}


ORDERS = ("in order", "reversed", "shuffled", "seeks", "asynchronous", "asynchronous shuffled", "two readers")
MODES = (
    {"carry": False},
    {"carry": False, "lookahead": 2},
    {"carry": True},
    {"carry": True, "segment": 2, "lookahead": 1},
    {"carry": True, "segment": 3, "multi": 1},
    {"carry": False, "multi": 4, "lookahead": 1},
    {"carry": True, "segment": 3, "multi": 8},
    {"carry": False, "multi": 5, "per": 2},
    {"carry": True, "multi": 1001, "per": 400, "lookahead": 1},
)
CUTS = ((), (2, 3, 9), (0, 5, 6, 7, 15))


@pytest.mark.parametrize(("mode", "cuts", "count"), in_turn(MODES, CUTS, (1, 2, 16), every=3), ids=str)
def test_every_order(mode: dict[str, Any], cuts: tuple[int, ...], count: int, threads: Callable[[int], None]) -> None:
    threads(count)
    for order, length in itertools.product(ORDERS, (1, 2, 3, 11, 20)):
        clip = Clip(frames=length, cuts=cuts, **mode)
        node = run(clip, state_memory=1, checkpoint=2)
        found = fetch(node, order)
        assert len(found) == clip.outputs
        assert found == {n: clip.expected(n) for n in range(node.num_frames)}, (order, length)


@pytest.mark.parametrize("count", [1, 16])
def test_32_seeks_at_once_take_each_step_once(count: int, threads: Callable[[int], None]) -> None:
    """All look back over the same windows to the clip's beginning, and all go forward over them."""
    threads(count)
    clip = Clip(frames=301, carry=True)
    node = run(clip)
    assert triple(node.get_frame(0)) == clip.expected(0)
    made[-1].calls["forward"].clear()  # of earlier tests, whose session may live still
    groups = [99 - 2 * i for i in range(32)]
    futures = {6 * group: node.get_frame_async(6 * group) for group in groups}
    assert {n: triple(future.result(60)) for n, future in futures.items()} == {n: clip.expected(n) for n in futures}
    steps = len(made[-1].calls["forward"])
    assert steps <= 6 * 100 + 6 * 32 + 32 * 6 * 8, "at most the way from a checkpoint more, each"


@pytest.mark.parametrize("carry", [False, True])
def test_a_clip_of_unknown_length(carry: bool) -> None:
    """Players hand over nearly 2**31 frames. A frame far out needs its segment alone."""
    most, segment = 2**31 - 1, 4
    source = core.std.BlankClip(length=most, width=2, height=1, format=vs.RGBS, color=[7, 7, 7], keep=True)
    node = core.vs_sr.Recurrence(source, carry=carry, segment=segment, sc=0, device_id=-1)
    assert node.num_frames == most
    period = 2 * 3 * segment
    near = [triple(node.get_frame(n)) for n in range(period)]
    assert (len(set(near)) == period) == carry
    for n in (1000 * period + 3, (most // period - 1) * period + 20, 77 * period):
        made[-1].calls["forward"].clear()
        assert triple(node.get_frame(n)) == near[n % period]
        assert len(made[-1].calls["forward"]) <= period
    assert triple(node.get_frame(most - 1))[2] == 7 or most % 2 == 0


def test_a_feature_computed_at_another_batch_size_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What convolutions do in their last bits, this model does in its numbers: it tells the size of its batch."""
    from vs_sr.engine.scheduler import stream

    clip = Clip(frames=20, carry=True)
    original = stream.Stream._encode

    def encode(self: Any, network: Any, frame: int, image: Any) -> Any:
        if frame not in self._encoded and frame % 3 == 1:
            images = stream.upload(image(frame), self._tile, self._device).repeat(2, 1, 1, 1)
            self._encoded[frame] = Timestep(*(part[:1] for part in network.encode(images)))
        return original(self, network, frame, image)

    assert fetch(run(clip), "in order") == {n: clip.expected(n) for n in range(40)}
    monkeypatch.setattr(stream.Stream, "_encode", encode)
    assert fetch(run(clip), "in order") != {n: clip.expected(n) for n in range(40)}


# Real networks, pairwise


PAIRS = [
    ("in order", 1, {"carry": 1, "segment": 2, "lookahead": 1}),
    pytest.param("reversed", 2, {"carry": 1, "tilesize": [24, 20], "overlap": 4}, marks=pytest.mark.slow),
    ("shuffled", 16, {"carry": 1, "segment": 3, "multi": 1}),
    pytest.param("seeks", 1, {"carry": 1, "window": 3, "checkpoint": 1}, marks=pytest.mark.slow),
    ("asynchronous", 16, {"carry": 1, "lookahead": 2, "precision": "bf16"}),
    pytest.param("asynchronous shuffled", 2, {"carry": 0, "window": 2}, marks=pytest.mark.slow),
    ("shuffled", 16, {"carry": 1, "multi": 4, "window": 3}),
    pytest.param("asynchronous", 2, {"carry": 1, "multi": 8, "segment": 2}, marks=pytest.mark.slow),
    ("seeks", 2, {"carry": 1, "fps_num": 60000, "fps_den": 1001, "segment": 2}),
    pytest.param("reversed", 16, {"fps_num": 60, "lookahead": 1}, marks=pytest.mark.slow),
    pytest.param("two readers", 16, {"carry": 1, "segment": 2, "tilesize": 24, "overlap": 4}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("order", "count", "arguments"), PAIRS, ids=lambda value: str(value))
def test_the_real_network(order: str, count: int, arguments: dict[str, Any], threads: Callable[[int], None]) -> None:
    clip = moving(11, 34, 26, vs.YUV420P8).std.SetFrameProps(_SceneChangePrev=0, _SceneChangeNext=0)
    clip = core.std.Splice([clip[:8].std.SetFrameProps(_SceneChangeNext=0), clip[9:]])
    threads(1)
    in_order = [digest(frame) for frame in slow(clip, **arguments).frames()]
    threads(count)
    node = slow(clip, **arguments)
    if order == "two readers":
        results: list[list[str]] = [[], []]

        def read(into: int) -> None:
            ways = range(node.num_frames) if into else reversed(range(node.num_frames))
            results[into] = [digest(node.get_frame(n)) for n in ways]

        readers = [threading.Thread(target=read, args=(into,)) for into in (0, 1)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(120)
        assert results == [in_order[::-1], in_order]
        return
    wanted = list(range(node.num_frames))
    if order != "in order" and order != "asynchronous":
        random.Random(3).shuffle(wanted)
    if order == "reversed":
        wanted = sorted(wanted, reverse=True)
    if order.startswith("asynchronous"):
        futures = {n: node.get_frame_async(n) for n in wanted}
        found = {n: digest(future.result(120)) for n, future in futures.items()}
    else:
        found = {n: digest(node.get_frame(n)) for n in wanted}
    assert [found[n] for n in range(node.num_frames)] == in_order


# Tiles


def test_tiles_are_streams_of_their_own() -> None:
    """Where tiles see the whole frame, they are the whole frame; small ones differ little."""
    clip = moving(5, 96, 32)
    whole = slow(clip, carry=1)
    parts = slow(clip, carry=1, tilesize=[64, 32], overlap=24)
    worst = 0.0
    for a, b in zip(whole.frames(), parts.frames(), strict=True):
        worst = max(worst, *(float(np.abs(np.asarray(a[p]) - np.asarray(b[p])).max()) for p in range(3)))
    assert 0 < worst < 5e-3


@pytest.mark.parametrize("carry", [0, 1])
def test_out_of_memory_costs_no_frame(
    carry: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A device that has room for 100x16 pixels at a time, and only says so in the middle of the film."""
    from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

    clip = moving(10, 132, 16)
    whole = slow(clip, carry=carry, precision="fp32", segment=2)
    expected = [np.asarray(frame[1]).copy() for frame in whole.frames()]
    original, calls = ZoomingSlowMo.reconstruct, []

    def reconstruct(self: Any, timestep: Any, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        calls.append(timestep.image.shape)
        if len(calls) > 9 and timestep.image[0, 0].numel() > 100 * 16:
            raise torch.OutOfMemoryError("tried to allocate 40 GiB")
        return original(self, timestep, past, future)

    monkeypatch.setattr(ZoomingSlowMo, "reconstruct", reconstruct)
    caplog.set_level("WARNING", "vs_sr")
    found = [np.asarray(frame[1]).copy() for frame in slow(clip, carry=carry, precision="fp32", segment=2).frames()]
    assert len(found) == 20
    assert "trying tiles of 66x16" in caplog.text
    assert caplog.text.count("out of memory") == 1
    assert max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)) < 2e-2
    assert any(not np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_out_of_memory_in_the_smallest_tiles_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

    def reconstruct(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 40 GiB")

    monkeypatch.setattr(ZoomingSlowMo, "reconstruct", reconstruct)
    with pytest.raises(vs.Error, match=r"ZoomingSlowMo: out of memory on cpu .* with 66x16 pixels at a time; use"):
        slow(moving(3, 132, 16)).get_frame(0)


def test_the_plan_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(messages, "_logged", set())
    limited(monkeypatch, 8 << 20)
    caplog.set_level("INFO", "vs_sr")
    node = slow(moving(5, 100, 16))
    node.get_frame(0)
    node.get_frame(8)
    assert caplog.text.count("ZoomingSlowMo: frames of 100x16 are run in 3 tiles of 64x16") == 1
