"""The samples of any deformable convolution as a matrix: ``vs_sr::dcn_sample``. With a matrix product it is the
convolution, and so ``vs_sr::deform_conv2d`` on a card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.library import Library, register_fake

from vs_sr.ops import deform
from vs_sr.ops._launch import Launch, aligned, check_device, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_COLUMN_BYTES = 64 << 20
"""Bound on the column matrix of :func:`sample_matmul`: enough to fill a card, not enough to fill its
memory."""

SAMPLE = {
    (dtype, vector): Kernel(name="dcn_sample", macros=(("FLOAT32", int(dtype == torch.float32)), ("VECTOR", vector)))
    for dtype in (torch.float16, torch.float32)
    for vector in (1, 0)
}
"""By type, and by whether a thread handles 16 bytes of channels or one channel."""

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define(
    "dcn_sample(Tensor x, Tensor om, int groups, int[2] kernel, int[2] stride, int[2] padding,"
    " int[2] dilation, bool logits, int first, int count) -> Tensor"
)


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


def _fits(x: Tensor) -> bool:
    return (x.dtype, 1) in SAMPLE and usable(SAMPLE[x.dtype, 1], x.device)


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
    if _fits(x):
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
    sampler = deform.Sampler(x, offset.contiguous(), mask.contiguous(), shape_of_weight, stride, padding, dilation)
    strips = []
    for image, rows in sampler.strips():
        samples = sampler.sample(image, sampler.grid(image, rows))  # (G, C/G, K, rows, Wo)
        samples = samples * sampler.mask[image, :, None, :, rows]
        strips.append(samples.permute(3, 4, 2, 0, 1).reshape(-1, taps * x.shape[1]))
    # a copy, since an operator may not return a view of what it made for somebody else
    return torch.cat(strips)[first : first + count].to(x.dtype, copy=True)


def _deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """``vs_sr::deform_conv2d`` by the kernel where that runs, else by ``grid_sample``."""
    if not _fits(x):
        return deform.forward(x, offset, mask, weight, bias, stride, padding, dilation)
    om = torch.cat([offset, mask], 1).to(x.dtype)
    groups = mask.shape[1] // (weight.shape[2] * weight.shape[3])
    (sy, sx), (py, px), (dy, dx) = stride, padding, dilation
    how = {"stride": (sy, sx), "padding": (py, px), "dilation": (dy, dx)}
    return sample_matmul(x, om, weight.to(x.dtype), bias, groups=groups, **how, logits=False)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("dcn_sample", _dcn_sample, _device)
_LIBRARY.impl("deform_conv2d", _deform_conv2d, "CUDA")


@register_fake("vs_sr::dcn_sample", lib=_LIBRARY)
def _(x, om, groups, kernel, stride, padding, dilation, logits, first, count):  # type: ignore[no-untyped-def]
    return x.new_empty((count, kernel[0] * kernel[1] * x.shape[1]))
