"""Which of this machine's devices run the CUDA kernels, and getting them ready."""

from __future__ import annotations

import hashlib
import importlib.metadata

import torch

from vs_sr.ops import _launch, _nvrtc, color, recurrent, sample, shuffle
from vs_sr.ops.fused import KERNELS as FUSED

KERNELS = (*FUSED, *sample.SAMPLE.values(), *recurrent.KERNELS, *shuffle.KERNELS, *color.KERNELS)
"""Every kernel in every variant that an operator may launch."""


def prepare(device: torch.device | str) -> bool:
    """Compile (once per machine) and load (once per process) the kernels; to be called before a CUDA graph
    is captured.

    Args:
        device: a CUDA device; for any other nothing is done.

    Returns:
        Whether the device runs the kernels; where it does not, the operators use torch, and the log says why.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return False
    _launch.prepare(device, KERNELS)
    return _launch.obstacle(device) is None


def obstacle(device: torch.device) -> str | None:
    """Why a device does not run the kernels; None where it does."""
    return _launch.obstacle(device)


def fused(device: torch.device) -> bool:
    """Whether a device has the instructions of ``dcn_fused``."""
    return all(_launch.usable(kernel, device) for kernel in FUSED)


def identity() -> str:
    """What decides the bits of the kernels: a hash of their sources, and who compiled them."""
    texts = [*{kernel.path: _nvrtc.source(kernel) for kernel in KERNELS}.values(), *_nvrtc.headers().values()]
    return f"{hashlib.sha256('\0'.join(texts).encode()).hexdigest()[:12]} by {_cupy()}"


def kernel_status() -> str:
    """One line per CUDA device: whether it runs the kernels, or why not."""
    if not torch.cuda.is_available():
        return "CUDA kernels: not used, there is no CUDA device"
    return "\n".join(_status(torch.device("cuda", i)) for i in range(torch.cuda.device_count()))


def _status(device: torch.device) -> str:
    name = f"CUDA kernels on {device} ({torch.cuda.get_device_name(device)})"
    if (reason := _launch.obstacle(device)) is not None:
        return f"{name}: not used, {reason}"
    major, minor = torch.cuda.get_device_capability(device)
    fused = "" if major >= 8 else "; the fused deformable convolution needs sm_80, sampling and cuBLAS instead"
    return f"{name}: sm_{major}{minor}, {_cupy()}, sources in {_nvrtc.source_folder()}{fused}"


def _cupy() -> str:
    """Name and version of the CuPy distribution, whichever CUDA it is built for."""
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and name.startswith("cupy"):
            return f"{name} {distribution.version}"
    return "CuPy"
