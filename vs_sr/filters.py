"""The filters: from a call ``core.vs_sr.<Model>(clip, ...)`` to a graph of nodes.

A graph is built without torch and without a single frame: what the weights are is read off the file's header.
"""

from __future__ import annotations

import shlex
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import vapoursynth as vs

from vs_sr import _bridge, _names, color, frames, registry, scenes, session, tiles
from vs_sr.errors import ArgumentError, QuestionError, WeightsError
from vs_sr.scheduler import Scheduler
from vs_sr.weights import store
from vs_sr.windows import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vs_sr.spec import Model, Variant
    from vs_sr.tiles import Tile
    from vs_sr.weights.store import Source

_MAX_WINDOW = 64
"""A window's features are held at once; more frames than this are a mistake, not a wish."""
_MAX_STREAMS = 32
"""Each has a network and a thread of its own."""
_DEFAULT_ENLARGEMENT, _MAX_ENLARGEMENT = 2, 8
"""Of models that take an enlarged clip: what people expect of a filter for super-resolution, and a limit."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A call's arguments, the clip apart. None stands for "not given"."""

    scale: int | None = None
    tilesize: tuple[int, int] | None = None
    overlap: tuple[int, int] | None = None
    num_streams: int = 1
    window: int | None = None
    multi: int | None = None
    sc: int = 1
    weights: str | None = None
    backend: str = "auto"
    device_id: int | None = None
    precision: str = "auto"
    matrix_in: int | None = None
    range_in: int | None = None
    matrix: int | None = None
    range: int | None = None
    format: int | None = None


def create(name: str, arguments: Mapping[str, Any]) -> vs.VideoNode:
    """Build the graph of a filter.

    Args:
        name: of the filter.
        arguments: as the script gave them, the clip among them.

    Raises:
        ArgumentError: an argument or the clip cannot be taken.
        WeightsError: the weights are not to be had, or not for this model.
        PluginError: the package that declares the filter cannot be loaded.
    """
    model = registry.model(name)
    given = {key: _plain(value) for key, value in arguments.items()}
    clip = given.pop("clip", None)
    if not isinstance(clip, vs.VideoNode):
        raise ArgumentError(f"clip must be one video clip; got {type(clip).__name__}")
    options = _options(model, given)
    source, variant = _weights(model, options)
    input_format = frames.check_clip(clip, variant.min_size)
    enlarge = _enlargement(options) if variant.enlarged else 1
    size = (enlarge * clip.width, enlarge * clip.height)
    output_size = (variant.scale * size[0], variant.scale * size[1])
    output_format = _output_format(input_format, options, output_size)
    taken = frames.to_network(
        name,
        clip,
        variant.color,
        enlarge=enlarge,
        matrix_in=options.matrix_in,
        range_in=options.range_in,
    )
    job = _Job(
        model=model,
        variant=variant,
        source=source,
        options=options,
        float_clip=input_format.sample_type == vs.FLOAT and input_format.bits_per_sample == 32,
        size=size,
        tiles=_tiles(variant, options, size),
    )
    enlarged = _streams(name, taken, job)
    return frames.from_network(name, enlarged, clip, output_format, matrix=options.matrix, range=options.range)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What the streams of a filter have in common."""

    model: Model
    variant: Variant
    source: Source | None
    options: Arguments
    float_clip: bool
    size: tuple[int, int]
    """Width and height of what the network takes."""
    tiles: tuple[Tile, ...] | None
    """As the arguments say; None: they do not."""


def _streams(name: str, taken: vs.VideoNode, job: _Job) -> vs.VideoNode:
    """The frames that the network makes of ``taken``, by one session or by several, each with frames of its own."""
    model, options, variant = job.model, job.options, job.variant
    count = min(options.num_streams, taken.num_frames)
    streams = []
    for stream in range(count):
        # the durations stay those of the whole clip
        part = taken if count == 1 else taken.std.SelectEvery(count, [stream], modify_duration=False)
        grid = Grid(frames=part.num_frames, window=options.window or model.window, multi=_multi(model, options))
        made = _bridge.temporal(
            name,
            part,
            _Renderer(job, grid, stream),
            width=variant.scale * taken.width,
            height=variant.scale * taken.height,
            format=vs.RGBS if variant.color == "rgb" else vs.GRAYS,
            step=grid.step,
            multi=grid.multi,
            share=grid.share,
            before=0,
            after=grid.share,
        )
        streams.append(made)
    return streams[0] if count == 1 else vs.core.std.Interleave(streams, modify_duration=False)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes | bytearray) else value


def _options(model: Model, given: dict[str, Any]) -> Arguments:
    """Check names, types and values of a call's arguments."""
    accepted = _names.arguments(_names.SEQUENCE if model.kind == "sequence" else _names.IMAGE)
    for key, value in dict(given).items():
        if key not in accepted:
            raise ArgumentError(f"there is no argument {key!r}; choices: {', '.join(accepted)}")
        if accepted[key] == "int[]":
            given[key] = _pair(key, value)
            continue
        wanted = {"int": int, "float": float, "data": str}.get(accepted[key])
        if wanted is not None and not isinstance(value, wanted):
            raise ArgumentError(f"{key} must be {wanted.__name__}; got {value!r}")
    options = Arguments(**given)
    if options.scale is not None and options.scale < 1:
        raise ArgumentError(f"scale={options.scale} is no factor; 1 or more")
    if not 1 <= options.num_streams <= _MAX_STREAMS:
        raise ArgumentError(f"num_streams={options.num_streams} is out of range; 1 to {_MAX_STREAMS} (default 1)")
    if options.window is not None and not 2 <= options.window <= _MAX_WINDOW:
        raise ArgumentError(
            f"window={options.window} is out of range; 2 to {_MAX_WINDOW} input frames (default {model.window})"
        )
    precisions = ("auto", *get_args(session.Precision.__value__))
    if options.precision not in precisions:
        raise ArgumentError(f"precision={options.precision!r} is unknown; choices: {', '.join(precisions)}")
    if options.device_id is not None and options.device_id < -1:
        raise ArgumentError(f"device_id={options.device_id} is no device; -1 is the CPU, 0 the first GPU")
    if options.backend != "auto":
        registry.backend(options.backend)
    for key in ("matrix_in", "matrix"):
        color.check_matrix(key, getattr(options, key))
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
        raise ArgumentError(f"{key} must be one integer, or two for width and height, from 0; got {value!r}")
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
        raise WeightsError(f"{error.question}; {_how_to_tell(source, error)}") from None
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


