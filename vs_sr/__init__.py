"""Space-time video super-resolution for VapourSynth.

After installation the filters are in every script as ``core.vs_sr.<Model>(clip)``, without an import. Here are
the same filters with types, and what extensions need. Importing this module imports neither torch nor
vapoursynth; each name loads its own part when it is first used.
"""

# Type checkers and editors read __init__.pyi, which `python -m tools.generate` makes of this file and the models.

from importlib import import_module
from typing import Any

from vs_sr import _names

__version__ = "0.1.0"

_HOMES = {
    "AmbiguousError": "vs_sr.errors",
    "ArgumentError": "vs_sr.errors",
    "Backend": "vs_sr.spec",
    "DeviceError": "vs_sr.errors",
    "FrameError": "vs_sr.errors",
    "Model": "vs_sr.spec",
    "PluginError": "vs_sr.errors",
    "Published": "vs_sr.spec",
    "Request": "vs_sr.spec",
    "Runner": "vs_sr.spec",
    "State": "vs_sr.engine.scheduler.state",
    "Variant": "vs_sr.spec",
    "VsSrError": "vs_sr.errors",
    "WeightsError": "vs_sr.errors",
    "hookimpl": "vs_sr.hookspecs",
    "register": "vs_sr.functions",
}
"""Where the names come from, the functions of the built-in models apart."""

__all__ = sorted([*_HOMES, *_names.BUILTIN])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _names.BUILTIN:
        return import_module("vs_sr.functions").function(name)
    raise AttributeError(f"module 'vs_sr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
