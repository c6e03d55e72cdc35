"""The filters: from a call ``core.vs_sr.<Model>(clip, ...)`` to a graph of nodes.

A graph is built without torch and without a single frame: what the weights are is read off the file's header.
"""

from __future__ import annotations

import logging
import os
import shlex
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, get_args

import vapoursynth as vs

from vs_sr import _bridge, arguments, color, cuts, files, frames, registry, tiles, windows
from vs_sr.arguments import Arguments
from vs_sr.engine.engine import Engine
from vs_sr.engine.pipeline import Pipeline
from vs_sr.engine.plan import Plan
from vs_sr.engine.scheduler import Kept, compare
from vs_sr.errors import AmbiguousError, ArgumentError, WeightsError
from vs_sr.renderer import Renderer
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vs_sr.spec import Model, Variant
    from vs_sr.weights.store import Source
    from vs_sr.windows import Grid

_log = logging.getLogger("vs_sr")

_TYPES = {"int": (int,), "float": (float, int), "data": (str,)}
"""VapourSynth's types of arguments, as Python has them."""
_DEFAULT_UPSCALE, _MAX_UPSCALE = 2, 8
"""Of models that take an upscaled clip: what people expect of a filter for super-resolution, and a limit."""


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
    if options.precision not in ("auto", *variant.precisions):
        choices = ", ".join(("auto", *variant.precisions))
        raise ArgumentError(f'precision="{options.precision}" is not possible with this network; choices: {choices}')
    input_format = frames.check_clip(clip, variant.min_size)
    upscale = _upscaling(options) if variant.upscaled else 1
    size = (upscale * clip.width, upscale * clip.height)
    output_size = (variant.scale * size[0], variant.scale * size[1])
    output_format = _output_format(input_format, options, output_size)
    color.check_matrix("matrix_in", options.matrix_in, frames.family(input_format))
    color.check_matrix("matrix", options.matrix, frames.family(output_format))
    given_state = _given(options)
    pipeline = Pipeline(
        model=model,
        variant=variant,
        source=source,
        size=size,
        grid=_grid(model, options, clip),
        float_clip=input_format.sample_type == vs.FLOAT and input_format.bits_per_sample == 32,
        options=options,
    )
    if given_state is not None:
        pipeline = _continued(pipeline, given_state)
    _tiles(pipeline)
    plan = Plan(pipeline)
    clip = frames.finite(clip)
    bare = frames.bare(clip)
    taken = frames.to_network(
        name,
        clip,
        bare,
        variant.color,
        upscale=upscale,
        matrix_in=options.matrix_in,
        range_in=options.range_in,
        carried=lambda: plan.pipeline().converts,
    )
    marked = clip
    if pipeline.cuts:
        found = cuts.found(name, bare, options.sc_threshold)
        taken, marked = cuts.mark(taken, found), cuts.mark(clip, found)
    repeats = frames.repeats(marked, options.repeats_threshold) if options.repeats else None
    if repeats is not None and model.kind == "sequence":
        taken = _bridge.drawings(taken, repeats)
    output = frames.Output(
        source=input_format,
        format=output_format,
        size=output_size,
        matrix=options.matrix,
        range=options.range,
        dither=options.dither,
        planes=variant.color,
    )
    made = _streams(name, taken, pipeline, plan, given_state, output)
    if repeats is not None and model.kind == "image":
        made = frames.take_over(made, repeats, clip)
    return frames.from_network(name, made, clip, output)


def _streams(
    name: str, taken: vs.VideoNode, pipeline: Pipeline, plan: Plan, state: Kept | None, output: frames.Output
) -> vs.VideoNode:
    """What the network makes of ``taken``, by one session or by several, each with frames of its own."""
    width, height = output.size
    image = vs.RGBS if output.planes == "rgb" else vs.GRAYS
    count = min(pipeline.options.num_streams, taken.num_frames)
    around = (pipeline.variant.window or 1) // 2
    streams = []
    for stream in range(count):
        # the durations stay those of the whole clip
        part = taken if count == 1 else taken.std.SelectEvery(count, [stream], modify_duration=False)
        grid = replace(pipeline.grid, frames=part.num_frames)
        engine = Engine(plan, grid, stream, state)
        made = _bridge.temporal(
            name,
            part,
            Renderer(engine, grid, output, cuts=pipeline.cuts),
            width=width,
            height=height,
            format=output.format.id if output.direct else image,
            step=grid.step,
            multi=grid.multi,
            per=grid.per,
            groups=grid.groups,
            before=around,
            after=around or grid.share + grid.lookahead,
            parallel=True,
        )
        streams.append(made)
    return streams[0] if count == 1 else _bridge.lean(vs.core.std.Interleave(streams, modify_duration=False))


