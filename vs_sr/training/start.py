"""What a network is before its first step, by the name that a recipe gives it.

- "torch": what its layers come with;
- "he": every convolution normal with deviation sqrt(2 / (k k outputs)), biases zero: VDSR (He et al., ICCV 2015);
- "small": a tenth of He's uniform form with slope 0, biases zero: ESRGAN's residual blocks;
- "single-image": Zooming Slow-Mo as a network that looks at one frame, see :func:`single_image`;
- "unaligned": the same without random weights in what aligns, so that it is what ``stage.unaligned`` trains, and a
  still film stays still.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from vs_sr.errors import ArgumentError
from vs_sr.models.layers import DeformableConv
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

if TYPE_CHECKING:
    from torch import Tensor


def initialize(network: nn.Module, name: str) -> None:
    """Initialize ``network`` in place; random numbers are torch's.

    Raises:
        ArgumentError: "single-image" of another network.
    """
    match name:
        case "he":
            for conv in _convolutions(network):
                nn.init.normal_(conv.weight, std=math.sqrt(2 / (conv.kernel_size[0] ** 2 * conv.out_channels)))
        case "small":
            for conv in _convolutions(network):
                nn.init.kaiming_normal_(conv.weight)
                conv.weight.data.mul_(0.1)
        case "single-image" | "unaligned":
            if not isinstance(network, ZoomingSlowMo):
                raise ArgumentError(f"network.initialization={name!r} is for ZoomingSlowMo alone; choose 'torch'")
            single_image(network, in_alignment=0.1 if name == "single-image" else 0.0)


def _convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Its convolutions, their biases set to zero."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for conv in found:
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    return found


def single_image(net: ZoomingSlowMo, in_alignment: float = 0.1) -> None:
    """Initialize ``net`` as a single-image network that looks no further, plus small random weights: a share
    ``in_alignment`` of what they would be elsewhere in alignment and its fusion.

    An interpolated frame starts as the mean of its neighbors' features, alignment as the identity, and the
    recurrence hands its input through. So what the first, cheap part of the training learns without
    alignment and recurrence is worth something from the first step of the second.
    """
    for name, module in net.named_modules():
        if isinstance(module, DeformableConv):
            nn.init.kaiming_normal_(module.weight, a=0.1)  # offsets keep their zeros: a plain 3x3
        elif isinstance(module, nn.Conv2d) and not name.endswith("conv_offset_mask"):
            # torch's default shrinks features by half in each layer; 40 layers of that learn nothing for long.
            nn.init.kaiming_normal_(module.weight, a=0.1)
            module.bias.data.zero_()  # type: ignore[union-attr]
            if name.endswith("conv2") and ("recon_trunk" in name or "feature_extraction" in name):
                module.weight.data.mul_(0.1)  # residual branches start small
    nn.init.zeros_(net.conv_last.weight)  # the base alone
    for upconv in (net.upconv1, net.upconv2):
        # The four sub-pixels of a pixel shuffle start equal (ICNR, Aitken et al. 2017): no checkerboard.
        upconv.weight.data.copy_(upconv.weight.data[::4].repeat_interleave(4, 0))

    lstm = net.ConvBLSTM.forward_net
    for align in (net.pcd_align, lstm.pcd_h.pcd_align, lstm.pcd_c.pcd_align):
        for side in (1, 2):
            # twice the identity, since the mask starts at a half
            near_identity(align.get_parameter(f"L1_dcnpack_{side}.weight"), (2.0,), in_alignment)
            near_identity(align.get_parameter(f"L1_fea_conv_{side}.weight"), (1.0, 0.0), in_alignment)
    near_identity(net.fusion.weight, (0.5, 0.5), in_alignment)  # the neighbors' mean
    for pcd in (lstm.pcd_h, lstm.pcd_c):
        near_identity(pcd.fusion.weight, (0.0, 1.0), in_alignment)  # the state, not the frame
    # tanh is nearly linear at a quarter of the features' size; conv_1x1 undoes the quarter and the gates.
    weight, bias = lstm.get_parameter("cell_list.0.conv.weight"), lstm.get_parameter("cell_list.0.conv.bias")
    i, f, o, g = weight.data.chunk(4)
    for gate in (i, f, o):
        gate.mul_(0.1)
    near_identity(g, (0.25, 0.0))
    opened = 2.0  # gates i and o start open, the forget gate nearly closed
    bias.data.copy_(torch.tensor([opened, -opened, opened, 0.0]).repeat_interleave(len(bias) // 4))
    passed = 2 * 0.25 * torch.sigmoid(torch.tensor(opened)).item() ** 2
    near_identity(net.ConvBLSTM.conv_1x1.weight, (1 / passed, 1 / passed))


def near_identity(weight: Tensor, gains: tuple[float, ...], share: float = 0.1) -> None:
    """A ``share`` of the weights (O, len(gains) * O, k, k) as they are, plus ``gains`` times each input half."""
    with torch.no_grad():
        weight.mul_(share)
        middle = weight.shape[-1] // 2
        for part, gain in zip(weight.chunk(len(gains), 1), gains, strict=True):
            part[:, :, middle, middle] += gain * torch.eye(weight.shape[0], device=weight.device)
