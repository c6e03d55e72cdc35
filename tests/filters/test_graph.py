"""What a filter puts into a script's graph, and how its groups overlap."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers import video_networks
from helpers.clips import moving, pixels
from helpers.networks import tiny_weights

from vs_sr import _bridge, frames
from vs_sr.engine import session

if TYPE_CHECKING:
    from collections.abc import Callable

core = vs.core
MOST = 10
"""Nodes of a filter on a YUV clip."""


type Node = tuple[str, tuple[Node, ...]]


def nodes(clip: vs.VideoNode, found: set[Node]) -> Node:
    """Add the nodes that a clip is made by. VapourSynth gives a node no name of its own: it is what it is made of."""
    node = clip.node_name, tuple(nodes(dependency, found) for dependency in clip.dependencies)
    found.add(node)
    return node


@pytest.mark.parametrize(("name", "arguments"), [("ZoomingSlowMo", {}), ("ZoomingSlowMo", {"sc": 0})])
def test_a_filter_is_at_most_ten_nodes(name: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that are made for the tags of its frames."""
    ways: list[vs.VideoNode] = []
    route = _bridge.route

    def spy(name: str, clip: vs.VideoNode, build: Callable[..., vs.VideoNode], *more: Any, **how: Any) -> vs.VideoNode:
        def built(*given: Any) -> vs.VideoNode:
            ways.append(build(*given))
            return ways[-1]

        return route(name, clip, built, *more, **how)

    monkeypatch.setattr(_bridge, "route", spy)
    clip = moving(5, 32, 24, vs.YUV420P8)
    given: set[Node] = set()
    nodes(clip, given)
    made = getattr(core.vs_sr, name)(clip, weights=str(tiny_weights()), device_id=-1, **arguments)
    made.get_frame(0)
    found: set[Node] = set()
    for each in (made, *ways):
        nodes(each, found)
    found -= given
    assert 6 <= len(found) <= MOST, [name for name, _ in found]


def test_groups_overlap_and_only_the_network_is_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a group is on its way into frames, the network runs the next one."""
    writing, running = threading.Event(), threading.Event()
    write, call = frames.Output.write, session.Session._call
    calls: list[str] = []

    def slow_write(self: frames.Output, *given: Any) -> vs.VideoFrame:
        if not writing.is_set():
            writing.set()
            assert running.wait(60), "the network stands still while a group is written"
        return write(self, *given)

    def spy(self: session.Session, function: Any) -> Any:
        calls.append(threading.current_thread().name)
        if writing.is_set():
            running.set()
        return call(self, function)

    monkeypatch.setattr(frames.Output, "write", slow_write)
    monkeypatch.setattr(session.Session, "_call", spy)
    before = core.num_threads
    core.num_threads = 4
    try:
        clip = core.vs_sr.ZoomingSlowMo(
            moving(13, 32, 24, vs.YUV420P8), weights=str(tiny_weights()), sc=0, device_id=-1
        )
        futures = [clip.get_frame_async(n) for n in range(clip.num_frames)]
        for future in futures:
            future.result(60)
    finally:
        core.num_threads = before
    assert len(set(calls)) == 1


@pytest.mark.parametrize("name", ["ZoomingSlowMo", "EDVR"])
def test_the_network_does_not_wait_for_frames_to_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, each input frame is read once, and not on the thread of the network."""
    readers: list[str] = []
    upload = frames.upload

    def spy(frame: vs.VideoFrame) -> Any:
        readers.append(threading.current_thread().name)
        return upload(frame)

    monkeypatch.setattr(frames, "upload", spy)
    weights = tiny_weights() if name == "ZoomingSlowMo" else video_networks.weights("5 frames", ends="replicate")
    clip = getattr(core.vs_sr, name)(moving(12, 32, 24, vs.YUV420P8), weights=str(weights), device_id=-1)
    for n in range(clip.num_frames):
        clip.get_frame(n)
    assert len(readers) >= 12
    assert not [reader for reader in readers if reader.startswith("vs_sr ")]


@pytest.mark.parametrize("dither", ["ordered", "random", "error_diffusion"])
def test_dither_is_that_of_core_resize(dither: str) -> None:
    clip = moving(2, 32, 24, vs.YUV444PS).std.SetFrameProps(_Matrix=1)
    model = core.vs_sr.ZoomingSlowMo
    given: dict[str, Any] = {"weights": str(tiny_weights()), "sc": 0, "device_id": -1}
    expected = model(clip, **given, format=vs.RGBS).resize.Bicubic(
        format=vs.YUV420P8, matrix=1, range=0, dither_type=dither
    )
    found = model(clip, **given, format=vs.YUV420P8, dither=dither)
    plain = model(clip, **given, format=vs.YUV420P8)
    differs = 0
    for a, b, c in zip(found.frames(), expected.frames(), plain.frames(), strict=True):
        for p, q, r in zip(pixels(a), pixels(b), pixels(c), strict=True):
            assert np.abs(p.astype(int) - q).max() <= 1  # by way of RGB: the same but for roundings
            differs += int((p != r).sum())
    assert differs


def test_an_unknown_dither_names_the_choices() -> None:
    with pytest.raises(vs.Error, match="dither='noise' is unknown; choices: none, ordered, random, error_diffusion"):
        core.vs_sr.ZoomingSlowMo(moving(2, 32, 24, vs.YUV420P8), weights=str(tiny_weights()), dither="noise")
