"""The weights file of a run: the averaged weights, what they are, how they came about, and what they reach."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from vs_sr.arguments import Arguments
from vs_sr.evaluation.measure import Clip, Measurement, images, read
from vs_sr.evaluation.protocols import preset
from vs_sr.evaluation.upscalers import Bicubic, Network, find
from vs_sr.training import pool
from vs_sr.training.clips import HELD_OUT_SEED, make_clip
from vs_sr.training.journal import say
from vs_sr.weights import writing

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from vs_sr.training.checkpoint import Run
    from vs_sr.training.recipe import Place, Recipe


def held_out_clips(count: int = 16) -> list[npt.NDArray[np.uint8]]:
    """Scenes to measure on that no pool contains; those of the second half move."""
    slow = [make_clip(HELD_OUT_SEED + index, 7, 160) for index in range(count - count // 2)]
    return slow + [make_clip(HELD_OUT_SEED + 1000 + index, 7, 160, span=2.3) for index in range(count // 2)]


def export(run: Run, recipe: Recipe, place: Place) -> Path:
    """Write the weights with their recipe, measure them, and add the figures.

    Args:
        run: at the step that is exported.
        recipe: goes into the metadata as it was read.
        place: where to, and what to measure on.

    Raises:
        OSError: the file cannot be written.
    """
    stored = run.average.exported(half=recipe.export == "fp16")
    metadata = {
        "format": "pt",
        "licence": "MIT",
        **run.learner.metadata,
        **recipe.network.notes,
        "recipe": "\n".join(filter(None, [run.learner.earlier.get("recipe"), recipe.text])),
        "training_data": "; ".join(
            dict.fromkeys(filter(None, [run.learner.earlier.get("training_data"), pool.described(recipe.data, place)]))
        ),
        "iterations": str(int(run.learner.earlier.get("iterations", 0)) + run.progress.step),
    }
    progress = run.progress
    if any(times > 1 for _, times in progress.batches):
        metadata["batches"] = ", ".join(f"{times} a step from step {step}" for step, times in progress.batches)
    if progress.step < progress.plan.end:
        metadata["progress"] = json.dumps(progress.facts())
    path = place.out / f"{recipe.name}.safetensors"
    writing.save(path, stored, metadata)
    figures = measured(path, recipe, place)
    if figures:
        writing.save(path, stored, metadata | {"psnr": json.dumps(figures)})
    return path


def measured(path: Path, recipe: Recipe, place: Place) -> dict[str, dict[str, float]]:
    """Weights as their filter runs them, on held-out scenes and on the folders of ``place.measure``; PSNR-Y in dB."""
    name, scale, multi = recipe.network.model, max(recipe.data.scale), min(recipe.data.multi)
    measurement = _measurement(path, recipe, place)
    found = {
        "held-out scenes": [measurement.clip(f"held-out {i}", clip) for i, clip in enumerate(_scenes(place, scale))],
        "folders": [measurement.folder(folder) for folder in place.measure],
    }
    figures: dict[str, dict[str, float]] = {}
    for kind, clips in found.items():
        for clip in clips:
            psnr = clip.mean(name, "psnr_y")
            figures[clip.name] = {"psnr_y": round(psnr, 3), "bicubic": round(psnr - gain(clip, name), 3)}
            text = f"  {clip.name}: {psnr:.3f} dB PSNR-Y, {gain(clip, name):+.3f} above bicubic"
            if multi > 1:
                figures[clip.name]["softness"] = round(softness(clip, name), 3)
                text += f" and blend, sharpness of interpolated frames {softness(clip, name):+.1%}"
            say(text)
        if clips:
            say(f"  mean on {kind}: {np.mean([gain(clip, name) for clip in clips]):+.3f} dB")
    return figures


def cost(run: Run, recipe: Recipe, place: Place) -> float:
    """Seconds that :func:`export` will take, about: a scene is measured, and the pixels of the others are counted."""
    begin = time.monotonic()
    path = place.out / "unmeasured.safetensors"
    writing.save(path, run.average.exported(half=recipe.export == "fp16"), run.learner.metadata)
    scale = max(recipe.data.scale)
    try:
        clips = _scenes(replace(place, held_out=min(place.held_out, 1)), scale)
        rendered = time.monotonic() - begin
        folders = [[read(each) for each in images(folder)[:1]] * len(images(folder)) for folder in place.measure]
        sample = clips[0] if clips else folders[0][: min(recipe.data.multi) + 1] if folders else []
        if not sample:
            return 2 * (time.monotonic() - begin)
        measurement = _measurement(path, recipe, place)
        measurement.clip("once", sample)  # loads what is loaded once
        loaded = time.monotonic()
        measurement.clip("again", sample)
        taken = time.monotonic() - loaded
    finally:
        path.unlink(missing_ok=True)
    pixels = sum(len(frames) * frames[0].size for frames in (*clips * place.held_out, *folders))
    others = rendered * max(0, place.held_out - 1) + taken * pixels / (len(sample) * sample[0].size)
    return 1.1 * (loaded - begin + others)


def _scenes(place: Place, scale: int) -> list[list[npt.NDArray[np.uint8]]]:
    threads = torch.get_num_threads()
    scenes = held_out_clips(place.held_out)
    torch.set_num_threads(threads)  # rendering takes one
    return [_frames(clip, scale) for clip in scenes]


def _measurement(path: Path, recipe: Recipe, place: Place) -> Measurement:
    device = torch.device(place.device)
    name, scale = recipe.network.model, max(recipe.data.scale)
    model, variant, source = find(name, str(path), {"scale": str(scale)} if name == "MDSR" else None)
    multi = min(recipe.data.multi)
    options = Arguments(device_id=-1 if device.type == "cpu" else device.index or 0, precision="fp32")
    return Measurement(
        upscaler=Network(model, variant, source, scale=scale, multi=multi, options=options),
        baseline=Bicubic(scale, multi),
        protocol=preset("space-time" if multi > 1 else "vid4" if model.kind != "image" else "matlab-uint8"),
        video=model.kind != "image",
    )


def _frames(clip: npt.NDArray[np.uint8], scale: int) -> list[npt.NDArray[np.uint8]]:
    """The frames of a clip, cut to a multiple of the scale."""
    height, width = (length // scale * scale for length in clip.shape[1:3])
    return list(clip[:, :height, :width])


def gain(clip: Clip, name: str) -> float:
    """PSNR-Y above bicubic (and blend), dB."""
    return clip.mean(name, "psnr_y") - clip.mean("bicubic", "psnr_y")


def softness(clip: Clip, upscaler: str) -> float:
    """Sharpness of interpolated frames over that of input-time ones, minus 1: -0.1 is a tenth softer."""
    found = clip.temporal[upscaler]
    return (found.sharpness_interpolated or 0) / found.sharpness - 1
