"""What a training run is, as facts: read from a TOML file, every key known, every value checked. No torch.

A recipe holds all that decides the weights. What belongs to a machine or a user (folders, device, processes) is
given on the command line, see :class:`Place`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vs_sr import files
from vs_sr.errors import ArgumentError
from vs_sr.windows import RATES

FOLDER = Path(__file__).parent / "recipes"
"""The recipes of the shipped weights, each by its name."""

type Span = tuple[float, float]
"""From least to most, both included."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ArgumentError(message)


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is trained."""

    model: str
    """A filter's name: "EDSR"."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the network's constructor; the others keep their defaults."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What no tensor tells and the file therefore has to say: ``base``, ``range``, ..., see ``Model.hints``."""
    initialization: Literal["torch", "single-image", "unaligned", "he", "small"] = "torch"
    """See :mod:`vs_sr.training.start`."""
    start: str = ""
    """A weights file, or a shipped name, to begin with; "?": one that ``--start`` has to give."""
    transfer: bool = False
    """Whether tensors of ``start`` that do not fit are left out, as from x2 to x4."""
    fresh: tuple[str, ...] = ()
    """Beginnings of the names of tensors that ``start`` does not give: they begin again, by ``initialization``."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the file besides: ``border``, ``value_range``, ..."""


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Clips of scenes made by a program (:func:`vs_sr.training.scenes.make_scene`)."""

    count: int
    frames: int = 7
    size: int = 160
    """Pixels on a side."""
    seed: int = 1_000_000
    """Of the first one; the others follow."""
    span: float = 4.6
    """Natural logarithm of the highest speed over the lowest: two decades, or 2.3 for one."""
    photos: bool = False
    """Whether layers are cut from the user's photographs (``--photos``), not from drawn textures."""

    def __post_init__(self) -> None:
        _require(self.count >= 1 and self.frames >= 1, "count and frames must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Video:
    """Clips of videos of the user's (``--video``), from where something moves and where there is detail."""

    count: int
    frames: int = 7
    size: int = 160
    """Pixels on a side, of frames that are ``height`` high."""
    height: int = 360
    """That frames are shrunk to: at half the size little is left of how the file was coded."""
    best: float = 0.3
    """Share of all places, the best ones, of which ``count`` are drawn."""
    stills: int = 7
    """One clip more of every so many: its first frame, repeated. 0: none."""
    from_: float = 0.0
    """Share of a film that is left out at its beginning; the key is ``from``."""
    until: float = 0.9
    """Share of a film at which looking ends: what follows is for measuring, or is credits."""
    seed: int = 1

    def __post_init__(self) -> None:
        _require(self.count >= 1 and self.frames >= 1, "count and frames must be at least 1")
        _require(0 < self.best <= 1 and 0 < self.until <= 1, "best and until must be above 0, and 1 at most")
        _require(0 <= self.from_ < self.until, f"from must be at least 0, and below until; got {self.from_}")
        _require(self.height % 2 == 0 and self.height >= self.size, "height must be even, and not below size")


@dataclass(frozen=True, kw_only=True)
class Images:
    """Crops of all images of the user's folders (``--images``), as the papers cut DIV2K."""

    size: int = 480
    stride: int = 200
    """Pixels from crop to crop. The last exact fit is left out, as it is there."""


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Pairs in a file of the user's (``--h5``): groups ``lr`` and ``hr``, data sets "0", "1", ..., CHW in 0..1."""


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What a share of the clips goes through beside bicubic: blur, noise, then a codec, over the whole LR clip."""

    share: float = 0.5
    """Of the clips."""
    blur: Span = (0.0, 0.8)
    """Standard deviation of a Gaussian on the LR, in its pixels."""
    noise: Span = (0.0, 0.01)
    """Standard deviation, of values in 0..1."""
    codecs: tuple[Literal["none", "h264", "mpeg2"], ...] = ("h264", "h264", "mpeg2", "none")
    """Drawn with equal shares. "none" still subsamples chroma (4:2:0) in one of two clips."""
    crf: tuple[int, int] = (18, 32)
    """Of H.264."""
    quantizer: tuple[int, int] = (2, 12)
    """Of MPEG-2."""
    run_in: int = 8
    """LR frames, at most, that a codec has seen when the clip begins; how many is drawn. Films have few key frames."""
    seed: int = 1

    def __post_init__(self) -> None:
        _require(self.run_in >= 0, f"run_in must be at least 0; got {self.run_in}")
        _require(0 <= self.share <= 1, f"share must be in 0..1; got {self.share}")
        for name in ("blur", "noise", "crf", "quantizer"):
            low, high = getattr(self, name)
            _require(0 <= low <= high, f"{name} must be [least, most]; got {[low, high]}")
        _require(self.crf[1] <= 51, f"crf must be in 0..51; got {list(self.crf)}")
        low, high = self.quantizer
        _require(low >= 1 and high <= 31, f"quantizer must be in 1..31; got {[low, high]}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where examples come from, and what they are like."""

    scale: tuple[int, ...] = (4,)
    """HR over LR; of several, a step draws one (VDSR, MDSR)."""
    multi: tuple[int, ...] = (1,)
    """Frame-rate factor: LR are every multi-th frame. Of several, a step draws one; a number twice is drawn twice."""
    inputs: tuple[int, ...] = (1,)
    """LR frames of an example; a step draws one."""
    patch: int = 24
    """LR pixels on a side."""
    batch: int = 16
    """LR patches of a step in all: 12 are 6 examples of 2 frames, or 3 of 4."""
    rule: str = "matlab-uint8"
    """How LR is made, see :data:`vs_sr.evaluation.resample.SUMMARY`."""
    colors: bool = True
    """Whether examples are varied in color, too: channels change places, one in four is a negative. Those of degraded
    clips are not: a codec's damage to chroma would move into luma."""
    scenes: tuple[Scenes, ...] = ()
    video: tuple[Video, ...] = ()
    images: tuple[Images, ...] = ()
    h5: tuple[Arrays, ...] = ()
    degradation: Degradation | None = None
    """None: bicubic alone."""

    def __post_init__(self) -> None:
        _require(bool(self.scale and self.multi and self.inputs), "scale, multi and inputs must not be empty")
        _require(min(self.scale) >= 2 and min(self.inputs) >= 1, "scale must be >= 2, inputs >= 1")
        _require(set(self.multi) <= set(RATES), f"multi must be of {RATES}; got {list(self.multi)}")
        _require(self.batch >= max(self.inputs), "batch must not be below the most inputs")
        _require(any((self.scenes, self.video, self.images, self.h5)), "needs scenes, video, images or h5")

    @property
    def frames(self) -> int:
        """Of the shortest clip."""
        films: tuple[Scenes | Video, ...] = (*self.scenes, *self.video)
        return min([each.frames for each in films] + [1] * bool(self.images or self.h5))


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The weight of each part; 0 leaves it out. Formulas: :mod:`vs_sr.training.losses`."""

    l1: float = 0.0
    l2: float = 0.0
    charbonnier: float = 0.0
    eps: float = 1e-3
    """Of Charbonnier: L2 below it, L1 above."""
    between: float = 1.0
    """Weight of interpolated frames against input-time ones, in these three."""
    temporal: float = 0.0
    """Change of the error from one output frame to the next."""
    pulse: float = 0.0
    """Change of sharpness against the target's: any mean error leaves moving detail soft."""
    offsets: float = 0.0
    """How far deformable convolutions look beyond ``reach``: an offset that has left the image learns no more."""
    reach: float = 10.0
    """In pixels of the level that a convolution is at."""
    tv: float = 0.0
    perceptual: float = 0.0
    """Distance in the space of VGG features; the file is given with ``--features``."""
    features: Literal["vgg19", "vgg16", "minc"] = "vgg19"
    distance: Literal["l1", "l2"] = "l1"
    """Of features: ESRGAN's, SRGAN's."""
    adversarial: float = 0.0
    """Of the generator, against the ``adversary``."""
    border: int = 0
    """HR pixels at the edges that are not looked at: networks pad with zeros."""

    def __post_init__(self) -> None:
        parts = ("l1", "l2", "charbonnier", "perceptual")
        _require(any(getattr(self, part) for part in parts), f"needs one of {', '.join(parts)} above 0")
        _require(self.eps > 0 and self.border >= 0, "eps must be above 0, border at least 0")
        _require(self.reach > 0, f"reach must be above 0; got {self.reach}")


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """The discriminator, which learns beside the network."""

    kind: Literal["srgan", "vanilla", "relativistic"] = "relativistic"
    """Distances of probabilities (SRGAN's community form), cross entropy, or that of relativistic averages."""
    network: Literal["srgan", "vgg128"] = "vgg128"
    """SRGAN's, of any size; ESRGAN's, of 128x128 HR pixels."""
    rate: float = 1e-4
    """Learning rate, before the schedule's share of its peak."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How weights are changed."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    """Norm that gradients are clipped to; 0: they are not."""
    ema: float = 0.0
    """Decay of the averaged weights, which are what is exported; 0: the weights themselves."""
    accumulate: int = 1
    """Batches whose gradients are summed for a step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    rates: Mapping[str, float] = field(default_factory=dict)
    """Share of the learning rate, by the beginning of parameters' names: SRCNN's last layer has a tenth."""

    def __post_init__(self) -> None:
        _require(self.accumulate >= 1, f"accumulate must be at least 1; got {self.accumulate}")
        _require(0 <= self.ema < 1, f"ema must be at least 0 and below 1; got {self.ema}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the run with a schedule of its own."""

    steps: int
    rate: float
    """Learning rate after the warm-up."""
    warmup: int = 0
    """Steps of a linear rise: Adam's second moments need some to be worth trusting."""
    schedule: Literal["constant", "cosine", "step", "halving"] = "constant"
    last: float = 1e-7
    """Where the cosine ends."""
    every: int = 0
    """Step: steps between two drops."""
    factor: float = 0.1
    """Step: of a drop."""
    halve: tuple[int, ...] = ()
    """Halving: steps of the stage at which the rate is halved."""
    single: bool = False
    """Zooming Slow-Mo without alignment and recurrence: a tenth of the work."""
    unaligned: bool = False
    """Zooming Slow-Mo without alignment: what the recurrence is worth where little moves, at a tenth of the work."""
    images: float = 0.0
    """Share of the steps that see single frames, likewise: detail is learned at a tenth of the price."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1 and self.rate > 0, "steps must be >= 1, rate above 0")
        _require(0 <= self.images <= 1, f"images must be in 0..1; got {self.images}")
        _require(not (self.single and self.images), "single and images exclude each other")
        _require(not (self.single and self.unaligned), "single and unaligned exclude each other")
        _require((self.every > 0) == (self.schedule == "step"), "every belongs to schedule 'step', which needs it")
        _require(
            bool(self.halve) == (self.schedule == "halving"), "halve belongs to schedule 'halving', which needs it"
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run."""

    name: str
    """Of the weights file: "edsr_baseline_x4"."""
    network: Network
    data: Data
    loss: Loss
    stage: tuple[Stage, ...]
    optimizer: Optimizer = Optimizer()
    adversary: Adversary | None = None
    seed: int = 1
    export: Literal["fp16", "fp32"] = "fp16"
    """Type of the numbers in the weights file."""
    text: str = ""
    """The file, for the metadata; no key."""

    def __post_init__(self) -> None:
        _require(bool(self.name) and Path(self.name).name == self.name, f"name {self.name!r} must do for a file")
        _require(
            (self.adversary is not None) == (self.loss.adversarial > 0),
            "loss.adversarial and a table [adversary] go together",
        )

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stage)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run happens, and the files of the user's that it takes: what weights do not depend on, or cannot name."""

    out: Path
    """Folder of the checkpoint, the pool of clips, the log, and the weights."""
    video: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    """Folders."""
    photos: tuple[Path, ...] = ()
    """Folders."""
    h5: Path | None = None
    start: str = ""
    features: Path | None = None
    """Weights of VGG or MINC."""
    measure: tuple[Path, ...] = ()
    """Folders of PNG frames to measure on, never trained on."""
    held_out: int = 16
    """Scenes of the generator to measure on beside them."""
    attribution: str = ""
    """Whose the user's images and videos are, for the metadata."""
    other_files: bool = False
    """Whether a run may go on with other files than it began with."""
    clips: Path | None = None
    """Packed clips (:mod:`vs_sr.training.packed`), in place of the user's files and of made scenes."""
    go_on: Path | None = None
    """Weights of an unfinished run, with which one goes on that has no checkpoint."""
    minutes: float = 0.0
    """Time in which the whole command ends, and the schedule with it, resumed runs counted; 0: as many steps as the
    recipe says."""
    stop_after: float = 0.0
    """Minutes after which the command ends, wherever the recipe is; 0: none."""
    stop_at: int = 0
    """Step after which it ends, likewise."""
    batches: int = 1
    """Batches of the recipe that a step takes; its rate, average and length follow (:func:`optimizers.larger`)."""
    fast: bool = False
    """Clips in the device's memory, bfloat16 where the recipe has float32, channels last, losses read now and then."""
    steps: Literal["auto", "captured", "compiled", "eager"] = "auto"
    """How fast steps are run; captured where there is CUDA."""
    device: str = "cpu"
    threads: int = 0
    """0: as torch has it."""
    workers: int = 1
    """Processes that make clips; 1: this one."""
    log_every: int = 20
    """Steps, likewise the next two."""
    save_every: int = 100
    measure_every: int = 500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse to train on what is measured, and limits that contradict each other.

        Raises:
            ArgumentError: a folder is given for both, or both limits are.
        """
        _require(not (self.minutes and self.stop_after), "--minutes and --stop-after exclude each other; give one")
        measured = {path.resolve() for path in self.measure}
        for path in (*self.images, *self.photos):
            inside = {path.resolve(), *path.resolve().parents}
            if inside & measured or any(path.resolve() in each.parents for each in measured):
                raise ArgumentError(f"{path} is measured on; nothing of it can be trained on: choose another folder")


def load(name: str | Path) -> Recipe:
    """The recipe of a file, or a shipped one by its name.

    Raises:
        ArgumentError: there is none, it is no TOML, or a key or a value is not known.
    """
    shipped = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    path = shipped.get(str(name)) or files.resolve(name)
    try:
        with files.open_regular(path) as file:
            text = file.read().decode()
        return parse(text)
    except ArgumentError as error:
        hint = "" if path.exists() else f"; shipped recipes: {', '.join(shipped)}"
        raise ArgumentError(f"{path.name}: {error}{hint}") from None
    except UnicodeDecodeError:
        raise ArgumentError(f"{path.name}: is no text") from None


def parse(text: str) -> Recipe:
    """The recipe of a TOML text; raises as :func:`load`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"is no TOML: {error}") from None
    found: Recipe = _dataclass(Recipe, table, "", hidden=("text",))
    return replace(found, text=text)