def _grid(model: Model, options: Arguments, clip: vs.VideoNode) -> Grid:
    """The windows over a clip."""
    if model.kind == "sequence" and options.multi is not None and options.multi not in model.multi:
        choices = ", ".join(str(value) for value in sorted(model.multi))
        raise ArgumentError(f"multi={options.multi} is not possible; choices: {choices} (default {model.multi[0]})")
    multi, per = _rate(model, options, clip) or (options.multi, None)
    _check_repeats(model, options)
    names = ("window", "lookahead", "carry", "segment", "repeats")
    wishes = {name: getattr(options, name) for name in names}
    grid = windows.grid(model, clip.num_frames, multi=multi, per=per, **wishes)
    if model.kind == "sequence" and not grid.carry and (options.state_in or options.state_out):
        raise ArgumentError("state_in and state_out are for a state that is carried; give carry=1 as well")
    return grid


def _rate(model: Model, options: Arguments, clip: vs.VideoNode) -> tuple[int, int] | None:
    """The target rate over the clip's, in lowest terms; None: there is no target.

    Raises:
        ArgumentError: it cannot be met.
    """
    if options.fps_num is None:
        if options.fps_den is not None:
            raise ArgumentError(f"fps_den={options.fps_den} alone is no rate; give fps_num as well")
        return None
    target, rate = Fraction(options.fps_num, options.fps_den or 1), clip.fps
    wish = f"fps_num={options.fps_num}, fps_den={options.fps_den or 1}"
    if options.multi is not None:
        raise ArgumentError(f"{wish} and multi={options.multi} are two rates; give one")
    if windows.PARTS not in model.multi:
        choices = ", ".join(map(str, sorted(model.multi)))
        raise ArgumentError(f"{wish} is not possible: this model does multi={choices} only; leave fps_num out")
    if not rate:
        raise ArgumentError(
            f"{wish} is not possible for a clip of variable or unknown rate (its fps is 0); use multi, which "
            "divides each frame's duration, or std.AssumeFPS first"
        )
    if not rate <= target <= windows.PARTS * rate:
        raise ArgumentError(f"{wish} is out of range; {rate} (the clip's) to {windows.PARTS * rate} are possible")
    ratio = target / rate
    if ratio.numerator > windows.FINEST:
        raise ArgumentError(f"{wish} over the clip's {rate} is {ratio}, too fine a ratio; use std.AssumeFPS first")
    return ratio.numerator, ratio.denominator


def _check_repeats(model: Model, options: Arguments) -> None:
    """Refuse a way with repeated frames that the model has not.

    Raises:
        ArgumentError: it has not.
    """
    if options.repeats == 2 and model.kind == "image":
        raise ArgumentError("repeats=2 is for sequence models; choices: 0, 1 (the earlier result is taken over)")
    if options.repeats == 1 and model.kind == "sequence" and windows.PARTS not in model.multi:
        choices = ", ".join(map(str, sorted(model.multi)))
        raise ArgumentError(
            f"repeats=1 is not possible: this model does multi={choices} only, and has no frames to spread a drawing "
            "with; choices: 0, 2 (it sees each drawing once, and holds it)"
        )


def _continued(pipeline: Pipeline, state: Kept) -> Pipeline:
    """The pipeline of a clip that goes on from a state: where the film before it ends."""
    name, grid, path = pipeline.model.name, pipeline.grid, pipeline.options.state_in
    compare(state.fingerprint, pipeline.facts())
    if state.final:
        _log.info("%s: the clip goes on from the one that ended in %s", name, path)
        return replace(pipeline, grid=replace(grid, past=state.past + state.window))
    if state.frames != grid.frames or state.window >= grid.groups:
        raise ArgumentError(
            f"state_in={path!r} is of a clip of {state.frames} frames, this one has {grid.frames}; in the "
            "middle of a clip a state is for the same clip only"
        )
    _log.info(
        "%s: the state of %s is that before input frame %d: output begins with frame %d (vspipe --start)",
        name, path, state.window * grid.step, grid.outputs(state.window).start,
    )  # fmt: skip
    return replace(pipeline, grid=replace(grid, past=state.past))


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
            default = (
                getattr(model, key, accepted[key].absent) if accepted[key].default is None else accepted[key].default
            )
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


