"""A step of a run: a batch, its loss, and what that changes.

Plain steps read their loss as they go. Quick ones (``Place.fast``) keep it on the device until someone asks: a card
that is waited for at each step is idle for most of it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vs_sr.errors import VsSrError
from vs_sr.training import losses, optimizers, schedule
from vs_sr.training.captured import Gradients
from vs_sr.training.resident import Resident
from vs_sr.weights import writing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from vs_sr.training.adversary import Adversary
    from vs_sr.training.captured import Way
    from vs_sr.training.checkpoint import Run
    from vs_sr.training.clips import Clips
    from vs_sr.training.journal import Journal
    from vs_sr.training.parts import Part
    from vs_sr.training.perceptual import Perceptual
    from vs_sr.training.recipe import Place, Recipe


_WARMUP = 50
"""Steps of a linear rise where the optimizer has forgotten what it knew of an unfinished run."""


@dataclass(frozen=True)
class _Films:
    """What a network made, of what, and what it should have made: (B, S, C, H, W)."""

    output: Tensor
    target: Tensor
    base: Tensor


@dataclass(frozen=True)
class _Read:
    """A step whose numbers are still on the device."""

    step: int
    rate: float
    names: tuple[str, ...]
    """Of the loss's parts."""
    numbers: list[Tensor]
    """Of each batch: loss, pixels, pixels of bicubic, parts."""
    norm: Tensor


