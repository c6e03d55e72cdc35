"""Frames of VapourSynth's to packets of a codec: the encoder, what it is told of colors, and what it can take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import vapoursynth as vs

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.render import decoding
from vs_sr.render.reading import Light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_QUALITY = {"libx264": "16", "libx265": "18"}
"""CRF where nothing is said: what a network has found should not be lost again."""
_FINE = 90_000
"""Ticks per second at least, of frames at times of their own."""
_FINEST = 1 << 20
_LARGEST = 30_000
"""Of the numbers of an aspect ratio, which H.264 keeps in 16 bits."""
_PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params"}
"""Options of encoders that take HDR side data."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What frames say of themselves, and the file is to say."""

    color: Mapping[str, int]
    """As in :class:`vs_sr.render.reading.Film`."""
    chroma: int
    sar: Fraction


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An encoder as the command line asks for it."""

    codec: str = "libx264"
    crf: float | None = None
    bitrate: int | None = None
    """Bits per second."""
    preset: str | None = None
    pixel_format: str | None = None
    """As FFmpeg names it; None: that of the frames."""
    options: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoder with everything that decides its bits."""

    codec: str
    options: Mapping[str, str]
    pix_fmt: str
    size: tuple[int, int]
    rate: Fraction
    tick: Fraction
    """Seconds."""
    look: Look

    def set_up(self, context: av.VideoCodecContext) -> None:
        """Tell an encoder that is not open yet."""
        context.width, context.height = self.size
        context.pix_fmt = self.pix_fmt
        context.framerate = self.rate
        context.time_base = self.tick
        context.sample_aspect_ratio = self.look.sar.limit_denominator(_LARGEST)
        tag(context, self.look.color)
        if self.look.chroma:
            context.chroma_sample_location = self.look.chroma
        context.options = dict(self.options)
        context.flags |= av.codec.context.Flags.global_header  # as all of the containers want it

    def encoder(self) -> av.VideoCodecContext:
        """An encoder of its own, which opens with its first frame."""
        context = av.CodecContext.create(self.codec, "w")
        assert isinstance(context, av.VideoCodecContext)
        self.set_up(context)
        return context

    def refused(self, error: Exception) -> ArgumentError:
        """What to say where the encoder does not open."""
        given = ", ".join(described(self.options)) or "no options"
        size = "x".join(map(str, self.size))
        reason = getattr(error, "strerror", None) or error
        return ArgumentError(f"{self.codec} refuses {size} in {self.pix_fmt} with {given}: {reason}")

    def frame(self, source: vs.VideoFrame, pts: int) -> av.VideoFrame:
        """A frame as the encoder takes it."""
        made = av.VideoFrame(*self.size, self.pix_fmt)
        for target, plane in zip(decoding.planes_of(made), source, strict=True):
            np.copyto(target, np.asarray(plane))
        made.pts, made.time_base = pts, self.tick
        for name, value in self.look.color.items():
            setattr(made, name, value)
        return made


def tag(context: av.VideoCodecContext, color: Mapping[str, int]) -> None:
    """Name the colors of what is encoded, as far as they are known."""
    for name, value in color.items():
        if value:
            setattr(context, name, value)


def look_of(frame: vs.VideoFrame) -> Look:
    """What a frame says."""
    props: Mapping[str, Any] = frame.props
    names = {"color_primaries": "_Primaries", "color_trc": "_Transfer", "colorspace": "_Matrix"}
    color = {name: int(props.get(prop, 2)) for name, prop in names.items()}
    color["color_range"] = int(props["_Range"]) + 1 if "_Range" in props else 0
    sar = Fraction(1)
    if props.get("_SARNum", 0) > 0 and props.get("_SARDen", 0) > 0:
        sar = Fraction(int(props["_SARNum"]), int(props["_SARDen"]))
    return Look(color=color, chroma=int(props.get("_ChromaLocation", -1)) + 1, sar=sar)


def reshaped(look: Look, factor: Fraction) -> Look:
    """The look of frames whose pixels become wider by a factor."""
    return replace(look, sar=look.sar * factor)


def name_of(clip: vs.VideoNode) -> str:
    """A clip's format as FFmpeg names it; it has one."""
    name = decoding.av_name(clip.format)
    assert name is not None
    return name


