"""What a shared library asks of the system that it runs on, and what it gives: read from the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.wheels.targets import Target

ENTRY = "VapourSynthPluginInit2"
"""All that VapourSynth looks for, and all that the library exports."""

_COALESCED = ("_Zn", "_Zd", "__dso_handle", "_mh_")
"""Exports that zig's linker for Mach-O cannot hide: the C++ library's operators new and delete, of which a process uses
the first for all, and the file's own header.
"""


@dataclass(frozen=True, kw_only=True)
class Library:
    """A shared library of any platform."""

    format: str
    processor: str
    needs: frozenset[str]
    """Libraries that are loaded with it."""
    exports: frozenset[str]
    minimum: str
    """The oldest C library (ELF) or system (Mach-O) that it runs on, "" where the file does not say."""
    stripped: bool
    """No symbols but those that are needed at run time, and nothing for a debugger."""


def read(path: Path) -> Library:
    """Read a library of any of the formats.

    Raises:
        ValueError: it is of none.
    """
    import lief

    lief.logging.disable()  # it warns of tables that are empty
    binary = lief.parse(path)
    if isinstance(binary, lief.ELF.Binary):
        return _elf(binary)
    if isinstance(binary, lief.PE.Binary):
        return _pe(binary)
    if isinstance(binary, lief.MachO.Binary):
        return _macho(binary)
    raise ValueError(f"{path} is no shared library")


def problems(library: Library, target: Target) -> Iterator[str]:
    """Why a library cannot be shipped to a platform, a sentence each."""
    if (library.format, library.processor) != (target.format, target.processor):
        yield f"it is {library.format} for {library.processor}, not {target.format} for {target.processor}"
    for name in sorted(library.needs):
        if not any(fnmatchcase(name.lower() if target.format == "PE" else name, each) for each in target.libraries):
            yield f"it needs {name}, which is no part of the system"
    if library.exports != {ENTRY}:
        yield f"it exports {', '.join(sorted(library.exports)) or 'nothing'}; {ENTRY} is all that it should"
    if target.minimum and not library.minimum:
        yield f"it does not say that it runs on {target.minimum}"
    elif _version(library.minimum) > _version(target.minimum):
        yield f"it needs version {library.minimum} of the system's library; {target.minimum} is promised"
    if not library.stripped:
        yield "it is not stripped"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if text else ()


def _elf(binary: Any) -> Library:
    required = {
        auxiliary.name
        for requirement in binary.symbols_version_requirement
        for auxiliary in requirement.get_auxiliary_symbols()
    }
    versions = [match[1] for name in required if (match := re.fullmatch(r"GLIBC_([\d.]+)", name))]
    sections = {section.name for section in binary.sections}
    return Library(
        format="ELF",
        processor={"X86_64": "x86_64", "AARCH64": "aarch64"}.get(binary.header.machine_type.name, "another processor"),
        needs=frozenset(binary.libraries),
        exports=frozenset(symbol.name for symbol in binary.exported_symbols),
        minimum=max(versions, key=_version, default=""),
        stripped=not any(name == ".symtab" or name.startswith(".debug") for name in sections),
    )


def _pe(binary: Any) -> Library:
    exported = binary.get_export()
    sections = {section.name for section in binary.sections}
    return Library(
        format="PE",
        processor=binary.header.machine.name,
        needs=frozenset(binary.libraries),
        exports=frozenset(entry.name for entry in exported.entries) if exported else frozenset(),
        minimum="",
        stripped=not binary.header.numberof_symbols and not any(name.startswith(".debug") for name in sections),
    )


def _macho(binary: Any) -> Library:
    build = binary.build_version
    exports = {entry.symbol.name.removeprefix("_") for entry in binary.dyld_info.exports}
    debugging = 0xE0  # N_STAB
    return Library(
        format="MACHO",
        processor=binary.header.cpu_type.name.lower(),
        needs=frozenset(each.name for each in binary.libraries if each.command.name != "ID_DYLIB"),
        exports=frozenset(name for name in exports if not name.startswith(_COALESCED)),
        minimum=".".join(map(str, build.minos[:2])) if build else "",
        stripped=not any(symbol.raw_type & debugging for symbol in binary.symbols),
    )
