"""The arguments of the filters, each declared once: its name, type, default and meaning.

From :class:`Arguments` come the plugin's signatures, the check of a call, the typed functions with their
docstrings, and the README's tables. Needs the standard library alone: the plugin's table is made of it before
vs_sr is installed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from vs_sr._names import Kind

IMAGE: "tuple[Kind, ...]" = ("image",)
"""Models that upscale frames one by one."""
SEQUENCE: "tuple[Kind, ...]" = ("sequence",)
"""Models that run over a clip, forward and backward."""
VIDEO: "tuple[Kind, ...]" = ("sequence", "multi-frame")
"""Models that see several frames at a time."""
REPEATING = IMAGE + SEQUENCE
"""Models that need not see a frame again that repeats the one before."""
ALL = IMAGE + VIDEO

CLIP = "constant format and size; YUV, RGB or GRAY of 8 to 16 bit integer, half or float"
"""What ``clip`` has to be, the one argument that every filter needs."""

UPSCALED = (
    "the factor by which the clip is upscaled by bicubic first, 1 to 8, 2 by default; 1 is a clip that is upscaled "
    "already"
)
"""What ``scale`` means for networks that take an upscaled clip."""


def _argument(
    kinds: "tuple[Kind, ...]",
    meaning: str,
    *,
    default: Any = None,
    absent: str = "",
    alias: str = "",
    limits: tuple[Any, Any] = (None, None),
) -> Any:
    """A field of :class:`Arguments`; see :class:`Argument`."""
    facts = {"kinds": kinds, "meaning": meaning, "absent": absent, "alias": alias, "limits": limits}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of a filter, the clip apart; None stands for "not given". Scripts see them in this order."""

    scale: int | None = _argument(IMAGE, "has to be that of the weights", absent="as the weights say")
    window: int | None = _argument(
        SEQUENCE,
        "input frames per step, one of them shared with the next step; 2 to 64. More frames see further, and need more "
        "memory",
        absent="the model's",
        limits=(2, 64),
    )
    multi: int | None = _argument(
        SEQUENCE,
        "frame-rate factor: 2, 4 or 8, where the model interpolates; 1 is super-resolution alone",
        absent="the model's",
    )
    fps_num: int | None = _argument(
        SEQUENCE,
        "a target rate in place of `multi`, from the clip's to eight times it: `fps_num=60`",
        absent="none",
        limits=(1, (1 << 31) - 1),
    )
    fps_den: int | None = _argument(
        SEQUENCE, "what `fps_num` is divided by: 60000/1001", absent="1", limits=(1, (1 << 31) - 1)
    )
    carry: bool | None = _argument(
        SEQUENCE, "carry the forward direction's state from window to window", absent="the model's"
    )
    segment: int | None = _argument(
        SEQUENCE,
        "windows after which a carried state begins again, counted from the clip's beginning; a seek looks back that "
        "far at most. 0: at cuts alone",
        absent="the model's",
        limits=(0, 1 << 30),
    )
    lookahead: int | None = _argument(
        SEQUENCE,
        "further frames that the backward direction sees after a window, computed and thrown away; 0 to 64",
        absent="the model's",
        limits=(0, 64),
    )
    sc: bool = _argument(
        VIDEO,
        "nothing passes a cut, and the frame before it is repeated, never blended. Cuts are what `_SceneChangeNext` "
        "and `_SceneChangePrev` say, or what is found where they are absent",
        default=True,
    )
    sc_threshold: float = _argument(
        VIDEO,
        "how different frames must be for a cut to be found: from 0, every change, to 1, hardly any",
        default=0.5,
        limits=(0, 1),
    )
    weights: str | None = _argument(
        ALL,
        "a shipped name, or the path of a `.safetensors` or `.pth` file; configurations are read off the file",
        absent="none; the error says where to get some",
        alias="model_path",
    )
    backend: str = _argument(
        ALL, "how the network is run; `vs-sr doctor` lists the backends that are installed", default="auto"
    )
    device_id: int | None = _argument(
        ALL,
        "number of a CUDA device; -1 is the CPU. A number without a device is an error",
        absent="first GPU, else CPU",
        alias="device_index",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = _argument(
        ALL,
        "fp32, fp16 or bf16. auto: fp16 on a GPU for integer and half clips, else fp32",
        default="auto",
        alias="fp16",
    )
    matrix_in: int | None = _argument(
        ALL,
        "matrix of the input, as `core.resize` numbers it (1, 4 to 9), whatever the frames say. Untagged YUV is "
        "taken for 709 above 1024x576, else for 601",
        absent="as tagged",
    )
    range_in: int | None = _argument(
        ALL, "range of the input, whatever the frames say: 0 limited, 1 full", absent="as tagged"
    )
    matrix: int | None = _argument(ALL, "matrix of the output, where that is not RGB", absent="as the input")
    range: int | None = _argument(ALL, "range of the output", absent="as the input")
    format: int | None = _argument(ALL, "format of the output: `vs.YUV420P10` and the like", absent="as the input")
    dither: Literal["none", "ordered", "random", "error_diffusion"] = _argument(
        ALL,
        "how values between those of an integer output are rounded, as in `core.resize`; against bands in skies",
        default="none",
    )
    tilesize: tuple[int, int] | None = _argument(
        ALL,
        "side, or `[width, height]`, of the tiles that a frame is run in, overlap included; 0 is the whole frame",
        absent="whole frames that fit into half of the memory, else tiles",
        alias="tile",
    )
    overlap: tuple[int, int] | None = _argument(
        ALL,
        "pixels that a tile throws away at each inner side, a number or `[horizontal, vertical]`",
        absent="as far as the network sees, 32 and a quarter of a tile at most",
        alias="tile_pad",
    )
    num_streams: int = _argument(
        IMAGE,
        "sessions that run side by side, each with weights of its own in memory; 1 to 32. The bits stay the same",
        default=1,
        limits=(1, 32),
    )
    repeats: int = _argument(
        REPEATING,
        "frames that repeat the one before: 0, each is a frame like others. 1: image models take the earlier result; "
        "models that interpolate spread two to four frames of one drawing evenly. 2: sequence models see each drawing "
        "once, and hold it",
        default=0,
        limits=(0, 2),
    )
    repeats_threshold: float = _argument(
        REPEATING,
        "how different a repeated frame may be: the mean difference of a block of 16x16 values, in code values of 8 "
        "bits. 0: identical",
        default=0.0,
        limits=(0, 255),
    )
    checkpoint: int = _argument(
        SEQUENCE, "windows from one checkpoint of the carried state to the next", default=8, limits=(1, 1 << 30)
    )
    state_memory: int | None = _argument(
        SEQUENCE,
        "MiB of memory that checkpoints may take; fewer are kept then",
        absent="by the memory of the machine, at most 1024",
        limits=(1, 1 << 20),
    )
    state_in: str | None = _argument(
        SEQUENCE, "file of a carried state to begin with, that `state_out` has written", absent="zero"
    )
    state_out: str | None = _argument(
        SEQUENCE, "file that the carried state is written to, at checkpoints and at the end", absent="none"
    )


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One field of :class:`Arguments`, as a description."""

    name: str
    annotation: Any
    """Its type inside the filter."""
    default: Any
    """None: it depends, see ``absent``."""
    meaning: str
    """For users, in Markdown."""
    kinds: "tuple[Kind, ...]"
    """The kinds of model whose filters have it."""
    absent: str
    """What holds where it is not given and there is no default."""
    limits: tuple[Any, Any]
    """Least and most value; None: no limits, or more to be said about it than that."""
    alias: str
    """What other filters call it; empty: nothing else. Python functions take it too."""

    @property
    def _plain(self) -> Any:
        """The annotation without None."""
        union = get_origin(self.annotation) in (Union, UnionType)
        [plain] = (part for part in get_args(self.annotation) if part is not NoneType) if union else [self.annotation]
        return plain

    @property
    def type(self) -> str:
        """As VapourSynth calls it."""
        plain, inner = self._plain, get_args(self._plain)
        if get_origin(plain) is Literal:
            return _TYPES[type(inner[0])]
        return f"{_TYPES[inner[0]]}[]" if get_origin(plain) is tuple else _TYPES[plain]

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that it may have; empty where its type does not list them."""
        return get_args(self._plain) if get_origin(self._plain) is Literal else ()

    @property
    def python(self) -> Any:
        """Its type in the Python function; a list may be one number there."""
        plain = int | Sequence[int] if get_origin(self._plain) is tuple else self._plain
        return plain | None if self.default is None else plain


_TYPES = {int: "int", bool: "int", float: "float", str: "data"}

ARGUMENTS = tuple(
    Argument(name=item.name, annotation=item.type, default=item.default, **item.metadata) for item in fields(Arguments)
)


def of(kind: "Kind") -> list[Argument]:
    """The arguments that filters of models of a kind have after ``clip``, in order."""
    return [argument for argument in ARGUMENTS if kind in argument.kinds]


def signature(kind: "Kind") -> str:
    """The arguments of such a filter, as VapourSynth writes them."""
    return "clip:vnode;" + "".join(f"{argument.name}:{argument.type}:opt;" for argument in of(kind))
