"""The elementwise pieces of recurrent networks, each one pass over memory.

``vs_sr::lstm_gates`` steps a ConvLSTM cell (Shi et al., NIPS 2015, without peepholes); ``vs_sr::up2_into``,
``vs_sr::bias_act_res`` and ``vs_sr::act_into`` are what stands between convolutions, the two ``into`` ones
writing into half of a buffer, so that no concatenation has to copy. The kernels take channels_last halves
whose channels are a multiple of 8; for anything else, and without CuPy, the same is done in torch
operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.library import Library, register_fake
from torch.nn import functional as F

from vs_sr.ops._launch import Launch, aligned, check_device, check_into, pointer, run, usable
from vs_sr.ops._nvrtc import Kernel

if TYPE_CHECKING:
    from torch import Tensor

GATES = Kernel(name="lstm_gates")
UP2 = Kernel(name="up2_into")
BIAS_ACT_RES = Kernel(name="bias_act_res")
KERNELS = (GATES, UP2, BIAS_ACT_RES)

_LIBRARY = Library("vs_sr", "FRAGMENT")
_LIBRARY.define("lstm_gates(Tensor gates, Tensor? bias, Tensor cell) -> (Tensor, Tensor)")
_LIBRARY.define("up2_into(Tensor x, Tensor(a!) out, int channel, float scale) -> ()")
_LIBRARY.define("bias_act_res(Tensor x, Tensor? bias, float slope, Tensor? residual) -> Tensor")
_LIBRARY.define("act_into(Tensor x, Tensor? bias, float slope, Tensor? residual, Tensor(a!) out, int channel) -> ()")


def lstm_gates(gates: Tensor, cell: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The new states of a convolutional LSTM: c' = sig(f) c + sig(i) tanh(g), h = sig(o) tanh(c').

    Args:
        gates: (B, 4C, H, W): i, f, o, g, C channels each, as the cell's convolution gives them.
        cell: (B, C, H, W), c, in the type of ``gates``.
        bias: (4C,) in float32, added to ``gates`` first, or None.

    Returns:
        h and c', both (B, C, H, W) in the type of ``gates`` and channels_last.

    Raises:
        ValueError: shapes or types do not fit.
    """
    hidden, next_cell = torch.ops.vs_sr.lstm_gates(gates, bias, cell)
    return hidden, next_cell


def up2_into(x: Tensor, out: Tensor, channel: int = 0, scale: float = 1.0) -> None:
    """Write ``scale`` times the bilinear upscaling by two into some channels of ``out``.

    Args:
        x: (B, C, H, W).
        out: (B, C', 2H, 2W) with C' >= channel + C, channels_last; other channels keep what they hold.
        channel: the first channel written.
        scale: 2 for features that stand for displacements in pixels.

    Raises:
        ValueError: shapes or types do not fit.
    """
    torch.ops.vs_sr.up2_into(x, out, channel, scale)


def bias_act_res(x: Tensor, bias: Tensor | None = None, slope: float = 1.0, residual: Tensor | None = None) -> Tensor:
    """act(x + bias) + residual, in one pass.

    Args:
        x: (B, C, H, W).
        bias: (C,) in float32, or None.
        slope: of the leaky ReLU: 0 for ReLU, 1 for none.
        residual: as ``x``, or None.

    Returns:
        A new tensor as ``x``, channels_last.

    Raises:
        ValueError: shapes or types do not fit.
    """
    out: Tensor = torch.ops.vs_sr.bias_act_res(x, bias, slope, residual)
    return out


def act_into(
    x: Tensor,
    out: Tensor,
    channel: int = 0,
    *,
    bias: Tensor | None = None,
    slope: float = 1.0,
    residual: Tensor | None = None,
) -> None:
    """:func:`bias_act_res` written into some channels of ``out``.

    Args:
        x: (B, C, H, W).
        out: (B, C', H, W) with C' >= channel + C, channels_last; other channels keep what they hold.
        channel: the first channel written.
        bias: see :func:`bias_act_res`.
        slope: likewise.
        residual: likewise.

    Raises:
        ValueError: shapes or types do not fit.
    """
    torch.ops.vs_sr.act_into(x, bias, slope, residual, out, channel)


# Launches


