"""Scene cuts: as frame properties say, and as small copies of the frames show them.

``_SceneChangePrev`` and ``_SceneChangeNext`` are the word of whoever set them, and are only counted here. Where
they are absent, :class:`Copies` compares the luma of a few frames in a row. It asks how much of a frame has no
counterpart in the next one: blocks are searched for near their place, so that motion is no change, at the same
mean and contrast, so that light is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    type Copy = npt.NDArray[np.float32]
    """A frame's luma, (HEIGHT, WIDTH) in 0..1."""

PREVIOUS, NEXT = "_SceneChangePrev", "_SceneChangeNext"

type Tags = tuple[int | None, int | None]
"""The two properties of a frame: is it the first of a scene, is it the last; None where absent."""
_SILENT: Tags = (None, None)

WIDTH, HEIGHT = 48, 27
"""Of a small copy. Larger ones tell little more; at 32x18 cuts between smooth images are lost."""
THRESHOLD = 0.5
"""Between what fast motion reaches, 0.45, and what most cuts do, 0.55 to 1."""
FLASH = 3
"""Frames that a flash lasts at most."""
REACH = FLASH + 1
"""Frames on either side of a cut that decide about it."""

_ROWS, _COLUMNS = 3, 4
"""Blocks of a copy."""
_SEARCH = 4, 9
"""How far a block is searched for, downwards and sideways: a sixth of the image, a fast pan."""
_CONTRAST = 3.0
"""A change of contrast beyond this factor is no change of light, but an image that comes or goes."""
_GRAIN = 0.005
"""Detail of a copy that is worth nothing: grain, rounding."""
_SHADE = 0.1
"""What gets darker in a flash, by motion, as a share of what gets brighter."""

_GOES_ON = 2 / 3
"""Share of the change on both sides of a pair of frames that is expected of the pair, too."""
_SAME = 0.75
"""Change across a flash, as a share of the change into it, up to which the image is the one before it."""
_SPREAD = 0.58
"""Share of a frame that is new after a cut at least, where large differences count little."""


def read(properties: Mapping[str, Any]) -> Tags:
    """The two properties of a frame; what is no integer says nothing."""
    previous, following = (properties.get(key) for key in (PREVIOUS, NEXT))
    return previous if isinstance(previous, int) else None, following if isinstance(following, int) else None


def write(properties: MutableMapping[str, Any], tags: Tags) -> None:
    """Set the two properties of a frame that has neither; None stays absent."""
    for key, value in zip((PREVIOUS, NEXT), tags, strict=True):
        if value is not None:
            properties[key] = value


def cuts(tags: Mapping[int, Tags]) -> set[int]:
    """The cuts that frames are marked with; cut i lies between the frames i and i+1. Either side may be."""
    first = {frame - 1 for frame, (previous, _) in tags.items() if previous}
    last = {frame for frame, (_, following) in tags.items() if following}
    return first | last


def divide(tags: Tags, part: int, parts: int) -> Tags:
    """The properties of part 0 .. parts-1 of a frame that becomes several: a cut stays where it is.

    Between the parts there is none, which is only said where somebody marks what is no cut, too: a 0 would stand
    beside whatever frame the clip is joined to, once it is sliced there.
    """
    previous, following = tags
    inside = 0 if 0 in tags else None
    return previous if part == 0 else inside, following if part == parts - 1 else inside


def marked(i: int, tags: Mapping[int, Tags]) -> bool | None:
    """What properties say of a cut between the frames i and i+1; None where they say nothing.

    The sides that face each other speak, and either may mark a cut. Nothing is known where the clip was reversed
    after it was marked: a cut then has its marks on the far sides of both frames.

    Args:
        i: number of the frame before.
        tags: of the frames around, as far as there are such.
    """
    reversed_here = _first(i - 1, tags) and _last(i + 1, tags) and _turned(i - 1, tags)
    if reversed_here or _turned(i, tags):
        return None
    spoken = [value for value in (tags.get(i, _SILENT)[1], tags.get(i + 1, _SILENT)[0]) if value is not None]
    return any(spoken) if spoken else None


def _last(i: int, tags: Mapping[int, Tags]) -> bool:
    """Whether the frame before place i, which lies between the frames i and i+1, is called the last of its scene."""
    return bool(tags.get(i, _SILENT)[1])


def _first(i: int, tags: Mapping[int, Tags]) -> bool:
    """Whether the frame after place i is called the first of its scene."""
    return bool(tags.get(i + 1, _SILENT)[0])


def _turned(i: int, tags: Mapping[int, Tags]) -> bool:
    """Whether the marks at place i are those of a reversed clip.

    There, a "first" without its "last" stands one place before the cut, a "last" without its "first" one place after
    it. Where scenes have two frames, the places in between have both.
    """
    if not (_first(i, tags) or _last(i, tags)):
        return False
    start, end = i, i
    while _last(start, tags):
        start -= 2
    while _first(end, tags):
        end += 2
    return _first(start, tags) and _last(end, tags)


