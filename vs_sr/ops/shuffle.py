"""Pixel shuffle by two with what surrounds it, as ``vs_sr::shuffle2``.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network" (CVPR 2016). With the convolution's output channels permuted once
(:func:`vs_sr.ops.packing.pack_shuffle`) the shuffle of channels_last memory is a copy in long runs, and
bias and activation ride along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.library import Library, register_fake
from torch.nn import functional as F

from vs_sr.ops._launch import Launch, aligned, check_device, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel

if TYPE_CHECKING:
    from torch import Tensor

SHUFFLE2 = Kernel(name="shuffle2")
KERNELS = (SHUFFLE2,)

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define("shuffle2(Tensor x, Tensor? bias, float slope) -> Tensor")


def shuffle2(x: Tensor, bias: Tensor | None = None, slope: float = 1.0) -> Tensor:
    """act(pixel_shuffle(x + bias, 2)) for channels in the order (dy, dx, c).

    Args:
        x: (B, 4C, H, W), channel (2*dy + dx)*C + c for the part at (dy, dx) of output channel c.
        bias: (4C,) in float32 and in the same order, or None.
        slope: of the leaky ReLU; 1 for none.

    Returns:
        (B, C, 2H, 2W), channels_last, in the type of ``x``.

    Raises:
        ValueError: shapes or types do not fit.
    """
    out: Tensor = torch.ops.vs_sr.shuffle2(x, bias, slope)
    return out


def shuffle_launch(x: Tensor, bias: Tensor | None, out: Tensor, slope: float) -> Launch:
    """``shuffle2.cu`` on channels_last halves."""
    batch, channels, height, width = out.shape
    return Launch(
        kernel=SHUFFLE2,
        grid=(batch * height, -(-width * channels // (8 * 256)), 1),
        block=(256, 1, 1),
        args=(
            pointer(x),
            pointer(bias),
            pointer(out),
            np.int32(width // 2),
            np.int32(channels),
            np.float32(slope),
        ),
    )


def _shuffle2(x: Tensor, bias: Tensor | None, slope: float) -> Tensor:
    if x.dim() != 4 or x.shape[1] % 4:
        raise ValueError(f"shuffle2: x must be (B, 4C, H, W), got {tuple(x.shape)}")
    if bias is not None and (bias.shape != (x.shape[1],) or bias.dtype != torch.float32):
        raise ValueError(f"shuffle2: bias must be ({x.shape[1]},) in float32, got {tuple(bias.shape)}, {bias.dtype}")
    check_device("shuffle2", x, bias)
    if x.dtype == torch.float16 and x.shape[1] % 32 == 0 and usable(SHUFFLE2, x.device):
        out = _empty(x)
        x, bias = aligned(x), None if bias is None else aligned(bias)
        run(shuffle_launch(x, bias, out, slope), x.device)
        return out
    return shuffle_reference(x, bias, slope)


def shuffle_reference(x: Tensor, bias: Tensor | None, slope: float) -> Tensor:
    """What ``shuffle2`` computes, in torch operators; in float32 at least."""
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    if bias is not None:
        y = y + bias.to(y.dtype).view(1, -1, 1, 1)
    batch, channels, height, width = x.shape
    parts = F.leaky_relu(y, slope).view(batch, 2, 2, channels // 4, height, width)
    out = _empty(x)
    # (B, C, H, dy, W, dx)
    out.view(batch, channels // 4, height, 2, width, 2).copy_(parts.permute(0, 3, 4, 1, 5, 2))
    return out


def _empty(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty((batch, 2 * height, 2 * width, channels // 4)).permute(0, 3, 1, 2)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("shuffle2", _shuffle2, _device)


@register_fake("vs_sr::shuffle2", lib=_LIBRARY)
def _(x, bias, slope):  # type: ignore[no-untyped-def]
    return _empty(x)
