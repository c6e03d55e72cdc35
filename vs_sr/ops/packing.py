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

CHANNELS = 64
"""Of the fused deformable convolution, in and out."""
GROUPS = 8
"""Its offset groups."""
TAPS = 9
"""Its kernel positions, 3x3."""
OFFSET_MASK = 3 * GROUPS * TAPS
"""Channels of offsets and mask together."""
PACKED = (TAPS, 2, 8, 32, 8)
"""Shape of one packed weight: tap, half of the groups, tile of output channels, lane, channel of the group."""


class DeformableWeights(NamedTuple):
    """A deformable convolution for :func:`vs_sr.ops.dcn_fused`, and the convolution that makes its offsets."""

    offset_weight: Tensor
    """(216, 64, 3, 3) of the offset convolution, output channels permuted by :func:`offset_mask_order`."""
    offset_bias: Tensor
    """(216,), the same."""
    weight: Tensor
    """(1, 9, 2, 8, 32, 8), see :func:`pack_dcn_weight`."""
    bias: Tensor
    """(1, 64), float32."""


def pack_deformable(weight: Tensor, bias: Tensor, offset_weight: Tensor, offset_bias: Tensor) -> DeformableWeights:
    """Pack the four parameters of a deformable convolution whose offsets come from a convolution.

    Args:
        weight: (64, 64, 3, 3).
        bias: (64,).
        offset_weight: (216, 64, 3, 3); output channels are, per group and tap, dy and dx, then per group
            and tap the mask's logit.
        offset_bias: (216,).

    Raises:
        ValueError: other shapes.
    """
    if offset_weight.shape[0] != OFFSET_MASK or offset_bias.shape != (OFFSET_MASK,):
        raise ValueError(f"pack_deformable: the offset convolution must make {OFFSET_MASK} channels")
    order = offset_mask_order(offset_weight.device)
    return DeformableWeights(
        offset_weight[order],
        offset_bias[order],
        pack_dcn_weight(weight)[None],
        bias.float()[None],
    )


def pack_dcn_weight(weight: Tensor) -> Tensor:
    """(64, 64, 3, 3) -> (9, 2, 8, 32, 8): 16 bytes (in half) per lane and tile, two fragments of the product.

    Output channel 32*(n//4) + 8*(lane//8) + 2*(n%4) + lane//4%2 of tile n, input channels 8*(lane%4 +
    4*half) + 0..7.

    Raises:
        ValueError: another shape.
    """
    if weight.shape != (CHANNELS, CHANNELS, 3, 3):
        raise ValueError(f"pack_dcn_weight: needs (64, 64, 3, 3), got {tuple(weight.shape)}")
    # output channel: tile's high bit, lane's row pair, tile's low bits, row's low bit; input: half, lane,
    # channel
    split = weight.reshape(2, 4, 4, 2, 2, 4, 8, TAPS)
    return split.permute(7, 4, 0, 2, 1, 3, 5, 6).reshape(PACKED).contiguous()


def unpack_dcn_weight(packed: Tensor) -> Tensor:
    """The inverse of :func:`pack_dcn_weight`."""
    split = packed.reshape(TAPS, 2, 2, 4, 4, 2, 4, 8)
    return split.permute(2, 4, 3, 5, 1, 6, 7, 0).reshape(CHANNELS, CHANNELS, 3, 3)


def offset_mask_order(device: torch.device | str = "cpu") -> Tensor:
    """(216,) int64: packed channel j of offsets and mask logits is channel order[j] of the published layout.

    Packed: per tap and lane q of four, dy and dx of group q and of group q + 4; then the logits likewise.
    """
    return _orders(str(device))[0]


def offset_mask_inverse(device: torch.device | str = "cpu") -> Tensor:
    """(216,) int64: channel j of the published layout is packed channel inverse[j]."""
    return _orders(str(device))[1]


@functools.lru_cache(maxsize=32)
def _orders(device: str) -> tuple[Tensor, Tensor]:
    offsets = torch.arange(2 * GROUPS * TAPS).view(2, 4, TAPS, 2).permute(2, 1, 0, 3)  # half, lane, tap, (y, x)
    masks = (2 * GROUPS * TAPS + torch.arange(GROUPS * TAPS)).view(2, 4, TAPS).permute(2, 1, 0)
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
