"""Train a network by a recipe: a TOML file, or the name of a shipped one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import machine
from vs_sr.cli._progress import Progress

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``RECIPE --out FOLDER``, the user's files, and what a run may take of the machine."""
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a .toml file, or the name of a shipped recipe: zooming_slow_mo_compact")
    add("--out", metavar="FOLDER", type=Path, required=True, help="of checkpoint, clips, log and weights; the same "
        "command continues an interrupted run")  # fmt: skip
    files = parser.add_argument_group("files of yours, as far as the recipe asks for them")
    add = files.add_argument
    add("--video", metavar="FILE", type=Path, nargs="+", default=[], help="films to cut clips out of")
    add("--images", metavar="FOLDER", type=Path, nargs="+", default=[], help="images to cut crops out of")
    add("--photos", metavar="FOLDER", type=Path, nargs="+", default=[], help="photographs for scenes to show")
    add("--h5", metavar="FILE", type=Path, help="pairs in the groups lr and hr")
    add("--start", metavar="WEIGHTS", default="", help="weights to begin with: a file, or a shipped name")
    add(
        "--go-on", metavar="WEIGHTS", type=Path, help="an unfinished run's weights, where its checkpoint is not at hand"
    )
    add("--clips", metavar="FILE", type=Path, help="clips that were packed elsewhere, in place of films and images")
    add("--other-files", action="store_true", help="go on with other files than the run began with")
    add("--features", metavar="FILE", type=Path, help="weights of VGG or MINC, of a perceptual loss")
    add("--measure", metavar="FOLDER", type=Path, nargs="+", default=[], help="images to measure on, never trained on")
    add("--held-out", metavar="N", type=int, default=16, help="generated scenes to measure on beside them; default: 16")
    add("--attribution", metavar="TEXT", default="", help="whose your videos and images are, for the weights' metadata")
    run = parser.add_argument_group("the run")
    add = run.add_argument
    add(
        "--minutes",
        type=float,
        default=0.0,
        help="stretch or shrink the recipe so that all of this ends in that time, resumed runs counted",
    )
    add("--stop-after", metavar="MINUTES", type=float, default=0.0, help="end then, wherever the recipe is; the same "
        "command goes on")  # fmt: skip
    add("--stop-at", metavar="STEP", type=int, default=0, help="end after that step, likewise")
    add("--fast", action="store_true", help="for a CUDA device: clips in its memory, bf16, channels last, CUDA graphs")
    add("--batches", metavar="N", type=int, default=1, help="a step takes N of the recipe's; its rate follows by "
        "sqrt(N), SGD's by N")  # fmt: skip
    add("--steps", choices=("auto", "captured", "compiled", "eager"), default="auto", help="with --fast: CUDA graphs, "
        "torch.compile (minutes for each shape), or neither; default: CUDA graphs where there is CUDA")  # fmt: skip
    add("--device", default="", help="cpu, cuda, cuda:1, ...; default: a CUDA device where there is one")
    add("--threads", type=int, default=0, help="of the CPU; default: as torch has it")
    add("--workers", type=int, default=machine.cores(), help="processes that make clips; default: one a core")
    add("--log-every", metavar="STEPS", type=int, default=20, help="default: 20")
    add("--save-every", metavar="STEPS", type=int, default=100, help="checkpoints; default: 100")
    add("--measure-every", metavar="STEPS", type=int, default=500, help="exports, samples; default: 500")
    add("--tensorboard", action="store_true", help="write events for TensorBoard, too, which has to be installed")


def run(options: argparse.Namespace) -> int:
    """Train, or go on with it."""
    began = time.monotonic()  # loading torch counts
    from vs_sr.errors import ArgumentError
    from vs_sr.runtime import torch  # first of all: its threads sleep where they wait
    from vs_sr.training.recipe import Place, load
    from vs_sr.training.train import train

    for name in ("log_every", "save_every", "measure_every", "workers", "batches"):
        if getattr(options, name) < 1:
            raise ArgumentError(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}")
    if min(options.minutes, options.stop_after, options.threads) < 0:
        raise ArgumentError("--minutes, --stop-after and --threads must not be below 0")
    recipe = load(options.recipe)
    place = Place(
        out=options.out,
        video=tuple(options.video),
        images=tuple(options.images),
        photos=tuple(options.photos),
        h5=options.h5,
        start=options.start,
        features=options.features,
        measure=tuple(options.measure),
        held_out=max(0, options.held_out),
        attribution=options.attribution,
        other_files=options.other_files,
        clips=options.clips,
        go_on=options.go_on,
        minutes=options.minutes,
        stop_after=options.stop_after,
        stop_at=options.stop_at,
        fast=options.fast,
        batches=options.batches,
        steps=options.steps,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=options.threads,
        workers=options.workers,
        log_every=options.log_every,
        save_every=options.save_every,
        measure_every=options.measure_every,
        tensorboard=options.tensorboard,
    )
    with Progress() as progress:
        path = train(recipe, place, progress, began)
    print(f"{path}: {path.stat().st_size:,} bytes; core.vs_sr.{recipe.network.model}(clip, weights=...)")
    return 0
