"""Clips and frames of any format to what networks take, and back: RGB in 0..1, or luma alone.

Formats are converted by ``core.resize``, with the tags of each frame (``vs_sr.color``). The network's frames are
tagged as the clip's are, although they are none of that: so the tags travel.

Luma networks are trained on (16 + 219 y) / 255 for y in 0..1. They get the luma of YUV as it is, and that of
RGB by BT.601, which they are trained on; the chroma goes around the network and is upscaled by bicubic.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import vapoursynth as vs

from vs_sr import _bridge, color
from vs_sr.engine import transfer
from vs_sr.errors import ArgumentError, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from vs_sr.engine.transfer import Image

_log = logging.getLogger("vs_sr")

_ALPHA = "_Alpha"
_FIELDS = "_FieldBased"
_MENDED = "_vs_sr_not_finite"
"""Ours, on frames of the input whose values were not all finite."""
_IMAGE = "_vs_sr_image"
"""Ours, on frames of an output whose image is still to be converted."""
_PLANES = "_vs_sr_planes"
"""Ours, on frames for a network that converts on its device: the frame as it came. Theirs are empty."""

_CUBIC = {"filter_param_a": 0, "filter_param_b": 0.5}
"""The kernel of MATLAB's bicubic, with which networks are trained that take an upscaled clip."""
_TO_STUDIO, _FROM_STUDIO = "x 219 * 16 + 255 /", "x 255 * 16 - 219 /"
"""Luma in 0..1 to what luma networks take, and back."""

_NOTHING = {color.TRANSFER: color.UNSPECIFIED, color.PRIMARIES: color.UNSPECIFIED}
"""What ``core.resize`` writes where a frame says nothing."""

type Color = Literal["rgb", "y"]
"""What a network takes, see :attr:`vs_sr.spec.Variant.color`."""

_FAMILIES: dict[int, color.Family] = {vs.RGB: "RGB", vs.YUV: "YUV", vs.GRAY: "GRAY"}


def check_clip(clip: vs.VideoNode, min_size: int) -> vs.VideoFormat:
    """The format of a clip that the filters can take.

    Raises:
        ArgumentError: variable format or size, a format of another kind, or frames that are too small.
    """
    if clip.format is None or clip.format.color_family == vs.UNDEFINED or not clip.width:
        raise ArgumentError(
            "clip must have constant format and size; got a variable one; use resize.Bicubic(width=..., "
            "height=..., format=...) first"
        )
    check_format("clip", clip.format)
    if min(clip.width, clip.height) < min_size:
        raise ArgumentError(
            f"clip must be at least {min_size}x{min_size}; got {clip.width}x{clip.height}; use std.AddBorders first"
        )
    return clip.format


def family(format: vs.VideoFormat | None) -> color.Family:
    """The color family of a format that :func:`check_format` allows."""
    return _FAMILIES[cast("vs.VideoFormat", format).color_family]


def check_format(name: str, format: vs.VideoFormat) -> None:
    """Refuse a pixel format that cannot be converted.

    Raises:
        ArgumentError: it is not YUV, RGB or GRAY of 8 to 16 bit integer, half or float.
    """
    if not _convertible(format):
        raise ArgumentError(
            f"{name} has the format {format.name}; YUV, RGB and GRAY of 8 to 16 bit integer, half or float "
            "are possible, with chroma of at least a quarter of the width and height; "
            "use resize.Bicubic(format=...) first"
        )


def _convertible(format: vs.VideoFormat) -> bool:
    """Whether ``core.resize`` takes and makes a format."""
    return (
        format.color_family in _FAMILIES
        and (format.sample_type == vs.FLOAT or format.bits_per_sample <= 16)
        and max(format.subsampling_w, format.subsampling_h) <= 2
    )


def finite(clip: vs.VideoNode) -> vs.VideoNode:
    """The clip with black (0) where values are not finite, said once by :func:`to_network`."""
    if cast("vs.VideoFormat", clip.format).sample_type == vs.INTEGER:
        return clip
    return _bridge.finite(clip, _MENDED)


def repeats(clip: vs.VideoNode, threshold: float) -> vs.VideoNode:
    """Which frames repeat the one before, so that the network's image of that serves for both.

    Args:
        clip: from :func:`finite`; nothing repeats a frame beyond a cut that its frames are marked with.
        threshold: see :func:`vs_sr._bridge.repeats`.
    """
    return _bridge.repeats(clip, threshold, [*color.PROPERTIES, _FIELDS, _ALPHA, _MENDED])


