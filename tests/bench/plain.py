"""The network's exact rewrites, each with the form before it, so that both are measured in one run."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from torch.nn import functional as F
from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

from vs_sr.models import layers
from vs_sr.models.layers import Pyramid, ResidualBlock
from vs_sr.models.zooming_slow_mo import network
from vs_sr.ops import deform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


def _by_grid_sample(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int
) -> Tensor:
    return deform.forward(x, offset, mask, weight, bias, (1, 1), (padding, padding), (1, 1))


def _by_torchvision(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int
) -> Tensor:
    return torchvision_deform_conv2d(x, offset, weight, bias, padding=padding, mask=mask)


def _activated(x: Tensor, slope: float) -> Tensor:
    return x if slope == 1 else F.leaky_relu(x, slope)


def _residual(self: ResidualBlock, x: Tensor) -> Tensor:
    return x + self.conv2(F.relu(self.conv1(x)))


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _no_pyramids(self: network.DeformableConvLSTM, x: Tensor) -> tuple[Pyramid, Pyramid]:
    return Pyramid(x, x, x), Pyramid(x, x, x)  # only the feature itself is used


def _step(
    self: network.DeformableConvLSTM, frame: tuple[Pyramid, Pyramid], h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    x = frame[0].l1
    h, c = self.cell_list[0](x, self.pcd_h(self.pcd_h.pyramid(x), h), self.pcd_c(self.pcd_c.pyramid(x), c))
    return h, c


type _Patch = tuple[Any, str, Any]

REWRITES: dict[str, tuple[_Patch, ...]] = {
    "pyramids of the frames once for both directions": (
        (network.DeformableConvLSTM, "pyramids", _no_pyramids),
        (network.DeformableConvLSTM, "step", _step),
    ),
    "samples as sums of table rows": ((layers, "deform_conv2d", _by_grid_sample),),
    "activations and residuals in place": (
        (layers, "activated", _activated),
        (ResidualBlock, "forward", _residual),
    ),
    "channels_last parts before sigmoid and tanh": (
        (network, "channels_last", _as_it_is),
        (layers, "channels_last", _as_it_is),
    ),
}
"""What was done, and what stood there before."""


@contextmanager
def without(rewrite: str) -> Iterator[None]:
    """Zooming Slow-Mo with the form before one rewrite."""
    with ExitStack() as stack:
        for target, name, before in REWRITES[rewrite]:
            stack.enter_context(patch.object(target, name, before))
        yield


@contextmanager
def plain() -> Iterator[None]:
    """Zooming Slow-Mo in its plain form: without any rewrite, and with torchvision's operator."""
    with ExitStack() as stack:
        for rewrite in REWRITES:
            stack.enter_context(without(rewrite))
        stack.enter_context(patch.object(layers, "deform_conv2d", _by_torchvision))
        yield
