"""A pool of rendered clips with their LR versions, and the random crops a training step takes from it.

Scenes are rendered once, by worker processes, to uint8 as a film would be; crops, flips, time reversal and
permuted channels make thousands of different examples of a few hundred clips.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vs_sr import files
from vs_sr.evaluation import protocols
from vs_sr.evaluation.resample import round_half_up
from vs_sr.training.motion import SPAN
from vs_sr.training.scenes import Scene, make_scene

Frames = npt.NDArray[np.uint8]

SCALE = 4
HELD_OUT_SEED = 900_000_000
"""Scenes from this seed on are for measuring: no pool may contain them."""


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips and their bicubically reduced versions."""

    hr: Frames
    """(N, frames, size, size, 3)."""
    lr: Frames
    """(N, frames, size / 4, size / 4, 3), reduced by MATLAB's uint8 rule."""

    @classmethod
    def of(cls, hr: Frames) -> Clips:
        """The clips ``hr`` (N, frames, size, size, 3) with their reduced versions."""
        return cls(hr, np.stack([reduce_frames(clip) for clip in hr]))

    def batch(self, rng: np.random.Generator, count: int, inputs: int, patch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random examples.

        Args:
            rng: decides everything.
            count: examples B.
            inputs: LR frames T of an example, every second frame of a clip.
            patch: LR pixels on a side.

        Returns:
            LR (B, T, 3, patch, patch) and HR (B, 2T-1, 3, 4 patch, 4 patch), float32 in 0..1.
        """
        pairs = [self._example(rng, 2 * inputs - 1, patch) for _ in range(count)]
        lr, hr = (np.stack(side).astype(np.float32) / 255 for side in zip(*pairs, strict=True))
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def _example(self, rng: np.random.Generator, frames: int, patch: int) -> tuple[Frames, Frames]:
        clip = rng.integers(len(self.hr))
        start = rng.integers(self.hr.shape[1] - frames + 1)
        y, x = rng.integers(self.lr.shape[2] - patch + 1, size=2)
        lr = self.lr[clip, start : start + frames : 2, y : y + patch, x : x + patch]
        hr = self.hr[clip, start : start + frames, SCALE * y : SCALE * (y + patch), SCALE * x : SCALE * (x + patch)]
        order = slice(None, None, -1 if rng.random() < 0.5 else 1)
        flips = [axis for axis in (1, 2) if rng.random() < 0.5]
        turn = (0, 2, 1) if rng.random() < 0.5 else (0, 1, 2)
        channels = rng.permutation(3)
        negative = 255 if rng.random() < 0.25 else 0

        def augment(side: Frames) -> Frames:
            side = np.flip(side[order], tuple(flips))[..., channels].transpose(*turn, 3)
            return (side ^ np.uint8(negative)).transpose(0, 3, 1, 2)

        return augment(lr), augment(hr)


def as_frames(scene: Scene) -> Frames:
    """A scene (T, 3, H, W) in 0..1 as a film has it: (T, H, W, 3) uint8."""
    return round_half_up(255 * scene.transpose(0, 2, 3, 1))


def reduce_frames(frames: Frames) -> Frames:
    """Frames (T, H, W, 3) at a quarter of the size, by MATLAB's uint8 rule: the LR of the benchmarks."""
    protocol = protocols.preset("space-time")
    return np.stack([protocols.reduce(frame, SCALE, protocol) for frame in frames]).astype(np.uint8)


def make_clip(seed: int, frames: int, size: int, span: float = SPAN) -> Frames:
    """The scene of ``seed`` as uint8 (frames, size, size, 3); ``span`` of its speeds as in ``make_scene``."""
    torch.set_num_threads(1)  # one process a core is faster than threads
    return as_frames(make_scene(seed, frames=frames, height=size, width=size, span=span))


def make_pair(seed: int, frames: int, size: int, span: float = SPAN) -> tuple[Frames, Frames]:
    """The clip of ``seed`` and its reduced version."""
    clip = make_clip(seed, frames, size, span)
    return clip, reduce_frames(clip)


def load_clips(
    folder: Path, count: int, *, seed: int, frames: int, size: int, workers: int, span: float = SPAN
) -> Clips:
    """The pool of ``count`` clips, rendered into ``folder`` unless it is there already.

    Args:
        folder: keeps the pool, named for its arguments, so that a resumed run need not render again.
        count: clips.
        seed: of the first clip; the others follow.
        frames: of a clip.
        size: of a frame, a multiple of 4.
        workers: processes to render with.
        span: of the speeds, as in ``make_scene``.

    Raises:
        ValueError: the seeds reach into those held out.
    """
    if seed + count > HELD_OUT_SEED:
        raise ValueError(f"seeds from {HELD_OUT_SEED} on are held out; got {count} clips from seed {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"clips_{seed}_{count}x{frames}x{size}_span{span:g}.npz"
    if not path.exists():
        # spawn: a forked child inherits torch's thread pool, but not its threads
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            seeds = range(seed, seed + count)
            made = pool.map(partial(make_pair, frames=frames, size=size, span=span), seeds, chunksize=4)
            hr, lr = (np.stack(side) for side in zip(*made, strict=True))
        with files.replacing(path) as file:
            np.savez(file, hr=hr, lr=lr)
    with np.load(path) as file:
        return Clips(file["hr"], file["lr"])