def _dataclass(kind: type, table: Any, place: str, hidden: tuple[str, ...] = ()) -> Any:
    """A dataclass from a table; ``place`` is its name in the file, with a dot."""
    if not isinstance(table, dict):
        raise ArgumentError(f"{place.rstrip('.')} must be a table; got {table!r}")
    # Python has taken "from": such a field's name ends with an underscore.
    known = {each.name.rstrip("_"): each for each in fields(kind) if each.name not in hidden}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ArgumentError(f"there is no key {place}{key}; {hint}choices: {', '.join(known)}")
    for name, each in known.items():
        if each.default is MISSING and each.default_factory is MISSING and name not in table:
            raise ArgumentError(f"{place}{name} is missing")
    hints = get_type_hints(kind)
    names = {key: known[key].name for key in table}
    values = {names[key]: _value(hints[names[key]], value, f"{place}{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ArgumentError as error:
        raise ArgumentError(f"{place.rstrip('.') or 'the recipe'}: {error}") from None


def _value(kind: Any, value: Any, place: str) -> Any:
    """A value of an annotated type, from what TOML has for it."""
    kind = getattr(kind, "__value__", kind)
    if isinstance(kind, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if is_dataclass(kind):
        return _dataclass(kind, value, f"{place}.")  # type: ignore[arg-type]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise ArgumentError(f"{place}={value!r} is not known; choices: {', '.join(map(str, arguments))}")
        return value
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ArgumentError(f"{place} must be a table; got {value!r}")
        return {key: _value(arguments[1], each, f"{place}.{key}") for key, each in value.items()}
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise ArgumentError(f"{place} must be {len(arguments)} values; got {value!r}")
        return tuple(_value(arguments[0], each, place) for each in items)
    if kind is Any:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ArgumentError(f"{place} must be of type {kind.__name__}; got {value!r}")
    return value
