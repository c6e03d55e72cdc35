"""The filters: from a call ``core.vs_sr.<Model>(clip, ...)`` to a graph of nodes.

A graph is built without torch and without a single frame: what the weights are is read off the file's header.
"""

from __future__ import annotations

import logging
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import vapoursynth as vs

from vs_sr import _bridge, arguments, color, cuts, files, frames, registry, tiles
from vs_sr.arguments import Arguments
from vs_sr.engine.scheduler import Kept, compare
from vs_sr.errors import ArgumentError, QuestionError, WeightsError
from vs_sr.renderer import Job, Renderer, settled
from vs_sr.weights import store
from vs_sr.windows import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vs_sr.spec import Model, Variant
    from vs_sr.weights.store import Source

_log = logging.getLogger("vs_sr")

_TYPES = {"int": (int,), "float": (float, int), "data": (str,)}
"""VapourSynth's types of arguments, as Python has them."""
_DEFAULT_ENLARGEMENT, _MAX_ENLARGEMENT = 2, 8
"""Of models that take an enlarged clip: what people expect of a filter for super-resolution, and a limit."""


def create(name: str, call: Mapping[str, Any]) -> vs.VideoNode:
    """Build the graph of a filter.

    Args:
        name: of the filter.
        call: its arguments, as the script gave them, the clip among them.

    Raises:
        ArgumentError: an argument or the clip cannot be taken.
        WeightsError: the weights are not to be had, or not for this model.
        PluginError: the package that declares the filter cannot be loaded.
    """
    model = registry.model(name)
    given = {key: _plain(value) for key, value in call.items()}
    clip = given.pop("clip", None)
    if not isinstance(clip, vs.VideoNode):
        raise ArgumentError(f"clip must be one video clip; got {type(clip).__name__}")
    options = _states(_options(model, given))
    source, variant = _weights(model, options)
    input_format = frames.check_clip(clip, variant.min_size)
    enlarge = _enlargement(options) if variant.enlarged else 1
    size = (enlarge * clip.width, enlarge * clip.height)
    output_size = (variant.scale * size[0], variant.scale * size[1])
    output_format = _output_format(input_format, options, output_size)
    color.check_matrix("matrix_in", options.matrix_in, frames.family(input_format))
    color.check_matrix("matrix", options.matrix, frames.family(output_format))
    job = Job(
        model=model,
        variant=variant,
        source=source,
        size=size,
        float_clip=input_format.sample_type == vs.FLOAT and input_format.bits_per_sample == 32,
        options=options,
        given=_given(options),
    )
    _tiles(job)
    clip = frames.finite(clip)
    marked = cuts.mark(name, clip, options.sc_threshold) if job.cuts else clip
    taken = frames.to_network(
        name,
        marked,
        variant.color,
        enlarge=enlarge,
        matrix_in=options.matrix_in,
        range_in=options.range_in,
    )
    enlarged = _streams(name, taken, job)
    return frames.from_network(name, enlarged, marked, output_format, matrix=options.matrix, range=options.range)


def _streams(name: str, taken: vs.VideoNode, job: Job) -> vs.VideoNode:
    """The frames that the network makes of ``taken``, by one session or by several, each with frames of its own."""
    scale = job.variant.scale
    count = min(job.options.num_streams, taken.num_frames)
    around = (job.variant.window or 1) // 2
    streams = []
    for stream in range(count):
        # the durations stay those of the whole clip
        part = taken if count == 1 else taken.std.SelectEvery(count, [stream], modify_duration=False)
        grid = _grid(job, part.num_frames)
        made = _bridge.temporal(
            name,
            part,
            Renderer(job, grid, stream),
            width=scale * taken.width,
            height=scale * taken.height,
            format=vs.RGBS if job.variant.color == "rgb" else vs.GRAYS,
            step=grid.step,
            multi=grid.multi,
            share=grid.share,
            before=around,
            after=around or grid.share + grid.lookahead,
        )
        streams.append(made)
    return streams[0] if count == 1 else _bridge.lean(vs.core.std.Interleave(streams, modify_duration=False))


