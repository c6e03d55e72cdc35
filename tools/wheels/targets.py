"""The platforms that wheels are built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Format = Literal["ELF", "PE", "MACHO"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A platform: what the compiler calls it, and what a library for it may ask of it."""

    platform: str
    """The last part of a wheel's tag."""
    system: str
    """CMake's name of the operating system."""
    processor: str
    zig: str
    """The compiler's name of it, with the version of the C library, or of the system, that it builds for."""
    library: str
    format: Format
    libraries: tuple[str, ...]
    """Patterns of the libraries that may be needed: those of the system itself."""
    minimum: str
    """The oldest C library (ELF) or system (Mach-O) that the library may need; "" where files do not say."""

    @property
    def tag(self) -> str:
        """A wheel's tag: any Python 3, since the library finds Python at run time."""
        return f"py3-none-{self.platform}"


_GLIBC = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-*.so.*")

TARGETS = (
    Target(
        platform="manylinux_2_28_x86_64",
        system="Linux",
        processor="x86_64",
        zig="x86_64-linux-gnu.2.28",
        library="libvs_sr.so",
        format="ELF",
        libraries=_GLIBC,
        minimum="2.28",
    ),
    Target(
        platform="manylinux_2_28_aarch64",
        system="Linux",
        processor="aarch64",
        zig="aarch64-linux-gnu.2.28",
        library="libvs_sr.so",
        format="ELF",
        libraries=_GLIBC,
        minimum="2.28",
    ),
    Target(
        platform="win_amd64",
        system="Windows",
        processor="AMD64",
        zig="x86_64-windows-gnu",
        library="libvs_sr.dll",
        format="PE",
        # The C runtime that Windows has since version 10, and that Python itself needs.
        libraries=("api-ms-win-crt-*-l1-1-0.dll", "ucrtbase.dll", "kernel32.dll", "ntdll.dll"),
        minimum="",
    ),
    Target(
        platform="macosx_11_0_arm64",
        system="Darwin",
        processor="arm64",
        zig="aarch64-macos.11.0",
        library="libvs_sr.dylib",
        format="MACHO",
        libraries=("/usr/lib/libSystem.B.dylib",),
        minimum="11.0",
    ),
)
