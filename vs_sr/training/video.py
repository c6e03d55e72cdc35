"""Clips of the user's videos: where something moves and where there is detail, never across a cut.

A film is read twice: small, for cuts and for what its places are worth; then as large as is wanted, for the clips
that were drawn. A small share of the best places carries most of the training.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vs_sr import color, scenes
from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import av

    from vs_sr.training.recipe import Video

Frames = npt.NDArray[np.uint8]

_SMALL = 4
"""Times smaller than the clips that frames are when places are judged."""
_FLAT = 2.0 / 255
"""Difference from the ground's value up to which a pixel is ground: a codec's errors where nothing is."""


@dataclass(frozen=True, order=True)
class Spot:
    """A clip's place in a film."""

    start: int
    """Its first frame."""
    y: int
    """Of its upper left corner, in pixels of the shrunk frames."""
    x: int
    still: bool = False
    """Whether it is its first frame, again and again."""


def size_at(path: Path, height: int, unit: int) -> tuple[int, int]:
    """Height and width of a film's frames once they are shrunk, multiples of ``unit`` (or cut to them).

    Raises:
        VsSrError: the file cannot be read, or is smaller than that.
    """
    with _opened(path) as container:
        context = container.streams.video[0].codec_context
        if context.height < height:
            raise VsSrError(f"{path.name} is {context.width}x{context.height}; height={height} would upscale it")
        return height // unit * unit, round(context.width * height / context.height) // unit * unit


