"""Runs a :class:`vs_sr.ops._launch.Launch` on the CPU: g++ builds the kernel's own source under
``cpuemu.h``."""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from vs_sr.ops import _nvrtc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vs_sr.ops._launch import Launch
    from vs_sr.ops._nvrtc import Kernel

HERE = Path(__file__).parent
ORDERS = ("forward", "reversed", "shuffled", "greedy")
"""In which the threads of a block run; in the last, a warp runs until it can only wait."""

_FLAGS = (
    *("-std=c++20", "-O3", "-fPIC", "-shared", "-pthread", "-march=native"),
    "-fno-strict-aliasing",  # CUDA code reads an unsigned as two halves
    "-ffp-contract=off",
    *("-fvisibility=hidden", "-fno-gnu-unique"),  # many kernels in one process, each with its own variables
    *("-Wall", "-Wextra", "-Wno-unknown-pragmas"),
)
_PAGE = mmap.PAGESIZE


class EmulationError(AssertionError):
    """A kernel did what it must not: a fault, a misaligned access, a barrier that not all threads reach."""


class Emulator:
    """Builds kernels into a folder, once each, and runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.threads = os.cpu_count() or 1
        self._libraries: dict[str, ctypes.CDLL] = {}

    def run(
        self,
        launch: Launch,
        order: str = "forward",
        *,
        seed: int = 0,
        text: str | None = None,
    ) -> None:
        """Run a launch; its pointers are those of CPU tensors.

        Args:
            launch: what would go to the GPU.
            order: one of :data:`ORDERS`.
            seed: of the shuffled order, and of the warp that a greedy round begins with.
            text: the kernel's source, where it is not the shipped one.

        Raises:
            EmulationError: see there.
            TypeError: an argument is not of the parameter's type.
        """
        library = self.library(launch.kernel, text)
        values = _arguments(launch, library.emu_signature().decode())
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        error = ctypes.create_string_buffer(300)
        library.emu_launch(
            (ctypes.c_uint * 3)(*launch.grid),
            (ctypes.c_uint * 3)(*launch.block),
            launch.shared,
            ORDERS.index(order),
            seed,
            self.threads,
            pointers,
            error,
        )
        if error.value:
            raise EmulationError(f"{launch.kernel.label}, {order}: {error.value.decode()}")

    def library(self, kernel: Kernel, text: str | None = None) -> ctypes.CDLL:
        """The kernel as a shared library."""
        source = _nvrtc.source(kernel) if text is None else text
        own = sorted(file for file in HERE.iterdir() if file.suffix in (".h", ".cpp"))
        parts = [source, *_nvrtc.headers().values(), repr(kernel), *(file.read_text(encoding="utf-8") for file in own)]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        if key not in self._libraries:
            path = self.folder / f"{kernel.name}-{key}.cu"
            path.write_text(source, encoding="utf-8")
            target = path.with_suffix(".so")
            macros = (*kernel.macros, ("VS_KERNEL", kernel.name), ("VS_KERNEL_FILE", f'"{path}"'))
            command = [
                *(
                    "g++",
                    *_FLAGS,
                    *(["-Werror"] if text is None else []),
                    *(f"-D{name}={value}" for name, value in macros),
                ),
                *(f"-I{HERE}", f"-I{_nvrtc.source_folder()}", "-o", str(target), str(HERE / "driver.cpp")),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{kernel.label}: g++ refuses it\n{done.stderr[:4000]}")
            library = ctypes.CDLL(str(target))
            library.emu_signature.restype = ctypes.c_char_p
            library.emu_launch.restype = None
            self._libraries[key] = library
        return self._libraries[key]


@functools.cache
def shared() -> Emulator:
    """The emulator of this process; what it builds goes when the process ends. Skips the test without g++."""
    if shutil.which("g++") is None:
        pytest.skip("the emulation needs g++")
    folder = tempfile.mkdtemp(prefix="vs_sr-emulation-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Emulator(Path(folder))


def _arguments(launch: Launch, signature: str) -> list[ctypes.Array[ctypes.c_char]]:
    """The bytes of every argument, checked against the kernel's parameters as the driver does not."""
    kinds = []
    values = []
    for argument in launch.args:
        if isinstance(argument, np.int32):
            kind, content = "i", argument.tobytes()
        elif isinstance(argument, np.float32):
            kind, content = "f", argument.tobytes()
        elif isinstance(argument, np.ndarray) and argument.size == 1 and argument.dtype.fields:
            kind, content = f"({argument.dtype.itemsize})", argument.tobytes()
        elif type(argument) is int:
            kind, content = "p", np.uint64(argument).tobytes()
        else:
            raise TypeError(f"{launch.kernel.label}: {argument!r} is no argument of a kernel")
        kinds.append(kind)
        values.append(ctypes.create_string_buffer(content, len(content)))
    if "".join(kinds) != signature:
        raise TypeError(f"{launch.kernel.label} takes {signature}, but is launched with {''.join(kinds)}")
    return values