@dataclass(frozen=True)
class Copies:
    """Small copies of frames in a row, and the cuts that they show.

    A cut depends on the copies of REACH frames on either side alone, not on what else is held.
    """

    frames: Mapping[int, Copy]
    """By frame number; only those outside of the clip may be missing of the ones that a question is about."""
    known: dict[tuple[int, int], float] = field(default_factory=dict)
    """What was found out of pairs of these frames, kept for later questions."""

    def cut(self, i: int, threshold: float) -> bool:
        """Whether there is a cut between the frames i and i+1.

        Args:
            i: number of the frame before.
            threshold: what :meth:`score` has to exceed.
        """
        return self._bound(i) > threshold and self._new(i, i + 1) > threshold and self.score(i) > threshold

    def score(self, i: int) -> float:
        """How much of the frames i and i+1 is new to each other: 0 none, about 1 all.

        Of the changes before and after it, two thirds of the smaller one are taken off: quick motion and grain go
        on, a cut does not. A step of a fade, the edge of a flash and lettering count for nothing.
        """
        if i not in self.frames or i + 1 not in self.frames:
            return 0.0
        beside = [self.change(j, j + 1) for j in (i - 1, i + 1) if j in self.frames and j + 1 in self.frames]
        change = self.change(i, i + 1) - _GOES_ON * min(beside, default=0.0)
        guards = (self._gradual, self._flash, self._lettering)
        return 0.0 if any(guard(i) for guard in guards) else change

    def change(self, i: int, j: int) -> float:
        """How much of the frames i and j is new to each other, from 0; 0 where there is no such frame."""
        if i not in self.frames or j not in self.frames:
            return 0.0
        # Lettering that appears hides what the other frame has, and finds all of its own ground there.
        return min(self._new(i, j), self._new(j, i))

    def _new(self, i: int, j: int) -> float:
        """How much of the frame j is not in the frame i. The slow part; asked for as rarely as possible."""
        if (i, j) not in self.known:
            earlier, later = _in_one_light(self.frames[min(i, j)], self.frames[max(i, j)])
            self.known[i, j] = _missing(earlier, later) if i < j else _missing(later, earlier)
        return self.known[i, j]

    def _bound(self, i: int) -> float:
        """An upper bound of :meth:`change`, without a search."""
        if i not in self.frames or i + 1 not in self.frames:
            return 0.0
        a, b = _in_one_light(self.frames[i], self.frames[i + 1])
        difference = float(abs(a - b).mean())
        return min(difference / (_detail(a) + _GRAIN), difference / (_detail(b) + _GRAIN))

    def _gradual(self, i: int) -> bool:
        """Whether the frame before or after lies in line with both: a step like the one beside it."""
        step = float(abs(self.frames[i + 1] - self.frames[i]).mean())
        for middle in (i, i + 1):
            if middle - 1 in self.frames and middle + 1 in self.frames:
                bend = self.frames[middle - 1] + self.frames[middle + 1] - 2 * self.frames[middle]
                if float(abs(bend).mean()) < step / 2:
                    return True
        return False

    def _flash(self, i: int) -> bool:
        """Whether a few frames begin or end here to which light is added, with the same image around them."""
        for length in range(1, FLASH + 1):
            for before in (i, i - length):
                after = before + length + 1
                if before not in self.frames or after not in self.frames:
                    continue
                lit = all(_lit(self.frames[before], self.frames[n]) for n in range(before + 1, after))
                if lit and self.change(before, after) < _SAME * self.change(i, i + 1):
                    return True
        return False

    def _lettering(self, i: int) -> bool:
        """Whether most of the image stays, and what is new differs greatly, as letters do: a pixel's
        difference counts for no more than the mean detail."""
        a, b = self.frames[i], self.frames[i + 1]
        return min(_missing(a, b, bounded=True), _missing(b, a, bounded=True)) < _SPREAD


def _lit(a: Copy, b: Copy) -> bool:
    """Whether ``b`` can be ``a`` with light added: hardly anything is darker."""
    gain = b - a
    return float(gain.clip(max=0).mean()) > -_SHADE * float(gain.clip(min=0).mean())


def _in_one_light(a: Copy, b: Copy) -> tuple[Copy, Copy]:
    """Two copies without their means, the one of more contrast toned down to the other's."""
    a, b = a - a.mean(), b - b.mean()
    ratio = (float(a.std()) + _GRAIN) / (float(b.std()) + _GRAIN)
    if ratio > 1:
        return a / min(ratio, _CONTRAST), b
    return a, b / min(1 / ratio, _CONTRAST)


def _blocks(copy: Copy) -> Copy:
    """(HEIGHT, WIDTH, ...) to (_ROWS, height, _COLUMNS, width, ...) of the blocks."""
    return copy.reshape(_ROWS, HEIGHT // _ROWS, _COLUMNS, WIDTH // _COLUMNS, *copy.shape[2:])


def _texture(copy: Copy) -> Copy:
    """The pixels' absolute differences from the means of their blocks, by blocks."""
    blocks = _blocks(copy)
    return abs(blocks - blocks.mean(axis=(1, 3), keepdims=True))


def _detail(copy: Copy) -> float:
    return float(_texture(copy).mean())


def _missing(a: Copy, b: Copy, *, bounded: bool = False) -> float:
    """The part of ``b``'s detail that is not found in ``a``, block by block within the reach of the search.

    ``bounded``: no pixel counts for more than the mean detail.
    """
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    (down, side), shifts = _SEARCH, (2 * _SEARCH[0] + 1, 2 * _SEARCH[1] + 1)
    padded = np.pad(a, ((down, down), (side, side)), mode="edge")
    differences = sliding_window_view(padded, shifts) - b[..., None, None]  # (HEIGHT, WIDTH, *shifts)
    np.abs(differences, out=differences)
    texture = _texture(b)
    if bounded:
        limit = texture.mean() + np.float32(_GRAIN)
        np.minimum(differences, limit, out=differences)
        texture = np.minimum(texture, limit)
    best = _blocks(differences).mean(axis=(1, 3)).min(axis=(2, 3))
    return float(best.mean()) / (float(texture.mean()) + _GRAIN)
