"""What a film's file holds: when each frame is shown, its colors, how it lies. No frame but the first is decoded."""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vs_sr.errors import ArgumentError, VsSrError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import av
    from av.rational import AVRational

TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")
"""Colors as FFmpeg calls them: code points of H.273, and the range (1 limited, 2 full)."""
_COVER = 0x400
"""FFmpeg's disposition of attached images."""
_RATE = Fraction(24)
"""Of a film that has neither a rate nor durations."""


@dataclass(frozen=True)
class Turn:
    """How frames have to be turned so that they are upright: transposed first, then flipped."""

    transpose: bool = False
    horizontal: bool = False
    vertical: bool = False


@dataclass(frozen=True)
class Light:
    """HDR side data."""

    mastering: tuple[Fraction, ...] = ()
    """x and y of red, green, blue and white; the least and the greatest luminance in cd/m2. Empty: not said."""
    content: tuple[int, int] | None = None
    """MaxCLL and MaxFALL in cd/m2."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """The first video stream of a file."""

    path: Path
    """Absolute."""
    stream: int
    """Its index."""
    pts: Sequence[int]
    """When each frame is shown, in ticks, in order."""
    tick: Fraction
    """Seconds."""
    last: Fraction
    """Seconds that the last frame is shown."""
    rate: Fraction
    """Frames per second, on the average where that varies."""
    even: bool
    """Whether frames come at that rate, as far as the ticks can say it."""
    color: Mapping[str, int]
    """By the names of TAGS; 0 or 2: not said."""
    chroma: int
    """Where chroma lies, as FFmpeg numbers it; 0: not said."""
    sar: Fraction
    """Width of a pixel divided by its height, as the upright frame has it."""
    turn: Turn
    light: Light
    began: Fraction
    """Seconds at which the file begins; its frame and its sound may begin later."""

    def time(self, frame: int) -> Fraction:
        """Seconds at which a frame is shown, on the file's clock; of the frame after the last one: where that ends."""
        if self.even:
            return self.pts[0] * self.tick + frame / self.rate
        return self.pts[frame] * self.tick if frame < len(self.pts) else self.pts[-1] * self.tick + self.last

    def duration(self, frame: int) -> Fraction:
        """Seconds that a frame is shown."""
        return self.time(frame + 1) - self.time(frame)

    def at(self, seconds: Fraction) -> int:
        """The first frame that is shown at this time after the file's beginning, or later."""
        return bisect_left(range(len(self.pts)), self.began + seconds, key=self.time)

    def part(self, start: Fraction | None, end: Fraction | None) -> tuple[int, int]:
        """The first frame of a part, and the one after it; seconds after the file's beginning, None: all there is.

        Raises:
            ArgumentError: no frame lies in it.
        """
        first = self.at(start) if start is not None else 0
        stop = self.at(end) if end is not None else len(self.pts)
        if first >= stop:
            raise ArgumentError(
                f"no frame of {self.path} lies from --start {start or 0} to --end {end or 'the end'}; "
                f"it lasts {float(self.time(len(self.pts)) - self.began):.3f} s"
            )
        return first, stop


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a stream is a still image of the whole film, as players show it in a list."""
    return bool(int(stream.disposition) & _COVER)


def fraction(ratio: AVRational | Fraction | None) -> Fraction:
    """A ratio of PyAV's; 0 where there is none."""
    return Fraction(ratio.numerator, ratio.denominator) if ratio else Fraction(0)


def open_film(path: Path) -> Film:
    """Read a file through without decoding it.

    Raises:
        VsSrError: it cannot be read, or holds no video; or its video is interlaced, or says no times.
    """
    import av

    if not path.is_file():
        raise VsSrError(f"{path} is no file; give a video" if path.exists() else f"there is no file {path}")
    path = path.resolve()
    try:
        with av.open(str(path)) as container:
            films = [stream for stream in container.streams.video if not is_cover(stream)]
            if not films:
                raise VsSrError(f"{path} holds no video")
            stream, number = films[0], films[0].index
            first = next(container.decode(stream), None)
            if first is None:
                raise VsSrError(f"{path} cannot be read as a video: no frame can be decoded")
            if first.interlaced_frame:
                raise VsSrError(f"{path} is interlaced; deinterlace it first: ffmpeg -i FILE -vf bwdif OUT.mkv")
        with av.open(str(path)) as container:  # again: to seek to the beginning is not possible in every format
            (stream,) = (stream for stream in container.streams.video if stream.index == number)
            packets = [(p.pts, p.duration or 0) for p in container.demux(stream) if p.size and not p.is_discard]
            return _film(path, stream, first, packets, Fraction(container.start_time or 0, av.time_base))
    except (OSError, av.FFmpegError) as error:
        raise VsSrError(f"{path} cannot be read as a video: {getattr(error, 'strerror', None) or error}") from None


