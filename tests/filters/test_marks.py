"""Marks of cuts on what a first pass has made: sliced, joined, repeated or reversed, they mislead nobody."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import vapoursynth as vs
from helpers.clips import pixels, slow, with_marks

from vs_sr import scenes
from vs_sr.training.textures import power_noise

if TYPE_CHECKING:
    from collections.abc import Callable

core = vs.core

W, H = 24, 16
SHOTS = ((0, 7), (1, 6), (2, 2), (3, 1), (4, 8))
"""Number and length: the cuts of a film; every shot is another image, with a little grain."""


def film() -> vs.VideoNode:
    """Every frame carries the number of its shot."""
    rng = np.random.default_rng(8)
    images = [128 + 45 * power_noise(rng, H, W, 1.0, 0.1) for _ in SHOTS]
    numbers = [number for number, length in SHOTS for _ in range(length)]
    grain = [(images[number] + rng.normal(0, 1.5, (H, W))).clip(0, 255).astype(np.uint8) for number in numbers]
    blank = core.std.BlankClip(width=W, height=H, format=vs.GRAY8, length=len(numbers), keep=True)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[:] = grain[n]
        frame.props["shot"] = numbers[n]
        return frame

    return blank.std.ModifyFrame(blank, draw)


FIRST: dict[str, Callable[[vs.VideoNode], vs.VideoNode]] = {
    "slowed": slow,
    "only marked": lambda clip: with_marks(clip),
}
"""Filters as a first pass."""

CHANGED: dict[str, Callable[[vs.VideoNode], vs.VideoNode]] = {
    "as it is": lambda c: c,
    "reversed": lambda c: c.std.Reverse(),
    "joined to itself": lambda c: c + c,
    "joined to its mirror": lambda c: c + c[::-1],
    "repeated": lambda c: c[:16].std.Loop(2),
    "joined slices": lambda c: c[2:5] + c[9:12] + c[3:6] + c[-4:],
    "slices in another order": lambda c: c[10:] + c[:10],
    "cut out": lambda c: c[:5] + c[-5:],
    "trimmed": lambda c: c.std.Trim(3, 11) + c.std.Trim(1, 4),
    "every third": lambda c: c.std.SelectEvery(3, [0]),
    "reversed, every other": lambda c: c[::-2],
}


def cut_at(clip: vs.VideoNode) -> set[int]:
    """The cuts that are marked on a clip."""
    return scenes.cuts({n: scenes.read(frame.props) for n, frame in enumerate(clip.frames())}) & {
        *range(clip.num_frames - 1)
    }


@pytest.fixture(scope="module")
def passed() -> dict[str, vs.VideoNode]:
    """What each first pass makes, in the film's size, held so that it is made once."""

    def keep(clip: vs.VideoNode) -> vs.VideoNode:
        held = [frame.copy() for frame in clip.resize.Bicubic(W, H).frames()]
        blank = core.std.BlankClip(width=W, height=H, format=vs.GRAY8, length=len(held), keep=True)
        return blank.std.ModifyFrame(blank, lambda n, f: held[n])

    return {name: keep(first(film())) for name, first in FIRST.items()}


@pytest.mark.parametrize("first", FIRST)
def test_marks_of_a_first_pass_are_ones_at_its_cuts(first: str, passed: dict[str, vs.VideoNode]) -> None:
    clip = passed[first]
    shots = [frame.props["shot"] for frame in clip.frames()]
    there = {i for i, (a, b) in enumerate(itertools.pairwise(shots)) if a != b}
    assert [scenes.read(frame.props) for frame in clip.frames()] == [
        (1 if n - 1 in there else None, 1 if n in there else None) for n in range(clip.num_frames)
    ]


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("first", FIRST)
def test_a_second_pass_finds_what_it_finds_without_marks(
    first: str, change: str, passed: dict[str, vs.VideoNode]
) -> None:
    """At least the cuts that the detector sees, and no others than there are."""
    clip = CHANGED[change](passed[first])
    shots = [frame.props["shot"] for frame in clip.frames()]
    there = {i for i, (a, b) in enumerate(itertools.pairwise(shots)) if a != b}
    seen = cut_at(with_marks(clip.std.RemoveFrameProps([scenes.PREVIOUS, scenes.NEXT])))
    assert seen <= there, "the detector takes nothing else for a cut in this film"
    assert len(seen) >= len(there) / 2, "and sees them"
    found = cut_at(with_marks(clip))
    assert seen <= found, "no mark hides a cut"
    # one of two marks, facing the wrong way, cannot be told from a mark of somebody who sets one a cut
    assert found <= there or change == "reversed, every other"


def test_no_ghost_where_films_are_joined(passed: dict[str, vs.VideoNode]) -> None:
    """The interpolated frame at every seam repeats the frame before it."""
    clip = passed["slowed"]
    for a, b in ((clip[:5], clip[-6:]), (clip[:6], clip[-6:]), (clip[16:21], clip[2:7]), (clip[-5:], clip[-5::-1])):
        made = slow(a + b)
        seam = 2 * a.num_frames - 2
        before, between = made.get_frame(seam), made.get_frame(seam + 1)
        same = a.get_frame(a.num_frames - 1).props["shot"] == b.get_frame(0).props["shot"]
        assert same or all(np.array_equal(p, q) for p, q in zip(pixels(before), pixels(between), strict=True))
