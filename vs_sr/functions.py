"""The filters as typed Python functions, and :func:`register`. They call ``core.vs_sr``: one path for all.

Argument names of other super-resolution filters are accepted beside ours: ``device_index``, ``model_path``,
``fp16``, and for image models ``tile`` and ``tile_pad``.
"""

from __future__ import annotations

import inspect
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal

import vapoursynth as vs

from vs_sr import _bridge, _names, registry
from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vs_sr.spec import Model

_ALIASES = {
    "device_index": "device_id",
    "model_path": "weights",
    "fp16": "precision",
    "tile": "tilesize",
    "tile_pad": "overlap",
}
"""Other filters' names of arguments to ours."""


def ZoomingSlowMo(
    clip: vs.VideoNode,
    *,
    window: int | None = None,
    multi: Literal[1, 2] | None = None,
    sc: bool | None = None,
    weights: str | None = None,
    backend: str | None = None,
    device_id: int | None = None,
    precision: Literal["auto", "fp32", "fp16", "bf16"] | None = None,
    matrix_in: int | None = None,
    range_in: int | None = None,
    matrix: int | None = None,
    range: int | None = None,
    format: int | None = None,
    **aliases: Any,
) -> vs.VideoNode:
    """Zooming Slow-Mo (Xiang et al., CVPR 2020): four times the size, twice the rate.

    Args:
        clip: constant format and size, 8x8 at least; YUV, RGB or GRAY of 8 to 16 bit integer, half or float.
        window: input frames per step, one of them shared with the next; 2 to 64, default 4.
        multi: frame-rate factor: 2 (default), or 1 for super-resolution alone.
        sc: honour scene cuts that frame properties announce; default True.
        weights: a shipped name or the path of a file; default "zooming_slow_mo_compact".
        backend: how the network is run; default "auto".
        device_id: GPU number, or -1 for the CPU; default: the first GPU, else the CPU.
        precision: "auto" (default) is fp16 on a GPU for integer and half clips, else fp32.
        matrix_in: overrides the clip's ``_Matrix``.
        range_in: overrides the clip's ``_Range``.
        matrix: of the output; default: as the input.
        range: of the output; default: as the input.
        format: of the output; default: as the input.
        **aliases: ``device_index``, ``model_path``, ``fp16``, as other filters call them.

    Returns:
        ``multi`` times as many frames; the last is repeated, so that durations add up.

    Raises:
        vapoursynth.Error: an argument or the clip cannot be taken.
        ArgumentError: an alias is unknown, or given beside its own name.
    """
    given = {
        "window": window,
        "multi": multi,
        "sc": sc,
        "weights": weights,
        "backend": backend,
        "device_id": device_id,
        "precision": precision,
        "matrix_in": matrix_in,
        "range_in": range_in,
        "matrix": matrix,
        "range": range,
        "format": format,
    }
    node: vs.VideoNode = vs.core.vs_sr.ZoomingSlowMo(clip, **_arguments("ZoomingSlowMo", given, aliases))
    return node


def _image(
    name: str,
    /,
    clip: vs.VideoNode,
    *,
    scale: int | None = None,
    weights: str | None = None,
    backend: str | None = None,
    device_id: int | None = None,
    precision: Literal["auto", "fp32", "fp16", "bf16"] | None = None,
    matrix_in: int | None = None,
    range_in: int | None = None,
    matrix: int | None = None,
    range: int | None = None,
    format: int | None = None,
    tilesize: int | Sequence[int] | None = None,
    overlap: int | Sequence[int] | None = None,
    num_streams: int | None = None,
    **aliases: Any,
) -> vs.VideoNode:
    """Args:
        clip: constant format and size; YUV, RGB or GRAY of 8 to 16 bit integer, half or float.
        scale: {scale}.
        weights: the path of a file; must be given{get}.
        backend: how the network is run; default "auto".
        device_id: GPU number, or -1 for the CPU; default: the first GPU, else the CPU.
        precision: "auto" (default) is fp16 on a GPU for integer and half clips, else fp32.
        matrix_in: overrides the clip's ``_Matrix``.
        range_in: overrides the clip's ``_Range``.
        matrix: of the output; default: as the input.
        range: of the output; default: as the input.
        format: of the output; default: as the input.
        tilesize: side, or width and height, of the tiles that a frame is run in; 0: whole frames. Default:
            whole frames, or tiles where they would not fit into the device's memory.
        overlap: pixels that a tile throws away at each inner side; default: as far as the network sees, at
            most 32 and a quarter of a tile.
        num_streams: sessions that run side by side; default 1.
        **aliases: ``device_index``, ``model_path``, ``fp16``, ``tile``, ``tile_pad``, as other filters call
            them.

    Returns:
        As many frames, enlarged.

    Raises:
        vapoursynth.Error: an argument or the clip cannot be taken.
        ArgumentError: an alias is unknown, or given beside its own name.
    """
    given = {
        "scale": scale,
        "weights": weights,
        "backend": backend,
        "device_id": device_id,
        "precision": precision,
        "matrix_in": matrix_in,
        "range_in": range_in,
        "matrix": matrix,
        "range": range,
        "format": format,
        "tilesize": tilesize,
        "overlap": overlap,
        "num_streams": num_streams,
    }
    node: vs.VideoNode = getattr(vs.core.vs_sr, name)(clip, **_arguments(name, given, aliases))
    return node


