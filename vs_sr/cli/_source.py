"""A video file as a filter is given it: what its source filter makes of it, upright, with the times of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import vapoursynth as vs

    from vs_sr.render.reading import Film

_LIMIT = 240
"""Frames of a part at most, whatever their rate is."""
_ENCODED = ("YUV420P8", "YUV422P8", "YUV444P8", "YUV420P10", "YUV422P10", "YUV444P10")
"""Formats that y4m and H.264 have, too."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The beginning of a video file."""

    path: Path
    """Absolute."""
    clip: vs.VideoNode
    """All of it."""
    durations: tuple[Fraction, ...]
    """Seconds of each frame of the part that is taken, above zero."""
    sar: Fraction
    """Width of a pixel divided by its height."""
    color: Mapping[str, int]
    """As in :class:`vs_sr.render.reading.Film`."""

    @property
    def even(self) -> bool:
        """Whether all frames last as long as the clip's rate says, so that a rate is enough."""
        return bool(self.clip.fps) and all(duration == 1 / self.clip.fps for duration in self.durations)

    @property
    def format(self) -> str | None:
        """What the result has to be converted to before it is encoded, by name; None: nothing."""
        if self.clip.format.name in _ENCODED:
            return None
        return "YUV420P8" if self.clip.format.bits_per_sample <= 8 else "YUV420P10"

    def at(self, width: int, height: int) -> Fraction:
        """The aspect ratio of pixels once the clip is scaled to a size."""
        return self.sar * Fraction(self.clip.width * height, self.clip.height * width)

    def image(self, number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
        """A frame at a size, (height, width, 3) RGB; the last one in place of those after it."""
        import numpy as np
        import vapoursynth as vs

        from vs_sr import color

        clip = self.clip[min(number, len(self.durations) - 1)]
        matrix = {}
        if clip.format.color_family != vs.RGB and clip.get_frame(0).props.get("_Matrix", 2) == 2:
            matrix = {"matrix_in": color.matrix_of_size(clip.width, clip.height)}
        frame = clip.resize.Bicubic(width, height, format=vs.RGB24, **matrix).get_frame(0)
        return np.stack([np.asarray(plane) for plane in frame], axis=2)


def open_file(path: Path, seconds: int = 1) -> Source:
    """The first seconds of a file's first video stream.

    Raises:
        VsSrError: it holds no video, cannot be read, or is of a kind that the filters refuse.
    """
    import vapoursynth as vs

    from vs_sr.render import reading

    film = reading.open_film(path)
    try:
        clip = vs.core.bs.VideoSource(str(film.path))
    except vs.Error as error:
        raise VsSrError(f"{path} cannot be read as a video: {error}") from None
    color = dict(film.color)
    if clip.format.color_family == vs.RGB:  # converted for the encoder
        color |= {"colorspace": vs.MATRIX_BT709, "color_range": 1}
    durations = _durations(film, clip.num_frames, seconds)
    return Source(path=film.path, clip=clip, durations=durations, sar=film.sar, color=color)


def _durations(film: Film, frames: int, seconds: int) -> tuple[Fraction, ...]:
    """Those of the first frames."""
    found: list[Fraction] = []
    while len(found) < min(frames, _LIMIT) and sum(found) < seconds:
        found.append(film.duration(len(found)))
    return tuple(found)
