"""Films and folders of images as RGB, a frame at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vs_sr.color import Matrix
from vs_sr.errors import ArgumentError, VsSrError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import vapoursynth as vs

    Image = npt.NDArray[np.generic]

_AHEAD = 4
"""Frames that are decoded ahead: those of three films in floating point have to fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """A part of a video."""

    path: Path
    size: tuple[int, int]
    """Width and height of frames, upright."""
    matrix: Matrix
    first: int
    """The number of its first frame in the file."""
    times: Sequence[float]
    """Seconds at which each frame is shown, the first at 0."""
    rate: Fraction | None
    """Frames per second."""
    sar: Fraction
    """Width of a pixel divided by its height."""
    clip: vs.VideoNode
    """RGBS."""
    repeated: list[int]
    """Is added to as frames are read: numbers in the file of those that could not be decoded."""

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Image]:
        import numpy as np

        from vs_sr.render.rendering import frames_of

        with _named(self.path):
            for frame in frames_of(self.clip, _AHEAD):
                with frame:
                    image = 255 * np.stack([np.asarray(plane) for plane in frame], axis=2)
                yield image


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images in the order of their names, without times."""

    path: Path
    size: tuple[int, int]
    images: Sequence[Path]
    matrix = Matrix.RGB
    first = 0
    times: Sequence[float] = ()
    rate = None
    sar = Fraction(1)
    repeated: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Image]:
        from vs_sr.evaluation import measure

        for path in self.images:
            image = measure.read(path)
            if (size := image.shape[1::-1]) != self.size:
                raise ArgumentError(
                    f"{path} is {size[0]}x{size[1]}, {self.images[0].name} {self.size[0]}x{self.size[1]}; "
                    "the frames of a folder must have one size"
                )
            yield image


type Footage = Film | Folder


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What fails says in which film.

    Raises:
        VsSrError: something does.
    """
    try:
        yield
    except VsSrError as error:
        raise VsSrError(f"{path}: {error}") from None


def open_footage(path: Path, options: argparse.Namespace) -> Footage:
    """A film, of which a part is taken, or a folder, of which all is.

    Args:
        path: of a file or a folder.
        options: with those of :mod:`vs_sr.cli._film`.

    Raises:
        VsSrError: it cannot be read.
    """
    if path.is_dir():
        from vs_sr.evaluation import measure

        images = measure.images(path)
        height, width = measure.read(images[0]).shape[:2]
        return Folder(path=path, size=(width, height), images=images)
    from vs_sr import frames
    from vs_sr.render import decoding, reading, rendering

    film = reading.open_film(path)
    first, stop = film.part(options.start, options.end)
    whole, repeated = decoding.open_clip(film, options.reader, options.damaged)
    part = frames.finite(whole[first:stop])
    with _named(path):
        frames.check_clip(part, 1)
        clip = frames.to_network("compare", part, frames.bare(part))
        with next(rendering.frames_of(clip[:1], 1)) as frame:
            matrix = Matrix(int(frame.props["_Matrix"]))
    return Film(
        path=path,
        size=(clip.width, clip.height),
        matrix=matrix,
        first=first,
        times=[float(film.time(number) - film.time(first)) for number in range(first, stop)],
        rate=film.rate,
        sar=film.sar,
        clip=clip,
        repeated=repeated,
    )
