"""What is measured: a filter's network with its weights, or bicubic, behind one face.

An upscaler takes the LR images of a protocol, not clips: no color conversion beyond the protocol's own stands between
the network and the figure. From there on a network is run as its filter runs it, by the same scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vs_sr import registry, windows
from vs_sr.arguments import Arguments
from vs_sr.engine.engine import Engine
from vs_sr.engine.pipeline import Pipeline
from vs_sr.engine.plan import Plan
from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.evaluation import protocols, sampling
from vs_sr.weights import checkpoint, recognition, store

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from vs_sr.evaluation.protocols import Protocol
    from vs_sr.spec import Model, Variant

    Image = npt.NDArray[np.generic]

type Ensemble = Literal["none", "flips", "all"]

"""Self-ensemble: no; the mean over the mirrored images (four, EDVR's); transposed ones too (eight, EDSR's)."""

DEFAULT = "ZoomingSlowMo"
"""The model that is measured where neither model nor weights are named."""

_CHOP_LIMIT = 160_000
"""LR pixels from which on a quarter is cut again; EDSR's."""


@dataclass(frozen=True, slots=True)
class Output:
    """One image as an upscaler gives it."""

    rgb: Image
    """(H, W, 3) in 0..255; not rounded, not clipped."""
    y: npt.NDArray[np.float64] | None = None
    """(H, W) in 0..255: the Y that a network gave itself; None where Y is that of ``rgb``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """How a network is run. The defaults are the filter's; the others are what papers did."""

    window: int | None = None
    """Sequence models: input frames per run; 0 the whole clip; None: the model's own."""
    shared: int = 1
    """Sequence models: input frames that consecutive windows share."""
    keep: Literal["first", "later"] = "later"
    """Whose result of a shared frame counts."""
    tail: sampling.Tail = "short"
    """What becomes of the frames after the last whole window."""
    ends: windows.Ends | None = None
    """Multi-frame models: what stands for frames beyond the ends; None: as the weights say."""
    mirrored: bool = False
    """Sequence models: run on the clip followed by itself in reverse, and take the mean of both halves."""
    chop: int | None = None
    """Pixels of overlap of EDSR's four quarters; None: the whole image at once."""
    ensemble: Ensemble = "none"

    @property
    def apart(self) -> bool:
        """Whether windows lie otherwise than the filter's, so that each is run as a clip of its own."""
        return (self.shared, self.keep, self.tail) != (1, "later", "short")


class Bicubic:
    """The baseline: bicubic by the protocol's rule, interpolated frames as blends of their two neighbors."""

    label = "bicubic"

    def __init__(self, scale: int, multi: int = 1) -> None:
        self.scale = scale
        self.multi = multi
        self.video = multi > 1

    def describe(self) -> dict[str, Any]:
        """For reports."""
        return {"upscaler": self.label, "scale": self.scale}

    def __call__(self, frames: Sequence[Image], protocol: Protocol) -> Iterator[Output]:
        """T images (h, w, 3) of one clip, upscaled, with ``multi``-1 interpolated ones between each two."""
        before: npt.NDArray[np.float64] | None = None
        for frame in frames:
            upscaled = protocols.upscale(frame, self.scale, protocol)
            after = upscaled.astype(np.float64).clip(0, 255)
            if before is not None:
                for part in range(1, self.multi):
                    yield Output(((self.multi - part) * before + part * after) / self.multi)
            yield Output(upscaled)
            before = after