def _grid(job: Job, length: int) -> Grid:
    """The windows over a clip of ``length`` frames, and where the film before it ends."""
    model, options = job.model, job.options
    if model.kind != "sequence":
        return Grid(frames=length, window=1)

    def chosen[T](given: T | None, default: T) -> T:
        return default if given is None else given

    grid = Grid(
        frames=length,
        window=chosen(options.window, model.window),
        multi=_multi(model, options),
        density=model.density,
        lookahead=chosen(options.lookahead, model.lookahead),
        carry=chosen(options.carry, model.carry),
        segment=chosen(options.segment, model.segment),
    )
    if not grid.carry and (options.state_in or options.state_out):
        raise ArgumentError("state_in and state_out are for a state that is carried; give carry=1 as well")
    state = job.given
    if state is None:
        return grid
    compare(state.fingerprint, settled(job, grid))
    if state.final:
        _log.info("%s: the clip goes on from the one that ended in %s", model.name, options.state_in)
        return replace(grid, past=state.past + state.window)
    if state.frames != length or state.window >= grid.groups:
        raise ArgumentError(
            f"state_in={options.state_in!r} is of a clip of {state.frames} frames, this one has {length}; in the "
            "middle of a clip a state is for the same clip only"
        )
    _log.info(
        "%s: the state of %s is that before input frame %d: output begins with frame %d (vspipe --start)",
        model.name, options.state_in, state.window * grid.step, grid.outputs(state.window).start,
    )  # fmt: skip
    return replace(grid, past=state.past)


def _states(options: Arguments) -> Arguments:
    """The arguments with the files of states as they are found here and now.

    Raises:
        ArgumentError: a name that no file can have, or one that cannot be written.
    """
    found: dict[str, Any] = {}
    for key in ("state_in", "state_out"):
        name = getattr(options, key)
        if name is None:
            continue
        try:
            path = files.resolve(name)
            if key == "state_out":
                files.check_target(path)
        except ArgumentError as error:
            raise ArgumentError(f"{key}={_shown(name)} {error}") from None
        found[key] = str(path)
    return replace(options, **found)


def _given(options: Arguments) -> Kept | None:
    """The state that the clip goes on from."""
    if options.state_in is None:
        return None
    try:
        return Kept.open(options.state_in)
    except ArgumentError as error:
        raise ArgumentError(f"state_in: {error}") from None


def _plain(value: Any) -> Any:
    """A value as Python has it; names of files need not be UTF-8."""
    return os.fsdecode(bytes(value)) if isinstance(value, bytes | bytearray) else value