# Memory that ends at a page which may not be touched


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


def _guarded_bytes(count: int, *, at_end: bool, align: int) -> Tensor:
    """``count`` bytes of 0xFF that begin behind a guard page, or end before one."""
    inner = -(-count // _PAGE) * _PAGE
    base = _libc().mmap(
        None,
        inner + 2 * _PAGE,
        mmap.PROT_READ | mmap.PROT_WRITE,
        mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
        -1,
        0,
    )
    for guard in (base, base + _PAGE + inner):
        _libc().mprotect(guard, _PAGE, 0)
    start = base + _PAGE + ((inner - count) // align * align if at_end else 0)
    memory = (ctypes.c_ubyte * count).from_address(start)
    weakref.finalize(memory, _libc().munmap, base, inner + 2 * _PAGE)
    ctypes.memset(start, 0xFF, count)
    return torch.frombuffer(memory, dtype=torch.uint8)


def empty_like(tensor: Tensor, *, at_end: bool = True, align: int = 16) -> Tensor:
    """A tensor of the same shape, type and strides, poisoned (NaN), in guarded memory."""
    count = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    memory = _guarded_bytes(count * tensor.element_size(), at_end=at_end, align=align)
    return memory.view(tensor.dtype).as_strided(tensor.shape, tensor.stride())


def guarded(tensor: Tensor, *, at_end: bool = True, align: int = 16) -> Tensor:
    """A copy in guarded memory, with the same strides.

    Args:
        tensor: dense, in any order of its dimensions.
        at_end: before the guard page, so that reading past the end is seen; else behind one.
        align: of the first element, in bytes; where the size is no multiple of it, as many bytes of slack
            remain.
    """
    copy = empty_like(tensor, at_end=at_end, align=align)
    copy.copy_(tensor)
    return copy


def run_all_orders(
    emulator: Emulator,
    build: Callable[..., Launch],
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
) -> list[Tensor]:
    """Run ``build(*inputs, *outputs)`` in every order, in guarded memory, and require the same bits each
    time.

    Args:
        emulator: what runs it.
        build: makes the launch.
        inputs: its first arguments; None is passed on.
        outputs: models of the outputs: shape, type and strides count.

    Returns:
        The outputs.
    """
    results: list[list[Tensor]] = []
    for seed, order in enumerate(ORDERS):
        at_end = seed % 2 == 0
        given = [t if t is None else guarded(t, at_end=at_end, align=_align(t)) for t in inputs]
        made = [empty_like(t, at_end=at_end, align=_align(t)) for t in outputs]
        emulator.run(build(*given, *made), order, seed=seed)
        results.append(made)
        for first, now in zip(results[0], made, strict=True):
            assert torch.equal(_bits(first), _bits(now)), f"{order} gives other bits than {ORDERS[0]}"
    return results[0]


def _align(tensor: Tensor) -> int:
    return tensor.element_size() if tensor.dtype in (torch.uint8, torch.uint16) else 16


def _bits(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
