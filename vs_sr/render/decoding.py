"""A film as a clip: by BestSource, or frame by frame by PyAV."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np
import vapoursynth as vs

from vs_sr.errors import FrameError, VsSrError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vs_sr.render.reading import Film

type Reader = Literal["auto", "bestsource", "av"]
type Damaged = Literal["fail", "repeat"]

_KEPT = 24
"""Frames that are kept: requests come a little out of order."""
_AHEAD = 100
"""Frames to decode on to rather than to seek."""
_SUBSAMPLING = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440", (2, 0): "411", (2, 2): "410"}


def open_clip(film: Film, reader: Reader, damaged: Damaged) -> tuple[vs.VideoNode, list[int]]:
    """All frames of a film, upright, with the durations that the file says.

    Args:
        film: of :func:`vs_sr.render.reading.open_film`.
        reader: "auto" is BestSource where it is installed and finds every frame, else PyAV.
        damaged: what a frame is that cannot be decoded: the failure of the clip, or the frame before it.

    Returns:
        The clip, and a list to which the numbers of repeated frames are added while it is read.

    Raises:
        VsSrError: there is no such reader, or it does not find every frame.
    """
    repeated: list[int] = []
    if reader != "av" and hasattr(vs.core, "bs"):
        clip, problem = _best_source(film)
        if clip is not None:
            return clip, repeated
        if reader == "bestsource":
            raise VsSrError(f"{film.path}: {problem}; --reader av says more")
    elif reader == "bestsource":
        raise VsSrError("--reader bestsource needs vapoursynth-bestsource: pip install 'vs-sr[render]'")
    return _by_av(film, damaged, repeated), repeated


def _best_source(film: Film) -> tuple[vs.VideoNode | None, str]:
    """Its clip; or None, and why. It leaves frames out that it cannot decode, and says nothing of it."""
    try:
        clip = vs.core.bs.VideoSource(str(film.path), showprogress=False)
    except vs.Error as error:
        return None, str(error)
    if clip.num_frames != len(film.pts):
        return None, f"BestSource finds {clip.num_frames} frames of {len(film.pts)}"
    if film.even:
        clip = clip.std.AssumeFPS(fpsnum=film.rate.numerator, fpsden=film.rate.denominator)
    else:  # how long the last frame is shown, it does not tell
        last = clip[-1].std.SetFrameProps(_DurationNum=film.last.numerator, _DurationDen=film.last.denominator)
        clip = clip[:-1] + last if clip.num_frames > 1 else last
    # it turns frames, but not the shape of their pixels
    return clip.std.SetFrameProps(_SARNum=film.sar.numerator, _SARDen=film.sar.denominator), ""


def av_name(format: vs.VideoFormat) -> str | None:
    """What FFmpeg calls a format of VapourSynth's; None: it has none for films."""
    if format.sample_type != vs.INTEGER or format.bits_per_sample > 16:
        return None
    end = "" if format.bits_per_sample == 8 else f"{format.bits_per_sample}le"
    if format.color_family == vs.RGB:
        return f"gbrp{end}"
    if format.color_family == vs.GRAY:
        return f"gray{end}"
    sampling = _SUBSAMPLING.get((format.subsampling_w, format.subsampling_h))
    return f"yuv{sampling}p{end}" if sampling else None


def vs_format(name: str) -> vs.VideoFormat:
    """The format of VapourSynth's that holds what one of FFmpeg's does, alpha apart.

    Raises:
        VsSrError: there is none.
    """
    found = av.VideoFormat(name, 64, 64)
    bits = max((part.bits for part in found.components), default=0)
    colored = sum(not part.is_alpha for part in found.components) > 1
    family = vs.RGB if found.is_rgb or found.has_palette else vs.YUV if colored else vs.GRAY
    halves = (0, 0)
    if family == vs.YUV:
        halves = (64 // found.chroma_width()).bit_length() - 1, (64 // found.chroma_height()).bit_length() - 1
    try:
        return vs.core.query_video_format(family, vs.INTEGER, max(bits, 8), *halves)
    except vs.Error:
        way = "ffmpeg -i IN -pix_fmt yuv420p OUT.mkv"
        raise VsSrError(f"frames of {name} cannot be read; convert them first: {way}") from None


def planes_of(frame: av.VideoFrame) -> list[np.ndarray[Any, Any]]:
    """Views of a planar frame's planes, (H, W) each, in VapourSynth's order."""
    name = frame.format.name
    kind = np.dtype(np.uint8 if max(part.bits for part in frame.format.components) == 8 else np.uint16)
    views = [
        np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)[:, : plane.width]
        for plane in frame.planes
    ]
    return [views[at] for at in (2, 0, 1)] if name.startswith("gbr") else views


