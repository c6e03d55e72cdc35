"""The native plugin's nodes and functions, as Python sees them.

Arguments, clips and frames are ordinary ``vapoursynth`` objects throughout. :func:`temporal` is the Python face of the
plugin's node for filters that make groups of frames. This is the one place where an error becomes a
``vapoursynth.Error`` and gets the filter's name in front.
"""

import atexit
import logging
import re
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import vapoursynth as vs

from vs_sr.engine import budget
from vs_sr.errors import ArgumentError, VsSrError, bounded
from vs_sr.windows import Need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_log = logging.getLogger(__name__)

_SIGNATURE = re.compile(
    r"([A-Za-z_]\w*:(int|float|data|vnode|anode|vframe|aframe|func)(\[\])?(:opt)?(:empty)?;)*(any;?)?",
    re.ASCII,
)

DRAWING = "_vs_sr_drawing"
"""Of frames that are not alone in their drawing: how many of it come before, and how many after."""

_closing = False


@atexit.register
def _close() -> None:
    """Let frames fail that are still outstanding when Python exits.

    VapourSynth waits for them in an exit handler of its own, which was registered earlier and so runs later.
    """
    global _closing
    _closing = True


type Inputs = tuple[list[int], list[vs.VideoFrame]]
"""Numbers of input frames, and the frames."""

type Work = Generator[Need, Inputs, Sequence[vs.VideoFrame]]
"""A group that needs more frames than its window: it yields which, is sent all that are held by then, and returns
the frames that it makes. It is closed where a frame cannot be had."""

type Callback = Callable[[int, int, list[int], list[vs.VideoFrame]], Sequence[vs.VideoFrame] | Work]
"""``callback(group, want, numbers, frames)`` makes ``want`` frames; ``frames[i]`` is input ``numbers[i]``."""


def describe(name: str, error: Exception) -> str:
    """The text for the user: the filter's name, then the message.

    An error that nobody planned has its type in between. A message that has the name in front already, from
    a filter within the filter, is left as it is. The traceback goes to the log, at debug level.
    """
    text = str(error)
    _log.debug("%s", text, exc_info=error)
    if not isinstance(error, VsSrError | vs.Error):
        text = f"{type(error).__name__}: {text}"
    return bounded(text if text.startswith(f"{name}: ") else f"{name}: {text}")


