"""Layers as our kernels run them. Each takes the place of a plain layer and gives what it gives.

All but the products is done in one pass over memory after the product that it follows, and what is to be put
together is written side by side at once. Weights are packed when a form is made; biases stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional as F

from vs_sr import ops
from vs_sr.backends.kernels.lanes import OneLane
from vs_sr.models import layers
from vs_sr.models.zooming_slow_mo.network import ConvLSTMCell, DeformableConvLSTM
from vs_sr.ops import packing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vs_sr.backends.kernels.lanes import Lanes
    from vs_sr.models.zooming_slow_mo.network import EasyPCD


def exchanged(network: nn.Module, dtype: torch.dtype, *, fused: bool = True, lanes: Lanes | None = None) -> nn.Module:
    """The network with every layer that has a form exchanged for it, in place.

    Args:
        network: in float32, in host memory.
        dtype: of its features, and of all weights but the biases of forms.
        fused: whether deformable convolutions may be of one kernel, which not every device has.
        lanes: for what the hidden and the cell state go through; None: one after the other.
    """
    network = _exchange(network, _forms(dtype, fused=fused, lanes=lanes or OneLane()))
    for module in network.modules():
        if not isinstance(module, _Form):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)
    return network.to(memory_format=torch.channels_last)


type _Forms = Mapping[type[nn.Module], Callable[[Any], nn.Module | None]]
"""From a layer to its form; None where it has another shape than the kernels take."""


def _exchange(module: nn.Module, forms: _Forms) -> nn.Module:
    make = forms.get(type(module))  # and of no subclass, which does something else
    form = None if make is None else make(module)
    if form is not None:
        return form
    for name, child in module.named_children():
        module.add_module(name, _exchange(child, forms))
    return module


class _Form(nn.Module):
    """A layer with weights in one type, and its biases in float32."""

    weight: nn.Parameter
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        self.register_buffer("bias", bias.detach().float())


class _Placed(Protocol):
    """A form that can write its result among the channels of a wider tensor."""

    def into(self, out: Tensor, channel: int, *inputs: Tensor) -> None:
        """Write to ``out`` (B, C', H, W), from ``channel`` on."""


class Conv(_Form):
    """A convolution; bias and activation after it in one pass."""

    def __init__(self, layer: layers.Conv, dtype: torch.dtype) -> None:
        super().__init__(layer.weight, cast("Tensor", layer.bias), dtype)
        self.how = {"stride": layer.stride, "padding": layer.padding}
        self.slope = layer.slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.bias_act_res(self._product(x), self.bias, self.slope)

    def into(self, out: Tensor, channel: int, x: Tensor) -> None:
        ops.act_into(self._product(x), out, channel, bias=self.bias, slope=self.slope)

    def _product(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, **cast("Any", self.how))


class NearestConv(Conv):
    """To twice the size by repetition, and a convolution; bias and activation after it in one pass."""

    def __init__(self, layer: layers.NearestConv, dtype: torch.dtype) -> None:
        _Form.__init__(self, layer.doubling(), cast("Tensor", layer.bias), dtype)
        self.slope = layer.slope

    def _product(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=2, padding=1)


class ShuffleConv(_Form):
    """A convolution; bias, pixel shuffle and activation after it in one pass."""

    def __init__(self, layer: layers.ShuffleConv, dtype: torch.dtype) -> None:
        super().__init__(*packing.pack_shuffle(layer.weight, cast("Tensor", layer.bias)), dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.shuffle2(F.conv2d(x, self.weight, padding=1), self.bias, layers.LEAK)


class ResidualBlock(nn.Module):
    """Two convolutions; activation and residual with their biases."""

    def __init__(self, block: layers.ResidualBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1 = Conv(block.conv1, dtype)
        self.conv2 = Conv(block.conv2, dtype)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv1, self.conv2
        y = ops.bias_act_res(first._product(x), first.bias, 0.0)
        return ops.bias_act_res(second._product(y), second.bias, 1.0, x)


class FusedDeformableConv(_Form):
    """Sampling, mask, product, bias and activation in one kernel: 32 or 64 channels in groups of 8."""

    def __init__(self, layer: layers.DeformableConv, dtype: torch.dtype) -> None:
        offsets = layer.offset_conv
        packed = packing.pack_deformable(layer.weight, layer.bias, offsets.weight, cast("Tensor", offsets.bias))
        super().__init__(packed.weight, packed.bias, dtype)
        self.offset_weight = nn.Parameter(packed.offset_weight.detach().to(dtype), requires_grad=False)
        self.offset_bias = nn.Parameter(packed.offset_bias.detach().to(dtype), requires_grad=False)
        self.slope = layer.slope

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        return ops.dcn_fused(x, self._offsets(feature), self.weight, self.bias, self.slope)

    def into(self, out: Tensor, channel: int, x: Tensor, feature: Tensor) -> None:
        ops.dcn_fused_into(x, self._offsets(feature), self.weight, self.bias, out, channel, slope=self.slope)

    def _offsets(self, feature: Tensor) -> Tensor:
        return F.conv2d(feature, self.offset_weight, self.offset_bias, padding=1)


class SampledDeformableConv(_Form):
    """Samples of any shape by a kernel, and a matrix product."""

    def __init__(self, layer: layers.DeformableConv, dtype: torch.dtype) -> None:
        super().__init__(layer.weight, layer.bias, dtype)
        offsets = layer.offset_conv
        self.offset_weight = nn.Parameter(offsets.weight.detach().to(dtype), requires_grad=False)
        self.offset_bias = nn.Parameter(cast("Tensor", offsets.bias).detach().to(dtype), requires_grad=False)
        self.groups = layer.groups
        self.slope = layer.slope

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        return ops.bias_act_res(self._product(x, feature), self.bias, self.slope)

    def into(self, out: Tensor, channel: int, x: Tensor, feature: Tensor) -> None:
        ops.act_into(self._product(x, feature), out, channel, bias=self.bias, slope=self.slope)

    def _product(self, x: Tensor, feature: Tensor) -> Tensor:
        om = F.conv2d(feature, self.offset_weight, self.offset_bias, padding=1)
        return ops.sample_matmul(x, om, self.weight, groups=self.groups, padding=(1, 1))


class Align(nn.Module):
    """The alignment from coarse to fine: what is joined before a convolution is written into one tensor."""

    def forward(self, source: layers.Pyramid, target: layers.Pyramid, levels: Sequence[layers.Level]) -> Tensor:
        out = torch.empty_like(source.l1, memory_format=torch.channels_last)
        self._write(out, 0, source, target, levels)
        return out

    def both(self, first: layers.Pyramid, second: layers.Pyramid, *levels: Sequence[layers.Level]) -> Tensor:
        out = _twice(first.l1)
        self._write(out, 0, first, second, levels[0])
        self._write(out, first.l1.shape[1], second, first, levels[1])
        return out

    def _write(
        self,
        out: Tensor,
        channel: int,
        source: layers.Pyramid,
        target: layers.Pyramid,
        levels: Sequence[layers.Level],
    ) -> None:
        offset: Tensor | None = None
        feature: Tensor | None = None
        for level, a, b in zip(levels, reversed(source), reversed(target), strict=True):
            first, second, *rest = level.offset
            channels = a.shape[1]
            both = _twice(a)
            ops.act_into(a, both)
            ops.act_into(b, both, channels)
            if offset is None:
                found = first(both)
            else:
                found = _twice(a)
                _write(first, found, 0, both)
                ops.up2_into(offset, found, channels, 2.0)
            found = second(found)
            for layer in rest:
                found = layer(found)
            offset = found
            last: nn.Module = level.deform
            inputs: tuple[Tensor, ...] = (a, found)
            if feature is not None and level.fuse is not None:
                joined = _twice(a)
                _write(last, joined, 0, *inputs)
                ops.up2_into(feature, joined, channels)
                last, inputs = level.fuse, (joined,)
            if level is levels[-1]:
                _write(last, out, channel, *inputs)
            else:
                feature = last(*inputs)


def _twice(x: Tensor) -> Tensor:
    """Room for x (B, C, H, W) and as much again: (B, 2C, H, W), channels_last."""
    batch, channels, height, width = x.shape
    return x.new_empty((batch, height, width, 2 * channels)).permute(0, 3, 1, 2)


def _write(layer: nn.Module, out: Tensor, channel: int, *inputs: Tensor) -> None:
    """Write a layer's result among the channels of ``out``."""
    if hasattr(layer, "into"):
        cast("_Placed", layer).into(out, channel, *inputs)
    else:
        result = layer(*inputs)
        out[:, channel : channel + result.shape[1]] = result


class LSTMCell(_Form):
    """The gates' convolution, and all that follows it in one pass.

    The cell state is computed in float32 and stored in half: the next step's alignment, a convolution, would round
    it at once, to the same bits.
    """

    def __init__(self, cell: ConvLSTMCell, dtype: torch.dtype) -> None:
        super().__init__(cell.conv.weight, cast("Tensor", cell.conv.bias), dtype)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        both = _twice(x)
        ops.act_into(x, both)
        ops.act_into(h, both, x.shape[1])
        return ops.lstm_gates(F.conv2d(both, self.weight, padding=1), c, self.bias)


class DeformableLSTM(nn.Module):
    """One layer of the recurrence; what is for the hidden state runs beside what is for the cell state."""

    def __init__(self, pcd_h: EasyPCD, pcd_c: EasyPCD, cell: nn.Module, lanes: Lanes) -> None:
        super().__init__()
        self.pcd_h, self.pcd_c, self.cell = pcd_h, pcd_c, cell
        self._lanes = lanes

    def pyramids(self, x: Tensor) -> tuple[layers.Pyramid, layers.Pyramid]:
        with self._lanes.beside():
            for_c = self.pcd_c.pyramid(x)
        for_h = self.pcd_h.pyramid(x)
        self._lanes.join()
        return for_h, for_c

    def step(self, frame: tuple[layers.Pyramid, layers.Pyramid], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        for_h, for_c = frame
        with self._lanes.beside():
            c = self.pcd_c(for_c, c)
        h = self.pcd_h(for_h, h)
        self._lanes.join()
        made: tuple[Tensor, Tensor] = self.cell(for_h.l1, h, c)
        return made


def _forms(dtype: torch.dtype, *, fused: bool, lanes: Lanes) -> _Forms:
    def conv(layer: layers.Conv) -> nn.Module | None:
        return Conv(layer, dtype) if layer.bias is not None and layer.out_channels % 8 == 0 else None

    def nearest(layer: layers.NearestConv) -> nn.Module | None:
        return NearestConv(layer, dtype) if layer.step == 2 and layer.out_channels % 8 == 0 else None

    def shuffle(layer: layers.ShuffleConv) -> nn.Module | None:
        return ShuffleConv(layer, dtype) if layer.factor == 2 and layer.out_channels % 32 == 0 else None

    def block(layer: layers.ResidualBlock) -> nn.Module | None:
        return ResidualBlock(layer, dtype) if layer.conv1.out_channels % 8 == 0 else None

    def deform(layer: layers.DeformableConv) -> nn.Module:
        channels = layer.weight.shape[0]
        fits = fused and channels in packing.WIDTHS and channels == 8 * layer.groups
        return FusedDeformableConv(layer, dtype) if fits else SampledDeformableConv(layer, dtype)

    def recurrence(layer: DeformableConvLSTM) -> nn.Module:
        pcd_h, pcd_c, cell = (_exchange(part, forms) for part in (layer.pcd_h, layer.pcd_c, layer.cell_list[0]))
        return DeformableLSTM(cast("EasyPCD", pcd_h), cast("EasyPCD", pcd_c), cell, lanes)

    forms: _Forms = {
        layers.Conv: conv,
        layers.NearestConv: nearest,
        layers.ShuffleConv: shuffle,
        layers.ResidualBlock: block,
        layers.DeformableConv: deform,
        layers.Align: lambda layer: Align(),
        ConvLSTMCell: lambda layer: LSTMCell(layer, dtype),
        DeformableConvLSTM: recurrence,
    }
    return forms
