"""Clips and frames of any format to what networks take, and back: RGB in 0..1, or luma alone.

Formats are converted by ``core.resize``, with the tags of each frame (``vs_sr.color``). What the network's
frames cannot say (matrix, range, chroma location) travels in private properties of theirs.

Luma networks are trained on (16 + 219 y) / 255 for y in 0..1. They get the luma of YUV as it is, and that of
RGB by BT.601, which they are trained on; the chroma goes around the network and is enlarged by bicubic.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, cast

import vapoursynth as vs

from vs_sr import _bridge, color
from vs_sr.errors import ArgumentError, FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_log = logging.getLogger("vs_sr")

_TAGS = ("_Matrix", "_Range", "_ColorRange", "_Transfer", "_Primaries", "_ChromaLocation")
_MATRIX, _RANGE, _LOCATION = "_vs_sr_matrix", "_vs_sr_range", "_vs_sr_chroma_location"
_ALPHA = "_Alpha"
_FIELDS = "_FieldBased"

_CUBIC = {"filter_param_a": 0, "filter_param_b": 0.5}
"""The kernel of MATLAB's bicubic, with which networks are trained that take an enlarged clip."""
_TO_STUDIO, _FROM_STUDIO = "x 219 * 16 + 255 /", "x 255 * 16 - 219 /"
"""Luma in 0..1 to what luma networks take, and back."""

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


def check_format(name: str, format: vs.VideoFormat) -> None:
    """Refuse a pixel format that cannot be converted.

    Raises:
        ArgumentError: it is not YUV, RGB or GRAY of 8 to 16 bit integer, half or float.
    """
    bits = format.bits_per_sample
    if format.color_family not in _FAMILIES or (format.sample_type == vs.INTEGER and bits > 16):
        raise ArgumentError(
            f"{name} has the format {format.name}; YUV, RGB and GRAY of 8 to 16 bit integer, half or float "
            "are possible; use resize.Bicubic(format=...) first"
        )


def to_network(
    name: str,
    clip: vs.VideoNode,
    planes: Color = "rgb",
    *,
    enlarge: int = 1,
    matrix_in: int | None = None,
    range_in: int | None = None,
) -> vs.VideoNode:
    """The clip as a network takes it; each frame remembers its tags for :func:`from_network`.

    Args:
        name: of the filter, for errors.
        clip: of a format that :func:`check_format` allows.
        planes: RGBS, or luma as GRAYS.
        enlarge: factor by which the clip is enlarged beforehand, by bicubic.
        matrix_in: overrides ``_Matrix``.
        range_in: overrides ``_Range``.
    """
    family = _FAMILIES[cast("vs.VideoFormat", clip.format).color_family]
    width, height = enlarge * clip.width, enlarge * clip.height
    guesses: set[int] = set()

    def convert(properties: dict[str, int]) -> vs.VideoNode:
        _check_progressive(properties)  # before core.resize, which takes the fields apart
        tags = color.read(properties, family, clip.width, clip.height, matrix=matrix_in, range=range_in)
        if tags.guessed and family == "YUV" and tags.matrix not in guesses:
            guesses.add(tags.matrix)
            _log.info(
                "clip has no _Matrix: %dx%d is taken for %s; matrix_in= says otherwise",
                clip.width,
                clip.height,
                color.Matrix(tags.matrix).name,
            )
        remembered = {_MATRIX: tags.matrix, _RANGE: tags.range}
        if tags.chroma_location is not None:
            remembered[_LOCATION] = tags.chroma_location
        matrix = {} if family == "RGB" else {"matrix_in": tags.matrix}
        if planes == "rgb":
            out = clip.resize.Bicubic(format=vs.RGBS, range_in=tags.range, **matrix)
        elif family == "RGB":
            out = _luma(_as_yuv(clip, tags.range))
        else:
            out = _luma(clip).resize.Bicubic(format=vs.GRAYS, range_in=tags.range, **matrix)
        if enlarge > 1:
            out = out.resize.Bicubic(width, height, **_CUBIC)
        if planes == "y":
            out = out.std.Expr(_TO_STUDIO)
        return cast("vs.VideoNode", out.std.SetFrameProps(**remembered))

    format = vs.RGBS if planes == "rgb" else vs.GRAYS
    return _bridge.route(name, clip, convert, (*_TAGS, _FIELDS), width=width, height=height, format=format)


