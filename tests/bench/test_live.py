"""What carrying and seeking cost, with the shipped weights at 96x64, through the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import vapoursynth as vs

if TYPE_CHECKING:
    from collections.abc import Callable

core = vs.core

STEP = 3
SEGMENT = 8


def filtered(length: int = 3000, **arguments: Any) -> vs.VideoNode:
    clip = core.std.BlankClip(width=96, height=64, format=vs.YUV420P8, length=length, color=[90, 110, 140], keep=True)
    return core.vs_sr.ZoomingSlowMo(clip, device_id=-1, precision="fp32", **arguments)


class Windows:
    """A clip whose windows are made one after the other, a new one at each call."""

    def __init__(self, count: int, **arguments: Any) -> None:
        self.clip = filtered(**arguments)
        self.count = count
        self.next = 0

    def __call__(self) -> None:
        for _ in range(self.count):
            for part in range(2 * STEP):
                self.clip.get_frame(2 * STEP * self.next + part).close()
            self.next += 1


def test_carrying(versus: Callable[..., float]) -> None:
    """In order, the same number of output frames of both."""
    goal = 1.05
    windows = 1
    ratio = versus(
        f"carry=1, {2 * STEP * windows} frames of 384x256 in order",
        Windows(windows, carry=True),
        "carry=0",
        Windows(windows, carry=False),
        rounds=7,
        goal=goal,
        frames=2 * STEP * windows,
    )
    assert ratio < goal


def test_a_cold_seek(versus: Callable[..., float]) -> None:
    """The first frame after a seek into the middle of a segment against a window in order."""
    warm = Windows(1, carry=True)
    warm()  # the network stays loaded
    windows = SEGMENT // 2
    target = 2 * STEP * (40 * SEGMENT + windows)
    # at the worst, a window of the way costs what a whole one does
    goal = 1 + windows
    ratio = versus(
        f"the first frame after a seek over {windows} windows of a segment",
        lambda: filtered(carry=True, segment=SEGMENT).get_frame(target).close(),
        "a window in order",
        warm,
        rounds=3,
        goal=goal,
    )
    assert ratio < goal