def temporal(
    name: str,
    clip: vs.VideoNode,
    callback: Callback,
    *,
    width: int,
    height: int,
    format: int,
    step: int,
    multi: int,
    groups: int,
    before: int,
    after: int,
    per: int | None = None,
    cache: int | None = None,
    parallel: bool = False,
) -> vs.VideoNode:
    """A clip whose frames are made in groups by ``callback``.

    Group g owns the inputs ``[g*step, (g+1)*step)``, the last one all up to the clip's end, and makes ``multi`` outputs
    of each; at a constant rate, those that are shown from its first input on until the next group's
    (:class:`vs_sr.windows.Grid`). It is given its own inputs, ``before`` more before and ``after`` more after them,
    clamped to the clip; a generator may ask for others (:data:`Work`).

    The callback runs on VapourSynth's threads, in no particular order of groups. While a generator waits for frames
    other groups are served.

    Output frames are made with ``core.create_video_frame`` and not written to
    after they are returned. They get the properties of the input they stem from, with its duration divided;
    the properties that the callback has set win over these. ``_SceneChangePrev`` and ``_SceneChangeNext`` are the
    callback's alone.

    Args:
        name: Of the filter; errors begin with it.
        clip: Of constant format and size.
        callback: See :data:`Callback`. An exception becomes the error of the frames of this group alone.
        width: Of the output, in pixels.
        height: Of the output, in pixels.
        format: Number of the output's format.
        step: Inputs per group, from 1.
        multi: Outputs per input, from 1; where ``per`` is given, for so many inputs together.
        groups: How many there are.
        before: Inputs before a group that it looks at.
        after: Inputs after a group that it looks at.
        per: From 1 to ``multi``: the outputs get a constant rate, and the inputs must have one. None: each input's
            duration is divided.
        cache: How many groups are kept, with all of their output frames; None: as the budget allows
            (:mod:`vs_sr.engine.budget`), so that four readers of the clip do not compute groups again and again.
        parallel: Whether calls of the callback may overlap; else there is one at a time.

    Raises:
        vapoursynth.Error: An argument is out of range, or the clip is of variable format or size.
    """
    func = partial(_group, name, callback)
    size = -(-step * multi // (per or 1)) * _bytes(width, height, format)
    node: vs.VideoNode = vs.core.vs_sr.XTemporal(
        clip=clip,
        func=func,
        width=width,
        height=height,
        format=format,
        step=step,
        multi=multi,
        groups=groups,
        before=before,
        after=after,
        **({} if per is None else {"per": per}),
        cache=budget.of("cpu").groups(size, func) if cache is None else cache,
        parallel=parallel,
        name=name,
    )
    return node


def _bytes(width: int, height: int, format: int) -> int:
    """Bytes of a frame; 0 where it is none, which the plugin refuses."""
    try:
        known = vs.core.get_video_format(format)
    except vs.Error:
        return 0
    chroma = (width >> known.subsampling_w) * (height >> known.subsampling_h)
    return int(known.bytes_per_sample * (width * height + chroma * (known.num_planes - 1)))


def _group(
    name: str,
    callback: Callback,
    g: int,
    want: int,
    n: int | list[int],
    f: vs.VideoFrame | list[vs.VideoFrame],
) -> dict[str, Any]:
    return _answer(name, lambda: callback(g, want, *_inputs(n, f)))


def _resume(
    name: str, work: Work, g: int, want: int, n: int | list[int], f: vs.VideoFrame | list[vs.VideoFrame]
) -> dict[str, Any]:
    return _answer(name, lambda: _proceed(name, work, _inputs(n, f)))


def _inputs(n: int | list[int], f: vs.VideoFrame | list[vs.VideoFrame]) -> Inputs:
    """VapourSynth's lists of one arrive as their element."""
    return n if isinstance(n, list) else [n], f if isinstance(f, list) else [f]


def _answer(name: str, step: Callable[[], Sequence[vs.VideoFrame] | Work | dict[str, Any]]) -> dict[str, Any]:
    """What the plugin learns of a step towards a group's frames."""
    if _closing:
        return {"_error": f"{name}: Python is exiting"}
    try:
        made = step()
        if isinstance(made, Generator):
            made = _proceed(name, made)
        if isinstance(made, dict):
            return made
        made = list(made)
        for frame in made:
            if not isinstance(frame, vs.VideoFrame):
                raise TypeError(f"the callback made a {type(frame).__name__}; a VideoFrame is wanted")
        return {"val": made}
    except Exception as error:
        return {"_error": describe(name, error)}


def _proceed(name: str, work: Work, inputs: Inputs | None = None) -> Sequence[vs.VideoFrame] | dict[str, Any]:
    """Let a group go on with the frames that it has now: the frames that it makes, or what it needs.

    The plugin keeps what comes with the need as long as the request lives, and calls it in place of the callback.
    """
    try:
        need = next(work) if inputs is None else work.send(inputs)
    except StopIteration as end:
        made: Sequence[vs.VideoFrame] = end.value
        return made
    if not need.frames:  # an empty list would be lost on its way to the plugin
        raise ValueError("the callback needs frames but names none")
    return {"need": list(need.frames), "drop": list(need.drop), "then": partial(_resume, name, work)}


def route(
    name: str,
    clip: vs.VideoNode,
    build: Callable[[int, dict[str, Any]], vs.VideoNode],
    keys: Sequence[str],
    *,
    width: int,
    height: int,
    format: int,
) -> vs.VideoNode:
    """A clip whose frame n is frame n of what ``build`` makes for the properties of the input's frame n.

    ``build`` is called once for each combination of properties that occurs, in no particular thread.

    Args:
        name: Of the filter; errors begin with it.
        clip: Of constant format and size.
        build: From a frame's number and the integer properties among ``keys`` that it has (for a property that
            is a frame: its format's number, its width and its height) to a clip of the given size and format. An
            exception becomes the error of the frame.
        keys: Names of properties.
        width: Of the output, in pixels.
        height: Of the output, in pixels.
        format: Number of the output's format.
    """
    function = partial(_build, name, build)
    node: vs.VideoNode = vs.core.vs_sr.XRoute(clip, function, keys, width, height, format, name=name)
    return node


def _build(
    name: str, build: Callable[[int, dict[str, Any]], vs.VideoNode], n: int, **properties: Any
) -> dict[str, vs.VideoNode | str]:
    try:
        return {"clip": build(n, properties)}
    except Exception as error:
        return {"_error": describe(name, error)}


def attached(clip: vs.VideoNode, prop: str, *, width: int, height: int, format: int) -> vs.VideoNode:
    """The frames that the frames of ``clip`` have as the property ``prop``, all of this size and format."""
    node: vs.VideoNode = vs.core.vs_sr.XAttached(clip, prop, width, height, format)
    return node


def planes(
    image: "Tensor | NDArray[np.float32]", format: int, conversion: bytes | None = None
) -> tuple[vs.VideoFrame, bool]:
    """A frame from an image (C, H, W), float32 in host memory, of any strides; and whether the image is finite, where
    "no" may be said of values near the end of float32, too.

    Args:
        image: in 0..1.
        format: RGBS or GRAYS; or YUV of 8 to 16 bits, with chroma of at least half the width and height.
        conversion: to YUV, as ``vs_sr.conversion.down_conversion`` gives it.
    """
    import numpy as np

    height, width = image.shape[1:]
    if isinstance(image, np.ndarray):
        address, strides = image.ctypes.data, [stride // image.itemsize for stride in image.strides]
    else:
        address, strides = image.data_ptr(), list(image.stride())
    made = vs.core.vs_sr.XPlanes(address, strides, width, height, format, conversion)
    return made["frame"], bool(made["finite"])


def finite(clip: vs.VideoNode, prop: str) -> vs.VideoNode:
    """A clip of floating point with 0 where it is not finite; frames that this changes get the property ``prop``."""
    node: vs.VideoNode = vs.core.vs_sr.XFinite(clip, prop)
    return node


def repeats(clip: vs.VideoNode, threshold: float, keys: Sequence[str]) -> vs.VideoNode:
    """Frames of 1x1 that say which frames of the clip repeat the one before: for :func:`drawings`, :func:`take_over`.

    Args:
        clip: of constant format and size.
        threshold: mean difference of a block of 16x16 values, in code values of 8 bits; 0: identical.
        keys: names of properties that must be the same as well.
    """
    node: vs.VideoNode = vs.core.vs_sr.XRepeats(clip, threshold, keys)
    return node


def drawings(clip: vs.VideoNode, repeats: vs.VideoNode) -> vs.VideoNode:
    """The clip whose frames say how many before them and after them are of the same drawing (:data:`DRAWING`)."""
    node: vs.VideoNode = vs.core.vs_sr.XDrawings(clip, repeats)
    return node


def take_over(clip: vs.VideoNode, repeats: vs.VideoNode, source: vs.VideoNode, keys: Sequence[str]) -> vs.VideoNode:
    """``clip`` with the planes, and the properties ``keys``, of the first frame of those that repeat each other, which
    every eighth frame is at the latest; the other properties are those of ``source``."""
    node: vs.VideoNode = vs.core.vs_sr.XTakeOver(clip, repeats, source, keys)
    return node


def lean(clip: vs.VideoNode) -> vs.VideoNode:
    """The clip, whose node keeps no record of frames that have left its cache.

    VapourSynth notes thousands of them, to learn whether a larger cache would pay. Such a note is small and lives
    long, and lies in the heap between frames that come and go: glibc before 2.38 cannot put another frame of the same
    size into the hole beside it, and a film takes more and more memory. The plugin's own nodes keep none either.
    """
    clip.std.SetVideoCache(maxhistory=0)
    return clip


def register(name: str, signature: str) -> None:
    """Make ``core.vs_sr.<name>`` in the current core; calls of it come to :func:`vs_sr._entry.dispatch`.

    To be called in the script's own thread, not in a callback. A name that this core has already is left as
    it is.

    Raises:
        ArgumentError: VapourSynth does not accept the name or the signature, or this core has the name with
            another signature.
    """
    if not _SIGNATURE.fullmatch(signature):
        raise ArgumentError(
            f"the signature '{signature}' of '{name}' is not VapourSynth's; it reads like "
            '"clip:vnode;scale:int:opt;", with the types int, float, data, vnode, anode, vframe, aframe, func'
        )
    if has(name, signature):
        return
    try:
        vs.core.vs_sr.XRegister(name=name, args=signature)
    except vs.Error as error:
        raise ArgumentError(str(error)) from None


def has(name: str, signature: str) -> bool:
    """Whether the current core has ``core.vs_sr.<name>``, with this signature.

    Raises:
        ArgumentError: with another one.
    """
    found = next((function for function in vs.core.vs_sr.functions() if function.name == name), None)
    if found is not None and found.signature.rstrip(";") != signature.rstrip(";"):
        raise ArgumentError(
            f"core.vs_sr.{name} exists in this core with the arguments of another kind of model, and VapourSynth "
            "cannot change them; give the model another name, or start the host again"
        )
    return found is not None
