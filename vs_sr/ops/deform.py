"""Modulated deformable convolution (DCNv2) as the torch operator ``vs_sr::deform_conv2d``.

Zhu et al., "Deformable ConvNets v2" (CVPR 2019), section 3.2: bilinear samples, then one product, strip of
output rows by strip, so that the column buffer stays in the cache and never grows with the image. On the CPU a
sample is a weighted sum of four rows of a table, which ``embedding_bag`` is quick at; on a card it is our kernel's
(:mod:`vs_sr.ops.sample`). Elsewhere, and for gradients, sampling is ``grid_sample`` with the offset groups in the
batch and the kernel taps in the height. It is opaque to ``torch.compile``, which would turn the sampling into scalar
gathers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.library import Library, register_autograd, register_fake
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_COLUMN_BYTES = 4 << 20
"""Bound on one strip's column buffer on the CPU: larger ones leave the cache, smaller ones pay for more calls."""
_COLUMN_BYTES_ELSEWHERE = 64 << 20
"""The same on other devices, where a call has to fill many multiprocessors."""

_LIBRARY = Library("vs_sr", "DEF")
_LIBRARY.define(
    "deform_conv2d(Tensor x, Tensor offset, Tensor mask, Tensor weight, Tensor? bias,"
    " int[2] stride, int[2] padding, int[2] dilation) -> Tensor"
)
_LIBRARY.define(
    "deform_conv2d_backward(Tensor grad, Tensor x, Tensor offset, Tensor mask, Tensor weight,"
    " int[2] stride, int[2] padding, int[2] dilation) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """Convolve ``x`` at positions displaced by ``offset``, each sample scaled by ``mask``.

    Args:
        x: (B, C, H, W), floating point.
        offset: (B, 2*G*K, Ho, Wo) in pixels, K = kh*kw taps; for offset group g and tap k the channels
            2*(g*K+k) and 2*(g*K+k)+1 hold dy and dx. Group g displaces the channels g*C/G ... (g+1)*C/G - 1.
        mask: (B, G*K, Ho, Wo), the modulation as it is used (after the sigmoid).
        weight: (O, C, kh, kw); the convolution itself is not grouped.
        bias: (O,) or None.
        stride: of the output grid, in pixels.
        padding: in pixels; samples outside the image are zero, and fade linearly over the last pixel.
        dilation: distance of the taps, in pixels.

    Returns:
        (B, O, Ho, Wo) in the dtype of ``x``, channels last in memory. Positions are computed in float32 at
        least, whatever that dtype is.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    geometry = [(v, v) if isinstance(v, int) else tuple(v) for v in (stride, padding, dilation)]
    _check(x, offset, mask, weight, bias, *geometry)
    out: Tensor = torch.ops.vs_sr.deform_conv2d(x, offset, mask, weight, bias, *geometry)
    return out


def _check(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> None:
    if x.dim() != 4 or weight.dim() != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"deform_conv2d: x (B, C, H, W) and weight (O, C, kh, kw) do not fit: {_shapes(x, weight)}")
    out_channels, channels, kh, kw = weight.shape
    taps = kh * kw
    height, width = _output_size(x, weight, stride, padding, dilation)
    if height < 1 or width < 1:
        raise ValueError(f"deform_conv2d: x of {_shapes(x)} is smaller than the kernel {kh}x{kw}")
    groups = mask.shape[1] // taps
    if groups < 1 or channels % groups:
        raise ValueError(
            f"deform_conv2d: mask of {mask.shape[1]} channels gives {groups} offset groups of {taps} taps, "
            f"which must divide the {channels} channels of x"
        )
    for name, tensor, count in (("offset", offset, 2 * groups * taps), ("mask", mask, groups * taps)):
        if tensor.shape != (x.shape[0], count, height, width):
            raise ValueError(
                f"deform_conv2d: {name} must be {(x.shape[0], count, height, width)}, got {_shapes(tensor)}"
            )
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"deform_conv2d: bias must be ({out_channels},), got {_shapes(bias)}")


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(tuple(t.shape)) for t in tensors)


