"""What a model is, as facts: frozen, and free of torch, so that a graph is built without importing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

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
    """What is known of all files of the scheme, told to ``detect`` where file and user do not say."""
    values: tuple[str, ...] = ()
    """Small tensors whose numbers ``detect`` needs: it finds them in its metadata under the tensor's name in
    the file, separated by spaces, where the file has them."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of an architecture, as a weights file determines it."""

    scale: int
    """Output width divided by input width; 1 where the clip is enlarged beforehand."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network's constructor."""
    min_size: int = 1
    """Smallest input width and height in pixels."""
    color: Literal["rgb", "y"] = "rgb"
    """What the planes are: R, G and B in 0..1, or luma alone, (16 + 219 y) / 255 for y in 0..1."""
    enlarged: bool = False
    """Whether the network takes a clip that is enlarged already (bicubic); ``scale`` is then 1."""
    multiple: int = 1
    """Tiles have to begin at multiples of it to give what the whole frame gives. Frames may have any size."""
    halo: int | None = None
    """How far an output pixel sees, in input pixels: tiles that overlap by that much show no seam. None: over
    the whole frame (means taken over it, displacements without bound)."""
    channels: int = 64
    """Features that the network holds at once for every pixel: what its memory is estimated by."""
    window: int | None = None
    """Models of kind "window": input frames for one output frame. None: not of that kind."""
    metadata: Metadata = field(default_factory=dict)
    """What a file with the network's names has to say for ``detect`` to find this variant in it again."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """The file that somebody without weights of a model should get: its authors', or the best known one."""

    file: str
    """Its name."""
    repository: str
    """Who publishes it: "owner/name"."""
    place: str = ""
    """Where there: a folder, "linked in its README", ..."""
    answers: Metadata = field(default_factory=dict)
    """What has to be told about it (``Model.asks``)."""

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.file} of the repository {self.repository}{where}"

    def conversion(self, target: str) -> str:
        """The command that turns the file into ``target``."""
        told = "".join(f" --set {key}={value}" for key, value in self.answers.items())
        return f"vs-sr weights convert {self.file} {target}{told}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """An architecture that becomes the filter ``core.vs_sr.<name>``.

    ``build(variant)`` returns a network of random weights, whose ``forward`` is, with RGB in 0..1:

    - kind "image": (B, 3, H, W) -> (B, 3, scale*H, scale*W);
    - kind "sequence": (B, T, 3, H, W), multi -> (B, multi*(T-1)+1, 3, scale*H, scale*W), in time order;
    - kind "window": (B, variant.window, 3, H, W) -> (B, 3, scale*H, scale*W), the frame in the middle.

    Networks of color "y" have one channel in place of three.
    """

    name: str
    """The filter's name: letters, digits and underscores, a letter first."""
    summary: str
    """One line for listings: what it does."""
    paper: str
    """Authors, title, venue; empty where there is none."""
    kind: Literal["image", "sequence", "window"]
    build: Callable[[Variant], nn.Module]
    detect: Callable[[Shapes, Metadata], Variant | None] | None = None
    """The variant that a weights file holds; None: the file is of another architecture. Raises WeightsError
    where the file is of this architecture but something about it cannot be known."""
    schemes: tuple[Scheme, ...] = ()
    """The names that files have for its tensors; none: only the network's own. The first that fits counts."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """What ``detect`` may have to be told, because no tensor tells it: the metadata's key, and a sentence."""
    weights: str | None = None
    """Name of the default weights in the index; None: the user has to give some."""
    published: Published | None = None
    """Where to get weights of a model that comes without."""
    fixed: Variant | None = None
    """For a model without weights: its only variant. ``detect`` and ``weights`` are then None."""
    multi: tuple[int, ...] = (1,)
    """Frame-rate factors it can do, the default first."""
    window: int = 1
    """Sequence models: default number of input frames per step, one of them shared with the next step."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A way to run a network."""

    name: str
    summary: str
    prepare: Callable[[nn.Module], Callable[..., Any]]
    """From a network in evaluation mode, on its device and in its precision, to a callable that takes and
    gives what the network's ``forward`` does."""
