"""Deformable convolution on tensor cores: ``vs_sr::dcn_fused``, and its general form ``vs_sr::dcn_sample``.

:func:`dcn_fused` is the one that the recurrent networks spend their time in: 32 or 64 channels in offset groups of 8,
3x3, with the mask's sigmoid, the bias and the activation inside. Where its kernel cannot run (floats, cards
before sm_80) the samples are made by the kernel of :func:`dcn_sample` and multiplied by cuBLAS; without
CuPy everything is torch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.library import Library, register_fake

from vs_sr.ops import packing
from vs_sr.ops._launch import Launch, aligned, check_device, check_into, multiprocessors, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel
from vs_sr.ops.deform import _Sampler, deform_conv2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_COLUMN_BYTES = 64 << 20
"""Bound on the column matrix of :func:`sample_matmul`: enough to fill a card, not enough to fill its
memory."""


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

SAMPLE = {
    (dtype, vector): Kernel(name="dcn_sample", macros=(("FLOAT32", int(dtype == torch.float32)), ("VECTOR", vector)))
    for dtype in (torch.float16, torch.float32)
    for vector in (1, 0)
}
"""By type, and by whether a thread handles 16 bytes of channels or one channel."""

KERNELS = (*(kernel for tiles in FUSED.values() for kernel in tiles.values()), *SAMPLE.values())

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define("dcn_fused(Tensor x, Tensor om, Tensor weight, Tensor bias, float slope) -> Tensor")
_LIBRARY.define(
    "dcn_fused_into(Tensor x, Tensor om, Tensor weight, Tensor bias, float slope, Tensor(a!) out, int channel) -> ()"
)
_LIBRARY.define(
    "dcn_sample(Tensor x, Tensor om, int groups, int[2] kernel, int[2] stride, int[2] padding,"
    " int[2] dilation, bool logits, int first, int count) -> Tensor"
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


def dcn_sample(
    x: Tensor,
    om: Tensor,
    *,
    groups: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    logits: bool = True,
    first: int = 0,
    count: int | None = None,
) -> Tensor:
    """The samples of a modulated deformable convolution, one row per output pixel.

    Args:
        x: (B, C, H, W), channels_last for speed.
        om: (B, 3*G*K, Ho, Wo) in the type of ``x``, K = kh*kw taps: dy and dx per group and tap, then the
            mask per group and tap (the published layout, not the permuted one).
        groups: offset groups G, a divisor of C.
        kernel: kh and kw.
        stride: of the output grid, in pixels.
        padding: in pixels; outside the image is zero.
        dilation: distance of the taps, in pixels.
        logits: the mask is given before its sigmoid.
        first: the first output pixel wanted, counting through the rows of all images.
        count: how many; by default all from ``first`` on.

    Returns:
        (count, K*C), tap by tap, in the type of ``x``: times ``weight.permute(2, 3, 1, 0).reshape(K*C, O)``
        it is the convolution.

    Raises:
        ValueError: shapes, types or pixels do not fit.
    """
    if count is None:
        count = om.shape[0] * om.shape[2] * om.shape[3] - first
    col: Tensor = torch.ops.vs_sr.dcn_sample(x, om, groups, kernel, stride, padding, dilation, logits, first, count)
    return col


def sample_matmul(
    x: Tensor,
    om: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    logits: bool = True,
) -> Tensor:
    """A modulated deformable convolution of any shape: :func:`dcn_sample`, strip by strip, and a matrix
    product.

    Args:
        x: (B, C, H, W).
        om: (B, 3*G*K, Ho, Wo), see :func:`dcn_sample`.
        weight: (O, C, kh, kw) in the type of ``x``.
        bias: (O,) or None.
        groups: offset groups G.
        stride: see :func:`dcn_sample`.
        padding: likewise.
        dilation: likewise.
        logits: likewise.

    Returns:
        (B, O, Ho, Wo), channels_last.

    Raises:
        ValueError: shapes or types do not fit.
    """
    out_channels, channels, kh, kw = weight.shape
    batch, _, out_height, out_width = om.shape
    matrix = weight.permute(0, 2, 3, 1).reshape(out_channels, kh * kw * channels).t()  # no copy of channels_last
    pixels = batch * out_height * out_width
    strip = max(1, _COLUMN_BYTES // (matrix.shape[0] * x.element_size()))
    out = x.new_empty((batch, out_height, out_width, out_channels))
    rows = out.view(pixels, out_channels)
    for first in range(0, pixels, strip):
        col = dcn_sample(
            x,
            om,
            groups=groups,
            kernel=(kh, kw),
            stride=stride,
            padding=padding,
            dilation=dilation,
            logits=logits,
            first=first,
            count=min(strip, pixels - first),
        )
        target = rows[first : first + col.shape[0]]
        if bias is None:
            torch.mm(col, matrix, out=target)
        else:
            torch.addmm(bias.to(x.dtype), col, matrix, out=target)
    return out.permute(0, 3, 1, 2)


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


def sample_launch(
    x: Tensor,
    om: Tensor,
    col: Tensor,
    groups: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    logits: bool,
    first: int,
) -> Launch:
    """``dcn_sample.cu`` on channels_last tensors; ``col`` (count, K*C) says how many pixels."""
    _, channels, height, width = x.shape
    lanes = 16 // x.element_size()
    vector = int(channels // groups % lanes == 0)
    threads = col.numel() // (lanes if vector else 1)
    if threads >= 1 << 31:
        raise ValueError(f"dcn_sample: {col.shape[0]} pixels are too many at once; use `count`")
    geometry = (channels, groups, *om.shape[2:], *kernel, *stride, *padding, *dilation, logits, first)
    return Launch(
        kernel=SAMPLE[x.dtype, vector],
        grid=(-(-threads // 256), 1, 1),
        block=(256, 1, 1),
        args=(
            pointer(x),
            pointer(om),
            pointer(col),
            *(np.int32(value) for value in (height, width, *geometry, col.shape[0])),
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
    """What ``dcn_fused`` computes, in torch operators (and by ``dcn_sample.cu`` where that runs)."""
    channels = x.shape[1]
    groups = channels // 8
    plain = om.index_select(1, packing.offset_mask_inverse(channels, x.device))
    images = x.shape[0] // weight.shape[0]
    out = torch.empty_like(x, memory_format=torch.channels_last)
    for i, (packed, b) in enumerate(zip(weight, bias, strict=True)):
        part = slice(i * images, (i + 1) * images)
        w = packing.unpack_dcn_weight(packed)
        if x.dtype in (torch.float16, torch.float32) and usable(SAMPLE[x.dtype, 1], x.device):
            y = sample_matmul(x[part], plain[part], w, b, groups=groups)
        else:
            offset, logit = plain[part].split([2 * groups * packing.TAPS, groups * packing.TAPS], 1)
            mask = torch.sigmoid(logit.to(torch.promote_types(x.dtype, torch.float32)))
            y = deform_conv2d(x[part], offset, mask, w, b, padding=1)
        out[part] = y if slope == 1.0 else torch.nn.functional.leaky_relu(y, slope)
    return out


def _check_sample(
    x: Tensor,
    om: Tensor,
    groups: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    first: int,
    count: int,
) -> None:
    if x.dim() != 4 or om.dim() != 4 or groups < 1 or x.shape[1] % groups:
        raise ValueError(
            f"dcn_sample: x {tuple(x.shape)} and om {tuple(om.shape)} must be (B, C, H, W) with C divisible "
            f"by groups={groups}"
        )
    size = [(x.shape[2 + i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]
    wanted = (x.shape[0], 3 * groups * kernel[0] * kernel[1], *size)
    if om.shape != wanted or om.dtype != x.dtype:
        raise ValueError(f"dcn_sample: om must be {wanted} in {x.dtype}, got {tuple(om.shape)} in {om.dtype}")
    pixels = wanted[0] * wanted[2] * wanted[3]
    if not 0 <= first < pixels or not 0 < count <= pixels - first:
        raise ValueError(f"dcn_sample: first={first}, count={count} lie outside the {pixels} output pixels")


def _dcn_sample(
    x: Tensor,
    om: Tensor,
    groups: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    logits: bool,
    first: int,
    count: int,
) -> Tensor:
    _check_sample(x, om, groups, kernel, stride, padding, dilation, first, count)
    check_device("dcn_sample", x, om)
    if (x.dtype, 1) in SAMPLE and usable(SAMPLE[x.dtype, 1], x.device):
        x, om = aligned(x), aligned(om)
        col = x.new_empty((count, kernel[0] * kernel[1] * x.shape[1]))
        launch = sample_launch(x, om, col, groups, kernel, stride, padding, dilation, logits, first)
        run(launch, x.device)
        return col
    return sample_reference(x, om, groups, kernel, stride, padding, dilation, logits, first, count)


def sample_reference(
    x: Tensor,
    om: Tensor,
    groups: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    logits: bool,
    first: int,
    count: int,
) -> Tensor:
    """What ``dcn_sample`` computes, in torch operators; positions in float32 at least."""
    taps = kernel[0] * kernel[1]
    offset, mask = om.contiguous().split([2 * groups * taps, groups * taps], 1)
    mask = mask.to(torch.promote_types(x.dtype, torch.float32))
    if logits:
        mask = torch.sigmoid(mask)
    shape_of_weight = x.new_empty((0, x.shape[1], *kernel))
    sampler = _Sampler(x, offset.contiguous(), mask.contiguous(), shape_of_weight, stride, padding, dilation)
    strips = []
    for image, rows in sampler.strips():
        samples = sampler.sample(image, sampler.grid(image, rows))  # (G, C/G, K, rows, Wo)
        samples = samples * sampler.mask[image, :, None, :, rows]
        strips.append(samples.permute(3, 4, 2, 0, 1).reshape(-1, taps * x.shape[1]))
    # a copy, since an operator may not return a view of what it made for somebody else
    return torch.cat(strips)[first : first + count].to(x.dtype, copy=True)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("dcn_fused", _dcn_fused, _device)
    _LIBRARY.impl("dcn_fused_into", _dcn_fused_into, _device)
    _LIBRARY.impl("dcn_sample", _dcn_sample, _device)


@register_fake("vs_sr::dcn_fused", lib=_LIBRARY)
def _(x, om, weight, bias, slope):  # type: ignore[no-untyped-def]
    return torch.empty_like(x, memory_format=torch.channels_last)


@register_fake("vs_sr::dcn_fused_into", lib=_LIBRARY)
def _(x, om, weight, bias, slope, out, channel):  # type: ignore[no-untyped-def]
    return None


@register_fake("vs_sr::dcn_sample", lib=_LIBRARY)
def _(x, om, groups, kernel, stride, padding, dilation, logits, first, count):  # type: ignore[no-untyped-def]
    return x.new_empty((count, kernel[0] * kernel[1] * x.shape[1]))