def from_network(
    name: str,
    clip: vs.VideoNode,
    source: vs.VideoNode,
    format: vs.VideoFormat,
    *,
    matrix: int | None,
    range: int | None,
) -> vs.VideoNode:
    """Frames of :func:`to_network`, enlarged since, in ``format`` and with the tags they came with.

    Args:
        name: of the filter, for errors.
        clip: RGBS; or GRAYS, with as many frames as ``source``, whose chroma it gets.
        source: the clip that went into :func:`to_network`.
        format: of the result.
        matrix: of the result where it is not RGB; None: as it came.
        range: of the result; None: as it came, or what is usual where RGB becomes YUV or the other way round.
    """
    family = _FAMILIES[format.color_family]
    same_kind = (family == "RGB") == (cast("vs.VideoFormat", source.format).color_family == vs.RGB)
    luma = cast("vs.VideoFormat", clip.format).color_family == vs.GRAY

    def convert(properties: dict[str, int]) -> vs.VideoNode:
        arguments: dict[str, int] = {}
        if range is not None:
            arguments["range"] = range
        elif same_kind:
            arguments["range"] = properties[_RANGE]
        if family != "RGB":
            came = properties[_MATRIX] if same_kind else color.matrix_of_size(clip.width, clip.height)
            arguments["matrix"] = came if matrix is None else matrix
            if family == "YUV" and _LOCATION in properties:
                arguments["chromaloc"] = properties[_LOCATION]
        whole = clip
        if luma:
            whole = _with_chroma(clip.std.Expr(_FROM_STUDIO), source, properties[_RANGE])
            arguments["matrix_in"] = properties[_MATRIX] or color.Matrix.ST170_M
            if _LOCATION in properties:
                arguments["chromaloc_in"] = properties[_LOCATION]
        out = whole.resize.Bicubic(format=format.id, **arguments)
        out = out.std.RemoveFrameProps([_MATRIX, _RANGE, _LOCATION])
        if _ALPHA in properties:
            alpha = _bridge.attached(clip, _ALPHA, width=source.width, height=source.height, format=properties[_ALPHA])
            out = out.std.ClipToProp(alpha.resize.Bicubic(clip.width, clip.height), prop=_ALPHA)
        return cast("vs.VideoNode", out)

    keys = (_MATRIX, _RANGE, _LOCATION, _ALPHA)
    return _bridge.route(name, clip, convert, keys, width=clip.width, height=clip.height, format=format.id)


def _luma(clip: vs.VideoNode) -> vs.VideoNode:
    """The first plane of a YUV or GRAY clip."""
    return cast("vs.VideoNode", clip.std.ShufflePlanes(0, vs.GRAY))


def _as_yuv(clip: vs.VideoNode, range: int) -> vs.VideoNode:
    """An RGB clip as YUV444PS, BT.601."""
    return cast("vs.VideoNode", clip.resize.Bicubic(format=vs.YUV444PS, matrix=color.Matrix.ST170_M, range_in=range))


def _with_chroma(luma: vs.VideoNode, source: vs.VideoNode, range: int) -> vs.VideoNode:
    """``luma`` (GRAYS) with the chroma of ``source``, enlarged to its size, in floating point."""
    format = cast("vs.VideoFormat", source.format)
    if format.color_family == vs.GRAY:
        return luma
    if format.color_family == vs.RGB:
        chroma = _as_yuv(source, range).resize.Bicubic(luma.width, luma.height, **_CUBIC)
    else:
        kept = vs.core.query_video_format(vs.YUV, vs.FLOAT, 32, format.subsampling_w, format.subsampling_h)
        chroma = source.resize.Bicubic(luma.width, luma.height, format=kept.id, range_in=range, **_CUBIC)
    parts = [_bridge.lean(luma), _bridge.lean(chroma)]
    return cast("vs.VideoNode", vs.core.std.ShufflePlanes([*parts, parts[1]], [0, 1, 2], vs.YUV))


def _check_progressive(properties: Mapping[str, int]) -> None:
    """Refuse combed frames: two fields of different times in one picture.

    Raises:
        FrameError: the frame is tagged so.
    """
    field = properties.get(_FIELDS, 0)
    if field:
        raise FrameError(
            f"the clip is interlaced (_FieldBased={field}); deinterlace it first (bwdif, znedi3, QTGMC), "
            "or use std.SetFieldBased(0) where the tag is wrong"
        )


def upload(frame: vs.VideoFrame) -> Tensor:
    """An RGBS frame as (3, H, W) float32, a GRAYS frame as (1, H, W)."""
    import numpy as np
    import torch

    tensor = torch.empty((frame.format.num_planes, frame.height, frame.width), dtype=torch.float32)
    for plane, target in enumerate(tensor.numpy()):
        np.copyto(target, np.asarray(frame[plane]))
    return tensor


def download(tensors: Sequence[Tensor]) -> list[vs.VideoFrame]:
    """(3, H, W) float32 tensors as RGBS frames, (1, H, W) as GRAYS.

    The same tensor twice becomes frames that share their planes.
    """
    import numpy as np

    made: dict[int, vs.VideoFrame] = {}
    frames = []
    for tensor in tensors:
        if id(tensor) in made:
            frames.append(made[id(tensor)].copy())
            continue
        count, height, width = tensor.shape
        format = vs.core.get_video_format(vs.RGBS if count == 3 else vs.GRAYS)
        frame = vs.core.create_video_frame(format, width, height)
        for plane, source in enumerate(tensor.numpy()):
            np.copyto(np.asarray(frame[plane]), source)
        made[id(tensor)] = frame
        frames.append(frame)
    return frames
