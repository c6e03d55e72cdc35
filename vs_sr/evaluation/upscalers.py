"""What is measured: a network with its weights, or bicubic, behind one face. Knows no filters.

An upscaler takes the LR pictures of a protocol, not clips: no colour conversion beyond the protocol's own stands
between the network and the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from vs_sr import registry, windows
from vs_sr.errors import ArgumentError, DeviceError, WeightsError
from vs_sr.evaluation import protocols, sampling
from vs_sr.weights import checkpoint, recognition, store

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from vs_sr.evaluation.protocols import Protocol
    from vs_sr.spec import Model, Variant

    Image = npt.NDArray[np.generic]

type Ensemble = Literal["none", "flips", "all"]

ENSEMBLES: tuple[Ensemble, ...] = get_args(Ensemble.__value__)
"""Self-ensemble: no; the mean over the mirrored pictures (four, EDVR's); transposed ones too (eight, EDSR's)."""

_CHOP_LIMIT = 160_000
"""LR pixels from which on a quarter is cut again; EDSR's."""


@dataclass(frozen=True, slots=True)
class Output:
    """One picture as an upscaler gives it."""

    rgb: Image
    """(H, W, 3) in 0..255; not rounded, not clipped."""
    y: npt.NDArray[np.float64] | None = None
    """(H, W) in 0..255: the Y that a network gave itself; None where Y is that of ``rgb``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """How a network is run; each field's default is what most papers did."""

    window: int | None = None
    """Sequence models: input frames per run; 0 the whole clip; None: the model's own."""
    shared: int | None = None
    """Input frames that consecutive windows share; None: one for models that make frames in between, else 0."""
    keep: Literal["first", "later"] = "first"
    """Whose result of a shared frame counts."""
    tail: sampling.Tail = "short"
    """What becomes of the frames after the last whole window."""
    ends: windows.Ends | None = None
    """Window models: what stands for frames beyond the ends; None: as the weights say."""
    mirrored: bool = False
    """Sequence models: run on the clip followed by itself in reverse, and take the mean of both halves."""
    chop: int | None = None
    """Pixels of overlap of EDSR's four quarters; None: the whole picture at once."""
    ensemble: Ensemble = "none"


class Bicubic:
    """The baseline: bicubic by the protocol's rule, a frame in between as the mean of its two neighbours."""

    label = "bicubic"

    def __init__(self, scale: int, multi: int = 1) -> None:
        self.scale = scale
        self.multi = multi
        self.video = multi > 1

    def describe(self) -> dict[str, Any]:
        """For reports."""
        return {"upscaler": self.label, "scale": self.scale}

    def __call__(self, frames: Sequence[Image], protocol: Protocol) -> Iterator[Output]:
        """T pictures (h, w, 3) of one clip, enlarged, with those in between where ``multi`` is 2."""
        before: Image | None = None
        for frame in frames:
            enlarged = protocols.enlarge(frame, self.scale, protocol)
            if before is not None and self.multi > 1:
                yield Output((before.astype(np.float64) + enlarged.astype(np.float64)) / 2)
            yield Output(enlarged)
            before = enlarged


