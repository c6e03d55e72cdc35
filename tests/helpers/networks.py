"""Weights files of tiny networks, quick enough for any test."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vs_sr-test-weights-")


def tiny(channels: int = 8) -> ZoomingSlowMo:
    """A Zooming Slow-Mo of a few thousand parameters, the same each time, that is far from doing nothing.

    In the memory format that sessions use: a convolution's last bits depend on it.
    """
    generator = torch.Generator().manual_seed(7)
    net = ZoomingSlowMo(
        channels=channels, groups=channels // 4, front_blocks=1, back_blocks=1, hr_channels=channels, base="bicubic"
    )
    for name, parameter in net.named_parameters():
        bound = 0.05 if parameter.dim() == 1 else (3 / parameter[0].numel()) ** 0.5
        bound *= 0.1 if name == "conv_last.weight" else 1
        parameter.data.uniform_(-bound, bound, generator=generator)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def state(net: ZoomingSlowMo) -> dict[str, torch.Tensor]:
    """What goes into a file."""
    return {key: value.contiguous() for key, value in net.state_dict().items()}


@functools.cache
def tiny_weights(channels: int = 8) -> Path:
    """The file of :func:`tiny`."""
    path = Path(_folder().name) / f"tiny{channels}.safetensors"
    save_file(state(tiny(channels)), path, metadata={"architecture": "ZoomingSlowMo", "base": "bicubic"})
    return path


@functools.cache
def null_weights() -> Path:
    """A network whose output is its bicubic base: an independent oracle is at hand for that."""
    net = tiny()
    net.conv_last.weight.data.zero_()
    net.conv_last.bias.data.zero_()
    path = Path(_folder().name) / "null.safetensors"
    save_file(state(net), path, metadata={"architecture": "ZoomingSlowMo", "base": "bicubic"})
    return path
