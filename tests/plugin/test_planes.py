"""XPlanes: integers from an image in one pass, as the reference of the operators has them; zimg's to a code value."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import vapoursynth as vs

from vs_sr import _bridge
from vs_sr.conversion import MATRICES, down_conversion
from vs_sr.ops import color

if TYPE_CHECKING:
    from torch import Tensor

core = vs.core
SUBSAMPLINGS = ((0, 0), (1, 0), (1, 1), (0, 1))


def image(width: int, height: int, *, channels_last: bool) -> Tensor:
    """Noise, also beyond 0..1."""
    made = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(width * height)) * 1.2 - 0.1
    return (made.to(memory_format=torch.channels_last) if channels_last else made)[0]


def made(rgb: Tensor, bits: int, shifts: tuple[int, int], matrix: int, full: bool, location: int) -> vs.VideoFrame:
    format = core.query_video_format(vs.YUV, vs.INTEGER, bits, *shifts).id
    conversion = down_conversion(bits, *shifts, matrix, full, location, "bicubic")
    frame, finite = _bridge.planes(rgb, format, conversion.tobytes())
    assert finite
    return frame


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("shifts", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(2, 2), (4, 2), (6, 10), (62, 34), (130, 18)])
def test_the_reference_bit_for_bit(size: tuple[int, int], shifts: tuple[int, int], bits: int) -> None:
    for channels_last, full in itertools.product((False, True), (False, True)):
        rgb = image(*size, channels_last=channels_last)
        for matrix, location in zip(sorted(MATRICES), itertools.cycle(range(6)), strict=False):
            frame = made(rgb, bits, shifts, matrix, full, location)
            expected = color.down_reference(rgb, bits, shifts, matrix, full, location, "bicubic")
            for plane, values in zip(frame, expected, strict=True):
                assert np.array_equal(np.asarray(plane), values.numpy()), (matrix, location, full, channels_last)


@pytest.mark.parametrize("shifts", SUBSAMPLINGS)
def test_within_a_code_value_of_zimg(shifts: tuple[int, int]) -> None:
    rgb = image(64, 48, channels_last=True)
    frame = core.create_video_frame(core.get_video_format(vs.RGBS), 64, 48)
    for plane, values in zip(frame, rgb, strict=True):
        np.copyto(np.asarray(plane), values.numpy())
    blank = core.std.BlankClip(width=64, height=48, format=vs.RGBS, length=1)
    source = blank.std.ModifyFrame(blank, lambda n, f: frame)
    for bits, (matrix, location, full) in itertools.product((8, 10, 16), ((1, 0, 0), (6, 1, 1), (9, 2, 0))):
        format = core.query_video_format(vs.YUV, vs.INTEGER, bits, *shifts).id
        zimg = source.resize.Bicubic(format=format, matrix=matrix, range=full, chromaloc=location).get_frame(0)
        found = made(rgb, bits, shifts, matrix, bool(full), location)
        for a, b in zip(found, zimg, strict=True):
            assert np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max() <= 1


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("format", "channels"), [(vs.RGBS, 3), (vs.GRAYS, 1)])
def test_floats_are_the_image_as_it_is(format: int, channels: int, channels_last: bool) -> None:
    made = image(61, 9, channels_last=channels_last)[:channels]
    frame, finite = _bridge.planes(made, format)
    assert finite
    for plane, values in zip(frame, made, strict=True):
        assert np.array_equal(np.asarray(plane), values.numpy())


@pytest.mark.parametrize("format", [vs.RGBS, vs.YUV420P8, vs.YUV444P16])
def test_no_value_that_is_not_finite_is_missed(format: int) -> None:
    """Every channel, the first and the last pixel, both layouts."""
    bits = core.get_video_format(format).bits_per_sample
    shifts = (1, 1) if format == vs.YUV420P8 else (0, 0)
    for matrix in sorted(MATRICES):
        how = None if format == vs.RGBS else down_conversion(bits, *shifts, matrix, False, 0, "bicubic").tobytes()
        for channels_last, channel, at, value in itertools.product(
            (False, True), range(3), ((0, 0), (7, 37)), (np.nan, np.inf, -np.inf)
        ):
            spoiled = image(38, 8, channels_last=channels_last)
            spoiled[(channel, *at)] = value
            assert not _bridge.planes(spoiled, format, how)[1]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"format": vs.YUV444PS}, "format must be RGBS, GRAYS, or YUV of 8 to 16 bits with chroma of at least half"),
        ({"format": vs.YUV410P8}, "format must be RGBS, GRAYS, or YUV of 8 to 16 bits with chroma of at least half"),
        ({"format": vs.RGB24}, "format must be RGBS, GRAYS, or YUV of 8 to 16 bits with chroma of at least half"),
        ({"strides": [1, 2]}, "strides must be three"),
        ({"format": vs.RGBH}, "format must be RGBS, GRAYS, or YUV of 8 to 16 bits with chroma of at least half"),
        ({"conversion": b"short"}, "conversion must have 116 bytes; got 5"),
        ({"width": 7}, "the output size 7x8 does not suit the subsampling of its format"),
    ],
)
def test_what_it_refuses(changed: dict[str, object], text: str) -> None:
    rgb = image(8, 8, channels_last=False)
    conversion = down_conversion(8, 1, 1, 1, False, 0, "bicubic").tobytes()
    given = {
        "pointer": rgb.data_ptr(), "strides": list(rgb.stride()), "width": 8, "height": 8, "format": vs.YUV420P8,
        "conversion": conversion,
    }  # fmt: skip
    with pytest.raises(vs.Error, match=f"^XPlanes: {text}"):
        core.vs_sr.XPlanes(**{**given, **changed})