class Stepper:
    """Runs steps, one after the other."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        place: Place,
        clips: Clips,
        perceptual: Perceptual | None,
        journal: Journal,
    ) -> None:
        """For a run, from the step that it is at."""
        self.run = run
        self.recipe = recipe
        self.place = place
        self.perceptual = perceptual
        self.journal = journal
        self.device = next(run.learner.network.parameters()).device
        self.precision = recipe.optimizer.precision
        if place.fast and self.precision == "fp32":
            self.precision = "bf16"
        self.ratios: list[float] = []
        """Loss in proportion to bicubic's of each step that was read."""
        self._clips = Resident(clips, self.device) if place.fast else clips
        # A discriminator learns of the output in between, and a scaler decides by what it reads.
        quick = place.fast and run.adversary is None and not run.scaler.is_enabled()
        self._gradients: Gradients | None = None
        if quick:
            parameters = list(run.learner.network.parameters())
            self._gradients = Gradients(self._numbers, parameters, _way(place, self.device))
        self._names: tuple[str, ...] = ()
        self._unread: list[_Read] = []

    @property
    def way(self) -> str:
        """How steps are run: "captured", "compiled" or "eager"."""
        return self._gradients.way if self._gradients else "eager"

    def __call__(self) -> tuple[object, float]:
        """One step of the network, and of the discriminator: its kind, by what it takes, and the learning rate."""
        recipe, run, facts = self.recipe, self.run, self.recipe.optimizer
        rng, part, images = self._begin(run.progress.step)
        rate = schedule.rate(recipe.stage, run.progress.plan.at(run.progress.step)) * optimizers.larger(
            facts, self.place.batches
        )
        if run.progress.moments:
            rate *= min(1.0, (run.progress.step + 1 - run.progress.moments) / _WARMUP)
        optimizers.set_rate(run.optimizer, rate)
        run.optimizer.zero_grad(set_to_none=True)
        numbers: list[Tensor] = []
        adversarial = 0.0
        kind: list[object] = []
        for _ in range(facts.accumulate):
            lr, hr, scale, multi = self._batch(rng, part, images=images)
            kind.append((lr.shape, scale, multi, part))
            if self._gradients:
                numbers.append(self._gradients(lr, hr, (scale, multi, part)))
                continue
            films, row = self._compared(lr, hr, scale, multi, part)
            if not bool(row[0].detach().isfinite()):
                raise self._not_finite(run.progress.step, lr, hr)
            run.scaler.scale(row[0] / facts.accumulate).backward()
            numbers.append(row.detach())
            if run.adversary:
                peak = max(each.rate for each in recipe.stage)
                adversarial += run.adversary.learn(films.output, films.target, rate / peak)
        if self._gradients and facts.accumulate > 1:
            for parameter in run.learner.network.parameters():
                if parameter.grad is not None:
                    parameter.grad /= facts.accumulate
        run.scaler.unscale_(run.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(run.learner.network.parameters(), facts.clip_norm or math.inf)
        if self._gradients is None and not run.scaler.is_enabled() and not bool(norm.isfinite()):
            raise self._not_finite(run.progress.step, lr, hr)
        if _stepped(run.scaler, run.optimizer):
            run.average.update(run.progress.step + 1)
        self._unread.append(_Read(run.progress.step, rate, self._names, numbers, norm))
        if self._gradients is None:
            self.read(adversarial if run.adversary else None)
        if (run.progress.step + 1) % self.place.measure_every == 0:
            with torch.no_grad():
                films, _ = self._compared(lr, hr, scale, multi, part)
            named = {"bicubic": films.base, "output": films.output, "target": films.target}
            self.journal.sample(run.progress.step + 1, named)
        return tuple(kind), rate

    def read(self, adversarial: float | None = None) -> None:
        """Bring the numbers of steps to the journal, those that are still on the device.

        Raises:
            VsSrError: one of them is no number; the batch is saved beside the checkpoint.
        """
        unread, self._unread = self._unread, []
        for each in unread:
            total: dict[str, float] = {}
            ratio, count = 0.0, len(each.numbers)
            rows = [row.tolist() for row in each.numbers]
            if not all(math.isfinite(number) for row in rows for number in row) or not (
                self._gradients is None or bool(each.norm.isfinite())
            ):
                raise self._not_finite(each.step, *self._again(each.step))
            for _, pixels, base, *parts in rows:
                for name, part in zip(each.names, parts, strict=True):
                    total[name] = total.get(name, 0.0) + part / count
                ratio += pixels / max(base, 1e-12) / count
            value = sum(total.values())
            if adversarial is not None:
                total["discriminator"] = adversarial
            self.ratios.append(ratio)
            self.journal.step(each.step + 1, value, ratio, each.rate, total)

    def timed(self, steps: int) -> dict[str, float]:
        """Milliseconds of the parts of a step, each waited for, over some steps that change what no one exports.

        The parts run one kernel at a time; what a graph saves is the difference to the steps of the run.
        """
        run, recipe = self.run, self.recipe
        total = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
        for step in range(steps + 1):
            marks = [self._now()]
            rng, part, images = self._begin(run.progress.step + step)
            lr, hr, scale, multi = self._batch(rng, part, images=images)
            marks.append(self._now())
            run.optimizer.zero_grad(set_to_none=True)
            row = self._numbers(lr, hr, scale, multi, part)
            marks.append(self._now())
            row[0].backward()
            marks.append(self._now())
            torch.nn.utils.clip_grad_norm_(run.learner.network.parameters(), recipe.optimizer.clip_norm or math.inf)
            run.optimizer.step()
            run.average.update(run.progress.step + 1)
            marks.append(self._now())
            if step:  # the first one warms up
                for name, before, after in zip(total, marks, marks[1:], strict=False):
                    total[name] += 1e3 * (after - before) / steps
        return total

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _begin(self, step: int) -> tuple[np.random.Generator, Part, bool]:
        """What a step draws from, the part of the network that it runs, and whether it sees single frames."""
        stage, _ = schedule.stage_at(self.recipe.stage, self.run.progress.plan.at(step))
        # Every step draws from its own generator: a resumed run sees what an uninterrupted one would have.
        rng = np.random.default_rng([self.recipe.seed, step])
        images = stage.images > 0 and float(rng.random()) < stage.images
        part: Part = "single" if stage.single or images else "unaligned" if stage.unaligned else "whole"
        return rng, part, images

    def _again(self, step: int) -> tuple[Tensor, Tensor]:
        """The first batch of a step that is over."""
        rng, part, images = self._begin(step)
        return self._batch(rng, part, images=images)[:2]

    def _batch(self, rng: np.random.Generator, part: Part, *, images: bool) -> tuple[Tensor, Tensor, int, int]:
        """LR and HR of a step, its scale and its frame-rate factor."""
        data = self.recipe.data
        scale, multi = (_drawn(rng, choices) for choices in (data.scale, data.multi))
        if part == "unaligned":
            multi = 2
        fitting = tuple(inputs for inputs in data.inputs if multi * (inputs - 1) < data.frames)
        if images:
            inputs = 1
        elif part == "single":
            multi, inputs = 2, min(fitting)
        else:
            inputs = _drawn(rng, fitting)
        count = self.place.batches * max(1, data.batch // inputs)
        lr, hr = self._clips.batch(rng, count, inputs, data.patch, scale=scale, multi=multi, colors=data.colors)
        return lr.to(self.device), hr.to(self.device), scale, multi

    def _numbers(self, lr: Tensor, hr: Tensor, scale: int, multi: int, part: Part) -> Tensor:
        return self._compared(lr, hr, scale, multi, part)[1]

    def _compared(self, lr: Tensor, hr: Tensor, scale: int, multi: int, part: Part) -> tuple[_Films, Tensor]:
        """What the network makes of a batch; the loss, the pixels' loss, bicubic's, and the loss's parts."""
        learner, recipe = self.run.learner, self.recipe
        inputs, target = learner.prepared(lr, hr, scale)
        with torch.autocast(self.device.type, _type(self.precision), enabled=self.precision != "fp32"):
            output = learner.run(inputs, scale, multi, part)
        base = learner.base(inputs, scale, multi)
        if (border := recipe.loss.border) > 0:
            output, target, base = (film[..., border:-border, border:-border] for film in (output, target, base))
        parts = _parts(recipe, output, target, multi, self.perceptual, self.run.adversary)
        if learner.offsets:
            parts["offsets"] = recipe.loss.offsets * learner.offsets.strayed(recipe.loss.reach, output.device)
        loss = torch.stack(list(parts.values())).sum()
        pixels, bicubic = _pixels(recipe, output.detach(), target, multi), _pixels(recipe, base, target, multi)
        self._names = tuple(parts)
        numbers = torch.stack([loss, pixels, bicubic, *(part.detach() for part in parts.values())])
        return _Films(output, target, base), numbers

    def _not_finite(self, step: int, lr: Tensor, hr: Tensor) -> VsSrError:
        return _not_finite(self.place.out / "not_finite.safetensors", step, lr, hr)


def _way(place: Place, device: torch.device) -> Way:
    """How quick steps are run where nothing was said."""
    if place.steps != "auto":
        return place.steps
    return "captured" if device.type == "cuda" else "eager"


def _stepped(scaler: Any, optimizer: torch.optim.Optimizer) -> bool:
    """Change the weights; False: gradients overflowed in float16, so the step is left out, and the scale is halved."""
    before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    return bool(scaler.get_scale() >= before)


def _drawn(rng: np.random.Generator, choices: tuple[int, ...]) -> int:
    return choices[int(rng.integers(len(choices)))] if len(choices) > 1 else choices[0]


def _type(precision: str) -> torch.dtype:
    return torch.float16 if precision == "fp16" else torch.bfloat16


def _parts(
    recipe: Recipe,
    output: Tensor,
    target: Tensor,
    multi: int,
    perceptual: Perceptual | None,
    adversary: Adversary | None,
) -> dict[str, Tensor]:
    """The parts of the loss, weighted; those of weight 0 are left out."""
    facts = recipe.loss
    parts = {"pixels": _pixels(recipe, output, target, multi)} if facts.l1 or facts.l2 or facts.charbonnier else {}
    if facts.temporal:
        parts["temporal"] = facts.temporal * losses.temporal(output, target)
    if facts.pulse:
        parts["pulse"] = facts.pulse * losses.pulse(output, target)
    if facts.tv:
        parts["tv"] = facts.tv * losses.total_variation(output)
    if perceptual:
        parts["perceptual"] = facts.perceptual * perceptual(output, target)
    if adversary:
        parts["adversarial"] = facts.adversarial * adversary.judge(output, target)
    return parts


def _pixels(recipe: Recipe, output: Tensor, target: Tensor, multi: int) -> Tensor:
    """The weighted sum of L1, L2 and Charbonnier; L1 where a recipe has none of them."""
    facts = recipe.loss
    errors: list[Tensor] = []
    if facts.l2:
        errors.append(facts.l2 * losses.l2(output, target))
    if facts.charbonnier:
        errors.append(facts.charbonnier * losses.charbonnier(output, target, facts.eps))
    if facts.l1 or not errors:
        errors.append((facts.l1 or 1.0) * losses.l1(output, target))
    return losses.weighted(sum(errors[1:], errors[0]), multi, facts.between)


def _not_finite(path: Path, step: int, lr: Tensor, hr: Tensor) -> VsSrError:
    """The error of a loss that is no number; the batch is kept for whoever looks for the reason."""
    writing.save(path, {"lr": lr.cpu(), "hr": hr.cpu()}, {"step": str(step)})
    return VsSrError(
        f"the loss of step {step + 1} is NaN or infinite; its batch is in {path}. The checkpoint is from before: lower "
        "the rate, set optimizer.clip_norm, or use precision 'fp32'"
    )
