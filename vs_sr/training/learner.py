"""The network of a recipe, whatever its kind: built, begun, and run on examples (B, T, 3, h, w) of films.

Image models see each frame by itself; multi-frame models give the middle frame of their inputs; sequence models go
through the engine's own driver, as in filters. Networks on luma and on upscaled clips are given these.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vs_sr import registry
from vs_sr.engine.recurrence import multi_frame, sequence
from vs_sr.errors import AmbiguousError, ArgumentError
from vs_sr.evaluation.protocols import LUMAS
from vs_sr.evaluation.resample import resize_matrix
from vs_sr.models.layers import DeformableConv
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.spec import Variant
from vs_sr.training import losses, parts, start
from vs_sr.training.offsets import Offsets
from vs_sr.weights import checkpoint, recognition, store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from vs_sr.training.parts import Part
    from vs_sr.training.recipe import Recipe
    from vs_sr.weights.checkpoint import Checkpoint
    from vs_sr.weights.recognition import Recognition


class Learner:
    """A network in training, and what its file has to say of it."""

    def __init__(self, recipe: Recipe, begin: str, device: torch.device) -> None:
        """Build it, with the recipe's seed.

        Args:
            recipe: its network and data.
            begin: weights that it begins with, a name or a path; empty: none.
            device: to put it on.

        Raises:
            ArgumentError: no such model or configuration, or data that it cannot be trained on.
            WeightsError: ``begin`` cannot be read, or does not fit.
        """
        facts, data = recipe.network, recipe.data
        self.model = registry.model(facts.model)
        if self.model.detect is None:
            raise ArgumentError(f"network.model={facts.model!r} has no weights to train")
        hints = {key: str(value) for key, value in facts.hints.items()}
        file = checkpoint.read(store.locate(begin, self.model).path) if begin else None
        found = recognition.recognize(file, {} if facts.transfer else hints, [self.model]) if file else None
        self.begun = file.path if file else None
        """The weights that it begins with."""
        self.earlier: Mapping[str, str] = file.metadata if file else {}
        """Metadata of the weights that it begins with: their recipe, what they were trained on."""
        torch.manual_seed(recipe.seed)
        config = dict(facts.config) or (dict(found.variant.config) if found else {})
        self.network = self._built(config, max(data.scale))
        start.initialize(self.network, facts.initialization)
        if found and file:
            _begin(self.network, file, found, partly=facts.transfer, fresh=facts.fresh)
        known = {**({} if facts.transfer else self.earlier), **hints}
        self.variant = self._recognized(config, known)
        self.metadata = {"architecture": self.model.name, "scale": str(self.variant.scale), **self.variant.metadata}
        self.metadata |= {key: known[key] for key in ("base",) if key in known} | hints
        self._check(recipe)
        self.network.to(device).train()
        self.offsets = Offsets(self.network) if recipe.loss.offsets else None
        """Those of its deformable convolutions, where a loss is about them."""
        if self.model.kind == "image" or isinstance(self.network, ZoomingSlowMo):
            # half to four fifths of the time of a step on single frames; sequences gain a tenth
            self.network.to(memory_format=torch.channels_last)

    def _built(self, config: Mapping[str, Any], scale: int) -> nn.Module:
        try:
            return self.model.build(Variant(scale=scale, config=config))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArgumentError(f"network.config does not make a network of {self.model.name}: {error}") from None

    def _recognized(self, config: Mapping[str, Any], known: Mapping[str, str]) -> Variant:
        """What a filter will take the weights for; it has to be what was built."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}
        assert self.model.detect is not None
        try:
            variant = self.model.detect(shapes, known)
        except AmbiguousError as error:
            raise ArgumentError(f"{error.ambiguity}; say so in network.hints: {error.hints[0]}") from None
        if variant is None:
            raise ArgumentError(f"network.config makes a network that {self.model.name} would not recognize")
        for key, value in config.items():
            seen = variant.config.get(key, value)
            if (tuple(seen) if isinstance(seen, list | tuple) else seen) != (
                tuple(value) if isinstance(value, list | tuple) else value
            ):
                raise ArgumentError(
                    f"network.config has {key}={value!r}, but a filter would take it for {seen!r}: no tensor tells; "
                    "say so in network.hints"
                )
        return variant

    def _check(self, recipe: Recipe) -> None:
        """Whether examples and losses are of the network's kind.

        Raises:
            ArgumentError: they are not.
        """
        data, loss, model = recipe.data, recipe.loss, self.model
        scales = self.variant.config.get("scales", () if self.variant.upscaled else (self.variant.scale,))
        if scales and not set(data.scale) <= set(scales):
            raise ArgumentError(f"data.scale={list(data.scale)}; this network is for {list(scales)}")
        if not set(data.multi) <= set(model.multi):
            raise ArgumentError(f"data.multi={list(data.multi)}; {model.name} can do {list(model.multi)}")
        window = self.variant.window
        if model.kind == "image" and data.inputs != (1,):
            raise ArgumentError(f"data.inputs must be 1: {model.name} sees one frame; got {list(data.inputs)}")
        if model.kind == "multi-frame" and data.inputs != (window,):
            raise ArgumentError(f"data.inputs must be {window}, as the network has it; got {list(data.inputs)}")
        if min(data.inputs) < 2 < max(data.multi) + 1 and model.kind == "sequence":
            raise ArgumentError("data.inputs must be at least 2 where frames are interpolated")
        if (loss.temporal or loss.pulse) and model.kind != "sequence":
            raise ArgumentError(f"loss.temporal and loss.pulse compare frames; {model.name} gives one at a time")
        if self.variant.color == "y" and (loss.pulse or loss.perceptual or loss.adversarial):
            raise ArgumentError(f"loss.pulse, perceptual and adversarial take RGB; {model.name} gives luma")
        if loss.offsets and not any(isinstance(module, DeformableConv) for module in self.network.modules()):
            raise ArgumentError(f"loss.offsets is about deformable convolutions; {model.name} has none")
        for key in ("single", "unaligned", "images"):
            if any(getattr(stage, key) for stage in recipe.stage) and not isinstance(self.network, ZoomingSlowMo):
                raise ArgumentError(f"stage.{key} is for ZoomingSlowMo alone; leave it out for {model.name}")
        if any(stage.single or stage.unaligned for stage in recipe.stage) and 2 not in data.multi:
            raise ArgumentError(
                f"stage.single and stage.unaligned take every second frame; data.multi={list(data.multi)} has no 2"
            )

    def prepared(self, lr: Tensor, hr: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Inputs and target as the network has them: luma, upscaled, or the middle frame alone."""
        if self.variant.color == "y":
            lr, hr = luma(lr), luma(hr)
        if self.variant.upscaled:
            lr = upscale(lr, scale).clamp(0, 1)
        return lr, hr[:, hr.shape[1] // 2, None] if self.model.kind == "multi-frame" else hr

    def run(self, inputs: Tensor, scale: int, multi: int, part: Part = "whole") -> Tensor:
        """The films (B, S, C, H, W) that the network, or a part of it, makes of inputs (B, T, C, h, w)."""
        if part != "whole":
            made = parts.single_image if part == "single" else parts.unaligned
            return made(self.network, inputs)  # type: ignore[arg-type]
        if self.model.kind == "sequence":
            return sequence(self.network, inputs, multi)  # type: ignore[arg-type]
        if self.model.kind == "multi-frame":
            return multi_frame(self.network, inputs)[:, None]  # type: ignore[arg-type]
        if (scales := self.variant.config.get("scales")) is not None:
            self.network.index = list(scales).index(scale)  # type: ignore[assignment]
        images: Tensor = self.network(inputs.flatten(0, 1))
        films: Tensor = images.unflatten(0, inputs.shape[:2])
        return films

    def base(self, inputs: Tensor, scale: int, multi: int) -> Tensor:
        """What bicubic and blend make of the same: the films that a loss is put in proportion to."""
        if self.model.kind == "multi-frame":
            inputs = inputs[:, inputs.shape[1] // 2, None]
        return parts.blend(inputs if self.variant.upscaled else upscale(inputs, scale), multi)


def _begin(
    network: nn.Module, file: Checkpoint, found: Recognition, *, partly: bool, fresh: Sequence[str] = ()
) -> None:
    """Put a file's tensors into ``network``: all of them, ``partly`` those that fit by name and shape, or none whose
    names begin as ``fresh`` says."""
    shapes = {new: file.shapes[old] for old, new in found.names.items()}
    stream = ((found.names[old], tensor) for old, tensor in file.stream(found.names))
    if not partly and not fresh:
        recognition.fit(network, shapes, stream, file.path.name)
        return
    state = network.state_dict()
    for beginning in fresh:
        if not any(name.startswith(beginning) for name in state):
            raise ArgumentError(
                f"network.fresh: no tensor's name begins with {beginning!r}; the first: {next(iter(state))}"
            )
    wanted = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(fresh))}
    fitting = {name for name, shape in shapes.items() if name in wanted and tuple(wanted[name].shape) == tuple(shape)}
    if not partly and (missing := sorted(wanted.keys() - fitting)):
        raise ArgumentError(f"{file.path.name} does not fit this network: {missing[0]}, and {len(missing) - 1} more")
    if not fitting:
        raise ArgumentError(f"network.transfer: no tensor of {file.path.name} fits this network")
    for name, tensor in stream:
        if name in fitting:
            state[name].copy_(tensor)


def luma(films: Tensor) -> Tensor:
    """(..., 3, H, W) in 0..1 -> (..., 1, H, W): (16 + 219 y) / 255, by MATLAB's constants."""
    rule = LUMAS["matlab"]
    weights = losses.constant(rule.weights, films.device)[:, None, None]
    planes: Tensor = (films * weights).sum(-3, keepdim=True) + rule.offset / 255
    return planes


def upscale(films: Tensor, scale: int) -> Tensor:
    """MATLAB-compatible bicubic of (..., h, w), not clamped."""
    down, right = (_matrix(length, scale, films.device) for length in films.shape[-2:])
    with torch.autocast(films.device.type, enabled=False):
        return down @ films @ right.T


@cache
def _matrix(length: int, scale: int, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.from_numpy(np.array(resize_matrix(length, scale), dtype=np.float32)).to(device)