def _named[**P, R](function: Callable[Concatenate[str, P], R], name: str, summary: str, scale: str) -> Callable[P, R]:
    """``function`` for the filter ``name``, with a name, a signature and a docstring of its own."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(name, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__signature__ = inspect.signature(partial(function, name))  # type: ignore[attr-defined]
    text = inspect.cleandoc(f"{summary}.\n\n    {function.__doc__}")
    call.__doc__ = text.replace("{scale}", scale).replace("{get}", "; the error says where to get one")
    return call


_ENLARGED = "factor by which the clip is enlarged by bicubic beforehand; default 2; 1: it is enlarged already"
_OF_THE_FILE = "has to be that of the weights; default: what they say"
_WHERE_OPEN = "of weights that do not say it themselves: 2 or 3; default: what they say"

A2N = _named(_image, "A2N", "A2N (Chen et al., 2021): x2, x3 or x4, small; not to be cut into tiles", _WHERE_OPEN)
EDSR = _named(_image, "EDSR", "EDSR (Lim et al., CVPRW 2017): x2, x3 or x4, for fidelity", _OF_THE_FILE)
ESRGAN = _named(_image, "ESRGAN", "ESRGAN, Real-ESRGAN (Wang et al.): x1 to x8 by the weights", _WHERE_OPEN)
MDSR = _named(_image, "MDSR", "MDSR (Lim et al., CVPRW 2017): x2, x3 and x4 in one file", "2, 3 or 4")
SRCNN = _named(_image, "SRCNN", "SRCNN (Dong et al., ECCV 2014): sharpens an enlarged clip", _ENLARGED)
SRGAN = _named(_image, "SRGAN", "SRGAN (Ledig et al., CVPR 2017): x2, x4 or x8, for natural looks", _OF_THE_FILE)
SRResNet = _named(_image, "SRResNet", "SRResNet (Ledig et al., CVPR 2017): x2, x3 or x4, for fidelity", _OF_THE_FILE)
VDSR = _named(_image, "VDSR", "VDSR (Kim et al., CVPR 2016): sharpens an enlarged clip, luma only", _ENLARGED)


def _arguments(name: str, given: dict[str, Any], aliases: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, aliases under their own names."""
    own = {alias: argument for alias, argument in _ALIASES.items() if argument in given}
    given = {key: value for key, value in given.items() if value is not None}
    for alias, value in aliases.items():
        if alias not in own:
            raise ArgumentError(f"{name}: there is no argument {alias!r}; aliases: {', '.join(own)}")
        if own[alias] in given:
            raise ArgumentError(f"{name}: {alias} and {own[alias]} are the same argument; give one")
        given[own[alias]] = ("fp16" if value else "fp32") if alias == "fp16" else value
    return given


def register(model: Model) -> None:
    """Make ``core.vs_sr.<model.name>`` in the current core, for a model that no installed package declares.

    Again with the same model, it does nothing in a core that has it, and adds it to a new one.

    Raises:
        PluginError: another model has this name.
        ArgumentError: the name is not a legal one.
    """
    registry.add(model)
    _bridge.register(model.name, _names.SEQUENCE if model.kind == "sequence" else _names.IMAGE)