class _Decoder:
    """Frames by their numbers, decoded in order as far as requests are in order."""

    def __init__(self, film: Film, name: str, damaged: Damaged, repeated: list[int]) -> None:
        self._film, self._name, self._damaged, self._repeated = film, name, damaged, repeated
        self._container = av.open(str(film.path))
        (self._stream,) = (item for item in self._container.streams.video if item.index == film.stream)
        self._stream.thread_type = "AUTO"
        self._kept: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self._frames = self._decode()
        self._next = 0
        self._lock = threading.Lock()

    def frame(self, number: int) -> av.VideoFrame:
        """A frame. May be called from several threads.

        Raises:
            FrameError: it cannot be decoded.
        """
        with self._lock:
            return self._find(number)

    def _find(self, number: int) -> av.VideoFrame:
        if number in self._kept:
            return self._kept[number]
        if not 0 <= number - self._next <= _AHEAD:
            self._seek(number)
        while number not in self._kept:
            found = next(self._frames, None)
            at = len(self._film.pts) if found is None else self._number(found)
            for missing in range(self._next, at):
                self._keep(missing, self._instead(missing, number))
            if found is not None and at >= self._next:
                self._keep(at, found)
            self._next = max(self._next, at + 1)
            if found is None and number not in self._kept:
                raise FrameError(f"frame {number} cannot be decoded, and none before it")
        return self._kept[number]

    def _number(self, frame: av.VideoFrame) -> int:
        return bisect_left(self._film.pts, frame.pts or 0)

    def _instead(self, missing: int, wanted: int) -> av.VideoFrame | None:
        """What is shown in place of a frame that did not come."""
        before = self._kept.get(missing - 1)
        if missing != wanted and (before is None or self._damaged == "fail"):
            return None  # whoever asks for it hears of it
        if before is None or self._damaged == "fail":
            raise FrameError(
                f"frame {missing} (at {float(self._film.time(missing) - self._film.began):.3f} s) cannot be decoded; "
                "--damaged repeat shows the frame before it instead"
            )
        if missing not in self._repeated:
            self._repeated.append(missing)
        return before

    def _keep(self, number: int, frame: av.VideoFrame | None) -> None:
        if frame is not None:
            self._kept[number] = frame
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _seek(self, number: int) -> None:
        """To a frame before it: a damaged one has to know what it repeats, and its keyframe may be damaged as well."""
        self._kept.clear()
        start = number
        while True:
            start = max(0, start - 1)
            self._container.seek(self._film.pts[start], stream=self._stream)
            self._frames = self._decode()
            found = next(self._frames, None)
            at = len(self._film.pts) if found is None else self._number(found)
            if at < number or not start:
                break
            start -= _AHEAD
        self._next = 0
        if found is not None:
            self._keep(at, found)
            self._next = at + 1

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Everything that can be decoded from here on, converted where VapourSynth lacks the format."""
        for packet in self._container.demux(self._stream):
            try:
                decoded = self._stream.decode(packet)
            except av.FFmpegError:  # its frame is missed where it should have come
                continue
            for frame in decoded:
                if frame.format.name.replace("yuvj", "yuv") != self._name:
                    pts = frame.pts
                    frame = frame.reformat(format=self._name)
                    frame.pts = pts
                yield frame


def _by_av(film: Film, damaged: Damaged, repeated: list[int]) -> vs.VideoNode:
    with av.open(str(film.path)) as container:
        first = next(container.decode(*(item for item in container.streams.video if item.index == film.stream)))
    format = vs_format(first.format.name)
    name = av_name(format)
    assert name is not None
    rate = film.rate if film.even else 0
    blank = vs.core.std.BlankClip(
        width=first.width,
        height=first.height,
        format=format.id,
        length=len(film.pts),
        fpsnum=rate.numerator,
        fpsden=rate.denominator,
        keep=True,
    )
    decoder = _Decoder(film, name, damaged, repeated)
    fixed = _properties(film, first, format)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        made, found = f.copy(), decoder.frame(n)
        if (found.width, found.height) != (made.width, made.height):
            raise FrameError(f"frame {n} is {found.width}x{found.height}, not {made.width}x{made.height}; cut the film")
        for target, source in zip(made, planes_of(found), strict=False):
            np.copyto(np.asarray(target), source)
        duration = film.duration(n)
        made.props.update(fixed)
        made.props.update(_DurationNum=duration.numerator, _DurationDen=duration.denominator)
        return made

    clip = blank.std.ModifyFrame(blank, write)
    if film.turn.transpose:
        clip = clip.std.Transpose()
    if film.turn.horizontal:
        clip = clip.std.FlipHorizontal()
    return clip.std.FlipVertical() if film.turn.vertical else clip


def _properties(film: Film, first: av.VideoFrame, format: vs.VideoFormat) -> dict[str, int]:
    """What every frame says of itself."""
    names = zip(("_Primaries", "_Transfer", "_Matrix"), ("color_primaries", "color_trc", "colorspace"), strict=True)
    found = {prop: film.color[tag] for prop, tag in names if film.color[tag] not in (0, 2)}
    if format.color_family == vs.RGB:
        found |= {"_Matrix": 0, "_Range": 1}
    elif film.color["color_range"] or first.format.name.startswith("yuvj"):
        found["_Range"] = int(film.color["color_range"] == 2 or first.format.name.startswith("yuvj"))
    if film.chroma:
        found["_ChromaLocation"] = film.chroma - 1
    return found | {"_FieldBased": 0, "_SARNum": film.sar.numerator, "_SARDen": film.sar.denominator}