def _pair(key: str, value: Any) -> tuple[int, int]:
    """One number for both sides, or width and height."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(numbers) not in (1, 2) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ArgumentError(f"{key} must be one integer, or two for width and height, from 0; got {_shown(value)}")
    return numbers[0], numbers[-1]


def _upscaling(options: Arguments) -> int:
    """The factor by which a clip is upscaled before the network sees it."""
    scale = _DEFAULT_UPSCALE if options.scale is None else options.scale
    if scale > _MAX_UPSCALE:
        raise ArgumentError(
            f"scale={scale} is out of range; 1 (the clip is upscaled already) to {_MAX_UPSCALE} "
            f"(default {_DEFAULT_UPSCALE})"
        )
    return scale


def _weights(model: Model, options: Arguments) -> tuple[Source | None, Variant]:
    if model.fixed is not None:
        if options.weights is not None:
            raise ArgumentError("weights cannot be given: this model has none")
        if not model.fixed.upscaled and options.scale not in (None, model.fixed.scale):
            raise ArgumentError(f"scale={options.scale} is not possible; this model is x{model.fixed.scale}")
        return None, model.fixed
    name = options.weights or store.default(model, options.scale)
    if name is None:
        raise ArgumentError(_where_to_get(model))
    source = store.locate(name, model)
    if options.scale is not None:
        source = replace(source, hints=(("scale", str(options.scale)),))
    try:
        variant = store.recognize(model, source).variant
    except AmbiguousError as error:
        if error.key == "scale":  # an argument of the filter, unlike the others
            raise
        short = error.ambiguity.replace(str(source.path), source.path.name, 1)  # the command has the whole path
        raise WeightsError(f"{short}; {_how_to_hint(source, error)}") from None
    # an upscaling beforehand is none of the file's business: filters that differ in it share a session
    return (replace(source, hints=()) if variant.upscaled else source), variant


def _how_to_hint(source: Source, error: AmbiguousError) -> str:
    """The command that writes a hint into a copy of the file."""
    target = source.path.with_suffix(".safetensors")
    if target == source.path:
        target = target.with_stem(f"{target.stem}_hinted")
    known = [f"{key}={value}" for key, value in source.hints]
    command = shlex.join(["vs-sr", "weights", "convert", str(source.path), str(target)])
    hints = " ".join(f"--set {hint}" for hint in (*known, error.hints[0]))
    others = "".join(f" (or {hint})" for hint in error.hints[1:])
    return f"say which in a copy of the file, made by `{command} {hints}`{others}"


def _where_to_get(model: Model) -> str:
    """What to say where weights must be given and are not."""
    start = "weights must be given: this model comes without"
    if model.published is None:
        return f"{start}; the path of a .safetensors or .pth file"
    if model.published.address:
        return f"{start}; run `{model.published.getting}`, which says how to go on. It gets {model.published}"
    file = f"{model.name.lower()}.safetensors"
    return f"{start}; get {model.published}, run `{model.published.conversion(file)}`, and give weights={file!r}"


def _tiles(pipeline: Pipeline) -> None:
    """Check the tiles that the arguments ask for.

    Raises:
        ArgumentError: they are smaller than the network can take, or nothing would be kept of them.
    """
    variant, options = pipeline.variant, pipeline.options
    if options.tilesize is None:
        return
    smallest = min(length for length in (*options.tilesize, max(pipeline.size)) if length)
    if smallest < variant.min_size:
        raise ArgumentError(f"tilesize={smallest} is too small; this network takes {variant.min_size} pixels at least")
    overlap = tiles.overlaps(options.tilesize, options.overlap, variant.receptive_field, variant.multiple)
    tiles.cover(pipeline.size, options.tilesize, overlap, variant.multiple)


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
