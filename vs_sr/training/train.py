"""A training run, from top to bottom: clips, network, and a loop of steps; ``vs-sr train`` is its command.

Each step draws its batch from the seed and its own number, so that a run that was killed and started again goes on
with the losses that it would have had. Its folder has ``checkpoint.safetensors``, ``losses.csv``, ``samples``, ``pool``
and the weights.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from vs_sr.errors import ArgumentError, DeviceError, VsSrError
from vs_sr.training import losses, optimizers, pool, schedule
from vs_sr.training.adversary import Adversary
from vs_sr.training.checkpoint import Progress, Run
from vs_sr.training.exporting import export
from vs_sr.training.journal import Journal, say
from vs_sr.training.learner import Learner
from vs_sr.training.perceptual import Perceptual
from vs_sr.training.schedule import Plan
from vs_sr.weights import writing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from vs_sr.training.clips import Clips
    from vs_sr.training.recipe import Place, Recipe

_FIRST_PACE = 5
"""Steps after which the pace of a run with limited time is known for the first time."""


def train(recipe: Recipe, place: Place, report: pool.Report | None = None) -> Path:
    """The whole run, or the rest of it; the path of the exported weights.

    Args:
        recipe: all that decides the weights.
        place: where, and by how much of the machine.
        report: told how far the making of clips is.

    Raises:
        ArgumentError: recipe and files do not fit together.
        DeviceError: there is no such device, or it does not do the precision.
        VsSrError: a loss was no number; the batch is saved beside the checkpoint.
    """
    device = _device(recipe, place)
    if place.threads:
        torch.set_num_threads(place.threads)
    place.out.mkdir(parents=True, exist_ok=True)
    begin = _begin(recipe, place)

    run = _made(recipe, place, begin, device)
    progress, checkpoint = run.progress, place.out / "checkpoint.safetensors"
    if checkpoint.exists():
        run.load(checkpoint, recipe.text)
    perceptual = _perceptual(recipe, place, device)
    clips = pool.load(recipe.data, place, report)
    if place.minutes and progress.step:  # more time, or less, than was planned for
        _plan(progress, place.minutes, progress.seconds / progress.step)
    journal = Journal(place.out, progress.step, tensorboard=place.tensorboard)
    parameters = sum(p.numel() for p in run.learner.network.parameters())
    say(f"{parameters:,} parameters, {len(clips.hr)} clips, from step {progress.step}")

    ratios: list[float] = []
    while progress.step < progress.plan.end:
        started = time.perf_counter()
        spot = progress.plan.at(progress.step)
        ratio, rate = _step(run, recipe, place, clips, perceptual, journal, spot)
        ratios.append(ratio)
        progress.step += 1
        progress.seconds += time.perf_counter() - started
        done, pace = progress.step, progress.seconds / progress.step
        last = done == progress.plan.end
        if place.minutes and (done == _FIRST_PACE or (done % place.save_every == 0 and not last)):
            _plan(progress, place.minutes, pace)
        if done % place.log_every == 0 or last:
            say(
                f"step {done}/{progress.plan.end}  loss/bicubic {np.mean(ratios[-place.log_every :]):.4f}  "
                f"rate {rate:.1e}  {pace:.2f} s/step  ETA {pace * (progress.plan.end - done) / 60:.0f} min"
            )
        if done % place.save_every == 0 or last or (place.minutes and done == _FIRST_PACE):
            run.save(checkpoint, recipe.text)
        if done % place.measure_every == 0 and not last:
            export(run, recipe, place)
    journal.close()
    return export(run, recipe, place)


def _device(recipe: Recipe, place: Place) -> torch.device:
    try:
        device = torch.device(place.device)
    except RuntimeError:
        raise DeviceError(f"there is no device {place.device!r}; 'cpu', 'cuda', 'cuda:1', ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {place.device!r} is not there; 'cpu' is")
    if recipe.optimizer.precision == "fp16" and device.type == "cpu":
        raise DeviceError("optimizer.precision='fp16' needs a CUDA device; 'bf16' and 'fp32' run on the CPU")
    return device


def _begin(recipe: Recipe, place: Place) -> str:
    """The weights that the run begins with; empty: none."""
    begin = place.start or recipe.network.start
    if begin == "?":
        raise ArgumentError("the recipe begins with weights of yours; give them with --start FILE")
    if recipe.network.transfer and not begin:
        raise ArgumentError("network.transfer takes tensors of other weights; give them with --start FILE")
    return begin


def _made(recipe: Recipe, place: Place, begin: str, device: torch.device) -> Run:
    """Everything that learns, before its first step."""
    learner = Learner(recipe, begin, device)
    patch = recipe.data.patch * max(recipe.data.scale) - 2 * recipe.loss.border
    return Run(
        learner=learner,
        optimizer=optimizers.make(recipe.optimizer, learner.network),
        average=optimizers.Average(learner.network, recipe.optimizer.ema),
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.optimizer.precision == "fp16"),
        adversary=Adversary(recipe.adversary, patch, device) if recipe.adversary else None,
        progress=Progress(Plan(recipe.steps, recipe.steps)),
    )


def _perceptual(recipe: Recipe, place: Place, device: torch.device) -> Perceptual | None:
    if not recipe.loss.perceptual:
        return None
    if place.features is None:
        raise ArgumentError(f"loss.perceptual needs weights of {recipe.loss.features}; give them with --features FILE")
    return Perceptual(place.features, recipe.loss.features, recipe.loss.distance).to(device)


def _plan(progress: Progress, minutes: float, pace: float) -> None:
    """Stretch or shrink what is left of the recipe into what is left of the time."""
    progress.plan = progress.plan.again(progress.step, 60 * minutes - progress.seconds, pace)


def _step(
    run: Run,
    recipe: Recipe,
    place: Place,
    clips: Clips,
    perceptual: Perceptual | None,
    journal: Journal,
    spot: float,
) -> tuple[float, float]:
    """One step of the network, and of the discriminator: loss in proportion to bicubic's, and the learning rate."""
    learner, optimizer, facts = run.learner, run.optimizer, recipe.optimizer
    device = next(learner.network.parameters()).device
    stage, _ = schedule.stage_at(recipe.stage, spot)
    rate = schedule.rate(recipe.stage, spot)
    optimizers.set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    # Every step draws from its own generator: a resumed run sees what an uninterrupted one would have.
    rng = np.random.default_rng([recipe.seed, run.progress.step])
    images = stage.images > 0 and float(rng.random()) < stage.images
    total: dict[str, float] = {}
    ratio = 0.0
    for _ in range(facts.accumulate):
        lr, hr, scale, multi = _batch(rng, recipe, clips, single=stage.single, images=images)
        inputs, target = learner.prepared(lr.to(device), hr.to(device), scale)
        with torch.autocast(device.type, _type(facts.precision), enabled=facts.precision != "fp32"):
            output = learner.run(inputs, scale, multi, single=stage.single or images)
        base = learner.base(inputs, scale, multi)
        if (border := recipe.loss.border) > 0:
            output, target, base = (film[..., border:-border, border:-border] for film in (output, target, base))
        parts = _parts(recipe, output, target, multi, perceptual, run.adversary)
        loss = torch.stack(list(parts.values())).sum()
        if not bool(loss.detach().isfinite()):
            raise _not_finite(place, run.progress.step, lr, hr)
        run.scaler.scale(loss / facts.accumulate).backward()
        for name, part in parts.items():
            total[name] = total.get(name, 0.0) + float(part.detach()) / facts.accumulate
        pixels = float(_pixels(recipe, output.detach(), target, multi))
        ratio += pixels / max(float(_pixels(recipe, base, target, multi)), 1e-12) / facts.accumulate
        if run.adversary:
            peak = max(each.rate for each in recipe.stage)
            total["discriminator"] = run.adversary.learn(output, target, rate / peak)
    run.scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(learner.network.parameters(), facts.clip_norm or math.inf)
    if not run.scaler.is_enabled() and not bool(norm.isfinite()):
        raise _not_finite(place, run.progress.step, lr, hr)
    run.scaler.step(optimizer)
    run.scaler.update()
    run.average.update(run.progress.step + 1)
    value = sum(part for name, part in total.items() if name != "discriminator")
    journal.step(run.progress.step + 1, value, ratio, rate, total)
    if (run.progress.step + 1) % place.measure_every == 0:
        journal.sample(run.progress.step + 1, {"bicubic": base, "output": output, "target": target})
    return ratio, rate


