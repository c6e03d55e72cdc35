"""Clips with their LR versions, and the random crops a training step takes from them.

Clips are made once (:mod:`vs_sr.training.pool`), as uint8, as a film would be; crops, flips, time reversal and permuted
channels make thousands of different examples of a few hundred clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vs_sr.evaluation.resample import Rule, resample, round_half_up
from vs_sr.training.motion import SPAN
from vs_sr.training.scenes import MakeImage, Scene, make_scene
from vs_sr.training.textures import random_image

Frames = npt.NDArray[np.uint8]

HELD_OUT_SEED = 900_000_000
"""Scenes from this seed on are for measuring: no pool may contain them."""


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips and their reduced versions."""

    hr: Sequence[Frames]
    """(frames, height, width, 3) each."""
    lr: Mapping[tuple[int, int], Sequence[Frames]]
    """By scale and frame-rate factor: (frames, height / scale, width / scale, 3) each. All frames have one: a codec saw
    those that are ``multi`` apart in a row."""

    @classmethod
    def of(cls, hr: Frames, scale: int = 4, multi: int = 2) -> Clips:
        """The clips ``hr`` (N, frames, height, width, 3) with their bicubic versions."""
        return cls(list(hr), {(scale, multi): [reduce_frames(clip, scale) for clip in hr]})

    def batch(
        self,
        rng: np.random.Generator,
        count: int,
        inputs: int,
        patch: int,
        *,
        scale: int = 4,
        multi: int = 2,
        colors: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Random examples.

        Args:
            rng: decides everything.
            count: examples B.
            inputs: LR frames T of an example, every multi-th frame of a clip.
            patch: LR pixels on a side.
            scale: HR over LR.
            multi: frame-rate factor.
            colors: whether channels change places, and one in four examples is a negative.

        Returns:
            LR (B, T, 3, patch, patch) and HR (B, multi (T-1) + 1, 3, scale patch, scale patch), float32 in 0..1.
        """
        frames = multi * (inputs - 1) + 1
        pairs = [self._example(rng, frames, patch, scale, multi, colors) for _ in range(count)]
        lr, hr = (np.stack(side).astype(np.float32) / 255 for side in zip(*pairs, strict=True))
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def _example(
        self, rng: np.random.Generator, frames: int, patch: int, scale: int, multi: int, colors: bool
    ) -> tuple[Frames, Frames]:
        clip = int(rng.integers(len(self.hr)))
        whole, reduced = self.hr[clip], self.lr[scale, multi][clip]
        start = rng.integers(len(whole) - frames + 1)
        y, x = (rng.integers(length - patch + 1) for length in reduced.shape[1:3])
        lr = reduced[start : start + frames : multi, y : y + patch, x : x + patch]
        hr = whole[start : start + frames, scale * y : scale * (y + patch), scale * x : scale * (x + patch)]
        order = slice(None, None, -1 if rng.random() < 0.5 else 1)
        flips = [axis for axis in (1, 2) if rng.random() < 0.5]
        turn = (0, 2, 1) if rng.random() < 0.5 else (0, 1, 2)
        channels = rng.permutation(3) if colors else np.arange(3)
        negative = 255 if colors and rng.random() < 0.25 else 0

        def augment(side: Frames) -> Frames:
            side = np.flip(side[order], tuple(flips))[..., channels].transpose(*turn, 3)
            return (side ^ np.uint8(negative)).transpose(0, 3, 1, 2)

        return augment(lr), augment(hr)


def as_frames(scene: Scene) -> Frames:
    """A scene (T, 3, H, W) in 0..1 as a film has it: (T, H, W, 3) uint8."""
    return round_half_up(255 * scene.transpose(0, 2, 3, 1))


def reduce_frames(frames: Frames, scale: int = 4, rule: Rule = "matlab-uint8") -> Frames:
    """Frames (T, H, W, 3) at 1 / ``scale`` of their size: by MATLAB's uint8 rule the LR of the benchmarks."""
    size = frames.shape[1] // scale, frames.shape[2] // scale
    return np.stack([resample(frame, size, rule) for frame in frames]).astype(np.uint8)


def make_clip(seed: int, frames: int, size: int, span: float = SPAN, image: MakeImage = random_image) -> Frames:
    """The scene of ``seed`` as uint8 (frames, size, size, 3); ``span`` and ``image`` as in ``make_scene``."""
    torch.set_num_threads(1)  # one process a core is faster than threads
    return as_frames(make_scene(seed, frames=frames, height=size, width=size, span=span, image=image))
