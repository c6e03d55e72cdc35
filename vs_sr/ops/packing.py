"""Weights in the order that the kernels want them: permuted once when they are loaded, never again.

A convolution whose output a kernel reads gets its output channels permuted, so that the kernel finds
together what it needs together. The operators' torch references take the same packed weights.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (32, 64)
"""Channels, in and out, that the fused deformable convolution is made for; its offset groups have 8 each."""
TAPS = 9
"""Its kernel positions, 3x3."""


class DeformableWeights(NamedTuple):
    """A deformable convolution for :func:`vs_sr.ops.dcn_fused`, and the convolution that makes its offsets."""

    offset_weight: Tensor
    """(OM, C, 3, 3) of the offset convolution, output channels permuted by :func:`offset_mask_order`."""
    offset_bias: Tensor
    """(OM,), the same."""
    weight: Tensor
    """(1, 9, C/32, C/8, 32, 8), see :func:`pack_dcn_weight`."""
    bias: Tensor
    """(1, C), float32."""


def offset_mask_channels(channels: int) -> int:
    """OM, the channels of offsets and mask logits for C channels: 3 * C/8 * 9, and as many more, which nobody reads,
    as make it a multiple of 8, which tensor cores ask for."""
    return -(-3 * (channels // 8) * TAPS // 8) * 8


def packed_shape(channels: int) -> tuple[int, ...]:
    """Of one packed weight: tap, half of the groups, tile of output channels, lane, channel of the group."""
    return TAPS, channels // 32, channels // 8, 32, 8


def pack_deformable(weight: Tensor, bias: Tensor, offset_weight: Tensor, offset_bias: Tensor) -> DeformableWeights:
    """Pack the four parameters of a deformable convolution whose offsets come from a convolution.

    Args:
        weight: (C, C, 3, 3), C one of :data:`WIDTHS`.
        bias: (C,).
        offset_weight: (27*C/8, C, 3, 3); output channels are, per group and tap, dy and dx, then per group
            and tap the mask's logit.
        offset_bias: (27*C/8,).

    Raises:
        ValueError: other shapes.
    """
    packed = pack_dcn_weight(weight)[None]
    channels = weight.shape[0]
    wanted = 3 * (channels // 8) * TAPS
    if offset_weight.shape[0] != wanted or offset_bias.shape != (wanted,):
        raise ValueError(f"pack_deformable: the offset convolution must make {wanted} channels")
    order = offset_mask_order(channels, offset_weight.device)
    rest = offset_mask_channels(channels) - wanted
    return DeformableWeights(
        torch.cat([offset_weight[order], offset_weight.new_zeros((rest, *offset_weight.shape[1:]))]),
        torch.cat([offset_bias[order], offset_bias.new_zeros(rest)]),
        packed,
        bias.float()[None],
    )


def pack_dcn_weight(weight: Tensor) -> Tensor:
    """(C, C, 3, 3) -> (9, C/32, C/8, 32, 8): 16 bytes (in half) per lane and tile, two fragments of the product.

    Output channel 32*(n//4) + 8*(lane//8) + 2*(n%4) + lane//4%2 of tile n, input channels 8*(lane%4 +
    4*half) + 0..7.

    Raises:
        ValueError: another shape, or C not in :data:`WIDTHS`.
    """
    channels = weight.shape[0]
    if channels not in WIDTHS or weight.shape != (channels, channels, 3, 3):
        choices = " or ".join(f"({c}, {c}, 3, 3)" for c in WIDTHS)
        raise ValueError(f"pack_dcn_weight: needs {choices}, got {tuple(weight.shape)}")
    # output channel: tile's high bit, lane's row pair, tile's low bits, row's low bit; input: half, lane,
    # channel
    halves = channels // 32
    split = weight.reshape(halves, 4, 4, 2, halves, 4, 8, TAPS)
    return split.permute(7, 4, 0, 2, 1, 3, 5, 6).reshape(packed_shape(channels)).contiguous()


def unpack_dcn_weight(packed: Tensor) -> Tensor:
    """The inverse of :func:`pack_dcn_weight`."""
    halves = packed.shape[1]
    split = packed.reshape(TAPS, halves, halves, 4, 4, 2, 4, 8)
    return split.permute(2, 4, 3, 5, 1, 6, 7, 0).reshape(32 * halves, 32 * halves, 3, 3)


def offset_mask_order(channels: int, device: torch.device | str = "cpu") -> Tensor:
    """(27*C/8,) int64: packed channel j of offsets and mask logits is channel order[j] of the published layout.

    Packed: per tap and lane q of four, dy and dx of group q, and of group q + 4 where there is one; then the logits
    likewise.
    """
    return _orders(channels, str(device))[0]


def offset_mask_inverse(channels: int, device: torch.device | str = "cpu") -> Tensor:
    """(27*C/8,) int64: channel j of the published layout is packed channel inverse[j]."""
    return _orders(channels, str(device))[1]


@functools.lru_cache(maxsize=32)
def _orders(channels: int, device: str) -> tuple[Tensor, Tensor]:
    halves, count = channels // 32, channels // 8 * TAPS
    offsets = torch.arange(2 * count).view(halves, 4, TAPS, 2).permute(2, 1, 0, 3)  # half, lane, tap, (y, x)
    masks = (2 * count + torch.arange(count)).view(halves, 4, TAPS).permute(2, 1, 0)
    order = torch.cat([offsets.flatten(), masks.flatten()])
    return order.to(device), torch.argsort(order).to(device)


def shuffle_order(channels: int) -> Tensor:
    """(4*channels,) int64: channel (2*dy + dx)*channels + c for shuffle2 is channel 4*c + 2*dy + dx of
    pixel shuffle."""
    return torch.arange(4 * channels).view(channels, 4).t().flatten()


def pack_shuffle(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Permute a convolution before a pixel shuffle for :func:`vs_sr.ops.shuffle2`.

    Args:
        weight: (4*C, ...), in the order of :func:`torch.nn.functional.pixel_shuffle`.
        bias: (4*C,).

    Returns:
        The weight, for a convolution without bias, and the bias in float32, for the kernel.

    Raises:
        ValueError: the number of output channels is no multiple of 4.
    """
    if weight.shape[0] % 4 or bias.shape != weight.shape[:1]:
        raise ValueError(f"pack_shuffle: needs 4*C output channels, got {tuple(weight.shape)}")
    order = shuffle_order(weight.shape[0] // 4).to(weight.device)
    return weight[order], bias[order].float()