def _tiles(variant: Variant, options: Arguments, size: tuple[int, int]) -> tuple[Tile, ...] | None:
    """The tiles that the arguments ask for; None: they do not say."""
    if options.tilesize is None:
        return None
    smallest = min(length for length in (*options.tilesize, max(size)) if length)
    if smallest < variant.min_size:
        raise ArgumentError(f"tilesize={smallest} is too small; this network takes {variant.min_size} pixels at least")
    return _cover(variant, options, size, options.tilesize)


def _cover(variant: Variant, options: Arguments, size: tuple[int, int], tile: tuple[int, int]) -> tuple[Tile, ...]:
    overlap = options.overlap
    if overlap is None:
        overlap = (tiles.default_overlap(tile[0], variant.halo), tiles.default_overlap(tile[1], variant.halo))
    return tiles.cover(size, tile, overlap, variant.multiple)


def _output_format(source: vs.VideoFormat, options: Arguments, size: tuple[int, int]) -> vs.VideoFormat:
    if options.format is None:
        return source
    try:
        format = vs.core.get_video_format(options.format)
        known = format.color_family != vs.UNDEFINED
    except vs.Error:
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


class _Renderer:
    """What the plugin calls for a group of output frames. Holds the session, so that both live equally long."""

    def __init__(self, job: _Job, grid: Grid, stream: int) -> None:
        self.grid = grid
        self._job = job
        self._stream = stream
        self._scheduler: Scheduler | None = None
        self._lock = threading.Lock()

    def __call__(
        self, group: int, want: int, numbers: list[int], inputs: list[vs.VideoFrame]
    ) -> Sequence[vs.VideoFrame]:
        tags = {n: _scene_tags(frame) for n, frame in zip(numbers, inputs, strict=True)}
        cuts = scenes.cuts(tags) if self._job.options.sc else set()
        uploaded = {n: frames.upload(frame) for n, frame in zip(numbers, inputs, strict=True)}
        outputs = frames.download(self.scheduler().render(group, uploaded, cuts)[:want])
        multi = self.grid.multi
        for output, number in zip(outputs, self.grid.outputs(group), strict=False):
            source, part = divmod(number, multi)
            divided = scenes.divide(tags[source], part, multi)
            for key, value in zip((scenes.PREVIOUS, scenes.NEXT), divided, strict=True):
                if value is not None:
                    output.props[key] = value
        return outputs

    def scheduler(self) -> Scheduler:
        """The scheduler; at the first frame, this chooses the device and finds or makes the session."""
        with self._lock:
            if self._scheduler is None:
                job, options = self._job, self._job.options
                device = session.choose_device(options.device_id)
                precision = session.choose_precision(
                    cast("Literal['auto'] | session.Precision", options.precision),
                    device,
                    float_clip=job.float_clip,
                )
                plan = session.Plan(
                    model=job.model.name,
                    variant=job.variant,
                    source=job.source,
                    device=device,
                    precision=precision,
                    backend="eager" if options.backend == "auto" else options.backend,
                    stream=self._stream,
                )
                self._scheduler = Scheduler(self.grid, session.acquire(plan), _divided(job, device, precision))
            return self._scheduler


def _divided(job: _Job, device: str, precision: session.Precision) -> tuple[Tile, ...]:
    """The tiles that a frame is run in: as the arguments say, or as the device's memory demands."""
    parts, variant, size = job.tiles, job.variant, job.size
    if parts is None and job.model.kind == "image":
        tile = tiles.plan(
            size,
            scale=variant.scale,
            channels=variant.channels,
            width=4 if precision == "fp32" else 2,
            memory=session.total_memory(device) // (2 * job.options.num_streams),
            halo=variant.halo,
        )
        parts = _cover(variant, job.options, size, tile) if any(tile) else ()
    if parts:
        sees = "the whole frame: tiles change its picture" if variant.halo is None else f"{variant.halo} pixels far"
        session.tell(
            f"{job.model.name}: frames of {size[0]}x{size[1]} are run in {len(parts)} tiles of "
            f"{parts[0].columns.stop}x{parts[0].rows.stop}; the network sees {sees}"
        )
    return parts or ()


def _scene_tags(frame: vs.VideoFrame) -> scenes.Tags:
    properties = frame.props
    return cast("scenes.Tags", (properties.get(scenes.PREVIOUS), properties.get(scenes.NEXT)))
