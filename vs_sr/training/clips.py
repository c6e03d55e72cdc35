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
    degraded: Sequence[bool] = ()
    """Whether a clip went through more than bicubic, and keeps its colors for that; none: no clip did."""

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
            colors: whether channels change places, and one in four examples is a negative; those of degraded clips
                are left as they are.

        Returns:
            LR (B, T, 3, patch, patch) and HR (B, multi (T-1) + 1, 3, scale patch, scale patch), float32 in 0..1.
        """
        frames = multi * (inputs - 1) + 1
        pairs: list[tuple[Frames, Frames]] = []
        for _ in range(count):
            crop = self.draw(rng, frames, patch, colors=colors, shapes=self.lr[scale, multi])
            reduced = self.lr[scale, multi][crop.clip][crop.start : crop.start + frames : multi]
            whole = self.hr[crop.clip][crop.start : crop.start + frames]
            pairs.append((crop.of(reduced, patch, 1), crop.of(whole, patch, scale)))
        lr, hr = (np.stack(side).astype(np.float32) / 255 for side in zip(*pairs, strict=True))
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def draw(
        self, rng: np.random.Generator, frames: int, patch: int, *, colors: bool, shapes: Sequence[Frames]
    ) -> Crop:
        """Where an example of ``frames`` frames is, and how it is varied; ``shapes`` are the clips in LR."""
        clip = int(rng.integers(len(self.hr)))
        if self.degraded and self.degraded[clip]:
            colors = False
        count, height, width = shapes[clip].shape[:3]
        start = int(rng.integers(count - frames + 1))
        y, x = (int(rng.integers(length - patch + 1)) for length in (height, width))
        backward, *flips = (bool(rng.random() < 0.5) for _ in range(3))
        turned = bool(rng.random() < 0.5)
        channels = rng.permutation(3) if colors else np.arange(3)
        negative = bool(colors and rng.random() < 0.25)
        return Crop(clip, start, y, x, backward, flips[0], flips[1], turned, tuple(channels.tolist()), negative)


@dataclass(frozen=True, slots=True)
class Crop:
    """An example: its place in a clip, in LR pixels, and how it is varied, in this order."""

    clip: int
    start: int
    """Its first frame."""
    y: int
    x: int
    backward: bool
    """Whether time runs backward."""
    upside_down: bool
    mirrored: bool
    turned: bool
    """Whether rows and columns change places."""
    channels: tuple[int, ...]
    """Of the clip, in the example's order."""
    negative: bool

    def of(self, frames: Frames, patch: int, scale: int) -> Frames:
        """The example (T, 3, h, w) of its frames (T, H, W, 3) at ``scale`` times the LR's size."""
        y, x, side = scale * self.y, scale * self.x, scale * patch
        cut = frames[:: -1 if self.backward else 1, y : y + side, x : x + side]
        flips = [axis for axis, flipped in ((1, self.upside_down), (2, self.mirrored)) if flipped]
        turn = (0, 2, 1) if self.turned else (0, 1, 2)
        cut = np.flip(cut, tuple(flips))[..., list(self.channels)].transpose(*turn, 3)
        return (cut ^ np.uint8(255 * self.negative)).transpose(0, 3, 1, 2)


def as_frames(scene: Scene) -> Frames:
    """A scene (T, 3, H, W) in 0..1 as a film has it: (T, H, W, 3) uint8."""
    return round_half_up(255 * scene.transpose(0, 2, 3, 1))


def reduce_frames(frames: Frames, scale: int = 4, rule: Rule = "matlab-uint8") -> Frames:
    """Frames (T, H, W, 3) at 1 / ``scale`` of their size: by MATLAB's uint8 rule the LR of the benchmarks."""
    size = frames.shape[1] // scale, frames.shape[2] // scale
    return np.stack([resample(frame, size, rule) for frame in frames]).astype(np.uint8)


def make_clip(
    seed: int, frames: int, size: int, span: float = SPAN, image: MakeImage = random_image, lead: int = 0
) -> Frames:
    """The scene of ``seed`` as uint8 (lead + frames, size, size, 3); the others as in ``make_scene``."""
    torch.set_num_threads(1)  # one process a core is faster than threads
    return as_frames(make_scene(seed, frames=frames, height=size, width=size, span=span, image=image, lead=lead))
