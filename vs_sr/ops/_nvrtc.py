"""From ``kernels/*.cu`` to cubins: NVRTC through CuPy, and a cache on disk.

Compiling needs no GPU and no driver, so that the same function serves tests and run time. The product is
machine code of one architecture (not PTX, which an older driver could refuse). Its file is named for a hash
of everything it is made of, and for its own: it never has to be invalidated, damage shows, and processes that
compile the same kernel at the same time write the same bytes.

Machine code is loaded only from a folder and a file that belong to the user and that nobody else can write to
(:mod:`vs_sr.cache`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import cache
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger("vs_sr")

_HEADERS = ("device.cuh",)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A function of a .cu file, compiled with certain values of the file's macros."""

    name: str
    """Of the file and of its ``extern "C"`` function."""
    macros: tuple[tuple[str, str | int], ...] = ()
    """Values other than the file's defaults."""
    minimum: int = 75
    """Lowest compute capability that has its instructions; 80 for sm_80."""
    shared: int = 0
    """Bytes of dynamic shared memory that it may be launched with."""

    @property
    def path(self) -> str:
        """Name of its source in the folder of kernels."""
        return f"{self.name}.cu"

    @property
    def label(self) -> str:
        """A name to show: ``dcn_fused(WARPS=8, ROWS=2)``."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.macros)})"


@dataclass(frozen=True)
class Binary:
    """A compiled kernel."""

    cubin: bytes
    log: str
    """What the compiler says: warnings, registers, spills."""


class CompileError(RuntimeError):
    """NVRTC refused a kernel; the message is its log, with file and line."""


@functools.cache
def source_folder() -> Path:
    """The folder of the .cu files: ``vs_sr/kernels`` in a wheel, ``kernels`` beside the package in a
    checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "kernels", package.parent / "kernels"):
        if (folder / _HEADERS[0]).is_file():
            return folder
    raise FileNotFoundError(f"{package / 'kernels'}: the CUDA sources are missing; reinstall vs-sr")


def source(kernel: Kernel) -> str:
    """The text of a kernel's file."""
    return (source_folder() / kernel.path).read_text(encoding="utf-8")


def headers() -> Mapping[str, str]:
    """The headers that a kernel may include, by name."""
    return {name: (source_folder() / name).read_text(encoding="utf-8") for name in _HEADERS}


@functools.cache
def architectures() -> tuple[int, ...]:
    """Compute capabilities that the installed NVRTC compiles for, ascending: 75, 80, ...

    Raises:
        ImportError: CuPy is missing.
        RuntimeError: NVRTC is missing.
    """
    from cupy.cuda import nvrtc

    return tuple(sorted(nvrtc.getSupportedArchs()))


def compile_kernel(kernel: Kernel, arch: int, text: str | None = None) -> Binary:
    """Compile a kernel for an architecture; nothing is cached.

    Args:
        kernel: what to compile.
        arch: 80 for sm_80.
        text: the source, where it is not the shipped one.

    Raises:
        CompileError: the compiler refuses it.
    """
    from cupy.cuda import nvrtc

    included = headers()
    program = nvrtc.createProgram(
        source(kernel) if text is None else text,
        f"kernels/{kernel.path}",
        tuple(header.encode() for header in included.values()),
        tuple(name.encode() for name in included),
    )
    try:
        nvrtc.compileProgram(program, _options(kernel, arch))
        return Binary(_whole(nvrtc.getCUBIN(program)), nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise CompileError(f"{kernel.label} for sm_{arch}: {error}\n{log}") from None
    finally:
        nvrtc.destroyProgram(program)


def cubin_file(kernel: Kernel, arch: int) -> Path:
    """The file that holds the kernel's machine code: from the cache, or compiled now.

    Raises:
        CompileError: the compiler refuses it.
    """

    def make() -> bytes:
        log_once(f"CUDA kernels are being compiled for sm_{arch}: some seconds, the first time on this machine")
        return compile_kernel(kernel, arch).cubin

    with _lock:  # threads of this process compile a kernel once
        return cache.kept("kernels", f"{kernel.name}-sm{arch}-{_key(kernel, arch)}", ".cubin", make)


_lock = threading.Lock()


def _options(kernel: Kernel, arch: int) -> tuple[str, ...]:
    return (
        f"-arch=sm_{arch}",
        "--std=c++17",
        "--ptxas-options=-v",
        *(f"-I{folder}" for folder in _include_folders()),
        *(f"-D{name}={value}" for name, value in kernel.macros),
    )


def _key(kernel: Kernel, arch: int) -> str:
    from cupy.cuda import nvrtc

    parts = (source(kernel), *headers().values(), *_options(kernel, arch), repr(nvrtc.getVersion()))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:32]


@functools.cache
def _include_folders() -> tuple[str, ...]:
    """Where cuda_fp16.h is: in NVIDIA's wheels, which torch brings, or in a CUDA toolkit."""
    import cupy.cuda

    candidates: list[Path] = []
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidates += [*sorted(Path(root).glob("cu[0-9]*/include")), Path(root) / "cuda_runtime" / "include"]
    if toolkit := cupy.cuda.get_cuda_path():
        candidates.append(Path(toolkit) / "include")
    return tuple(str(folder) for folder in candidates if (folder / "cuda_fp16.h").is_file())[:1]


def _length(cubin: bytes) -> int:
    """Bytes of an ELF file, by its header: its section and program tables come last. 0 if it is none."""
    if len(cubin) < 64 or not cubin.startswith(b"\x7fELF"):
        return 0
    segments, sections = struct.unpack_from("<QQ", cubin, 0x20)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<HHHH", cubin, 0x36)
    return int(max(segments + segment_size * segment_count, sections + section_size * section_count))


def _whole(cubin: bytes) -> bytes:
    """CuPy's getCUBIN takes the last byte, a zero, for the end of a string and drops it."""
    return cubin.ljust(_length(cubin), b"\0") if _length(cubin) - len(cubin) == 1 else cubin
