"""Devices: which one an argument means, in which precision it runs, and how much memory it has."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from typing import TYPE_CHECKING, Literal

from vs_sr import machine, nvidia, system, threads
from vs_sr.errors import DeviceError
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vs_sr.spec import Precision


class OutOfMemoryError(DeviceError):
    """The device has no memory for a step. Schedulers try again with smaller tiles where there can be any."""


def choose(device_id: int | None) -> str:
    """The device of an argument ``device_id``, as torch names it: None the first GPU or else the CPU, -1 the CPU.

    Raises:
        DeviceError: there is no such GPU.
    """
    names = [] if device_id == -1 else _cards()
    if device_id is None:
        log_once(f"running on {names[0] if names else f'the CPU: {_no_gpu()}'}")
    if device_id == -1 or (device_id is None and not names):
        if problem := threads.restless():
            log_once(problem, logging.WARNING)
        return "cpu"
    if device_id is None:
        return "cuda:0"
    if not 0 <= device_id < len(names):
        found = ", ".join(f"{i} ({name})" for i, name in enumerate(names)) or f"none ({_no_gpu()})"
        raise DeviceError(f"device_id={device_id}: no such CUDA device; found: {found}; device_id=-1 runs on the CPU")
    return f"cuda:{device_id}"


def _cards() -> list[str]:
    """The names of the GPUs that torch can use. Where there can be none it is not loaded to find that out."""
    if "torch" not in sys.modules and "rocm" not in importlib.metadata.version("torch") and not nvidia.driver():
        return []
    from vs_sr.runtime import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _no_gpu() -> str:
    """Why there is no GPU to run on."""
    if driver := nvidia.driver():
        return f"torch does not use the {driver.cards[0]} that is there; `vs-sr doctor` says what to install"
    if system.APPLE or "torch" in sys.modules:
        from vs_sr.runtime import torch

        if torch.backends.mps.is_available():
            return "no CUDA device was found, and Apple's GPUs (MPS) are not supported"
    return "no CUDA device was found"


def choose_precision(
    wish: Literal["auto"] | Precision, device: str, possible: Sequence[Precision], *, float_clip: bool
) -> Precision:
    """The precision of an argument ``precision``; "auto" is fp16 on CUDA, where that is possible, unless the clip is
    32-bit float."""
    if wish != "auto":
        return wish
    return "fp32" if device == "cpu" or float_clip or "fp16" not in possible else "fp16"


def converts(device: str) -> bool:
    """Whether YUV becomes RGB, and RGB YUV, on a device: where our kernels run, which are loaded here."""
    if device == "cpu":
        return False
    from vs_sr.ops import color
    from vs_sr.runtime import torch

    return color.ready(torch.device(device))


def memory(device: str) -> int:
    """Bytes that a device has, used or not: what is planned by it does not change from run to run.

    The CPU's are the container's where that has a limit.
    """
    if device == "cpu":
        return machine.memory()
    from vs_sr.runtime import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def describe(device: str) -> str:
    """What a device is, as far as it decides the last bits of a result."""
    from vs_sr.runtime import torch

    if device == "cpu":
        return f"CPU, {torch.backends.cpu.get_cpu_capability()}, {threads.count()} threads"
    return str(torch.cuda.get_device_name(device))


def out_of_memory(error: Exception) -> bool:
    """Whether an error of torch, or of a backend, says that there is no memory for a step."""
    from vs_sr.runtime import torch

    return isinstance(error, torch.OutOfMemoryError | OutOfMemoryError) or "can't allocate memory" in str(error)
