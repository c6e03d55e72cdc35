"""Films measured against another one, frame by frame: nothing is upscaled here, and one frame of each is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from vs_sr.color import LUMA, Matrix
from vs_sr.evaluation.measure import Clip, Motion, Score, figures
from vs_sr.evaluation.protocols import Luma

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from vs_sr.evaluation.measure import Progress

    Image = npt.NDArray[np.generic]

FILM, OTHER, TRUTH = "A", "B", "truth"
"""What films are called."""


class Footage(Protocol):
    """A film, or a folder of images."""

    def __iter__(self) -> Iterator[Image]:
        """Its frames, (H, W, 3) RGB in 0..255; of floating point they may lie beyond, where YUV does."""

    def __len__(self) -> int:
        """How many there are."""


class Shown(NamedTuple):
    """A frame of every film."""

    number: int
    """From 0."""
    images: Mapping[str, npt.NDArray[np.uint8]]
    """By film, (H, W, 3) RGB."""


def luma(matrix: Matrix) -> Luma:
    """Y as films of a matrix have it: limited range in 8 bits, 16 to 235; by BT.709 where a matrix does not say it."""
    red, blue = LUMA.get(matrix, LUMA[Matrix.BT709])
    weights = (red * 219 / 255, (1 - red - blue) * 219 / 255, blue * 219 / 255)
    return Luma(weights, 16, f"limited range, weights of {matrix.name}")


def compare(
    films: Mapping[str, Footage],
    reference: str,
    y: Luma,
    *,
    first: int = 0,
    shown: Callable[[Shown], None] | None = None,
    progress: Progress | None = None,
) -> Clip:
    """Measure films against one of them.

    Args:
        films: by what they are called, all of one size and length.
        reference: which of them the others are measured against.
        y: of RGB that is not clipped, so that it is the very Y of films in YUV of that matrix.
        first: the number of the first frame, for names.
        shown: is given each frame as a screen has it.
        progress: is called as frames are done.

    Returns:
        A clip of the reference's name, whose upscalers are the films. RGB is measured as a screen has it, clipped to
        0..255, but not rounded.

    Raises:
        ArgumentError: frames are too small for SSIM.
    """
    others = [name for name in films if name != reference]
    scores: dict[str, list[Score]] = {name: [] for name in others}
    motion = {name: Motion() for name in others}
    total = len(films[reference])
    for number, images in enumerate(zip(*films.values(), strict=True)):
        if progress:
            progress("Frame", number, total)
        planes = {name: (image.clip(0, 255), y(image)) for name, image in zip(films, images, strict=True)}
        for name in others:
            frame = str(first + number)
            change = motion[name].add(planes[name][1], planes[reference][1])
            found = figures(planes[name], planes[reference], f"frame {frame}")
            scores[name].append(Score(frame=frame, interpolated=False, change_error=change, **found))
        if shown:
            shown(Shown(number, {name: np.rint(rgb).astype(np.uint8) for name, (rgb, _) in planes.items()}))
    moved = {name: gathered.result() for name, gathered in motion.items()}
    return Clip(
        name=reference,
        scores={name: tuple(rows) for name, rows in scores.items()},
        temporal={name: temporal for name, temporal in moved.items() if temporal is not None},
    )
