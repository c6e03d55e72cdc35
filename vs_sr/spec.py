"""What a model is, as facts: frozen, and free of torch, so that a graph is built without importing it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from vs_sr.windows import Ends

type Precision = Literal["fp32", "fp16", "bf16"]

type Shapes = Mapping[str, tuple[int, ...]]
"""A state dict without its numbers: parameter name to shape."""

type Metadata = Mapping[str, str]
"""The free-form metadata of a weights file; empty where the format has none."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One way in which files name the tensors of an architecture."""

    name: str
    """Whose names they are, for listings: "BasicSR"."""
    signature: tuple[str, ...]
    """Tensors that every file of the scheme has, and that together no other scheme has."""
    rename: Callable[[Shapes], Mapping[str, str]] | None = None
    """From a file's names to the network's, for the tensors that the network has a place for; the others are
    not used. None: the network's names are the file's."""
    facts: Metadata = field(default_factory=dict)
    """What is known of all files of the scheme, given to ``detect`` where file and user do not say."""
    values: tuple[str, ...] = ()
    """Small tensors whose numbers ``detect`` needs: it finds them in its metadata under the tensor's name in
    the file, separated by spaces, where the file has them."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of an architecture, as a weights file determines it."""

    scale: int
    """Output width divided by input width; 1 where the clip is upscaled beforehand."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network's constructor."""
    min_size: int = 1
    """Smallest input width and height in pixels."""
    color: Literal["rgb", "y"] = "rgb"
    """What the planes are: R, G and B in 0..1, or luma alone, (16 + 219 y) / 255 for y in 0..1."""
    upscaled: bool = False
    """Whether the network takes a clip that is upscaled already (bicubic); ``scale`` is then 1."""
    multiple: int = 1
    """Tiles have to begin at multiples of it to give what the whole frame gives. Frames may have any size."""
    receptive_field: int | None = None
    """Of an output pixel, its radius in input pixels: tiles that overlap by that much show no seam. None: the
    whole frame (means taken over it, displacements without bound)."""
    channels: int = 64
    """Features that the network holds at once for every pixel: what its memory is estimated by."""
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
    """What it may be run in. Half, where it is possible, is what a GPU gets unless asked otherwise."""
    window: int | None = None
    """Models of kind "multi-frame": input frames for one output frame. None: not of that kind."""
    ends: Ends = "replicate"
    """Models of kind "multi-frame": which frames stand for those before a scene's first and after its last."""
    metadata: Metadata = field(default_factory=dict)
    """What a file with the network's names has to say for ``detect`` to find this variant in it again."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights of a model that others publish: its authors, or whose are the best known."""

    file: str
    """The file's name: what ``vs-sr weights get`` takes."""
    repository: str
    """Who publishes it: "owner/name"."""
    place: str = ""
    """Where there: a folder, "linked in its README", ..."""
    address: str = ""
    """Of the file itself, ``https://...``; empty: a page or a drive in the cloud, where only people can get it."""
    sha256: str = ""
    """What that of the file begins with, in hexadecimal, where its name does not say it (:attr:`checksum`)."""
    hints: Metadata = field(default_factory=dict)
    """The hints that it needs (``Model.hints``)."""

    @property
    def checksum(self) -> str:
        """``sha256``, or the eight digits of it that end a name like ``edsr_x4-4f62e9ef.pt``; empty: unknown."""
        named = re.search(r"-([0-9a-f]{8})\.\w+$", self.file)
        return self.sha256 or (named[1] if named else "")

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.file} of the repository {self.repository}{where}"

    @property
    def getting(self) -> str:
        """The command that gets the file; empty where no program can."""
        return f"vs-sr weights get {self.file}" if self.address else ""

    def conversion(self, target: str, source: str | None = None) -> str:
        """The command that turns the file, which lies at ``source``, into ``target``."""
        hints = "".join(f" --set {key}={value}" for key, value in self.hints.items())
        return f"vs-sr weights convert {source or self.file} {target}{hints}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """An architecture that becomes the filter ``core.vs_sr.<name>``.

    ``build(variant)`` returns a network of random weights, no larger than its file:

    - kind "image": a callable, (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1;
    - kind "sequence": :class:`SequenceNetwork`;
    - kind "multi-frame": :class:`MultiFrameNetwork`.

    None has a loop over frames: that is the engine's. Networks of color "y" have one channel in place of three.
    """

    name: str
    """The filter's name: letters, digits and underscores, a letter first."""
    summary: str
    """One line for listings: what it does."""
    paper: str
    """Authors, title, venue; empty where there is none."""
    kind: Literal["image", "sequence", "multi-frame"]
    build: Callable[[Variant], nn.Module]
    detect: Callable[[Shapes, Metadata], Variant | None] | None = None
    """The variant that a weights file holds; None: the file is of another architecture. Raises WeightsError
    where the file is of this architecture but something about it cannot be known."""
    load: Callable[[Mapping[str, Tensor], Metadata], tuple[Variant, nn.Module] | None] | None = None
    """The variant and the network of a file's tensors, in place of ``detect`` and ``build``: where names and shapes are
    not enough to know them. It is called when the filter is made, and again for each session. None and errors as of
    ``detect``."""
    last: bool = False
    """Whether it is tried on files that no other model is of."""
    schemes: tuple[Scheme, ...] = ()
    """The names that files have for its tensors; none: only the network's own. The first that fits counts."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """What an argument of the filter means here, where that is not what ``vs_sr/arguments.py`` says: its name, and
    a sentence without the full stop that tells its default, too. ``scale`` is the one that differs most."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What ``detect`` may need because the tensors are ambiguous: the metadata's key, and a sentence."""
    weights: str | None = None
    """Name of the default weights in the index; None: the user has to give some. Where ``scale`` is asked for and it is
    not theirs, the first shipped ones of the model that have it are the default."""
    published: Published | None = None
    """Where to get weights: the file that somebody without any should get."""
    more: tuple[Published, ...] = ()
    """Others that are published, for ``vs-sr weights list`` and ``get``."""
    fixed: Variant | None = None
    """For a model without weights: its only variant. ``detect`` and ``weights`` are then None."""
    multi: tuple[int, ...] = (1,)
    """Frame-rate factors it can do, the default first: of 1, 2, 4 and 8, by halves (:class:`SequenceNetwork`)."""
    window: int = 1
    """Sequence models: default number of input frames per step, one of them shared with the next step."""
    carry: bool = False
    """Sequence models: whether the forward state is carried from window to window unless asked otherwise."""
    segment: int = 0
    """Default number of windows after which a carried state begins again; 0: at cuts only."""
    lookahead: int = 0
    """Default number of frames after a window that its backward direction sees."""

    @property
    def density(self) -> int:
        """Timesteps of a sequence for each input frame but the last, at least: a network that interpolates sees those
        half way whatever the rate is, as it was trained."""
        return min(2, max(self.multi))


type Carried = tuple[Tensor, ...]
"""What a direction of a recurrence hands from one timestep to the next; the hidden state first."""


class SequenceNetwork(Protocol):
    """The parts of a network of kind "sequence", for clips of any length.

    T frames are T timesteps and those between them, in time order. Two recurrences step over all, one from either
    end; an image is reconstructed from a timestep and the hidden states of both. What the methods hand on is
    the network's own business: a timestep is a tuple, of tensors and whatever else, that is not written to.

    A runner's network may have a method ``run`` as well, for all steps of a window at once:
    ``docs/backends.md``.
    """

    def encode(self, frame: Tensor) -> Any:
        """The timestep of an input frame (B, 3, H, W): RGB in 0..1, float32, of any size."""

    def between(self, before: Any, after: Any) -> Sequence[Any]:
        """One timestep, half way between two; none, where the network does not interpolate.

        Neighbors are input frames first; for higher rates, timesteps that were made here before.
        """

    def forward_step(self, timestep: Any, state: Carried | None) -> Carried:
        """The state after a timestep, from the state before it; None: at the beginning of a scene."""

    def backward_step(self, timestep: Any, state: Carried | None) -> Carried:
        """The same for the direction from the end to the beginning."""

    def reconstruct(self, timestep: Any, past: Tensor, future: Tensor) -> Tensor:
        """The image (B, 3, scale*H, scale*W) at a timestep, in the type of the input frame.

        Args:
            timestep: its own.
            past: hidden state of the forward direction after it.
            future: hidden state of the backward direction after it.
        """


class MultiFrameNetwork(Protocol):
    """The parts of a network of kind "multi-frame"."""

    def encode(self, frame: Tensor) -> Any:
        """What is made of each frame (B, 3, H, W) by itself: RGB in 0..1, float32, of any size."""

    def reconstruct(self, window: Sequence[Any]) -> Tensor:
        """The image (B, 3, scale*H, scale*W) of the middle frame, from :meth:`encode` of ``Variant.window``
        frames."""


METHODS: Mapping[str, tuple[str, ...]] = {
    "image": ("__call__",),
    "sequence": ("encode", "between", "forward_step", "backward_step", "reconstruct"),
    "multi-frame": ("encode", "reconstruct"),
}
"""What a network has, by its model's kind."""

CONTRACT = 1
"""The version of what a backend has to be. A backend states the one that it was written for."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a backend is asked to run."""

    model: Model
    variant: Variant
    load: Callable[[], nn.Module]
    """Makes :attr:`network`."""
    device: str
    """As torch names it: "cpu", "cuda:0", ..."""
    precision: Precision
    batch: int
    """Images in a call, and ..."""
    sizes: tuple[tuple[int, int], ...]
    """... their width and height in pixels: all that will come, the most frequent first, unless memory runs out."""
    cache: Path
    """A folder for what takes long to compile. It may not exist, or not be writable, and others may use it, too."""
    identify: Callable[[], str] = lambda: ""
    """What identifies the numbers of the weights, known without the network; empty: nothing does."""

    @cached_property
    def network(self) -> nn.Module:
        """With its weights, float32, in host memory, in evaluation mode; the runner's own, to be changed at will.

        It is made, by torch, when it is asked for first: who has it compiled already need not ask.

        Raises:
            WeightsError: the weights are damaged or do not fit.
        """
        return self.load()


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A network that is ready to run, on the device and in the precision of a request.

    Everything about it is decided by now: a call compiles nothing, measures nothing, and gives the same bits for the
    same tensors each time. Calls come from one thread.
    """

    network: Any
    """With the methods of the model's kind: a callable (B, C, H, W) -> (B, C, scale*H, scale*W) for image models,
    :class:`SequenceNetwork`, :class:`MultiFrameNetwork`. Tensors go in and come out on the device: input images in
    float32, images of results in float32 or the precision."""
    identity: str
    """Name and versions of all that decides the bits, the device apart: a state is continued by the same only."""
    close: Callable[[], None] = lambda: None
    """Called once when nobody uses it any more; nothing is called afterwards."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A way to run networks. The contract with guarantees: ``docs/backends.md``."""

    name: str
    """What ``backend=`` takes."""
    summary: str
    """One line for listings."""
    contract: int
    """The version of this contract that it was written for: :data:`CONTRACT` of then."""
    open: Callable[[Request], Runner]
    """Raises DeviceError or any other error with a clear message where it cannot run the request."""
    priority: int = 0
    """``backend="auto"`` takes the highest of those that can run a model on a device; "eager" has 0. Below 0: none but
    those who ask for it by name get it."""
    obstacle: Callable[[str], str | None] = lambda device: None
    """Why it cannot run on a device (not installed, too old, no such device); None: it can. Quick, changes nothing."""
    supports: Callable[[Model, Variant, Precision], bool] = lambda model, variant, precision: True
    """Whether it runs a model. Quick, changes nothing."""
    per_size: bool = False
    """Whether a runner is for the sizes of its request alone; else filters of all sizes share one."""
    arrays: bool = False
    """Whether its networks take and give NumPy arrays in host memory in place of tensors: image models alone. Where
    nothing else needs torch, it is not loaded then, which saves seconds at the start."""