def tick(rate: Fraction) -> Fraction:
    """The clock of a film: exact for frames at this rate, and fine for all others."""
    den = rate.numerator
    return Fraction(1, den * max(1, -(-_FINE // den)) if den <= _FINEST else _FINE)


def check(wish: Wish) -> None:
    """Whether there is such an encoder with such options.

    Raises:
        ArgumentError: there is not.
    """
    try:
        codec = av.Codec(wish.codec, "w")
    except ValueError:  # UnknownCodecError
        found = [name for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1") if _there(name)]
        raise ArgumentError(f"--codec {wish.codec}: PyAV has no such encoder; it has {', '.join(found)}, ...") from None
    if codec.type != "video":
        raise ArgumentError(f"--codec {wish.codec} is not for video, but {codec.type}")
    known = av.CodecContext.create(wish.codec, "w").supported_options
    private = [option.name for option in known.private]
    for name in options_of(wish):
        if name not in private and name not in (option.name for option in known.generic):
            raise ArgumentError(
                f"{wish.codec} has no option {name}; it has {', '.join(sorted(set(private))) or 'none'}"
            )


def _there(name: str) -> bool:
    try:
        return av.Codec(name, "w").is_encoder
    except ValueError:
        return False


def options_of(wish: Wish, light: Light | None = None) -> dict[str, str]:
    """What is said to the encoder by name."""
    options = dict(wish.options or {})
    if wish.preset is not None:
        options["preset"] = wish.preset
    crf = f"{wish.crf:g}" if wish.crf is not None else None
    if crf is None and wish.bitrate is None and not options.keys() & {"crf", "qp", "b"}:
        crf = _QUALITY.get(wish.codec)
    if crf is not None:
        options |= {"crf": crf, "b": "0"}  # VP9 and AV1 take the rate for a limit otherwise
    if wish.bitrate is not None:
        options["b"] = str(wish.bitrate)
    parameters = _PARAMETERS.get(wish.codec)
    own = [options[parameters]] if parameters in options else []
    if wish.codec == "libx265":
        own.insert(0, "log-level=error")  # it writes to stderr by itself
    if light is not None:
        own += _light(wish.codec, light)
    if parameters is not None and own:
        options[parameters] = ":".join(own)
    return options


def carries(codec: str) -> bool:
    """Whether HDR side data can be told to an encoder."""
    return codec in _PARAMETERS


def _light(codec: str, light: Light) -> list[str]:
    """HDR side data, as both x264 and x265 take it: chromaticities by 1/50000, luminances by 1/10000."""
    found = []
    if light.mastering:
        rx, ry, gx, gy, bx, by, wx, wy = (round(50_000 * value) for value in light.mastering[:8])
        least, most = (round(10_000 * value) for value in light.mastering[8:])
        name = "master-display" if codec == "libx265" else "mastering-display"
        found.append(f"{name}=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})")
    if light.content is not None:
        name = "max-cll" if codec == "libx265" else "cll"
        found.append(f"{name}={light.content[0]},{light.content[1]}")
    return found


def suitable(clip: vs.VideoNode, wish: Wish) -> vs.VideoNode:
    """A clip in a format that the encoder takes, without losing bits or chroma unless that is asked for.

    Raises:
        ArgumentError: there is none, or the encoder does not take the one that is asked for.
    """
    names = [format.name for format in av.Codec(wish.codec, "w").video_formats or ()]
    own = decoding.av_name(clip.format)
    possible = {name: found for name in names if (found := _planar(name)) is not None}
    if wish.pixel_format is not None:
        if wish.pixel_format not in possible:
            choices = ", ".join(possible) or "none"
            raise ArgumentError(f"--pixel-format {wish.pixel_format}: {wish.codec} takes {choices}")
        return _converted(clip, possible[wish.pixel_format])
    if own in possible:
        return clip
    bits = clip.format.bits_per_sample
    fitting = [found for found in possible.values() if _holds(clip, found)]
    if clip.format.sample_type == vs.FLOAT or not fitting:
        raise ArgumentError(
            f"{wish.codec} cannot take {clip.format.name} without loss; say with --pixel-format what is to be kept of "
            f"its {bits} bits ({', '.join(possible)}), or use another --codec, such as ffv1"
        )
    return _converted(clip, min(fitting, key=lambda found: (found.bits_per_sample, -found.subsampling_w)))


def _planar(name: str) -> vs.VideoFormat | None:
    """The format of VapourSynth's that has the very planes of one of FFmpeg's."""
    if not name.startswith(("yuv", "gray", "gbrp")):
        return None
    try:
        found = decoding.vs_format(name)
    except VsSrError:
        return None
    return found if decoding.av_name(found) == name else None


def _holds(clip: vs.VideoNode, format: vs.VideoFormat) -> bool:
    """Whether nothing of a clip is lost in a format."""
    own = clip.format
    if format.bits_per_sample < own.bits_per_sample:
        return False
    sampling = format.subsampling_w, format.subsampling_h
    if own.color_family == vs.GRAY:
        return not (clip.width % (1 << sampling[0]) or clip.height % (1 << sampling[1]))
    if own.color_family == vs.RGB:
        return format.color_family == vs.RGB or (format.color_family == vs.YUV and sampling == (0, 0))
    return format.color_family == vs.YUV and sampling == (own.subsampling_w, own.subsampling_h)


def _converted(clip: vs.VideoNode, format: vs.VideoFormat) -> vs.VideoNode:
    options: dict[str, Any] = {}
    if clip.format.color_family == vs.RGB and format.color_family != vs.RGB:
        options = {"matrix": vs.MATRIX_BT709}
    if format.bits_per_sample < clip.format.bits_per_sample:
        options["dither_type"] = "ordered"  # the same in any order of frames
    try:
        return clip.resize.Bicubic(format=format.id, **options)
    except vs.Error as error:
        raise ArgumentError(f"{clip.format.name} cannot become {format.name}: {error}") from None


def described(options: Mapping[str, str]) -> Sequence[str]:
    """Options for people."""
    return [f"{key} {value}" for key, value in options.items() if key != "b" or value != "0"]
