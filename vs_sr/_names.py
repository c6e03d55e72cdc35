"""The names in ``core.vs_sr``, known without importing anything.

The native plugin calls :func:`scan` while VapourSynth loads it, in every script that touches ``vs.core``,
vs_sr or not. So this module imports only what ``vapoursynth`` has imported anyway, reads the metadata of
installed packages by hand (half a millisecond; importing ``importlib.metadata`` alone takes 30) and never
imports one of them. It must not touch ``vapoursynth.core``, which is only being made at that time.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

type Kind = Literal["image", "sequence", "multi-frame"]
"""What a model takes and gives; see ``vs_sr.spec.Model``."""

type Extension = Literal["model", "backend"]
"""What packages add. The entry-point group of a model is ``vs_sr.models``, the hook that gives it ``vs_sr_models``."""


class Builtin(NamedTuple):
    """A filter that vs_sr itself brings."""

    module: str
    """The module that provides its model through the hook ``vs_sr_models``."""
    kind: Kind
    """The model's kind, which decides what arguments the filter has: ``vs_sr/arguments.py``."""


BUILTIN = {
    "A2N": Builtin("vs_sr.models.a2n", "image"),
    "BasicVSR": Builtin("vs_sr.models.basicvsr", "sequence"),
    "EDSR": Builtin("vs_sr.models.edsr", "image"),
    "EDVR": Builtin("vs_sr.models.edvr", "multi-frame"),
    "ESRGAN": Builtin("vs_sr.models.esrgan", "image"),
    "MDSR": Builtin("vs_sr.models.mdsr", "image"),
    "SRCNN": Builtin("vs_sr.models.srcnn", "image"),
    "SRGAN": Builtin("vs_sr.models.srgan", "image"),
    "SRResNet": Builtin("vs_sr.models.srresnet", "image"),
    "VDSR": Builtin("vs_sr.models.vdsr", "image"),
    "ZoomingSlowMo": Builtin("vs_sr.models.zooming_slow_mo", "sequence"),
}
"""The built-in filters. The plugin's own table is generated from this one when it is built."""

BUILTIN_BACKENDS = {
    "compile": "vs_sr.backends.inductor",
    "eager": "vs_sr.backends.eager",
    "kernels": "vs_sr.backends.kernels",
}
"""The built-in backends: name to the module that provides it through the hook ``vs_sr_backends``."""

HELPERS = frozenset(
    {
        "XCall",
        "XTemporal",
        "XRoute",
        "XAttached",
        "XFinite",
        "XPlanes",
        "XRepeats",
        "XDrawings",
        "XTakeOver",
        "XRegister",
    }
)
"""Functions of the plugin that serve vs_sr itself."""

COMMUNITY = "clip:vnode;any"
"""The signature of a filter from another package: the model checks its arguments, when it is called."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_METADATA = (".dist-info", ".egg-info")


class Entry(NamedTuple):
    """One entry point of an installed package."""

    name: str
    """Left of the equals sign."""
    target: str
    """Right of it: ``package.module`` or ``package.module:attribute``."""
    package: str
    """The distribution it comes from: its metadata folder's name, in lower case, with ``_`` for ``-``."""


def entries(group: str, path: Iterable[str] | None = None) -> Iterator[Entry]:
    """The entry points of ``group`` in the folders of ``path`` (``sys.path``), as packages declare them.

    A package that is found twice counts once, the first on the path, which is the one that Python imports.
    Folders and files that cannot be read are passed over.
    """
    seen: set[str] = set()
    for folder in dict.fromkeys(sys.path if path is None else path):
        try:
            with os.scandir(folder or ".") as listing:
                found = sorted(item.name for item in listing if item.name.endswith(_METADATA))
        except OSError:
            continue
        for name in found:
            package = re.sub(r"[-_.]+", "_", name.rpartition(".")[0].partition("-")[0]).lower()
            if package in seen:
                continue
            seen.add(package)
            try:
                with open(f"{folder or '.'}/{name}/entry_points.txt", encoding="utf-8") as file:
                    lines = file.read().splitlines()
            except (OSError, UnicodeDecodeError):
                continue
            for key, value in _section(lines, group):
                yield Entry(key, value, package)


def _section(lines: Iterable[str], group: str) -> Iterator[tuple[str, str]]:
    """The ``key = value`` lines below ``[group]``; extras in brackets after the value are cut off."""
    inside = False
    for raw in lines:
        line = raw.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            yield key.strip(), value.partition("[")[0].strip()


def declared(kind: Extension, path: Iterable[str] | None = None) -> dict[Entry, str]:
    """What installed packages bring: ``SomeModel = "package.module"`` in ``vs_sr.models`` is ``core.vs_sr.SomeModel``.

    Each with the reason why it is left out, a sentence; empty where it is not. Left out are names that VapourSynth does
    not allow, vs_sr's own, and a name that two packages claim: which of them won would depend on the order of
    installation.
    """
    own = {"model": {*BUILTIN, *HELPERS}, "backend": {*BUILTIN_BACKENDS, "auto"}}[kind]
    found = list(entries(f"vs_sr.{kind}s", path))
    claims: dict[str, list[Entry]] = {}
    for entry in found:
        claims.setdefault(entry.name, []).append(entry)
    reasons: dict[Entry, str] = {}
    for entry in found:
        others = sorted({other.package for other in claims[entry.name]} - {entry.package})
        reason = ""
        if not _NAME.fullmatch(entry.name):
            reason = "is not a legal name; use letters, digits and _, a letter first"
        elif entry.name in own:
            reason = "has a name of vs_sr itself; the package must choose another"
        elif others:
            reason = f"is also claimed by {', '.join(others)}; uninstall all but one of them"
        elif entry != claims[entry.name][0]:
            reason = "is declared twice; the first one is used"
        reasons[entry] = reason and f"{entry.package}: {kind} '{entry.name}' {reason}"
    return reasons


def scan() -> str:
    """What the plugin registers besides the built-in filters: a line ``Name<TAB>signature`` for each."""
    return "\n".join(f"{entry.name}\t{COMMUNITY}" for entry, reason in declared("model").items() if not reason)
