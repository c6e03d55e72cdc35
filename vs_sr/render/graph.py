"""The graph of a render: a chain of filters as the command line has it, or a script."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import vapoursynth as vs

from vs_sr import arguments, registry
from vs_sr.errors import ArgumentError, VsSrError, described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vs_sr.arguments import Argument

_BOOLEANS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0}


@dataclass(frozen=True)
class Step:
    """A filter of ``core.vs_sr`` and its arguments."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        given = ",".join(f"{key}={value}" for key, value in sorted(self.arguments.items()))
        return f"{self.name}:{given}" if given else self.name


def parse(text: str) -> Step:
    """``ZoomingSlowMo:carry=1,window=5`` as a step.

    Raises:
        ArgumentError: it names no model, or has no argument of it in this form.
        PluginError: the model's package cannot be loaded.
    """
    name, _, rest = text.partition(":")
    model = registry.model(name)
    known = {argument.name: argument for argument in arguments.of(model.kind)}
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ArgumentError(f"{name}: {part!r} is not of the form argument=value, such as {name}:device_id=-1")
        if key not in known:
            raise ArgumentError(f"{name}: there is no argument {key!r}; choices: {', '.join(known)}")
        given[key] = _value(name, known[key], value)
    return Step(name, given)


def _value(name: str, argument: Argument, text: str) -> Any:
    """An argument's value; formats by their names, sides of tiles as 256x128."""
    try:
        if argument.name == "format":
            return int(text) if text.isdecimal() else int(getattr(vs, text))
        if argument.type == "int[]":
            return [int(part) for part in text.split("x")]
        if argument.type == "int":
            return int(text) if text.lstrip("-").isdecimal() else _BOOLEANS[text.lower()]
        return float(text) if argument.type == "float" else text
    except (ValueError, AttributeError, KeyError):
        kinds = {"int[]": "a number, or two as 256x128", "int": "a whole number", "float": "a number"}
        kind = "a format such as YUV420P10" if argument.name == "format" else kinds[argument.type]
        raise ArgumentError(f"{name}: {argument.name}={text} is not {kind}") from None


def chain(clip: vs.VideoNode, steps: Sequence[Step]) -> vs.VideoNode:
    """The filters one after another.

    Raises:
        ArgumentError: a filter refuses its arguments or the clip.
    """
    for step in steps:
        try:
            clip = getattr(vs.core.vs_sr, step.name)(clip, **step.arguments)
        except vs.Error as error:
            raise ArgumentError(str(error)) from None
    return clip


def run_script(path: Path, text: bytes, clip: vs.VideoNode, source: Path) -> vs.VideoNode:
    """Output 0 of a script, which finds the film as ``clip``, and the name of its file as ``source``.

    Args:
        path: of the script where it was written; need not be there.
        text: of it.
        clip: the film.
        source: its file.

    Raises:
        VsSrError: the script fails, or has no output of constant format and size.
    """
    names = {"__name__": "__vapoursynth__", "__file__": str(path), "clip": clip, "source": str(source)}
    vs.clear_outputs()
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), names)
        output = vs.get_output(0)
    except KeyError:
        raise VsSrError(f"{path} sets no output; end it with clip.set_output()") from None
    except Exception as error:
        raise VsSrError(f"{path} fails: {described(error)}") from None
    finally:
        vs.clear_outputs()
    made = output.clip if isinstance(output, vs.VideoOutputTuple) else output
    if not isinstance(made, vs.VideoNode) or not made.format or not made.width:
        raise VsSrError(f"{path}: output 0 has to be a video of constant format and size")
    return made


def resized(clip: vs.VideoNode, size: tuple[int, int]) -> vs.VideoNode:
    """A clip at another size.

    Raises:
        ArgumentError: its format cannot have it.
    """
    try:
        return clip.resize.Spline36(*size)
    except vs.Error as error:
        raise ArgumentError(f"--resize {size[0]}x{size[1]} is not possible: {error}") from None


def beside(before: vs.VideoNode, after: vs.VideoNode, frames: int) -> vs.VideoNode:
    """The first frames of a result, and to the left what the film itself has at that time, upscaled by bicubic."""
    frames = min(frames, after.num_frames)
    rate = Fraction(after.num_frames, before.num_frames)
    left = before.resize.Bicubic(after.width, after.height, format=after.format.id)
    shown = vs.core.std.Splice([left[int(n / rate)] for n in range(frames)])
    shown = shown.std.CopyFrameProps(after[:frames])
    return vs.core.std.StackHorizontal([shown, after[:frames]])