def _output_size(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int]:
    height, width = (
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1)
    )
    return height, width


def _output(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """(B, O, Ho, Wo), channels last: products are quicker this way round, and so are the convolutions after it."""
    size = (x.shape[0], weight.shape[0], *mask.shape[2:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _tap_positions(
    weight: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Where the taps of an output row and of an output column look without an offset: y (K, Ho) and x (K, Wo)."""
    kh, kw = weight.shape[2:]
    tap = torch.arange(kh * kw, device=weight.device)
    y, x = (
        (number * dilation[i])[:, None] + torch.arange(size[i], device=weight.device) * stride[i] - padding[i]
        for i, number in enumerate((tap // kw, tap % kw))
    )
    return y.to(dtype), x.to(dtype)


class Sampler:
    """Samples strips of output rows by ``grid_sample``; the geometry is shared by forward and backward."""

    def __init__(
        self,
        x: Tensor,
        offset: Tensor,
        mask: Tensor,
        weight: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> None:
        batch, channels, self.height, self.width = x.shape
        _, _, kh, kw = weight.shape
        self.taps = kh * kw
        self.groups = mask.shape[1] // self.taps
        self.out_height, self.out_width = mask.shape[2:]
        # Coordinates need 24 bits: a half's grid step near the border of a 480 pixel row is 0.12 pixels.
        self.dtype = torch.promote_types(x.dtype, torch.float32)
        self.x = (
            x.to(self.dtype).contiguous().view(batch, self.groups, channels // self.groups, self.height, self.width)
        )
        self.offset = offset.view(batch, self.groups, self.taps, 2, self.out_height, self.out_width)
        self.mask = mask.view(batch, self.groups, self.taps, self.out_height, self.out_width)
        # grid_sample wants pixel p of n at (2p + 1) / n - 1
        self.scale = (2.0 / self.width, 2.0 / self.height)
        y0, x0 = _tap_positions(weight, mask.shape[2:], stride, padding, dilation, self.dtype)
        self.x0, self.y0 = (
            scale * (p + 0.5) - 1 for scale, p in zip(self.scale, (x0[:, None, :], y0[:, :, None]), strict=True)
        )
        per_row = channels * self.taps * self.out_width * self.x.element_size()
        bound = _COLUMN_BYTES if self.x.device.type == "cpu" else _COLUMN_BYTES_ELSEWHERE
        self.strip = max(1, min(self.out_height, bound // per_row))

    def strips(self) -> Iterator[tuple[int, slice]]:
        """Images, and rows of their outputs."""
        for image in range(self.x.shape[0]):
            for row in range(0, self.out_height, self.strip):
                yield image, slice(row, min(row + self.strip, self.out_height))

    def grid(self, image: int, rows: slice) -> Tensor:
        """Sampling positions of a strip as ``grid_sample`` wants them: (G, K*rows, Wo, 2), x before y."""
        offset = self.offset[image, :, :, :, rows]  # (G, K, 2, rows, Wo)
        grid = torch.empty(
            (self.groups, self.taps, offset.shape[3], self.out_width, 2),
            dtype=self.dtype,
            device=offset.device,
        )
        torch.add(self.x0, offset[:, :, 1], alpha=self.scale[0], out=grid[..., 0])
        torch.add(self.y0[:, rows], offset[:, :, 0], alpha=self.scale[1], out=grid[..., 1])
        return grid.view(self.groups, -1, self.out_width, 2)

    def sample(self, image: int, grid: Tensor) -> Tensor:
        """Bilinear samples (G, C/G, K, rows, Wo), zero outside the image."""
        samples = torch.grid_sampler_2d(self.x[image], grid, 0, 0, False)
        return samples.view(self.groups, -1, self.taps, grid.shape[1] // self.taps, self.out_width)


def forward(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """``vs_sr::deform_conv2d`` by ``grid_sample``, on any device."""
    offset, mask = offset.contiguous(), mask.contiguous()
    sampler = Sampler(x, offset, mask, weight, stride, padding, dilation)
    matrix = weight.to(x.dtype).flatten(1).t()  # (C*K, O)
    bias = x.new_zeros(weight.shape[0]) if bias is None else bias.to(x.dtype)
    out = _output(x, weight, mask)
    pixels = out.permute(0, 2, 3, 1)
    for image, rows in sampler.strips():
        samples = sampler.sample(image, sampler.grid(image, rows))
        samples.mul_(sampler.mask[image, :, None, :, rows])
        columns = samples.view(matrix.shape[0], -1).to(x.dtype)  # (C*K, rows*Wo)
        torch.addmm(bias, columns.t(), matrix, out=pixels[image, rows].flatten(0, 1))
    return out


class _Table:
    """One image on the CPU as a table, from which ``embedding_bag`` adds up weighted rows.

    A row is a pixel's channels of one group. Around the image lies a border of zeros, to which every position
    outside is clamped.
    """

    def __init__(self, image: Tensor, groups: int, taps: int) -> None:
        channels, self.height, self.width = image.shape
        dtype = torch.promote_types(image.dtype, torch.float32)
        padded = image.new_zeros((self.height + 2, self.width + 2, channels), dtype=dtype)
        padded[1:-1, 1:-1] = image.permute(1, 2, 0)
        self.rows = padded.view(-1, channels // groups)
        self.step, self.line = groups, (self.width + 2) * groups
        group = torch.arange(groups, dtype=torch.int32).repeat_interleave(taps)
        self.corners = [group + corner for corner in (0, self.step, self.line, self.line + self.step)]

    def sample(self, dy: Tensor, dx: Tensor, mask: Tensor, y0: Tensor, x0: Tensor) -> Tensor:
        """Bilinear samples at (y0 + ``dy``, x0 + ``dx``), times ``mask``: all (rows, Wo, G*K), C/G values each."""
        y, x = (self.rows.new_empty(mask.shape) for _ in range(2))
        torch.add(dy, y0 + 1, out=y).clamp_(0, self.height + 1)
        torch.add(dx, x0 + 1, out=x).clamp_(0, self.width + 1)
        top, left = y.floor().clamp_(max=self.height), x.floor().clamp_(max=self.width)
        first = top.to(torch.int32).mul_(self.line).add_(left.to(torch.int32), alpha=self.step)
        first.clamp_(0, self.height * self.line + self.width * self.step)  # where a position is not a number
        bags = first.new_empty((*first.shape, 4))
        for number, corner in enumerate(self.corners):
            torch.add(first, corner, out=bags[..., number])
        weights = y.new_empty(bags.shape)
        below, right = y.sub_(top).mul_(mask), x.sub_(left)
        above = torch.sub(mask, below, out=top)
        torch.mul(above, right, out=weights[..., 1])
        torch.sub(above, weights[..., 1], out=weights[..., 0])
        torch.mul(below, right, out=weights[..., 3])
        torch.sub(below, weights[..., 3], out=weights[..., 2])
        return F.embedding_bag(bags.view(-1, 4), self.rows, mode="sum", per_sample_weights=weights.view(-1, 4))


def _forward_on_cpu(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    out = _output(x, weight, mask)
    batch, channels = x.shape[:2]
    taps = weight.shape[2] * weight.shape[3]
    groups = mask.shape[1] // taps
    height, width = mask.shape[2:]
    dtype = torch.promote_types(x.dtype, torch.float32)
    y0, x0 = _tap_positions(weight, (height, width), stride, padding, dilation, dtype)
    y0, x0 = y0.t().repeat(1, groups)[:, None], x0.t().repeat(1, groups)  # (Ho, 1, G*K), (Wo, G*K)
    dy, dx = offset.permute(0, 2, 3, 1).unflatten(3, (-1, 2)).unbind(4)  # (B, Ho, Wo, G*K)
    mask = mask.permute(0, 2, 3, 1)
    # A pixel's samples lie side by side, so that what is left is a plain convolution over K "pixels" of C
    # "channels" with a stride of K. (As a convolution of 1x1, torch would not give it to oneDNN on one thread.)
    kernel = weight.to(x.dtype).unflatten(1, (groups, -1)).flatten(3).transpose(2, 3)  # (O, G, K, C/G)
    kernel = kernel.reshape(-1, 1, taps, channels).permute(0, 3, 1, 2)
    bias = None if bias is None else bias.to(x.dtype)
    strip = max(1, _COLUMN_BYTES // (channels * taps * width * dtype.itemsize))
    for image in range(batch):
        table = _Table(x[image], groups, taps)
        for row in range(0, height, strip):
            rows = slice(row, row + strip)
            samples = table.sample(dy[image, rows], dx[image, rows], mask[image, rows], y0[rows], x0)
            columns = samples.to(x.dtype).view(1, -1, width * taps, channels).permute(0, 3, 1, 2)
            out[image, :, rows] = F.conv2d(columns, kernel, bias, stride=(1, taps))[0]
    return out


def _backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    offset, mask = offset.contiguous(), mask.contiguous()
    sampler = Sampler(x, offset, mask, weight, stride, padding, dilation)
    dtype = sampler.dtype
    matrix = weight.to(dtype).flatten(1)
    grad = grad.to(dtype)
    grad_x = torch.zeros_like(sampler.x)
    grad_offset = torch.empty_like(sampler.offset)
    grad_mask = torch.empty_like(sampler.mask)
    grad_matrix = torch.zeros_like(matrix)
    for image, rows in sampler.strips():
        grid = sampler.grid(image, rows)
        samples = sampler.sample(image, grid)
        modulation = sampler.mask[image, :, None, :, rows].to(dtype)
        grad_strip = grad[image, :, rows].flatten(1)  # (O, rows*Wo)
        grad_columns = (matrix.t() @ grad_strip).view_as(samples)
        grad_mask[image, :, :, rows] = (grad_columns * samples).sum(1)
        grad_matrix += grad_strip @ (samples * modulation).view(matrix.shape[1], -1).t()
        grad_samples = (grad_columns * modulation).flatten(2, 3)  # (G, C/G, K*rows, Wo)
        grad_image, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            grad_samples, sampler.x[image], grid, 0, 0, False, [True, True]
        )
        grad_x[image] += grad_image
        grad_grid = grad_grid.view(*samples.shape[:1], *samples.shape[2:], 2)  # (G, K, rows, Wo, 2)
        grad_offset[image, :, :, 1, rows] = grad_grid[..., 0] * sampler.scale[0]
        grad_offset[image, :, :, 0, rows] = grad_grid[..., 1] * sampler.scale[1]
    return (
        grad_x.view(x.shape).to(x.dtype),
        grad_offset.view(offset.shape),
        grad_mask.view(mask.shape),
        grad_matrix.view(weight.shape).to(weight.dtype),
        grad.sum((0, 2, 3)).to(weight.dtype),
    )


_LIBRARY.impl("deform_conv2d", _forward_on_cpu, "CPU")
for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("deform_conv2d_backward", _backward, _device)


@register_fake("vs_sr::deform_conv2d", lib=_LIBRARY)
def _(x, offset, mask, weight, bias, stride, padding, dilation):  # type: ignore[no-untyped-def]
    return _output(x, weight, mask)


@register_fake("vs_sr::deform_conv2d_backward", lib=_LIBRARY)
def _(grad, x, offset, mask, weight, stride, padding, dilation):  # type: ignore[no-untyped-def]
    bias = weight.new_empty(weight.shape[:1])
    return *(t.new_empty(t.shape) for t in (x, offset, mask, weight)), bias


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, offset, mask, weight, bias, *ctx.geometry = inputs
    ctx.save_for_backward(x, offset, mask, weight)
    ctx.bias_dtype = None if bias is None else bias.dtype


def _autograd(ctx, grad):  # type: ignore[no-untyped-def]
    *grads, grad_bias = torch.ops.vs_sr.deform_conv2d_backward(grad, *ctx.saved_tensors, *ctx.geometry)
    grad_bias = None if ctx.bias_dtype is None else grad_bias.to(ctx.bias_dtype)
    return *grads, grad_bias, None, None, None


register_autograd("vs_sr::deform_conv2d", _autograd, setup_context=_setup_context, lib=_LIBRARY)
