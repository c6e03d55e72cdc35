"""NVIDIA's driver, asked without torch: whether a machine has cards, and which versions of CUDA and CuPy fit.

torch cannot tell: a build of it without CUDA, as pip installs on Windows, sees no card and knows no driver.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from vs_sr import system

_CUPY = {13: "cupy-cuda13x", 12: "cupy-cuda12x"}
"""CuPy's packages by the major version of CUDA that they are built for; each needs a driver that runs it."""
_DRIVERS = {13: "580", 12: "525"}
"""The first driver that runs a major version of CUDA."""


@dataclass(frozen=True)
class Driver:
    """A driver that works, and what it drives."""

    version: str
    """Its own: "580.65.06"."""
    cuda: tuple[int, int]
    """The newest CUDA that it runs; it runs every older one, too."""
    cards: tuple[str, ...]
    """Names of the cards, at least one."""

    def __str__(self) -> str:
        return f"{', '.join(self.cards)} (driver {self.version}, for CUDA {_text(self.cuda)} and older)"


def driver(library: str = system.NVIDIA) -> Driver | None:
    """The driver of this machine; None where there is none, or no card.

    Args:
        library: the driver's own, for tests.
    """
    try:
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2():
            return None
    except (OSError, AttributeError):
        return None
    try:
        count, cuda = ctypes.c_uint(), ctypes.c_int()
        version = ctypes.create_string_buffer(96)
        failed = (
            nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
            or nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
            or nvml.nvmlSystemGetDriverVersion(version, ctypes.c_uint(len(version)))
        )
        if failed or not count.value:
            return None
        cards = tuple(_name(nvml, number) for number in range(count.value))
        return Driver(_decoded(version.value), (cuda.value // 1000, cuda.value % 1000 // 10), cards)
    except AttributeError:  # a driver so old that it lacks one of these
        return None
    finally:
        nvml.nvmlShutdown()


def idle(found: Driver, python: str, built: str | None) -> str:
    """Why torch does not use cards that are there, and what to do.

    Args:
        found: the driver.
        python: the interpreter's path, for the command.
        built: CUDA version that torch is built for; None: none.
    """
    command = (
        f'pip install uv, then uv pip install --python "{python}" --torch-backend auto --reinstall-package torch torch'
    )
    if built is None:
        return f"{found} is not used: this torch is built without CUDA. Install one that has it: {command}"
    major = int(built.partition(".")[0])
    if major > found.cuda[0]:
        first = _DRIVERS.get(major)
        newer = f"driver {first} or newer" if first else "a newer driver"
        return f"{found} is not used: torch is built for CUDA {built}. Install {newer}, or another torch: {command}"
    return f"{found} is not used: torch (built for CUDA {built}) finds no device; is CUDA_VISIBLE_DEVICES set?"


def cupy(found: Driver, built: str | None, installed: str | None) -> str | None:
    """What to do for the CuPy that fits; None: nothing.

    Args:
        found: the driver.
        built: CUDA version that torch is built for: CuPy shares its libraries.
        installed: name of the CuPy package that is there.
    """
    major = int(built.partition(".")[0]) if built else 0
    package = _CUPY.get(major)
    if package is None or major > found.cuda[0] or installed == package:
        return None
    if installed is None:
        return f"CuPy is not installed, and our CUDA kernels need it: pip install {package}"
    return f"{installed} does not fit torch's CUDA {built}: pip uninstall -y {installed} && pip install {package}"


def _name(nvml: ctypes.CDLL, number: int) -> str:
    handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    failed = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)) or nvml.nvmlDeviceGetName(
        handle, name, ctypes.c_uint(len(name))
    )
    return "a card" if failed else _decoded(name.value)


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