def _shown(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"


def _options(model: Model, given: dict[str, Any]) -> Arguments:
    """Check names, types and values of a call's arguments."""
    accepted = {argument.name: argument for argument in arguments.of(model.kind)}
    for key, value in dict(given).items():
        if key not in accepted:
            raise ArgumentError(f"there is no argument {key!r}; choices: clip, {', '.join(accepted)}")
        choices = accepted[key].choices
        if accepted[key].type == "int[]":
            given[key] = _pair(key, value)
            continue
        types = _TYPES[accepted[key].type]
        if not isinstance(value, types):
            raise ArgumentError(f"{key} must be {types[0].__name__}; got {_shown(value)}")
        if choices and value not in choices:
            raise ArgumentError(f"{key}={_shown(value)} is unknown; choices: {', '.join(map(str, choices))}")
        least, most = accepted[key].limits
        if least is not None and not least <= value <= most:
            default = accepted[key].default if accepted[key].default is not None else getattr(model, key)
            raise ArgumentError(f"{key}={value} is out of range; {least} to {most} (default {default})")
        if bool in (accepted[key].annotation, *get_args(accepted[key].annotation)):
            given[key] = bool(value)
    options = Arguments(**given)
    if options.scale is not None and options.scale < 1:
        raise ArgumentError(f"scale={options.scale} is no factor; 1 or more")
    if options.device_id is not None and options.device_id < -1:
        raise ArgumentError(f"device_id={options.device_id} is no device; -1 is the CPU, 0 the first GPU")
    if options.backend != "auto":
        registry.backend(options.backend)
    for key in ("range_in", "range"):
        color.check_range(key, getattr(options, key))
    return options


def _multi(model: Model, options: Arguments) -> int:
    multi = model.multi[0] if options.multi is None else options.multi
    if multi not in model.multi:
        choices = ", ".join(str(value) for value in sorted(model.multi))
        raise ArgumentError(f"multi={multi} is not possible; choices: {choices} (default {model.multi[0]})")
    return multi


def _pair(key: str, value: Any) -> tuple[int, int]:
    """One number for both sides, or width and height."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(numbers) not in (1, 2) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ArgumentError(f"{key} must be one integer, or two for width and height, from 0; got {_shown(value)}")
    return numbers[0], numbers[-1]


def _enlargement(options: Arguments) -> int:
    """The factor by which a clip is enlarged before the network sees it."""
    scale = _DEFAULT_ENLARGEMENT if options.scale is None else options.scale
    if scale > _MAX_ENLARGEMENT:
        raise ArgumentError(
            f"scale={scale} is out of range; 1 (the clip is enlarged already) to {_MAX_ENLARGEMENT} "
            f"(default {_DEFAULT_ENLARGEMENT})"
        )
    return scale


def _weights(model: Model, options: Arguments) -> tuple[Source | None, Variant]:
    if model.fixed is not None:
        if options.weights is not None:
            raise ArgumentError("weights cannot be given: this model has none")
        if not model.fixed.enlarged and options.scale not in (None, model.fixed.scale):
            raise ArgumentError(f"scale={options.scale} is not possible; this model is x{model.fixed.scale}")
        return None, model.fixed
    name = options.weights or model.weights
    if name is None:
        raise ArgumentError(_where_to_get(model))
    source = store.locate(name, model)
    if options.scale is not None:
        source = replace(source, answers=(("scale", str(options.scale)),))
    try:
        variant = store.recognise(model, source).variant
    except QuestionError as error:
        if error.key == "scale":  # an argument of the filter, unlike the others
            raise
        short = error.question.replace(str(source.path), source.path.name, 1)  # the command has the whole path
        raise WeightsError(f"{short}; {_how_to_tell(source, error)}") from None
    # an enlargement beforehand is none of the file's business: filters that differ in it share a session
    return (replace(source, answers=()) if variant.enlarged else source), variant


def _how_to_tell(source: Source, question: QuestionError) -> str:
    """The command that writes the answer to a question into a copy of the file."""
    target = source.path.with_suffix(".safetensors")
    if target == source.path:
        target = target.with_stem(f"{target.stem}_told")
    known = [f"{key}={value}" for key, value in source.answers]
    command = shlex.join(["vs-sr", "weights", "convert", str(source.path), str(target)])
    told = " ".join(f"--set {answer}" for answer in (*known, question.answers[0]))
    others = "".join(f" (or {answer})" for answer in question.answers[1:])
    return f"say which in a copy of the file, made by `{command} {told}`{others}"


def _where_to_get(model: Model) -> str:
    """What to say where weights must be given and are not."""
    start = "weights must be given: this model comes without"
    if model.published is None:
        return f"{start}; the path of a .safetensors or .pth file"
    file = f"{model.name.lower()}.safetensors"
    return f"{start}; get {model.published}, run `{model.published.conversion(file)}`, and give weights={file!r}"


def _tiles(job: Job) -> None:
    """Check the tiles that the arguments ask for.

    Raises:
        ArgumentError: they are smaller than the network can take, or nothing would be kept of them.
    """
    variant, options = job.variant, job.options
    if options.tilesize is None:
        return
    smallest = min(length for length in (*options.tilesize, max(job.size)) if length)
    if smallest < variant.min_size:
        raise ArgumentError(f"tilesize={smallest} is too small; this network takes {variant.min_size} pixels at least")
    overlap = tiles.overlaps(options.tilesize, options.overlap, variant.halo, variant.multiple)
    tiles.cover(job.size, options.tilesize, overlap, variant.multiple)


def _output_format(source: vs.VideoFormat, options: Arguments, size: tuple[int, int]) -> vs.VideoFormat:
    if options.format is None:
        return source
    try:
        format = vs.core.get_video_format(options.format)
        known = format.color_family != vs.UNDEFINED
    except (vs.Error, OverflowError):
        known = False
    if not known:
        raise ArgumentError(f"format={options.format} is no video format; use vs.YUV420P8 and the like")
    frames.check_format("format", format)
    if size[0] % (1 << format.subsampling_w) or size[1] % (1 << format.subsampling_h):
        raise ArgumentError(
            f"format={format.name} is not possible with an output of {size[0]}x{size[1]}: its chroma needs even "
            "sizes; use a 4:4:4 format, or std.Crop first"
        )
    return format
