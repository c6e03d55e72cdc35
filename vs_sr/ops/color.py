"""Integer YUV to float RGB and back on the device: ``vs_sr::yuv_to_rgb`` and ``vs_sr::rgb_to_yuv``.

What a video costs on its way to and from a card is bytes, and its own integers are the fewest. The
arithmetic is zimg's (``core.resize``): H.273 matrices and ranges, chroma by bicubic (b = 0, c = 0.5) or
bilinear filters with mirrored edges at its H.273 location, no dithering; results are within one code value
of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.library import Library, register_fake

from vs_sr.conversion import DOWN_FIRST, DOWN_TAPS, MATRICES, down_conversion, up_conversion
from vs_sr.ops._launch import Launch, check_device, obstacle, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

type Filter = Literal["bicubic", "bilinear"]

_TILE = (8, 32)
"""Chroma samples of a block of ``rgb_to_yuv.cu``: rows, columns."""


RGB_TO_YUV, YUV_TO_RGB = (
    {
        sample: Kernel(name=name, macros=(("WORDS", int(sample == torch.uint16)),))
        for sample in (torch.uint8, torch.uint16)
    }
    for name in ("rgb_to_yuv", "yuv_to_rgb")
)
"""By type of the samples."""
KERNELS = (*RGB_TO_YUV.values(), *YUV_TO_RGB.values())

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define(
    "rgb_to_yuv(Tensor rgb, int bits, int[2] subsampling, int matrix, bool full, int location, str filter)"
    " -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "yuv_to_rgb(Tensor y, Tensor u, Tensor v, int bits, int matrix, bool full, int location, str filter) -> Tensor"
)


def rgb_to_yuv(
    rgb: Tensor,
    *,
    bits: int = 8,
    subsampling: tuple[int, int] = (1, 1),
    matrix: int,
    full: bool = False,
    location: int = 0,
    filter: Filter = "bicubic",
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes of integers from a float image.

    Args:
        rgb: (3, H, W), float32, 0..1, planar or channels last.
        bits: of the samples, 8 to 16.
        subsampling: binary logarithm of how much smaller chroma is, (along x, along y): (1, 1) is 4:2:0,
            (1, 0) 4:2:2, (0, 0) 4:4:4. H and W must be divisible.
        matrix: one of :data:`MATRICES`, numbered as in H.273.
        full: full range; else limited.
        location: of chroma samples, H.273: 0 left, 1 center, 2 top left, 3 top, 4 bottom left, 5 bottom.
        filter: for chroma.

    Returns:
        Y (H, W), U and V, in uint8 for 8 bits and uint16 otherwise; rounded, clamped, not dithered.

    Raises:
        ValueError: an argument outside what is said here.
    """
    y, u, v = torch.ops.vs_sr.rgb_to_yuv(rgb, bits, subsampling, matrix, full, location, filter)
    return y, u, v


def yuv_to_rgb(
    y: Tensor,
    u: Tensor,
    v: Tensor,
    *,
    bits: int = 8,
    matrix: int,
    full: bool = False,
    location: int = 0,
    filter: Filter = "bicubic",
) -> Tensor:
    """A float image from planes of integers.

    Args:
        y: (H, W), uint8 for 8 bits and uint16 otherwise; rows may be padded (a stride larger than W).
        u: (H or H/2, W or W/2) in the same type.
        v: as ``u``, with the same stride.
        bits: of the samples, 8 to 16.
        matrix: see :func:`rgb_to_yuv`.
        full: likewise.
        location: likewise.
        filter: likewise.

    Returns:
        (3, H, W), float32, contiguous, 0..1 for codes within the range, not clamped.

    Raises:
        ValueError: an argument outside what is said here.
    """
    rgb: Tensor = torch.ops.vs_sr.yuv_to_rgb(y, u, v, bits, matrix, full, location, filter)
    return rgb


def ready(device: torch.device) -> bool:
    """Whether the kernels of both conversions run on a device; loads them."""
    return obstacle(device) is None and all(usable(kernel, device) for kernel in KERNELS)


# Launches