def _film(
    path: Path,
    stream: av.VideoStream,
    first: av.VideoFrame,
    packets: Sequence[tuple[int | None, int]],
    began: Fraction,
) -> Film:
    """What the first frame and the packets of the stream, with their durations, say."""
    if any(pts is None for pts, _ in packets) or len({pts for pts, _ in packets}) < len(packets):
        raise VsSrError(f"{path} does not say when its frames are shown; remux it first: mkvmerge -o OUT.mkv FILE")
    # without those before the first frame that can be decoded, of a film that was cut anywhere
    shown = sorted((pts, duration) for pts, duration in packets if pts is not None and pts >= (first.pts or pts))
    pts, tick = [pts for pts, _ in shown], fraction(stream.time_base)
    rate, even = _rate(stream, pts, tick)
    turn = _turn(first)
    sar = fraction(stream.sample_aspect_ratio) or Fraction(1)
    return Film(
        path=path,
        stream=stream.index,
        pts=pts,
        tick=tick,
        last=_last(stream, shown) * tick or 1 / rate,
        rate=rate,
        even=even,
        color={tag: int(getattr(stream.codec_context, tag) or getattr(first, tag) or 0) for tag in TAGS},
        chroma=int(first.chroma_location),
        sar=1 / sar if turn.transpose else sar,
        turn=turn,
        light=_light(first),
        began=max(began, Fraction(0)),
    )


def _last(stream: av.VideoStream, shown: Sequence[tuple[int, int]]) -> int:
    """Ticks that the last frame is shown, of packets by their pts and durations; 0: not known."""
    (last, duration), before = shown[-1], shown[-2:-1]
    if "mp4" in stream.container.format.name and stream.duration:
        return max(0, shown[0][0] + stream.duration - last)  # durations there are in the order of decoding
    if before and before[0][1] != last - before[0][0]:
        return last - before[0][0]  # durations are made up, by a rate that frames do not keep
    return duration


def _rate(stream: av.VideoStream, pts: Sequence[int], tick: Fraction) -> tuple[Fraction, bool]:
    """The rate, and whether all frames come at it."""
    named = [fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)]
    for rate in dict.fromkeys(rate for rate in named if rate):
        per = 1 / (rate * tick)  # ticks of a frame
        if all(abs((at - pts[0]) * per.denominator - n * per.numerator) <= per.denominator for n, at in enumerate(pts)):
            return rate, True
    length = (pts[-1] - pts[0]) * tick
    return (len(pts) - 1) / length if length else named[0] or _RATE, not length


def _turn(frame: av.VideoFrame) -> Turn:
    """By the display matrix: x' = ax + cy, y' = bx + dy."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn()
    a, b, _, c, d = struct.unpack("=9i", bytes(data))[:5]
    if not a and not d:
        return Turn(True, c < 0, b < 0)
    return Turn(False, a < 0, d < 0)


def _light(frame: av.VideoFrame) -> Light:
    """The frame's side data, which FFmpeg gives as its structures lie in memory."""
    mastering: tuple[Fraction, ...] = ()
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if data is not None:
        numbers = struct.unpack_from("=22i", bytes(data))
        if all(numbers[20:]) and all(numbers[1:20:2]):
            mastering = tuple(Fraction(*numbers[at : at + 2]) for at in range(0, 20, 2))
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    content = struct.unpack_from("=2I", bytes(data)) if data is not None else None
    return Light(mastering, (content[0], content[1]) if content else None)
