"""Deformable convolution on tensor cores: ``vs_sr::dcn_fused``, in which the recurrent networks spend their time.

32 or 64 channels in offset groups of 8, 3x3, with the mask's sigmoid, the bias and the activation inside. What its
kernel does not take (floats, cards before sm_80) goes through :mod:`vs_sr.ops.sample`, and without CuPy
everything is torch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.library import Library, register_fake

from vs_sr.ops import packing
from vs_sr.ops._launch import Launch, aligned, check_device, check_into, multiprocessors, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel
from vs_sr.ops.deform import deform_conv2d

if TYPE_CHECKING:
    from torch import Tensor


def _weight_bytes(channels: int) -> int:
    return packing.TAPS * channels * channels * 2


def _tile(channels: int, warps: int, rows: int) -> Kernel:
    macros = (("CHANNELS", channels), ("WARPS", warps), ("ROWS", rows))
    return Kernel(name="dcn_fused", macros=macros, minimum=80, shared=_weight_bytes(channels))


FUSED = {
    channels: {(warps, rows): _tile(channels, warps, rows) for warps, rows in ((8, 2), (8, 1), (4, 1))}
    for channels in packing.WIDTHS
}
"""By channels, then by warps of a block and rows of 16 pixels per warp, largest tile first; all give the same bits."""

KERNELS = tuple(kernel for tiles in FUSED.values() for kernel in tiles.values())

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define("dcn_fused(Tensor x, Tensor om, Tensor weight, Tensor bias, float slope) -> Tensor")
_LIBRARY.define(
    "dcn_fused_into(Tensor x, Tensor om, Tensor weight, Tensor bias, float slope, Tensor(a!) out, int channel) -> ()"
)


def dcn_fused(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, slope: float = 1.0) -> Tensor:
    """Modulated deformable 3x3 convolution, stride 1, padding 1, and what belongs to it, in one pass.

    Zhu et al., "Deformable ConvNets v2" (CVPR 2019), section 3.2.

    Args:
        x: (B, C, H, W), channels_last for speed; C is 32 or 64, in offset groups of 8.
        om: (B, OM, H, W): offsets in pixels and the mask before its sigmoid, as the convolution gives them
            whose output channels :func:`vs_sr.ops.packing.pack_deformable` has permuted; OM is 112 or 216.
        weight: (S, 9, C/32, C/8, 32, 8) by :func:`vs_sr.ops.packing.pack_dcn_weight`, in the type of ``x``. S
            weight sets serve B/S consecutive images each: independent layers run as one call.
        bias: (S, C), float32.
        slope: of the leaky ReLU that follows; 1 for none.

    Returns:
        (B, C, H, W), channels_last, in the type of ``x``. Positions and sums are computed in float32.

    Raises:
        ValueError: shapes or types do not fit.
    """
    out: Tensor = torch.ops.vs_sr.dcn_fused(x, om, weight, bias, slope)
    return out


def dcn_fused_into(
    x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, out: Tensor, channel: int = 0, *, slope: float = 1.0
) -> None:
    """:func:`dcn_fused` written into some channels of ``out``.

    Args:
        x: see :func:`dcn_fused`.
        om: likewise.
        weight: likewise.
        bias: likewise.
        out: (B, C', H, W) with C' >= channel + C, channels_last; other channels keep what they hold.
        channel: the first channel written.
        slope: see :func:`dcn_fused`.

    Raises:
        ValueError: shapes or types do not fit.
    """
    torch.ops.vs_sr.dcn_fused_into(x, om, weight, bias, slope, out, channel)


# Launches: what the kernels are given


def fused_launch(
    x: Tensor,
    om: Tensor,
    weight: Tensor,
    bias: Tensor,
    out: Tensor,
    slope: float,
    *,
    channel: int = 0,
    wave: int,
) -> Launch:
    """``dcn_fused.cu`` on channels_last halves; ``wave`` is the number of multiprocessors to keep busy."""
    batch, channels, height, width = x.shape
    _half(x, om, weight, out)
    if height * width * om.shape[1] * 2 >= 1 << 32:
        raise ValueError(f"dcn_fused: {height}x{width} pixels are beyond its 32-bit addresses")
    tiles_x = -(-width // 16)
    for warps, rows in FUSED[channels]:
        tiles = tiles_x * -(-height // (warps * rows))
        if 2 * tiles * batch >= 3 * wave:  # enough for one and a half blocks on each multiprocessor
            break
    return Launch(
        kernel=FUSED[channels][warps, rows],
        grid=(tiles, batch, 1),
        block=(32 * warps, 1, 1),
        shared=_weight_bytes(channels),
        args=(
            pointer(x),
            pointer(om),
            pointer(weight),
            pointer(bias),
            pointer(out),
            np.int32(height),
            np.int32(width),
            np.int32(tiles_x),
            np.int32(batch // weight.shape[0]),
            np.int32(out.shape[1]),
            np.int32(channel),
            np.float32(slope),
        ),
    )


def _half(*tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype != torch.float16:
            raise ValueError(f"dcn_fused: the kernel takes halves, got {tensor.dtype}")


# The operators


def _check_fused(op: str, x: Tensor, om: Tensor, weight: Tensor, bias: Tensor) -> None:
    batch, channels, height, width = x.shape if x.dim() == 4 else (0, 0, 0, 0)
    if channels not in packing.WIDTHS:
        raise ValueError(f"{op}: x must be (B, C, H, W) with C = 32 or 64, got {tuple(x.shape)}")
    wanted = (batch, packing.offset_mask_channels(channels), height, width)
    if om.shape != wanted or om.dtype != x.dtype:
        raise ValueError(f"{op}: om must be {wanted} in {x.dtype}, got {tuple(om.shape)} in {om.dtype}")
    sets, packed = weight.shape[0], packing.packed_shape(channels)
    if weight.shape[1:] != packed or weight.dtype != x.dtype or not sets or batch % sets:
        raise ValueError(
            f"{op}: weight must be (S, {', '.join(map(str, packed))}) in {x.dtype} with S a "
            f"divisor of {batch} images, got {tuple(weight.shape)} in {weight.dtype}"
        )
    if bias.shape != (sets, channels) or bias.dtype != torch.float32:
        raise ValueError(f"{op}: bias must be ({sets}, {channels}) in float32, got {tuple(bias.shape)}, {bias.dtype}")
    check_device(op, x, om, weight, bias)


def _fits(x: Tensor) -> bool:
    return x.dtype == torch.float16 and usable(FUSED[x.shape[1]][8, 2], x.device)


def _run_fused(
    x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, slope: float, out: Tensor, channel: int = 0
) -> None:
    x, om, weight, bias = (aligned(t) for t in (x, om, weight.flatten(1), bias))
    wave = multiprocessors(x.device)
    run(fused_launch(x, om, weight, bias, out, slope, channel=channel, wave=wave), x.device)


def _dcn_fused(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    _check_fused("dcn_fused", x, om, weight, bias)
    if not _fits(x):
        return fused_reference(x, om, weight, bias, slope)
    out = torch.empty_like(x, memory_format=torch.channels_last)
    _run_fused(x, om, weight, bias, slope, out)
    return out


def _dcn_fused_into(
    x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, slope: float, out: Tensor, channel: int
) -> None:
    _check_fused("dcn_fused_into", x, om, weight, bias)
    check_into("dcn_fused_into", x, out, channel, (x.shape[2], x.shape[3]))
    if channel % 8 == 0 and out.shape[1] % 8 == 0 and out.data_ptr() % 16 == 0 and _fits(x):
        _run_fused(x, om, weight, bias, slope, out, channel)
    else:
        out[:, channel : channel + x.shape[1]] = fused_reference(x, om, weight, bias, slope)


def fused_reference(x: Tensor, om: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    """What ``dcn_fused`` computes, by ``vs_sr::deform_conv2d``."""
    channels = x.shape[1]
    groups = channels // 8
    plain = om.index_select(1, packing.offset_mask_inverse(channels, x.device))
    images = x.shape[0] // weight.shape[0]
    out = torch.empty_like(x, memory_format=torch.channels_last)
    for i, (packed, b) in enumerate(zip(weight, bias, strict=True)):
        part = slice(i * images, (i + 1) * images)
        w = packing.unpack_dcn_weight(packed)
        offset, logit = plain[part].split([2 * groups * packing.TAPS, groups * packing.TAPS], 1)
        mask = torch.sigmoid(logit.to(torch.promote_types(x.dtype, torch.float32)))
        y = deform_conv2d(x[part], offset, mask, w, b, padding=1)
        out[part] = y if slope == 1.0 else torch.nn.functional.leaky_relu(y, slope)
    return out


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("dcn_fused", _dcn_fused, _device)
    _LIBRARY.impl("dcn_fused_into", _dcn_fused_into, _device)


@register_fake("vs_sr::dcn_fused", lib=_LIBRARY)
def _(x, om, weight, bias, slope):  # type: ignore[no-untyped-def]
    return torch.empty_like(x, memory_format=torch.channels_last)


@register_fake("vs_sr::dcn_fused_into", lib=_LIBRARY)
def _(x, om, weight, bias, slope, out, channel):  # type: ignore[no-untyped-def]
    return None
