"""Space-time video super-resolution for VapourSynth.

After installation the filters are in every script as ``core.vs_sr.<Model>(clip)``, without an import. Here are
the same filters with types, and what extensions need. Importing this module imports neither torch nor
vapoursynth; each name loads its own part when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vs_sr.errors import (
        ArgumentError,
        DeviceError,
        FrameError,
        PluginError,
        QuestionError,
        VsSrError,
        WeightsError,
    )
    from vs_sr.functions import (
        A2N,
        EDSR,
        ESRGAN,
        MDSR,
        SRCNN,
        SRGAN,
        VDSR,
        SRResNet,
        ZoomingSlowMo,
        register,
    )
    from vs_sr.hookspecs import hookimpl
    from vs_sr.spec import Backend, Model, Published, Variant

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - plain order, which a test compares with sorted()
    "A2N",
    "ArgumentError",
    "Backend",
    "DeviceError",
    "EDSR",
    "ESRGAN",
    "FrameError",
    "MDSR",
    "Model",
    "PluginError",
    "Published",
    "QuestionError",
    "SRCNN",
    "SRGAN",
    "SRResNet",
    "VDSR",
    "Variant",
    "VsSrError",
    "WeightsError",
    "ZoomingSlowMo",
    "hookimpl",
    "register",
]

_HOMES = {
    "vs_sr.errors": (
        "ArgumentError",
        "DeviceError",
        "FrameError",
        "PluginError",
        "QuestionError",
        "VsSrError",
        "WeightsError",
    ),
    "vs_sr.functions": (
        "A2N",
        "EDSR",
        "ESRGAN",
        "MDSR",
        "SRCNN",
        "SRGAN",
        "SRResNet",
        "VDSR",
        "ZoomingSlowMo",
        "register",
    ),
    "vs_sr.hookspecs": ("hookimpl",),
    "vs_sr.spec": ("Backend", "Model", "Published", "Variant"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vs_sr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
