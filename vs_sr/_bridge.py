"""Between the native plugin and Python: every call of a filter of ``core.vs_sr``, and every group of frames.

The plugin calls :func:`call` with a filter's name; the answer goes back as a VapourSynth function, so
arguments, clips and frames are ordinary ``vapoursynth`` objects throughout. :func:`temporal` is the Python
face of the plugin's node for filters that make groups of frames. This is the one place where an error
becomes a ``vapoursynth.Error`` and gets the filter's name in front.
"""

import atexit
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import vapoursynth as vs

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.windows import Need

_log = logging.getLogger(__name__)

_SIGNATURE = re.compile(
    r"([A-Za-z_]\w*:(int|float|data|vnode|anode|vframe|aframe|func)(\[\])?(:opt)?(:empty)?;)*(any;?)?",
    re.ASCII,
)

_closing = False


@atexit.register
def _close() -> None:
    """Let frames fail that are still outstanding when Python exits.

    VapourSynth waits for them in an exit handler of its own, which was registered earlier and so runs later.
    """
    global _closing
    _closing = True


type Callback = Callable[[int, int, list[int], list[vs.VideoFrame]], Sequence[vs.VideoFrame] | Need]
"""``callback(group, want, numbers, frames)`` makes ``want`` frames; ``frames[i]`` is input ``numbers[i]``."""


def call(name: str) -> None:
    """Build the filter ``name``. Called by the plugin, inside the call that the script has made."""
    vs.core.vs_sr.XCall(func=partial(dispatch, name))


def dispatch(name: str, **arguments: Any) -> dict[str, Any]:
    """Build the filter ``name`` from a call's arguments: ``{"clip": node}``, or ``{"_error": text}``."""
    try:
        create = import_module("vs_sr.filters").create
        return {"clip": create(name, arguments)}
    except Exception as error:
        return {"_error": describe(name, error)}


def describe(name: str, error: Exception) -> str:
    """The text for the user: the filter's name, then the message.

    An error that nobody planned has its type in between. A message that has the name in front already, from
    a filter within the filter, is left as it is. The traceback goes to the log, at debug level.
    """
    text = str(error)
    _log.debug("%s", text, exc_info=error)
    if text.startswith(f"{name}: "):
        return text
    if isinstance(error, VsSrError | vs.Error):
        return f"{name}: {text}"
    return f"{name}: {type(error).__name__}: {text}"


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
    share: int,
    before: int,
    after: int,
    cache: int = 2,
) -> vs.VideoNode:
    """A clip whose frames are made in groups by ``callback``.

    Group g owns the inputs ``[g*step, (g+1)*step)``; there are ``max(1, ceil((N-share)/step))`` groups, and
    the last one owns all up to N. A group makes ``multi`` outputs of each input that it owns. It is given
    its own inputs, ``before`` more in front and ``after`` more behind, clamped to the clip; it may ask for
    others with :class:`~vs_sr.windows.Need`.

    The callback runs on VapourSynth's threads, one call at a time, in no particular order of groups.
    Between a ``Need`` and the call that follows it other groups may be served, and that call never comes if
    an input frame cannot be had. Output frames are made with ``core.create_video_frame`` and not written to
    after they are returned. They get the properties of the input they stem from, with its duration divided;
    the properties that the callback has set win over these.

    Args:
        name: Of the filter; errors begin with it.
        clip: Of constant format and size.
        callback: See :data:`Callback`. An exception becomes the error of the frames of this group alone.
        width: Of the output, in pixels.
        height: Of the output, in pixels.
        format: Number of the output's format.
        step: Inputs per group, from 1.
        multi: Outputs per input, from 1.
        share: 1 where windows share a frame, so that no group is left with that frame alone; else 0.
        before: Inputs in front of a group that it looks at.
        after: Inputs behind a group that it looks at.
        cache: How many groups are kept. Each holds ``step * multi`` output frames.

    Raises:
        vapoursynth.Error: An argument is out of range, or the clip is of variable format or size.
    """
    node: vs.VideoNode = vs.core.vs_sr.XTemporal(
        clip=clip,
        func=partial(_group, name, callback),
        width=width,
        height=height,
        format=format,
        step=step,
        multi=multi,
        share=share,
        before=before,
        after=after,
        cache=cache,
        name=name,
    )
    return node


def _group(
    name: str,
    callback: Callback,
    g: int,
    want: int,
    n: int | list[int],
    f: vs.VideoFrame | list[vs.VideoFrame],
) -> dict[str, Any]:
    if _closing:
        return {"_error": f"{name}: Python is exiting"}
    # A list of one arrives as its element.
    numbers = n if isinstance(n, list) else [n]
    frames = f if isinstance(f, list) else [f]
    try:
        answer = callback(g, want, numbers, frames)
        if isinstance(answer, Need):
            # An empty list would be lost on its way to the plugin.
            if not answer.frames:
                raise ValueError("the callback needs frames but names none")
            return {"need": list(answer.frames), "drop": list(answer.drop)}
        made = list(answer)
        for frame in made:
            if not isinstance(frame, vs.VideoFrame):
                raise TypeError(f"the callback made a {type(frame).__name__}; a VideoFrame is wanted")
        return {"val": made}
    except Exception as error:
        return {"_error": describe(name, error)}


def route(
    name: str,
    clip: vs.VideoNode,
    build: Callable[[dict[str, int]], vs.VideoNode],
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
        build: From the integer properties among ``keys`` that a frame has (for a property that is a frame:
            its format's number) to a clip of the given size and format. An exception becomes the error of the
            frame.
        keys: Names of properties.
        width: Of the output, in pixels.
        height: Of the output, in pixels.
        format: Number of the output's format.
    """
    function = partial(_build, name, build)
    node: vs.VideoNode = vs.core.vs_sr.XRoute(clip, function, keys, width, height, format, name=name)
    return node


def _build(
    name: str, build: Callable[[dict[str, int]], vs.VideoNode], **properties: int
) -> dict[str, vs.VideoNode | str]:
    try:
        return {"clip": build(properties)}
    except Exception as error:
        return {"_error": describe(name, error)}


def attached(clip: vs.VideoNode, prop: str, *, width: int, height: int, format: int) -> vs.VideoNode:
    """The frames that the frames of ``clip`` have as the property ``prop``, all of this size and format."""
    node: vs.VideoNode = vs.core.vs_sr.XAttached(clip, prop, width, height, format)
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
    """Make ``core.vs_sr.<name>`` in the current core; calls of it come to :func:`dispatch`.

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
