"""A training run, from top to bottom: clips, network, and a loop of steps; ``vs-sr train`` is its command.

Each step draws its batch from the seed and its own number, so that a run that was killed and started again goes on
with the losses that it would have had. Its folder has ``checkpoint.safetensors``, ``losses.csv``, ``samples``, ``pool``
and the weights.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from vs_sr import files
from vs_sr.errors import ArgumentError, DeviceError
from vs_sr.training import exporting, optimizers, pool
from vs_sr.training.adversary import Adversary
from vs_sr.training.checkpoint import Progress, Run
from vs_sr.training.clock import Clock
from vs_sr.training.journal import Journal, say
from vs_sr.training.learner import Learner
from vs_sr.training.perceptual import Perceptual
from vs_sr.training.schedule import Plan
from vs_sr.training.step import Stepper

if TYPE_CHECKING:
    from pathlib import Path

    from vs_sr.training.recipe import Place, Recipe

_TIMED = 8
"""Steps whose parts are timed at the end of a quick run."""


def train(recipe: Recipe, place: Place, report: pool.Report | None = None, began: float | None = None) -> Path:
    """The whole run, or the rest of it; the path of the exported weights.

    Args:
        recipe: all that decides the weights.
        place: where, and by how much of the machine.
        report: told how far the making of clips is.
        began: ``time.monotonic()`` at which the time that there is began; None: now.

    Raises:
        ArgumentError: recipe and files do not fit together, or are not those that the run began with.
        DeviceError: there is no such device, or it does not do the precision.
        VsSrError: a loss was no number, and the batch is saved beside the checkpoint; or clips took all the time.
    """
    option = "--minutes" if place.minutes else "--stop-after"
    clock = Clock(place.minutes or place.stop_after, option, time.monotonic() if began is None else began)
    device = _device(recipe, place)
    if place.threads:
        torch.set_num_threads(place.threads)
    place.out.mkdir(parents=True, exist_ok=True)
    begin = _begin(recipe, place)

    run = _made(recipe, place, begin, device)
    progress, checkpoint = run.progress, place.out / "checkpoint.safetensors"
    progress.files = _files(run, place)
    if checkpoint.exists():
        run.load(checkpoint, recipe.text, other_files=place.other_files)
    elif place.go_on:
        run.go_on(place.go_on, recipe.text, other_files=place.other_files)
    before = progress.whole
    clock.earlier = before if place.minutes else 0.0
    _widen(progress, place.batches)
    perceptual = _perceptual(recipe, place, device)
    clips = pool.load(recipe.data, place, clock.watched(report))
    if clock.left() < math.inf:
        clock.after = exporting.cost(run, recipe, place) if clock.left() > 0 else 0.0
        clock.timed = _TIMED + 1 if place.fast else 0
        if progress.step == 0:
            clock.check()
    if place.minutes and progress.step:  # more time, or less, than was planned for
        progress.plan = progress.plan.again(progress.step, clock.left(), progress.seconds / progress.step)
    journal = Journal(place.out, progress.step, tensorboard=place.tensorboard)
    steps = Stepper(run, recipe, place, clips, perceptual, journal)
    parameters = sum(p.numel() for p in run.learner.network.parameters())
    say(f"{parameters:,} parameters, {len(clips.hr)} clips, from step {progress.step}")

    first = progress.step
    while progress.step < progress.plan.end:
        started = time.perf_counter()
        kind, rate = steps()
        progress.step += 1
        taken = time.perf_counter() - started
        progress.seconds += taken
        clock.stepped(kind, taken)
        done = progress.step
        if place.minutes and (clock.pace or clock.left() <= 0):
            progress.plan = progress.plan.again(done, clock.left(), clock.pace or math.inf)
        stop = (place.stop_after > 0 and clock.left() <= clock.pace) or done == place.stop_at
        last = stop or done == progress.plan.end
        progress.whole = before + clock.spent() - clock.earlier + (clock.after if last else 0.0)
        logged, saved = done % place.log_every == 0 or last, done % place.save_every == 0 or last
        if logged or saved:
            steps.read()
        if logged:
            pace = clock.pace or progress.seconds / done
            say(
                f"step {done}/{progress.plan.end}  loss/bicubic {np.mean(steps.ratios[-place.log_every :]):.4f}  "
                f"rate {rate:.1e}  {pace:.2f} s/step  ETA {pace * (progress.plan.end - done) / 60:.0f} min"
            )
        if saved:
            run.save(checkpoint, recipe.text)
        if done % place.measure_every == 0 and not last:
            exporting.export(run, recipe, place)
        if stop:
            break
    journal.close()
    path = exporting.export(run, recipe, place)
    if place.fast and progress.step > first:
        _measure(steps, clock, place, progress.step - first)
    return path


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
    for key in ("transfer", "fresh"):
        if getattr(recipe.network, key) and not begin:
            raise ArgumentError(f"network.{key} is about tensors of other weights; give them with --start FILE")
    return begin


def _made(recipe: Recipe, place: Place, begin: str, device: torch.device) -> Run:
    """Everything that learns, before its first step."""
    learner = Learner(recipe, begin, device)
    if place.fast:  # before anyone holds its tensors
        learner.network.to(memory_format=torch.channels_last)
        torch.backends.cudnn.deterministic = True
    patch = recipe.data.patch * max(recipe.data.scale) - 2 * recipe.loss.border
    return Run(
        learner=learner,
        optimizer=optimizers.make(recipe.optimizer, learner.network),
        average=optimizers.Average(learner.network, recipe.optimizer.ema**place.batches),
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


def _files(run: Run, place: Place) -> dict[str, object]:
    """What tells the user's files from others, as far as they decide the weights, by their options."""
    others = {"--features": place.features, "--start": run.learner.begun}
    return pool.given(place) | {option: files.contents([path]) for option, path in others.items() if path}


def _widen(progress: Progress, batches: int) -> None:
    """Let each step from here on stand for so many of the recipe's."""
    if batches != (progress.batches[-1][1] if progress.batches else 1):
        progress.batches.append((progress.step, batches))
        progress.plan = progress.plan.widened(progress.step, batches)


def _measure(steps: Stepper, clock: Clock, place: Place, done: int) -> None:
    """Write what a step takes, and what bounds it, to ``pace.json``; after the export: it changes the weights."""
    parts = steps.timed(_TIMED)
    pace = clock.pace or math.nan
    record = {
        "device": torch.cuda.get_device_name(steps.device) if steps.device.type == "cuda" else "CPU",
        "steps": done,
        "steps_are": steps.way,
        "precision": steps.precision,
        "batches": place.batches,
        "steps_per_second": round(1 / pace, 3),
        "step_ms": round(1e3 * pace, 3),
        "one_by_one_ms": {name: round(each, 3) for name, each in parts.items()},
        "bound_by": max(parts, key=lambda name: parts[name]),
    }
    with files.replacing(place.out / "pace.json") as file:
        file.write(f"{json.dumps(record, indent=1)}\n".encode())
    shares = ", ".join(f"{name} {each:.1f}" for name, each in parts.items())
    say(f"{1 / pace:.2f} steps a second, {steps.way}; one by one, in ms: {shares}")
