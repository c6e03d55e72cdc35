"""Scene cuts: as frame properties, and as small copies of the frames show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.mutants import mutate

from vs_sr import scenes
from vs_sr.training.textures import power_noise

if TYPE_CHECKING:
    from types import ModuleType


def test_either_side_tells_a_cut() -> None:
    tags = {3: (0, 0), 4: (0, 1), 5: (None, None), 6: (1, 0), 7: (None, None)}
    assert scenes.cuts(tags) == {4, 5}
    assert scenes.cuts({0: (None, None), 1: (0, 0)}) == set()


@pytest.mark.parametrize(
    ("tags", "parts"),
    [
        ((1, 0), [(1, 0), (0, 0)]),
        ((0, 1), [(0, 0), (0, 1)]),
        # no 0 where nobody has said one: it would stand beside whatever the clip is sliced and joined to
        ((1, 1), [(1, None), (None, 1)]),
        ((None, 1), [(None, None), (None, 1)]),
        ((0, None), [(0, 0), (0, None)]),
        ((None, None), [(None, None), (None, None)]),
    ],
)
def test_a_cut_stays_where_it_is(tags: scenes.Tags, parts: list[scenes.Tags]) -> None:
    assert [scenes.divide(tags, part, 2) for part in (0, 1)] == parts
    assert scenes.divide(tags, 0, 1) == tags


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ((None, None), (None, None), None),
        (None, (None, None), None),
        ((None, 1), (None, None), True),
        ((None, None), (1, None), True),
        ((None, 0), (None, None), False),
        ((None, None), (0, None), False),
        ((0, 0), (1, 0), True),
        ((0, 1), (0, 0), True),
        # the sides that look away know nothing of what lies between
        ((0, None), (None, 0), None),
        ((1, None), (None, None), None),
    ],
)
def test_the_sides_that_face_each_other_speak(
    before: scenes.Tags | None, after: scenes.Tags | None, answer: bool | None
) -> None:
    tags = {n: tags for n, tags in ((4, before), (5, after)) if tags is not None}
    assert scenes.marked(4, tags) is answer


def marks(cuts: set[int], frames: int, *, full: bool) -> list[scenes.Tags]:
    """Of frames with these cuts; ``full``: with what is none."""
    no = 0 if full else None
    return [(1 if n - 1 in cuts else no, 1 if n in cuts else no) for n in range(frames)]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("cuts", [{4}, {4, 5}, {4, 6}, {4, 7}, {3, 4, 5}, {2, 4, 6, 8}, {2, 9}, {0, 12}, {*range(13)}])
def test_a_reversed_clip_tells_no_wrong_cut(cuts: set[int], full: bool) -> None:
    forward = dict(enumerate(marks(cuts, 14, full=full)))
    inner = range(13)
    assert {i for i in inner if scenes.marked(i, forward)} == cuts
    backward = {13 - n: tags for n, tags in forward.items()}
    told = {i: scenes.marked(i, backward) for i in inner}
    assert not any(told.values())
    at_cuts = {12 - cut for cut in cuts}
    assert all(told[i] is None for i in at_cuts), "the detector has to look there"
    away = (i for i in inner if not at_cuts & {i - 1, i, i + 1})
    assert all(told[i] is (False if full else None) for i in away)


def test_scenes_of_one_and_two_frames_are_believed() -> None:
    for cuts in ({3, 4}, {3, 5}, {3, 4, 5, 6}):
        forward = dict(enumerate(marks(cuts, 12, full=False)))
        assert {i for i in range(11) if scenes.marked(i, forward)} == cuts


@pytest.mark.parametrize("broken", [b"1", 0.5, "1", [1, 0]])
def test_what_is_no_integer_says_nothing(broken: object) -> None:
    assert scenes.read({scenes.PREVIOUS: broken, scenes.NEXT: 1}) == (None, 1)


def images(*seeds: int) -> list[np.ndarray]:
    """Smooth noise, an image a seed, in the size of small copies."""
    return [
        (0.5 + 0.12 * power_noise(np.random.default_rng(seed), scenes.HEIGHT, scenes.WIDTH, 1.0, 0.15)).clip(0, 1)
        for seed in seeds
    ]


def found(*copies: np.ndarray, module: ModuleType = scenes) -> set[int]:
    """The cuts between copies in a row."""
    held = module.Copies({n: np.float32(copy) for n, copy in enumerate(copies)})
    return {i for i in range(-1, len(copies)) if held.cut(i, scenes.THRESHOLD)}


def test_a_cut_between_two_pictures() -> None:
    a, b = images(1, 2)
    assert found(a, b) == {0}
    assert found(a, a, a, b, b, b) == {2}
    assert found(a) == found() == set()


def test_black_and_flat_frames_divide_by_nothing() -> None:
    black, gray = (np.full((scenes.HEIGHT, scenes.WIDTH), level) for level in (0.0, 0.5))
    (a,) = images(1)
    assert found(black, black, gray, gray) == set()
    assert found(a, a, black, black, a, a) == {1, 3}


def test_motion_light_and_grain_are_no_cuts() -> None:
    (a,) = images(1)
    wide = np.tile(a, 2)
    assert found(*(wide[:, 7 * n : 7 * n + scenes.WIDTH] for n in range(6))) == set()
    assert found(a, a, a * 0.5, a * 0.5, a * 0.9 + 0.1) == set()
    rng = np.random.default_rng(0)
    assert found(*(rng.normal(0.5, 0.05, (6, scenes.HEIGHT, scenes.WIDTH)).clip(0, 1))) == set()


FAULTS = {
    "flash": ("for length in range(1, FLASH + 1)", "for length in range(0)"),
    "fade": ("< step / 2", "< 0"),
    "lettering": ("bounded=True)) < _SPREAD", "bounded=True)) < 0"),
    "pan": ("_SEARCH = 4, 9", "_SEARCH = 0, 0"),
    "light": ("_CONTRAST = 3.0", "_CONTRAST = 1.0"),
    "grain": ("_GOES_ON = 2 / 3", "_GOES_ON = 0"),
}


def temptation(guard: str) -> list[np.ndarray]:
    """Frames without a cut, which only this guard saves from being called one."""
    a, b = images(1, 2)
    white = np.ones_like(a)
    match guard:
        case "flash":
            return [a, a, a, white, white, a, a, a]
        case "fade":
            return [a * gain for gain in (1, 1, 0.75, 0.5, 0.25, 0, 0)]
        case "lettering":
            letters = a.copy()
            letters[3:24:4, 6:42] = 1
            return [a, a, a, letters, letters, letters]
        case "pan":
            wide = np.tile(np.concatenate([a, b], axis=1), 2)
            return [wide[:, start : start + scenes.WIDTH] for start in (0, 0, 9, 9)]
        case "light":
            return [a, a, 0.4 * a, 0.4 * a]
        case "grain":
            rng = np.random.default_rng(3)
            return [0.5 + rng.normal(0, 0.08, a.shape) for _ in range(6)]
    raise AssertionError(guard)


@pytest.mark.parametrize("guard", FAULTS)
def test_every_guard_is_needed(guard: str) -> None:
    frames = temptation(guard)
    assert found(*frames) == set()
    assert found(*frames, module=mutate("vs_sr.scenes", *FAULTS[guard])), "the test does not see the fault"


def test_a_short_shot_is_no_flash() -> None:
    a, b = images(1, 2)
    assert found(a, a, a, a, b, b, b, a, a, a, a) == {3, 6}


def test_a_cut_depends_on_its_neighborhood_alone() -> None:
    rng = np.random.default_rng(5)
    shots = [image for image in images(*range(6)) for _ in range(int(rng.integers(1, 6)))]
    copies = {n: np.float32(shot + rng.normal(0, 0.02, shot.shape)) for n, shot in enumerate(shots)}
    whole = scenes.Copies(copies)
    for i in range(len(copies) - 1):
        near = range(i + 1 - scenes.REACH, i + 1 + scenes.REACH)
        part = scenes.Copies({n: copies[n] for n in near if n in copies})
        assert part.score(i) == whole.score(i)
        assert part.cut(i, 0.3) == whole.cut(i, 0.3)


def test_the_quick_bound_is_one() -> None:
    frames = [*images(1, 2, 3), np.zeros((scenes.HEIGHT, scenes.WIDTH)), *images(3)]
    held = scenes.Copies({n: np.float32(frame) for n, frame in enumerate(frames)})
    for i in range(len(frames) - 1):
        assert held._bound(i) >= held.change(i, i + 1) - 1e-6