def _batch(
    rng: np.random.Generator, recipe: Recipe, clips: Clips, *, single: bool, images: bool
) -> tuple[Tensor, Tensor, int, int]:
    """LR and HR of a step, its scale and its frame-rate factor."""
    data = recipe.data
    scale, multi = (_drawn(rng, choices) for choices in (data.scale, data.multi))
    fitting = tuple(inputs for inputs in data.inputs if multi * (inputs - 1) < data.frames)
    if images:
        inputs = 1
    elif single:
        multi, inputs = 2, min(fitting)
    else:
        inputs = _drawn(rng, fitting)
    lr, hr = clips.batch(
        rng, max(1, data.batch // inputs), inputs, data.patch, scale=scale, multi=multi, colors=data.colors
    )
    return lr, hr, scale, multi


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


def _not_finite(place: Place, step: int, lr: Tensor, hr: Tensor) -> VsSrError:
    """The error of a loss that is no number; the batch is kept for whoever looks for the reason."""
    path = place.out / "not_finite.safetensors"
    writing.save(path, {"lr": lr, "hr": hr}, {"step": str(step)})
    return VsSrError(
        f"the loss of step {step + 1} is NaN or infinite; its batch is in {path}. The checkpoint is from before: lower "
        "the rate, set optimizer.clip_norm, or use precision 'fp32'"
    )