class Network:
    """A model with weights, run as its filter runs it: by the filter's scheduler, in its session.

    Papers' ways to cut up a clip or an image are clips of their own to that scheduler.
    """

    def __init__(
        self,
        model: Model,
        variant: Variant,
        source: store.Source | None,
        *,
        scale: int,
        multi: int = 1,
        options: Arguments | None = None,
        running: Running | None = None,
    ) -> None:
        """Nothing is loaded yet; see :func:`find` for the first three.

        Args:
            model: of a filter.
            variant: what the weights are.
            source: the weights.
            scale: output over LR; for networks on upscaled images the factor that these are upscaled by.
            multi: frame-rate factor.
            options: the filter's arguments: device, precision, backend, tiles.
            running: how clips and images are cut up.

        Raises:
            ArgumentError: a combination that the model cannot do.
        """
        if multi not in model.multi:
            raise ArgumentError(f"{model.name} cannot do multi={multi}; choices: {', '.join(map(str, model.multi))}")
        if not variant.upscaled and scale != variant.scale:
            raise ArgumentError(f"these weights are for x{variant.scale}, not x{scale}; leave the scale out")
        self.model, self.variant, self.source = model, variant, source
        self.scale, self.multi = scale, multi
        self.video = model.kind != "image"
        self.label = model.name
        self.options = options or Arguments()
        self.running = running or Running()
        if self.running.chop is not None and model.kind != "image":
            raise ArgumentError(f"chop is for image models; {model.name} is of kind {model.kind!r}")
        if self.running.mirrored and (model.kind != "sequence" or multi > 1):
            raise ArgumentError("mirrored is for sequence models that make no interpolated frames")
        if multi > 1 and self.running.shared == 0 and self.running.window != 0:
            raise ArgumentError("windows must share a frame where frames are interpolated")
        if self.running.ends is not None:
            self.variant = replace(variant, ends=self.running.ends)
        self._engine: Engine | None = None

    def describe(self) -> dict[str, Any]:
        """For reports."""
        return {
            "upscaler": self.model.name,
            "weights": None if self.source is None else self.source.path.name,
            "scale": self.scale,
            "multi": self.multi,
            "config": {key: str(value) for key, value in self.variant.config.items()},
            **({} if self._engine is None else self._engine.where()),
        }

    def __call__(self, frames: Sequence[Image], protocol: Protocol) -> Iterator[Output]:
        """T images (h, w, 3) in 0..255 of one clip, upscaled; multi * (T - 1) + 1 of them, as they are ready.

        Fewer where ``running.tail`` is "drop".

        Raises:
            ArgumentError: the images are too small, or the clip too short.
            DeviceError: no such device, or out of memory.
            WeightsError: the weights are damaged or do not fit.
        """
        from vs_sr.runtime import torch

        height, width = frames[0].shape[:2]
        factor = self.scale if self.variant.upscaled else 1
        if min(height, width) * factor < self.variant.min_size:
            raise ArgumentError(f"{self.label} needs {self.variant.min_size} pixels a side; got {width}x{height}")
        given = [protocols.upscale(frame, self.scale, protocol) for frame in frames] if factor > 1 else list(frames)
        planes = torch.stack([self._planes(image, protocol) for image in given])
        for index, image in enumerate(self._averaged(planes)):
            yield self._output(image, given[index] if self.variant.color == "y" else None, protocol)

    def _planes(self, image: Image, protocol: Protocol) -> Tensor:
        """(H, W, 3) in 0..255 -> (C, H, W) float32 in 0..1, RGB or Y."""
        from vs_sr.runtime import torch

        planes = protocol.luma(image)[None] if self.variant.color == "y" else np.moveaxis(image, 2, 0)
        return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32) / 255)

    def _output(self, planes: Tensor, upscaled: Image | None, protocol: Protocol) -> Output:
        """What the network gave, (C, H, W), as RGB; for Y networks the colors come from the upscaled image."""
        values = planes.double().cpu().numpy() * 255
        if self.variant.color == "rgb":
            return Output(np.moveaxis(values, 0, 2))
        if upscaled is None or upscaled.shape[:2] != values.shape[1:]:
            raise ArgumentError(f"{self.label} gives Y of another size than its input: there is no color for it")
        y = values[0].clip(0, 255)
        # With Cb and Cr as they are, a change of Y moves R, G and B alike.
        gained = (y - protocol.luma(upscaled)) / protocol.luma.gain
        return Output(upscaled.astype(np.float64) + gained[..., None], y)

    def _averaged(self, frames: Tensor) -> Iterator[Tensor]:
        """(T, C, h, w) -> (C, H, W) for each output, in time order: the mean over mirrored and transposed clips."""
        if self.running.ensemble == "none":
            yield from self._clip(frames)
            return
        ways = [
            (transposed, axes)
            for transposed in ((False, True) if self.running.ensemble == "all" else (False,))
            for axes in ((), (-2,), (-1,), (-2, -1))
        ]
        clips = [
            self._clip((frames.transpose(-1, -2) if transposed else frames).flip(axes)) for transposed, axes in ways
        ]
        for made in zip(*clips, strict=True):
            back = [
                image.flip(axes).transpose(-1, -2) if transposed else image.flip(axes)
                for image, (transposed, axes) in zip(made, ways, strict=True)
            ]
            yield sum(back[1:], back[0]) / len(back)

    def _clip(self, frames: Tensor) -> Iterator[Tensor]:
        """(T, C, h, w) -> (C, H, W) for each output, in time order."""
        from vs_sr.runtime import torch

        running = self.running
        size = self.model.window if running.window is None else running.window
        if running.chop is not None:
            for frame in frames:
                yield sampling.chopped(
                    frame, running.chop, _CHOP_LIMIT, self.variant.scale, lambda part: self._run(part[None])[0]
                )
        elif running.mirrored:
            both = self._run(torch.cat([frames, frames.flip(0)]))
            yield from (both[: len(frames)] + both[len(frames) :].flip(0)) / 2
        elif self.model.kind == "sequence" and size and (running.apart or size == 1):
            yield from self._apart(frames, sampling.spans(len(frames), size, running.shared, running.tail))
        else:
            yield from self._filtered(frames, size or len(frames))

    def _apart(self, frames: Tensor, spans: Sequence[range]) -> Iterator[Tensor]:
        """Windows that are clips of their own."""
        done = 0  # outputs so far
        for number, span in enumerate(spans):
            made = self._run(frames[span.start : span.stop], self.multi)
            start, stop = self.multi * span.start, self.multi * (span.stop - 1) + 1
            if self.running.keep == "later" and number + 1 < len(spans):
                stop = self.multi * spans[number + 1].start
            yield from made[done - start : stop - start]
            done = max(done, stop)

    def _run(self, clip: Tensor, multi: int = 1) -> Tensor:
        """(T, C, h, w) -> (multi*(T-1)+1, C, H, W), in one window."""
        from vs_sr.runtime import torch

        return torch.stack(list(self._filtered(clip, len(clip), multi)))

    def _filtered(self, frames: Tensor, window: int, multi: int | None = None) -> Iterator[Tensor]:
        """What the filter makes of a clip (T, C, h, w) of one scene, (C, H, W) each; the last one is not repeated."""
        multi = self.multi if multi is None else multi
        wishes = self.options
        grid = windows.grid(
            self.model,
            len(frames),
            window=max(2, window),
            multi=multi,
            lookahead=wishes.lookahead,
            carry=wishes.carry,
            segment=wishes.segment,
        )
        pipeline = Pipeline(
            model=self.model,
            variant=self.variant,
            source=self.source,
            size=(frames.shape[-1], frames.shape[-2]),
            grid=grid,
            options=self.options,
        )
        # the last one is held, so that the network stays loaded from clip to clip
        self._engine = engine = Engine(Plan(pipeline), grid)
        for output, image in enumerate(engine.clip(list(frames))):
            if output <= multi * (len(frames) - 1):
                yield image