def choose(path: Path, facts: Video, scales: Sequence[int]) -> list[Spot]:
    """The places of ``facts.count`` clips, and of the stills among them, in the order of the film.

    Args:
        path: of the film.
        facts: of the recipe; its seed decides which of the best places are taken.
        scales: that corners are multiples of.

    Raises:
        VsSrError: it cannot be read, or has fewer places than that.
    """
    unit = lcm(*scales)
    size = size_at(path, facts.height, unit)
    if min(size) < facts.size:
        raise VsSrError(f"{path.name} is {size[1]}x{size[0]} at height={facts.height}; size={facts.size} does not fit")
    judged = sorted(judge(path, facts, size, unit), key=lambda each: -each[0])
    best = [spot for _, spot in judged[: max(facts.count, round(facts.best * len(judged)))]]
    if len(best) < facts.count:
        raise VsSrError(f"{path.name} has {len(best)} places for clips of {facts.frames} frames, not {facts.count}")
    rng = np.random.default_rng(facts.seed)
    drawn = [best[index] for index in rng.permutation(len(best))[: facts.count]]
    stills = drawn[: facts.count // facts.stills] if facts.stills else []
    return sorted([*drawn, *(Spot(spot.start, spot.y, spot.x, still=True) for spot in stills)])


def judge(path: Path, facts: Video, size: tuple[int, int], unit: int) -> Iterator[tuple[float, Spot]]:
    """Places without a cut, two in each ``facts.frames`` frames: what they are worth, and where they are.

    A place's worth is the geometric mean of its detail and of how much it changes over the clip.
    """
    copies: dict[int, scenes.Copy] = {}
    windows: list[tuple[int, list[tuple[float, int, int]]]] = []
    recent: deque[npt.NDArray[np.float32]] = deque(maxlen=facts.frames)
    height, width = (length // _SMALL for length in size)
    for number, frame in _frames(path, facts):
        copies[number] = _gray(frame, scenes.HEIGHT, scenes.WIDTH)
        recent.append(_gray(frame, height, width))
        if (number + 1) % facts.frames == 0 and len(recent) == facts.frames:
            windows.append((number + 1 - facts.frames, _best(recent, facts.size // _SMALL)))
    seen = scenes.Copies(copies)
    cuts = {i for i in list(copies)[:-1] if seen.cut(i, scenes.THRESHOLD)}
    for start, places in windows:
        if not cuts.intersection(range(start, start + facts.frames - 1)):
            for worth, y, x in places:
                yield worth, Spot(start, _SMALL * y // unit * unit, _SMALL * x // unit * unit)


def _best(frames: Sequence[npt.NDArray[np.float32]], side: int) -> list[tuple[float, int, int]]:
    """Worth and corner of the best square of a few frames, and of the best one beside it; none that is credits."""
    first, middle, last = frames[0], frames[len(frames) // 2], frames[-1]
    detail = abs(np.diff(middle, axis=0, append=middle[-1:])) + abs(np.diff(middle, axis=1, append=middle[:, -1:]))
    worth = np.sqrt(_means(detail, side) * _means(abs(last - first), side))
    found: list[tuple[float, int, int]] = []
    for _ in range(2):
        y, x = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[y, x] <= 0:
            break
        if not _lettered(middle[y : y + side, x : x + side]):
            found.append((float(worth[y, x]), int(y), int(x)))
        worth[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = 0
    return found


def _lettered(square: npt.NDArray[np.float32]) -> bool:
    """Whether most of a square is one value, as the ground of credits is: no gradient of a sky is that flat."""
    return bool((abs(square - np.median(square)) <= _FLAT).mean() > 0.5)


def _means(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float64]:
    """Means over all squares of ``side`` pixels, by their upper left corners."""
    sums = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    means: npt.NDArray[np.float64] = (squares / side**2).clip(0)
    return means


def clips(
    path: Path, facts: Video, spots: Sequence[Spot], size: tuple[int, int], leads: Sequence[int] = ()
) -> Iterator[tuple[Spot, Frames]]:
    """The frames of spots, whole: a codec has to see all of them.

    Args:
        path: of the film.
        facts: of the recipe.
        spots: in the order of the film.
        size: height and width.
        leads: how many frames before each are wanted, too, as far as the film has them; those of a still are it again.

    Yields:
        Each spot with its frames (lead + T, *size, 3).
    """
    wanted: dict[int, int] = {}  # to the last frame of the last clip that it is for
    by_end: dict[int, list[tuple[Spot, int]]] = {}
    for spot, lead in zip(spots, leads or [0] * len(spots), strict=True):
        end = spot.start + facts.frames - 1
        wanted |= dict.fromkeys(range(spot.start if spot.still else spot.start - lead, end + 1), end)
        by_end.setdefault(end, []).append((spot, lead))
    held: dict[int, Frames] = {}
    for number, frame in _frames(path, facts):
        if number in wanted:
            held[number] = _rgb(frame, facts.height, size)
        for spot, lead in by_end.pop(number, ()):
            numbers = range(spot.start - lead, number + 1)
            there = [spot.start] * len(numbers) if spot.still else [each for each in numbers if each in held]
            yield spot, np.stack([held[each] for each in there])
        held = {each: kept for each, kept in held.items() if wanted[each] > number}
        if not by_end:
            return


def _opened(path: Path) -> av.container.InputContainer:
    import av  # where clips are packed, there need be none

    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise VsSrError(f"{path} cannot be read as a video: {getattr(error, 'strerror', None) or error}") from None
    if not container.streams.video:
        container.close()
        raise VsSrError(f"{path} holds no video")
    return container


def _frames(path: Path, facts: Video) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames that a recipe looks at, and their numbers, by the film's count of frames or else by its duration."""
    import av

    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count = stream.frames
        if not count and container.duration and stream.average_rate:
            count = int(Fraction(container.duration, av.time_base) * stream.average_rate)
        if not count:
            raise VsSrError(f"{path.name} does not say how long it is; remux it: ffmpeg -i FILE -c copy OUT.mkv")
        first, last = int(facts.from_ * count), int(facts.until * count)
        for number, frame in enumerate(container.decode(stream)):
            if number >= last:
                return
            if number >= first:
                yield number, frame


def _matrix(frame: av.VideoFrame) -> str:
    """What a frame's chroma means, by its tag, else by its size."""
    tag = frame.colorspace if frame.colorspace in (1, 5, 6) else color.matrix_of_size(frame.width, frame.height)
    return "ITU709" if tag == color.Matrix.BT709 else "ITU601"


def _gray(frame: av.VideoFrame, height: int, width: int) -> npt.NDArray[np.float32]:
    small = frame.reformat(width, height, format="gray", interpolation="AREA").to_ndarray()
    return small.astype(np.float32) / np.float32(255)


def _rgb(frame: av.VideoFrame, height: int, size: tuple[int, int]) -> Frames:
    width = round(frame.width * height / frame.height)
    image = frame.reformat(width, height, format="rgb24", src_colorspace=_matrix(frame), interpolation="BICUBIC")
    whole: Frames = image.to_ndarray().astype(np.uint8)
    return whole[: size[0], : size[1]]