class Network:
    """A model with weights on a device."""

    def __init__(
        self,
        model: Model,
        variant: Variant,
        source: store.Source | None,
        *,
        scale: int,
        multi: int = 1,
        device: str = "cpu",
        precision: Literal["fp32", "fp16", "bf16"] = "fp32",
        backend: str = "eager",
        running: Running | None = None,
    ) -> None:
        """Build and load the network; see :func:`find` for what to load.

        Raises:
            WeightsError: the weights are damaged or do not fit.
            ArgumentError: a combination that the model cannot do.
        """
        import torch

        if multi not in model.multi:
            raise ArgumentError(f"{model.name} cannot do multi={multi}; choices: {', '.join(map(str, model.multi))}")
        if not variant.enlarged and scale != variant.scale:
            raise ArgumentError(f"these weights are for x{variant.scale}, not x{scale}; leave the scale out")
        self.model, self.variant, self.source = model, variant, source
        self.scale, self.multi = scale, multi
        self.video = model.kind != "image"
        self.label = model.name
        self.device, self.precision = device, precision
        self.running = running or Running()
        if self.running.chop is not None and model.kind != "image":
            raise ArgumentError(f"chop is for image models; {model.name} is of kind {model.kind!r}")
        if self.running.mirrored and (model.kind != "sequence" or multi > 1):
            raise ArgumentError("mirrored is for sequence models that make no frames in between")
        network = store.network(model, variant, source).eval().requires_grad_(False)
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        self._call: Callable[..., Tensor] = registry.backend(backend).prepare(network.to(device, dtype))

    def describe(self) -> dict[str, Any]:
        """For reports."""
        return {
            "upscaler": self.model.name,
            "weights": None if self.source is None else self.source.path.name,
            "scale": self.scale,
            "multi": self.multi,
            "config": {key: str(value) for key, value in self.variant.config.items()},
            "device": self.device,
            "precision": self.precision,
        }

    def __call__(self, frames: Sequence[Image], protocol: Protocol) -> Iterator[Output]:
        """T pictures (h, w, 3) in 0..255 of one clip, enlarged; multi * (T - 1) + 1 of them, as they are ready.

        Fewer where ``running.tail`` is "drop".

        Raises:
            ArgumentError: the pictures are too small, or the clip too short.
            DeviceError: out of memory.
        """
        import torch

        height, width = frames[0].shape[:2]
        factor = self.scale if self.variant.enlarged else 1
        if min(height, width) * factor < self.variant.min_size:
            raise ArgumentError(f"{self.label} needs {self.variant.min_size} pixels a side; got {width}x{height}")
        given = [protocols.enlarge(frame, self.scale, protocol) for frame in frames] if factor > 1 else list(frames)
        planes = torch.stack([self._planes(image, protocol) for image in given])
        try:
            for index, image in enumerate(self._clip(planes)):
                yield self._output(image, given[index] if self.variant.color == "y" else None, protocol)
        except torch.OutOfMemoryError as error:
            raise DeviceError(f"out of memory on {self.device} with frames of {width}x{height} ({error})") from None

    def _planes(self, image: Image, protocol: Protocol) -> Tensor:
        """(H, W, 3) in 0..255 -> (C, H, W) float32 in 0..1, RGB or Y."""
        import torch

        planes = protocol.luma(image)[None] if self.variant.color == "y" else np.moveaxis(image, 2, 0)
        return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32) / 255)

    def _output(self, planes: Tensor, enlarged: Image | None, protocol: Protocol) -> Output:
        """What the network gave, (C, H, W), as RGB; for Y networks the colours come from the enlarged picture."""
        values = planes.double().cpu().numpy() * 255
        if self.variant.color == "rgb":
            return Output(np.moveaxis(values, 0, 2))
        if enlarged is None or enlarged.shape[:2] != values.shape[1:]:
            raise ArgumentError(f"{self.label} gives Y of another size than its input: there is no colour for it")
        y = values[0].clip(0, 255)
        # With Cb and Cr as they are, a change of Y moves R, G and B alike.
        gained = (y - protocol.luma(enlarged)) / protocol.luma.gain
        return Output(enlarged.astype(np.float64) + gained[..., None], y)

    def _clip(self, frames: Tensor) -> Iterator[Tensor]:
        """(T, C, h, w) -> (C, H, W) for each output frame, in time order."""
        import torch

        if self.model.kind == "image":
            for frame in frames:
                yield self._averaged(self._image, frame[None])[0]
        elif self.model.kind == "window":
            ends = self.running.ends or self.variant.ends
            for index in range(len(frames)):
                around = windows.neighbours(index, range(len(frames)), self.variant.window or 1, ends)
                yield self._averaged(self._run, frames[around][None])[0]
        elif self.running.mirrored:
            both = self._averaged(lambda clip: self._run(clip, 1), torch.cat([frames, frames.flip(0)])[None])[0]
            yield from (both[: len(frames)] + both[len(frames) :].flip(0)) / 2
        else:
            yield from self._sequence(frames)

    def _sequence(self, frames: Tensor) -> Iterator[Tensor]:
        running, multi = self.running, self.multi
        size = self.model.window if running.window is None else running.window
        shared = running.shared if running.shared is not None else int(multi > 1 and size > 1)
        if multi > 1 and size and shared == 0:
            raise ArgumentError("windows must share a frame where frames are made in between")
        spans = sampling.spans(len(frames), size, shared, running.tail)
        done = 0  # output frames given so far
        for number, span in enumerate(spans):
            numbers = list(span) * 2 if len(span) == 1 else list(span)  # a sequence has two frames at least
            made = self._averaged(lambda clip: self._run(clip, multi), frames[numbers][None])[0]
            start, stop = multi * span.start, multi * (span.stop - 1) + 1
            if running.keep == "later" and number + 1 < len(spans):
                stop = multi * spans[number + 1].start
            yield from made[done - start : stop - start]
            done = max(done, stop)

    def _averaged(self, run: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """``run`` on (..., h, w), or the mean of its results over mirrored and transposed pictures."""
        if self.running.ensemble == "none":
            return run(frames)
        results: list[Tensor] = []
        for transposed in (False, True) if self.running.ensemble == "all" else (False,):
            turned = frames.transpose(-1, -2) if transposed else frames
            for axes in ((), (-2,), (-1,), (-2, -1)):
                made = run(turned.flip(axes)).flip(axes)
                results.append(made.transpose(-1, -2) if transposed else made)
        return sum(results[1:], results[0]) / len(results)

    def _image(self, frame: Tensor) -> Tensor:
        """(1, C, h, w) -> (1, C, H, W)."""
        if self.running.chop is None:
            return self._run(frame)
        import torch

        factor = self.variant.scale

        def join(quarters: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
            """The quarters without what goes beyond the middle."""
            middle, side = factor * (size[0] // 2), factor * (size[1] // 2)
            below, right = factor * size[0] - middle, factor * size[1] - side
            top = torch.cat([quarters[0][..., :middle, :side], quarters[1][..., :middle, -right:]], 3)
            bottom = torch.cat([quarters[2][..., -below:, :side], quarters[3][..., -below:, -right:]], 3)
            return torch.cat([top, bottom], 2)

        height, width = frame.shape[2:]
        return sampling.chopped(
            (height, width),
            self.running.chop,
            _CHOP_LIMIT,
            lambda rows, columns: self._run(frame[:, :, rows, columns]),
            join,
        )

    def _run(self, frames: Tensor, *arguments: int) -> Tensor:
        return self._call(frames.to(self.device), *arguments).float().cpu()


Upscaler = Bicubic | Network


def architectures() -> Mapping[str, Model]:
    """Every model there is, by name: filters, and networks of the house that are none."""
    found = {model.name: model for model in registry.models()}
    package = import_module("vs_sr.models")
    for module in iter_modules(package.__path__):
        hook = getattr(import_module(f"vs_sr.models.{module.name}"), "vs_sr_models", None)
        for model in hook() if hook else ():
            found.setdefault(model.name, model)
    return found


def find(
    name: str | None, weights: str | None, answers: Mapping[str, str] | None = None
) -> tuple[Model, Variant, store.Source | None]:
    """The model and its weights, of which either may be left out.

    Args:
        name: of the model; None: as the weights are recognised.
        weights: a name from the index or a path; None: the model's default.
        answers: what no tensor tells (``scale``, ``range``, ...).

    Raises:
        ArgumentError: no such model, or neither of the two given.
        WeightsError: the weights are not to be had, not recognised, or of another model.
    """
    known = architectures()
    if name is not None and name not in known:
        raise ArgumentError(f"there is no model {name!r}; choices: {', '.join(sorted(known))}")
    if weights is None:
        if name is None:
            raise ArgumentError("nothing to measure: give a model, weights, or bicubic")
        model = known[name]
        if model.fixed is not None:
            return model, model.fixed, None
        if model.weights is None:
            known_file = f": get {model.published}, and" if model.published else ";"
            raise ArgumentError(f"{name} comes without weights{known_file} give the path of the file")
        source = store.shipped(model.weights)
    elif name is not None:
        model, source = known[name], store.locate(weights, known[name])
    else:
        entry = store.index().get(weights)
        if entry is not None:
            model, source = known[entry.model], store.shipped(weights)
        else:
            try:
                source = store.given(weights)
            except WeightsError as error:
                names = ", ".join(store.index())
                raise ArgumentError(
                    f"weights {weights!r} are neither a name nor a file; names: {names} ({error})"
                ) from None
            model = recognition.recognise(checkpoint.read(source.path), answers, known.values()).model
    if answers:
        source = replace(source, answers=tuple(answers.items()))
    return model, store.recognise(model, source).variant, source