def take_over(made: vs.VideoNode, repeats: vs.VideoNode, clip: vs.VideoNode) -> vs.VideoNode:
    """``made`` where frames of ``clip`` that repeat others have the images of these, and properties of their own."""
    return _bridge.take_over(made, repeats, clip, [*color.PROPERTIES, _IMAGE, _MENDED])


def bare(clip: vs.VideoNode) -> vs.VideoNode:
    """The clip whose frames say nothing of color and fields: ``core.resize`` is told all of it, or nothing."""
    return _bridge.lean(clip.std.RemoveFrameProps([*color.PROPERTIES, _FIELDS]))


def to_network(
    name: str,
    clip: vs.VideoNode,
    bare: vs.VideoNode,
    planes: Color = "rgb",
    *,
    upscale: int = 1,
    matrix_in: int | None = None,
    range_in: int | None = None,
    carried: Callable[[], bool] = lambda: False,
) -> vs.VideoNode:
    """The clip as a network takes it, whose frames have the tags of the clip's for :func:`from_network`.

    Args:
        name: of the filter, for errors.
        clip: of a format that :func:`check_format` allows, from :func:`finite`.
        bare: the same, from :func:`bare`.
        planes: RGBS, or luma as GRAYS.
        upscale: factor by which the clip is upscaled beforehand, by bicubic.
        matrix_in: overrides ``_Matrix``.
        range_in: overrides ``_Range``.
        carried: whether frames stay what they are, to be converted on the network's device, where that can: integers
            of YUV by a matrix alone. Asked when frames come.
    """
    kind = family(clip.format)
    whole = planes == "rgb" and upscale == 1
    width, height = upscale * clip.width, upscale * clip.height
    said: set[str] = set()

    def convert(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        try:
            _check_progressive(properties)  # before core.resize, which takes the fields apart
            tags = color.read(properties, kind, clip.width, clip.height, matrix=matrix_in, range=range_in)
        except FrameError as error:
            raise FrameError(f"frame {n} of the clip: {error}") from None
        notes = [(logging.WARNING, doubt) for doubt in tags.doubts]
        if _MENDED in properties:
            notes.append((logging.WARNING, "values that are not finite (NaN, infinity) are taken for black"))
        if tags.guessed:
            size, matrix = f"{clip.width}x{clip.height}", color.Matrix(tags.matrix).name
            notes.append((logging.INFO, f"no matrix is given: {size} is taken for {matrix}; matrix_in= says otherwise"))
        for level, note in notes:
            if note not in said:
                said.add(note)
                _log.log(level, "%s: frame %d of the clip: %s", name, n, note)
        if whole and _coding(tags, clip.format) is not None and carried():
            empty = bare.std.BlankClip(format=vs.RGBS, keep=True)
            out = empty.std.CopyFrameProps(bare).std.SetFrameProps(**_NOTHING).std.ClipToProp(bare, prop=_PLANES)
        elif planes == "rgb":
            out = bare.resize.Bicubic(format=vs.RGBS, **tags.arguments("_in"))
        elif kind == "RGB":
            out = _luma(_as_yuv(bare, tags))
        else:
            out = _luma(bare).resize.Bicubic(format=vs.GRAYS, **replace(tags, family="GRAY").arguments("_in"))
        if upscale > 1:
            out = out.resize.Bicubic(width, height, **_CUBIC)
        if planes == "y":
            out = out.std.Expr(_TO_STUDIO)
        fields = {_FIELDS: properties[_FIELDS]} if _FIELDS in properties else {}
        return cast("vs.VideoNode", out.std.SetFrameProps(**tags.properties(), **fields))

    format = vs.RGBS if planes == "rgb" else vs.GRAYS
    keys = (*color.PROPERTIES, _FIELDS, _MENDED)
    return _bridge.route(name, clip, convert, keys, width=width, height=height, format=format)


def _written(
    number: int, image: Tensor | NDArray[np.float32], format: int, coding: color.Coding | None = None
) -> vs.VideoFrame:
    from vs_sr.conversion import down_conversion

    conversion = None
    if coding is not None:
        shifts, how = coding.subsampling, (coding.matrix, coding.full, coding.location)
        conversion = down_conversion(coding.bits, *shifts, *how, "bicubic").tobytes()
    frame, finite = _bridge.planes(image, format, conversion)
    if not finite:
        transfer.checked(number, image)
    return frame.copy()  # as it came nobody may write to it


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is made of the network's images."""

    source: vs.VideoFormat
    """Of the clip that went into :func:`to_network`."""
    format: vs.VideoFormat
    size: tuple[int, int]
    """Width and height."""
    matrix: int | None
    """Where the format is not RGB; None: as it came."""
    range: int | None
    """None: as it came, or what is usual where RGB becomes YUV or the other way round."""
    dither: str
    """As ``core.resize`` calls it."""
    planes: Color
    """What the network gives."""

    @property
    def direct(self) -> bool:
        """Whether frames are made in one step, by :meth:`write`."""
        format = self.format
        yuv = format.color_family == vs.YUV and format.sample_type == vs.INTEGER
        halved = max(format.subsampling_w, format.subsampling_h) <= 1
        return self.planes == "rgb" and yuv and halved and self.dither == "none"

    def tags(self, properties: Mapping[str, int]) -> tuple[color.Tags, color.Tags]:
        """Of the frame that an image is made from, and of the output."""
        came = color.Tags.of(family(self.source), properties)
        kind = family(self.format)
        return came, color.output(came, kind, *self.size, matrix=self.matrix, range=self.range)

    def coding(self, properties: Mapping[str, Any]) -> color.Coding | None:
        """The YUV that an image is written as; None: that takes more than a matrix, and is left to
        :func:`from_network`.

        Args:
            properties: of the frame that the image is made from.
        """
        if not self.direct or _ALPHA in properties:
            return None
        return _coding(self.tags(properties)[1], self.format)

    def write(self, number: int, image: Image, properties: Mapping[str, Any]) -> vs.VideoFrame:
        """An output frame for :func:`from_network`: where the output is direct of its format, else RGBS or GRAYS. What
        a direct one leaves has the image as its property, and nothing in its planes.

        Args:
            number: of the frame.
            image: of the size of the output: planes where :meth:`coding` was heeded already, or (3, H, W) or (1, H, W).
            properties: of the frame that it is made from.

        Raises:
            NotFiniteError: it has NaN or infinity in it.
        """
        if isinstance(image, transfer.Planes):
            frame = self._filled(image)
        elif not self.direct:
            return _written(number, image, vs.RGBS if len(image) == 3 else vs.GRAYS)
        elif (coding := self.coding(properties)) is None:
            frame = vs.core.create_video_frame(self.format, *self.size)
            frame.props[_IMAGE] = _written(number, image, vs.RGBS)
            return frame
        else:
            frame = _written(number, image, self.format.id, coding)
        for key, value in self.tags(properties)[1].properties().items():
            frame.props[key] = value
        return frame

    def _filled(self, planes: transfer.Planes) -> vs.VideoFrame:
        import numpy as np

        frame = vs.core.create_video_frame(self.format, *self.size)
        for number, plane in enumerate(planes.parts):
            np.copyto(np.asarray(frame[number]), plane.numpy())
        return frame


def _coding(tags: color.Tags, format: vs.VideoFormat | None) -> color.Coding | None:
    """How frames of a format with such tags stand for RGB; None: it takes more than a matrix to know."""
    format = cast("vs.VideoFormat", format)
    if format.sample_type != vs.INTEGER:
        return None
    return tags.coding(format.bits_per_sample, (format.subsampling_w, format.subsampling_h))


def from_network(name: str, clip: vs.VideoNode, source: vs.VideoNode, output: Output) -> vs.VideoNode:
    """The network's frames in the output's format and with the tags that their inputs came with.

    Args:
        name: of the filter, for errors.
        clip: of :meth:`Output.write`. Where that is GRAYS it has as many frames as ``source``, whose chroma it gets.
        source: the clip that went into :func:`to_network`.
        output: what is made of them.
    """
    said: set[str] = set()
    width, height = output.size

    def convert(n: int, properties: dict[str, Any]) -> vs.VideoNode:
        if output.direct and _IMAGE not in properties:
            return clip
        came, tags = output.tags(properties)
        whole = clip
        if output.direct:
            whole = _bridge.lean(_bridge.attached(clip, _IMAGE, width=width, height=height, format=vs.RGBS))
            whole = _bridge.lean(whole.std.CopyFrameProps(clip))
        whole = _bridge.lean(whole.std.RemoveFrameProps([*color.PROPERTIES, _ALPHA, _IMAGE]))
        arguments: dict[str, Any] = tags.arguments("")
        if output.dither != "none":
            arguments["dither_type"] = output.dither
        if output.planes == "y":
            whole = _with_chroma(whole.std.Expr(_FROM_STUDIO), source, came)
            planes = replace(came, family="YUV", matrix=color.Matrix.ST170_M) if came.family == "RGB" else came
            arguments |= planes.arguments("_in")
        out = whole.resize.Bicubic(format=output.format.id, **arguments).std.SetFrameProps(**tags.properties())
        if _ALPHA in properties:
            reason = _unfit(properties[_ALPHA], source)
            if not reason:
                return _with_alpha(out, clip, source, properties[_ALPHA][0])
            if reason not in said:
                _log.warning("%s: output frame %d: %s", name, n, reason)
                said.add(reason)
        return cast("vs.VideoNode", out)

    keys = (*color.PROPERTIES, _ALPHA, _IMAGE)
    return _bridge.route(name, clip, convert, keys, width=width, height=height, format=output.format.id)


def _unfit(alpha: int | list[int], source: vs.VideoNode) -> str:
    """Why the property ``_Alpha``, as ``_bridge.route`` describes it, is no alpha of the clip; empty: it is.

    One of another size is that of a clip that was resized or cropped since. Which of both, nobody knows.
    """
    way = "the output has no alpha; resize and crop the clip's alpha (std.PropToClip) as the clip, or remove it"
    if isinstance(alpha, int):
        return f"_Alpha is a number, not a frame: {way}"
    number, width, height = alpha
    format = vs.core.get_video_format(number) if number else None
    if format is None or format.color_family != vs.GRAY or not _convertible(format):
        return f"_Alpha is a frame of the format {format.name if format else 'unknown'}, not of GRAY: {way}"
    if (width, height) != (source.width, source.height):
        return f"_Alpha has {width}x{height} pixels, the frame {source.width}x{source.height}: {way}"
    return ""


def _with_alpha(out: vs.VideoNode, clip: vs.VideoNode, source: vs.VideoNode, format: int) -> vs.VideoNode:
    """``out`` with the alpha that the frames of ``clip`` have from ``source``, resized."""
    alpha = _bridge.attached(clip, _ALPHA, width=source.width, height=source.height, format=format)
    # whatever it is tagged with: its values stay what they are
    resized = alpha.std.RemoveFrameProps().resize.Bicubic(clip.width, clip.height).std.CopyFrameProps(alpha)
    return cast("vs.VideoNode", out.std.ClipToProp(_bridge.lean(resized), prop=_ALPHA))


def _luma(clip: vs.VideoNode) -> vs.VideoNode:
    """The first plane of a YUV or GRAY clip, which is ours alone."""
    return cast("vs.VideoNode", _bridge.lean(clip).std.ShufflePlanes(0, vs.GRAY))


def _as_yuv(clip: vs.VideoNode, tags: color.Tags) -> vs.VideoNode:
    """An RGB clip, without tags, as YUV444PS by BT.601."""
    format, matrix = vs.YUV444PS, color.Matrix.ST170_M
    return cast("vs.VideoNode", clip.resize.Bicubic(format=format, matrix=matrix, **tags.arguments("_in")))


def _with_chroma(luma: vs.VideoNode, source: vs.VideoNode, tags: color.Tags) -> vs.VideoNode:
    """``luma`` (GRAYS) with the chroma of ``source``, upscaled to its size, in floating point."""
    format = cast("vs.VideoFormat", source.format)
    if format.color_family == vs.GRAY:
        return luma
    bare = source.std.RemoveFrameProps(list(color.PROPERTIES))
    if format.color_family == vs.RGB:
        chroma = _as_yuv(bare, tags).resize.Bicubic(luma.width, luma.height, **_CUBIC)
    else:
        kept = vs.core.query_video_format(vs.YUV, vs.FLOAT, 32, format.subsampling_w, format.subsampling_h)
        described = tags.arguments("_in")
        chroma = bare.resize.Bicubic(luma.width, luma.height, format=kept.id, **described, **_CUBIC)
    parts = [_bridge.lean(luma), _bridge.lean(chroma)]
    return cast("vs.VideoNode", vs.core.std.ShufflePlanes([*parts, parts[1]], [0, 1, 2], vs.YUV))


def _check_progressive(properties: Mapping[str, int]) -> None:
    """Refuse combed frames: two fields of different times in one image.

    Raises:
        FrameError: the frame is tagged so.
    """
    field = properties.get(_FIELDS, 0)
    if field:
        raise FrameError(
            f"the clip is interlaced (_FieldBased={field}); deinterlace it first (bwdif, znedi3, QTGMC), "
            "or use std.SetFieldBased(0) where the tag is wrong"
        )


def upload(frame: vs.VideoFrame) -> Image:
    """A frame of :func:`to_network` for a device: RGBS as (3, H, W) float32, GRAYS as (1, H, W), or the planes that it
    carries."""
    import numpy as np

    carried = frame.props.get(_PLANES)
    if not isinstance(carried, vs.VideoFrame):
        return np.stack([np.asarray(frame[plane]) for plane in range(frame.format.num_planes)])
    y, u, v = (transfer.pinned(np.asarray(carried[plane])) for plane in range(3))
    coding = _coding(color.Tags.of("YUV", cast("Mapping[str, int]", frame.props)), carried.format)
    return transfer.Planes((y, u, v), cast("color.Coding", coding))