def down_launch(
    rgb: Tensor,
    y: Tensor,
    u: Tensor,
    v: Tensor,
    bits: int,
    matrix: int,
    full: bool,
    location: int,
    filter: str,
) -> Launch:
    """``rgb_to_yuv.cu`` from (3, H, W) of any strides; u and v have one stride."""
    shift_x, shift_y = _subsampling(y, u)
    rows, columns = _TILE
    reach_y, reach_x = (
        ((size - 1) << shift) + (DOWN_TAPS if shift else 1) for size, shift in ((rows, shift_y), (columns, shift_x))
    )
    return Launch(
        kernel=RGB_TO_YUV[y.dtype],
        grid=(-(-u.shape[1] // columns), -(-u.shape[0] // rows), 1),
        block=(256, 1, 1),
        shared=2 * 4 * (reach_x * reach_y + columns * reach_y),
        args=(
            pointer(rgb),
            pointer(y),
            pointer(u),
            pointer(v),
            down_conversion(bits, shift_x, shift_y, matrix, full, location, filter),
            *(np.int32(value) for value in (*y.shape, *rgb.stride(), y.stride(0), u.stride(0))),
            np.int32(shift_x),
            np.int32(shift_y),
        ),
    )


def up_launch(
    y: Tensor,
    u: Tensor,
    v: Tensor,
    rgb: Tensor,
    bits: int,
    matrix: int,
    full: bool,
    location: int,
    filter: str,
) -> Launch:
    """``yuv_to_rgb.cu`` to (3, H, W) of any strides; u and v have one stride."""
    shift_x, shift_y = _subsampling(y, u)
    height, width = y.shape
    return Launch(
        kernel=YUV_TO_RGB[y.dtype],
        grid=(-(-width // 32), -(-height // 8), 1),
        block=(32, 8, 1),
        args=(
            pointer(y),
            pointer(u),
            pointer(v),
            pointer(rgb),
            up_conversion(bits, shift_x, shift_y, matrix, full, location, filter),
            *(np.int32(value) for value in (height, width, y.stride(0), u.stride(0), *rgb.stride())),
            np.int32(shift_x),
            np.int32(shift_y),
        ),
    )


def _subsampling(y: Tensor, u: Tensor) -> tuple[int, int]:
    """Binary logarithms along x and y."""
    return int(u.shape[1] != y.shape[1]), int(u.shape[0] != y.shape[0])


# The operators


def _check(op: str, bits: int, matrix: int, location: int, filter: str) -> None:
    if not 8 <= bits <= 16:
        raise ValueError(f"{op}: bits={bits} must be 8 to 16")
    if matrix not in MATRICES:
        choices = ", ".join(f"{m.value} ({m.name})" for m in sorted(MATRICES))
        raise ValueError(f"{op}: matrix={matrix} is none of {choices}; core.resize knows more")
    if not 0 <= location <= 5:
        raise ValueError(f"{op}: location={location} must be 0 to 5")
    if filter not in ("bicubic", "bilinear"):
        raise ValueError(f"{op}: filter={filter!r} must be 'bicubic' or 'bilinear'")


def _check_rgb(rgb: Tensor, bits: int, subsampling: Sequence[int], matrix: int, location: int, filter: str) -> None:
    _check("rgb_to_yuv", bits, matrix, location, filter)
    if rgb.dim() != 3 or rgb.shape[0] != 3 or rgb.dtype != torch.float32:
        raise ValueError(f"rgb_to_yuv: rgb must be (3, H, W) in float32, got {tuple(rgb.shape)}, {rgb.dtype}")
    if tuple(subsampling) not in ((0, 0), (1, 0), (1, 1), (0, 1)):
        raise ValueError(f"rgb_to_yuv: subsampling={tuple(subsampling)} must be 0 or 1 along x and y")
    if rgb.shape[2] % (1 << subsampling[0]) or rgb.shape[1] % (1 << subsampling[1]):
        raise ValueError(f"rgb_to_yuv: {rgb.shape[1]}x{rgb.shape[2]} pixels cannot be subsampled evenly")


def _samples(bits: int) -> torch.dtype:
    return torch.uint8 if bits == 8 else torch.uint16


def _planes(rgb: Tensor, bits: int, subsampling: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    height, width = rgb.shape[1:]
    chroma = (height >> subsampling[1], width >> subsampling[0])
    y, u, v = (rgb.new_empty(size, dtype=_samples(bits)) for size in ((height, width), chroma, chroma))
    return y, u, v


def _rgb_to_yuv(
    rgb: Tensor, bits: int, subsampling: Sequence[int], matrix: int, full: bool, location: int, filter: str
) -> tuple[Tensor, Tensor, Tensor]:
    _check_rgb(rgb, bits, subsampling, matrix, location, filter)
    if usable(RGB_TO_YUV[_samples(bits)], rgb.device):
        planes = _planes(rgb, bits, subsampling)
        run(down_launch(rgb, *planes, bits, matrix, full, location, filter), rgb.device)
        return planes
    return down_reference(rgb, bits, subsampling, matrix, full, location, filter)


def down_reference(
    rgb: Tensor, bits: int, subsampling: Sequence[int], matrix: int, full: bool, location: int, filter: str
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``rgb_to_yuv`` computes, in torch operators."""
    conversion = down_conversion(bits, *subsampling, matrix, full, location, filter)[0]
    yuv = torch.einsum("kc,chw->khw", rgb.new_tensor(conversion["matrix"]), rgb)
    chroma = yuv[1:]
    for axis, shift, weights in ((2, subsampling[0], "filter_x"), (1, subsampling[1], "filter_y")):
        if shift:
            chroma = _filtered(chroma, axis, 2, (DOWN_FIRST,), conversion[weights][None])
    peak = float(conversion["peak"])
    codes = (
        (plane + float(offset)).round().clamp(0, peak).to(torch.int32).to(_samples(bits))
        for plane, offset in zip((yuv[0], *chroma), conversion["offset"], strict=True)
    )
    y, u, v = codes
    return y, u, v


def _check_yuv(y: Tensor, u: Tensor, v: Tensor, bits: int, matrix: int, location: int, filter: str) -> None:
    _check("yuv_to_rgb", bits, matrix, location, filter)
    for plane in (y, u, v):
        if plane.dim() != 2 or plane.dtype != _samples(bits) or not plane.numel() or plane.stride(1) != 1:
            raise ValueError(
                f"yuv_to_rgb: planes must be (H, W) in {_samples(bits)} with contiguous rows, got "
                f"{tuple(plane.shape)} in {plane.dtype}, strides {plane.stride()}"
            )
    shift_x, shift_y = _subsampling(y, u)
    if (y.shape[0], y.shape[1]) != (u.shape[0] << shift_y, u.shape[1] << shift_x) or u.shape != v.shape:
        shapes = [tuple(plane.shape) for plane in (y, u, v)]
        raise ValueError(f"yuv_to_rgb: chroma must be as large as luma or half of it, got {shapes}")
    if u.stride(0) != v.stride(0):
        raise ValueError(f"yuv_to_rgb: u and v must have one stride, got {u.stride(0)} and {v.stride(0)}")


def _yuv_to_rgb(
    y: Tensor, u: Tensor, v: Tensor, bits: int, matrix: int, full: bool, location: int, filter: str
) -> Tensor:
    _check_yuv(y, u, v, bits, matrix, location, filter)
    check_device("yuv_to_rgb", y, u, v)
    if usable(YUV_TO_RGB[y.dtype], y.device):
        rgb = y.new_empty((3, *y.shape), dtype=torch.float32)
        run(up_launch(y, u, v, rgb, bits, matrix, full, location, filter), y.device)
        return rgb
    return up_reference(y, u, v, bits, matrix, full, location, filter)


def up_reference(
    y: Tensor, u: Tensor, v: Tensor, bits: int, matrix: int, full: bool, location: int, filter: str
) -> Tensor:
    """What ``yuv_to_rgb`` computes, in torch operators."""
    shifts = _subsampling(y, u)
    conversion = up_conversion(bits, *shifts, matrix, full, location, filter)[0]
    luma, blue, red = (
        plane.float() - float(offset) for plane, offset in zip((y, u, v), conversion["offset"], strict=True)
    )
    chroma = torch.stack([blue, red])
    for axis, shift, name in ((2, shifts[0], "x"), (1, shifts[1], "y")):
        if shift:
            chroma = _filtered(chroma, axis, 1, conversion[f"first_{name}"], conversion[f"filter_{name}"])
    yuv = torch.cat([luma[None], chroma])
    return torch.einsum("ck,khw->chw", yuv.new_tensor(conversion["matrix"]), yuv)


def _filtered(planes: Tensor, axis: int, step: int, starts: Sequence[int], phases: NDArray[np.float32]) -> Tensor:
    """Filter (2, H, W) along ``axis``: for output n of phase p, weights phases[p] from sample n*step +
    starts[p]."""
    size = planes.shape[axis]
    outputs = []
    for start, weights in zip(starts, phases, strict=True):
        centers = torch.arange(0, size, step, device=planes.device)
        sums = torch.zeros((), dtype=planes.dtype, device=planes.device)
        for k, weight in enumerate(weights):
            index = centers + (int(start) + k)
            index = torch.where(index < 0, -1 - index, index)
            index = torch.where(index >= size, 2 * size - 1 - index, index).clamp(0, size - 1)
            sums = sums + float(weight) * planes.index_select(axis, index)
        outputs.append(sums)
    return torch.stack(outputs, axis + 1).flatten(axis, axis + 1)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("rgb_to_yuv", _rgb_to_yuv, _device)
    _LIBRARY.impl("yuv_to_rgb", _yuv_to_rgb, _device)


@register_fake("vs_sr::rgb_to_yuv", lib=_LIBRARY)
def _(rgb, bits, subsampling, matrix, full, location, filter):  # type: ignore[no-untyped-def]
    return _planes(rgb, bits, subsampling)


@register_fake("vs_sr::yuv_to_rgb", lib=_LIBRARY)
def _(y, u, v, bits, matrix, full, location, filter):  # type: ignore[no-untyped-def]
    return y.new_empty((3, *y.shape), dtype=torch.float32)