def gates_launch(gates: Tensor, bias: Tensor | None, cell: Tensor, hidden: Tensor, next_cell: Tensor) -> Launch:
    """``lstm_gates.cu`` on channels_last tensors."""
    vectors = _vectors(cell)
    return Launch(
        kernel=GATES,
        grid=(-(-vectors // 256), 1, 1),
        block=(256, 1, 1),
        args=(
            pointer(gates),
            pointer(bias),
            pointer(cell),
            pointer(hidden),
            pointer(next_cell),
            np.int32(vectors),
            np.int32(cell.shape[1]),
        ),
    )


def up2_launch(x: Tensor, out: Tensor, channel: int, scale: float) -> Launch:
    """``up2_into.cu`` on channels_last halves."""
    batch, channels, height, width = x.shape
    _vectors(out)
    return Launch(
        kernel=UP2,
        grid=(2 * height * batch, -(-2 * width * channels // (8 * 256)), 1),
        block=(256, 1, 1),
        args=(
            pointer(x),
            pointer(out),
            *(np.int32(v) for v in (height, width, channels, out.shape[1], channel)),
            np.float32(scale),
        ),
    )


def bias_launch(
    x: Tensor, bias: Tensor | None, residual: Tensor | None, out: Tensor, channel: int, slope: float
) -> Launch:
    """``bias_act_res.cu`` on channels_last halves."""
    vectors = _vectors(x)
    return Launch(
        kernel=BIAS_ACT_RES,
        grid=(-(-vectors // 256), 1, 1),
        block=(256, 1, 1),
        args=(
            pointer(x),
            pointer(bias),
            pointer(residual),
            pointer(out),
            *(np.int32(v) for v in (vectors, x.shape[1], out.shape[1], channel)),
            np.float32(slope),
        ),
    )


def _vectors(tensor: Tensor) -> int:
    """How many times eight channels there are."""
    if tensor.numel() >= 1 << 34:
        raise ValueError(f"{tuple(tensor.shape)} is beyond the kernels' 32-bit counters")
    return tensor.numel() // 8


# The operators


def _takes(kernel: Kernel, *tensors: Tensor | None) -> bool:
    """Whether ``kernel`` runs there on such tensors: 16-byte vectors of halves."""
    given = [tensor for tensor in tensors if tensor is not None]
    fits = all(tensor.dtype == torch.float16 and tensor.shape[1] % 8 == 0 for tensor in given)
    return fits and usable(kernel, given[0].device)


def _check_bias(op: str, bias: Tensor | None, channels: int) -> None:
    if bias is not None and (bias.shape != (channels,) or bias.dtype != torch.float32):
        raise ValueError(f"{op}: bias must be ({channels},) in float32, got {tuple(bias.shape)}, {bias.dtype}")


def _check_residual(op: str, x: Tensor, residual: Tensor | None) -> None:
    if x.dim() != 4 or (residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype)):
        got = None if residual is None else (tuple(residual.shape), residual.dtype)
        raise ValueError(f"{op}: x must be (B, C, H, W) and residual like it, got {tuple(x.shape)} and {got}")


def _lstm_gates(gates: Tensor, bias: Tensor | None, cell: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = cell.shape if cell.dim() == 4 else (0, 0, 0, 0)
    if gates.shape != (batch, 4 * channels, height, width) or cell.dtype != gates.dtype:
        raise ValueError(
            f"lstm_gates: gates must be (B, 4C, H, W) and cell (B, C, H, W) of its type, got "
            f"{tuple(gates.shape)} in {gates.dtype} and {tuple(cell.shape)} in {cell.dtype}"
        )
    _check_bias("lstm_gates", bias, 4 * channels)
    check_device("lstm_gates", gates, bias, cell)
    if _takes(GATES, gates, cell):
        gates, bias, cell = aligned(gates), _aligned(bias), aligned(cell)
        hidden = torch.empty_like(cell, dtype=gates.dtype, memory_format=torch.channels_last)
        next_cell = torch.empty_like(cell, memory_format=torch.channels_last)
        run(gates_launch(gates, bias, cell, hidden, next_cell), gates.device)
        return hidden, next_cell
    return gates_reference(gates, bias, cell)


def gates_reference(gates: Tensor, bias: Tensor | None, cell: Tensor) -> tuple[Tensor, Tensor]:
    """What ``lstm_gates`` computes, in torch operators; in float32 at least."""
    i, f, o, g = _add_bias(gates, bias).chunk(4, 1)
    c = torch.sigmoid(f) * cell.to(f.dtype) + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return _channels_last(h, gates.dtype), _channels_last(c, cell.dtype)


def _up2_into(x: Tensor, out: Tensor, channel: int, scale: float) -> None:
    if x.dim() != 4:
        raise ValueError(f"up2_into: x must be (B, C, H, W), got {tuple(x.shape)}")
    check_into("up2_into", x, out, channel, (2 * x.shape[2], 2 * x.shape[3]))
    check_device("up2_into", x, out)
    if channel % 8 == 0 and out.data_ptr() % 16 == 0 and _takes(UP2, x, out):
        x = aligned(x)
        run(up2_launch(x, out, channel, scale), x.device)
    else:
        up2_reference(x, out, channel, scale)


def up2_reference(x: Tensor, out: Tensor, channel: int, scale: float) -> None:
    """What ``up2_into`` does, in torch operators; in float32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    larger = F.interpolate(wide, scale_factor=2, mode="bilinear", align_corners=False)
    out[:, channel : channel + x.shape[1]] = larger.mul_(scale)


def _bias_act_res(x: Tensor, bias: Tensor | None, slope: float, residual: Tensor | None) -> Tensor:
    _check_residual("bias_act_res", x, residual)
    _check_bias("bias_act_res", bias, x.shape[1])
    check_device("bias_act_res", x, bias, residual)
    if _takes(BIAS_ACT_RES, x, residual):
        out = torch.empty_like(x, memory_format=torch.channels_last)
        _run_bias(x, bias, slope, residual, out, 0)
        return out
    return bias_reference(x, bias, slope, residual)


def bias_reference(x: Tensor, bias: Tensor | None, slope: float, residual: Tensor | None) -> Tensor:
    """What ``bias_act_res`` computes, in torch operators; in float32 at least."""
    y = F.leaky_relu(_add_bias(x, bias), slope)
    return _channels_last(y if residual is None else y + residual.to(y.dtype), x.dtype)


def _act_into(x: Tensor, bias: Tensor | None, slope: float, residual: Tensor | None, out: Tensor, channel: int) -> None:
    _check_residual("act_into", x, residual)
    _check_bias("act_into", bias, x.shape[1])
    check_into("act_into", x, out, channel, (x.shape[2], x.shape[3]))
    check_device("act_into", x, bias, residual, out)
    if channel % 8 == 0 and out.data_ptr() % 16 == 0 and _takes(BIAS_ACT_RES, x, residual, out):
        _run_bias(x, bias, slope, residual, out, channel)
    else:
        out[:, channel : channel + x.shape[1]] = bias_reference(x, bias, slope, residual)


def _run_bias(x: Tensor, bias: Tensor | None, slope: float, residual: Tensor | None, out: Tensor, channel: int) -> None:
    x, bias, residual = aligned(x), _aligned(bias), _aligned(residual)  # names keep them alive until the launch
    run(bias_launch(x, bias, residual, out, channel, slope), x.device)


def _add_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide if bias is None else wide + bias.to(wide.dtype).view(1, -1, 1, 1)


def _aligned(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else aligned(tensor)


def _channels_last(y: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of its own, never an alias of an operator's input."""
    return y.to(dtype, copy=True, memory_format=torch.channels_last)


for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("lstm_gates", _lstm_gates, _device)
    _LIBRARY.impl("up2_into", _up2_into, _device)
    _LIBRARY.impl("bias_act_res", _bias_act_res, _device)
    _LIBRARY.impl("act_into", _act_into, _device)


@register_fake("vs_sr::lstm_gates", lib=_LIBRARY)
def _(gates, bias, cell):  # type: ignore[no-untyped-def]
    hidden = torch.empty_like(cell, dtype=gates.dtype, memory_format=torch.channels_last)
    return hidden, torch.empty_like(cell, memory_format=torch.channels_last)


@register_fake("vs_sr::bias_act_res", lib=_LIBRARY)
def _(x, bias, slope, residual):  # type: ignore[no-untyped-def]
    return torch.empty_like(x, memory_format=torch.channels_last)


@register_fake("vs_sr::up2_into", lib=_LIBRARY)
def _(x, out, channel, scale):  # type: ignore[no-untyped-def]
    return None


@register_fake("vs_sr::act_into", lib=_LIBRARY)
def _(x, bias, slope, residual, out, channel):  # type: ignore[no-untyped-def]
    return None