Upscaler = Bicubic | Network


def find(
    name: str | None, weights: str | None, hints: Mapping[str, str] | None = None, scale: int | None = None
) -> tuple[Model, Variant, store.Source | None]:
    """The model and its weights, of which either may be left out, or both: then the model that has weights with it.

    Args:
        name: of the model; None: as the weights are recognized.
        weights: a name from the index or a path; None: the model's default.
        hints: what the tensors leave open (``scale``, ``range``, ...).
        scale: of the default weights to take.

    Raises:
        ArgumentError: no such model, or one without weights.
        WeightsError: the weights are not to be had, not recognized, or of another model.
    """
    if weights is None:
        model = registry.model(name or DEFAULT)
        if model.fixed is not None:
            return model, model.fixed, None
        default = store.default(model, scale)
        if default is None:
            published = model.published
            how = f"run `{published.getting}`" if published and published.address else f"get {published}"
            known_file = f": {how}, and" if published else ";"
            raise ArgumentError(f"{name} comes without weights{known_file} give the path of the file")
        source = store.shipped(default)
    elif name is not None:
        model = registry.model(name)
        source = store.locate(weights, model)
    else:
        entry = store.index().get(weights)
        if entry is not None:
            model, source = registry.model(entry.model), store.shipped(weights)
        else:
            try:
                source = store.given(weights)
            except WeightsError as error:
                names = ", ".join(store.index())
                raise ArgumentError(
                    f"weights {weights!r} are neither a name nor a file; names: {names} ({error})"
                ) from None
            model = recognition.recognize(checkpoint.read(source.path), hints, registry.models()).model
    if hints:
        source = replace(source, hints=tuple(hints.items()))
    return model, store.recognize(model, source).variant, source
