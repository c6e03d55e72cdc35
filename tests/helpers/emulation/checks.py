"""What the tests of emulated kernels share: inputs, errors, and faults planted in a kernel's text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from helpers.emulation.emulator import EmulationError, Emulator
from vs_sr.ops import _nvrtc

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from vs_sr.ops._launch import Launch

HALF = 5e-4
"""Largest relative L2 error of a kernel in half precision; rounding its output alone makes 2e-4."""
FLOAT = 1e-6
"""The same in float."""


def error(actual: Tensor, expected: Tensor) -> float:
    """Relative L2; infinite where it is not a number."""
    value = float((actual.double() - expected).norm() / expected.norm().clamp_min(1e-30))
    return value if value == value else float("inf")


def normal(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float16) -> Tensor:
    """Normal numbers, channels_last where there are four dimensions."""
    tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul_(scale).to(dtype)
    return channels_last(tensor) if len(shape) == 4 else tensor


def channels_last(tensor: Tensor) -> Tensor:
    """Dense, with the strides of NHWC even where torch would accept others (sizes of 1)."""
    return tensor.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def output(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    """The model of an output (B, C, H, W), channels_last."""
    return channels_last(torch.zeros(shape, dtype=dtype))


def mutant(kernel: _nvrtc.Kernel, old: str, new: str) -> str:
    text = _nvrtc.source(kernel)
    assert text.count(old) == 1, f"{kernel.path}: {old!r} occurs {text.count(old)} times"
    return text.replace(old, new)


def seen(run: Callable[[], float]) -> str:
    """How a fault shows: the message of a failed launch, or the error of its result; "" where it does not."""
    try:
        value = run()
    except EmulationError as fault:
        return str(fault)
    except AssertionError as difference:
        return str(difference)
    return f"error {value:.1e}" if value > HALF else ""


class Mutated(Emulator):
    """An emulator that runs another text in place of the shipped one."""

    def __init__(self, emulator: Emulator, text: str) -> None:
        super().__init__(emulator.folder)
        self.text = text

    def run(self, launch: Launch, order: str = "forward", *, seed: int = 0, text: str | None = None) -> None:
        super().run(launch, order, seed=seed, text=self.text)
