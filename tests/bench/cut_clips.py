"""Clips whose cuts are known: joined scenes, and all that is taken for a cut and is none.

A clip is luma of 8 bits, (frames, HEIGHT, WIDTH), made by the generator of the training scenes from a seed.
Real frames, where they are at hand, are joined and moved in the same ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from vs_sr.training import textures
from vs_sr.training.demo import demo_scene
from vs_sr.training.motion import Motion
from vs_sr.training.scenes import SUPERSAMPLING, Layer, make_scene, render
from vs_sr.training.shapes import coverage, random_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Luma = npt.NDArray[np.float32]
"""(frames, HEIGHT, WIDTH) in 0..1."""

HEIGHT, WIDTH = 108, 192
FASTEST = 8.0
"""Of an ordinary scene, in pixels per frame."""


@dataclass(frozen=True)
class Clip:
    """Frames, and where the cuts are."""

    frames: npt.NDArray[np.uint8]
    cuts: set[int] = field(default_factory=set)
    """Cut i lies between the frames i and i+1."""


type Maker = Callable[[np.random.Generator], Clip]


def _clip(*parts: Luma, noise: float = 0.0, rng: np.random.Generator | None = None) -> Clip:
    """Parts joined by cuts, with grain of a standard deviation, as 8 bits of limited range."""
    frames = np.concatenate(parts)
    if noise and rng:
        frames = frames + rng.normal(0, noise, frames.shape)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return Clip((16 + 219 * frames.clip(0, 1)).round().astype(np.uint8), {int(end) - 1 for end in ends})


def _luma(rgb: npt.NDArray[np.float32]) -> Luma:
    return np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), rgb, (0, 1))


def _length(rng: np.random.Generator) -> int:
    return int(rng.integers(8, 13))


def scene(rng: np.random.Generator, frames: int | None = None) -> Luma:
    """An ordinary scene; now and then a piece of the demo's film."""
    frames = frames or _length(rng)
    seed = int(rng.integers(2**31))
    if rng.random() < 0.15:
        return _luma(demo_scene(frames, HEIGHT, WIDTH, seed))
    return _luma(make_scene(seed, frames=frames, height=HEIGHT, width=WIDTH, fastest=FASTEST))


def _sheet(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """An opaque image, half as large again as the frame in both directions."""
    height, width = SUPERSAMPLING * HEIGHT * 3 // 2, SUPERSAMPLING * WIDTH * 3 // 2
    image = textures.random_image(rng, height, width)
    return np.concatenate([image, np.ones((height, width, 1), np.float32)], axis=2)


def _moved(sheet: npt.NDArray[np.float32], frames: int, motion: Motion, *above: Layer) -> Luma:
    return _luma(render([Layer(sheet, motion, mirrored=True), *above], Motion(), frames, HEIGHT, WIDTH))


def panned(rng: np.random.Generator, slowest: float, fastest: float, frames: int | None = None) -> Luma:
    """A camera that pans by a share of the width per frame, with the blur of its motion."""
    speed = WIDTH * rng.uniform(slowest, fastest) * rng.choice([-1, 1])
    drift = 0.2 * speed * rng.uniform(-1, 1)
    moving = _moved(_sheet(rng), frames or _length(rng), Motion(velocity=(speed, drift)))
    return _blurred(moving, int(abs(speed) * rng.uniform(0, 0.6)))


def _blurred(frames: Luma, length: int) -> Luma:
    """A box of ``length`` pixels along the rows."""
    if length < 2:
        return frames
    padded = np.pad(frames, ((0, 0), (0, 0), (length // 2, length - 1 - length // 2)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=2).mean(axis=3, dtype=np.float32)


def _matched(frames: Luma, to: Luma) -> Luma:
    """``frames`` with the mean and the contrast of ``to``."""
    return (frames - frames.mean()) * (to.std() / max(float(frames.std()), 0.02)) + to.mean()


# with cuts


def hard(rng: np.random.Generator) -> Clip:
    """Scenes of any kind."""
    return _clip(scene(rng), scene(rng), scene(rng))


def similar(rng: np.random.Generator) -> Clip:
    """Scenes of the same brightness and contrast."""
    first = scene(rng)
    return _clip(first, *(_matched(scene(rng), first) for _ in range(2)))


def same_place(rng: np.random.Generator) -> Clip:
    """The same image from another angle: moved by half of the frame, larger, turned."""
    sheet = _sheet(rng)
    parts = []
    for side in (-1, 1, -1):
        away = side * rng.uniform(0.25, 0.4)
        motion = Motion(
            x=away * WIDTH, y=away * HEIGHT * rng.uniform(-0.5, 0.5), velocity=(rng.normal(0, 1), rng.normal(0, 1))
        )
        size = np.log(rng.uniform(1.0, 1.2) if side < 0 else rng.uniform(1.5, 2.2))
        parts.append(_grown(sheet, _length(rng), motion, float(size)))
    return _clip(*parts)


def _grown(sheet: npt.NDArray[np.float32], frames: int, motion: Motion, size: float) -> Luma:
    """A moved sheet that is ``exp(size)`` times as large throughout."""
    side = int(1 / np.exp(size) * sheet.shape[0]), int(1 / np.exp(size) * sheet.shape[1])
    top, left = (sheet.shape[0] - side[0]) // 2, (sheet.shape[1] - side[1]) // 2
    crop = sheet[top : top + side[0], left : left + side[1], :3]
    large = np.asarray(
        Image.fromarray((255 * crop).astype(np.uint8)).resize((sheet.shape[1], sheet.shape[0])), dtype=np.float32
    )
    return _moved(np.concatenate([large / 255, sheet[..., 3:]], axis=2), frames, motion)


def in_motion(rng: np.random.Generator) -> Clip:
    """Between pans."""
    return _clip(*(panned(rng, 0.03, 0.1) for _ in range(3)))


def noisy(rng: np.random.Generator) -> Clip:
    """Through grain."""
    return _clip(scene(rng), scene(rng), scene(rng), noise=float(rng.uniform(0.015, 0.05)), rng=rng)


def dark(rng: np.random.Generator) -> Clip:
    """Between night scenes."""
    return _clip(*(scene(rng) * np.float32(rng.uniform(0.15, 0.35)) for _ in range(3)))


def black(rng: np.random.Generator) -> Clip:
    """To black, and from black."""
    return _clip(scene(rng), np.zeros((_length(rng), HEIGHT, WIDTH), np.float32), scene(rng))


def short(rng: np.random.Generator) -> Clip:
    """A scene of one to three frames, and back to where it was."""
    around, inside, n = scene(rng, 16), scene(rng, 3), int(rng.integers(1, 4))
    return _clip(around[:8], inside[:n], around[8:])


# without


def ordinary(rng: np.random.Generator) -> Clip:
    """What moves in an ordinary scene."""
    return _clip(scene(rng, 24))


def fade(rng: np.random.Generator) -> Clip:
    """To black and back, into another scene."""
    steps = int(rng.integers(5, 17))
    gain = np.linspace(1, 0, steps, dtype=np.float32)[:, None, None]
    out, back = (scene(rng, steps + 4) for _ in range(2))
    out[4:] *= gain
    back[:steps] *= gain[::-1]
    return _clip(np.concatenate([out, np.zeros((3, HEIGHT, WIDTH), np.float32), back]))


def dissolve(rng: np.random.Generator) -> Clip:
    """From one scene into another in 5 to 24 steps."""
    steps = int(rng.integers(5, 25))
    one, other = (scene(rng, steps + 8) for _ in range(2))
    mix = np.concatenate([np.zeros(4), np.linspace(0, 1, steps), np.ones(4)]).astype(np.float32)[:, None, None]
    return _clip(one + mix * (other - one))


def flash(rng: np.random.Generator) -> Clip:
    """One to three frames of light: over all of the frame, out of a corner, or white."""
    frames = scene(rng, 20)
    start = int(rng.integers(4, 12))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    lamp = np.exp(-np.hypot(y - rng.uniform(0, HEIGHT), x - rng.uniform(0, WIDTH)) / (WIDTH / 3))
    light = {"all": np.ones((HEIGHT, WIDTH)), "lamp": 2 * lamp, "white": np.full((HEIGHT, WIDTH), 9.0)}
    added = np.float32(rng.uniform(0.25, 0.8)) * light[str(rng.choice(list(light)))].astype(np.float32)
    for frame in range(start, start + int(rng.integers(1, 4))):
        frames[frame] = frames[frame] * (1 + added) + added * rng.uniform(0.6, 1)
    return _clip(frames)


def exposure(rng: np.random.Generator) -> Clip:
    """The light is switched, from one frame to the next."""
    frames = scene(rng, 20)
    frames[10:] = frames[10:] * np.float32(rng.uniform(0.4, 0.7)) + np.float32(rng.uniform(-0.05, 0.1))
    return _clip(frames[:: int(rng.choice([-1, 1]))])


def pan(rng: np.random.Generator) -> Clip:
    """By 3 to 15 % of the width per frame."""
    return _clip(panned(rng, 0.03, 0.15, 16))


def zoom(rng: np.random.Generator) -> Clip:
    """By 2 to 8 % per frame, in and out."""
    rate = float(rng.uniform(0.02, 0.08) * rng.choice([-1, 1]))
    return _clip(_moved(_sheet(rng), 14, Motion(zoom=rate, spin=float(rng.normal(0, 0.02)))))


def still(rng: np.random.Generator) -> Clip:
    """Grain over an image that stands, black and flat ones among them."""
    image = scene(rng, 1) * np.float32(rng.choice([0.0, 0.1, 0.4, 1.0])) + np.float32(rng.uniform(0, 0.3))
    return _clip(np.repeat(image, 24, axis=0), noise=float(rng.uniform(0.01, 0.06)), rng=rng)


def objects(rng: np.random.Generator) -> Clip:
    """Large things cross the frame quickly."""
    layers = []
    for _ in range(int(rng.integers(1, 3))):
        radius = HEIGHT * float(rng.uniform(0.3, 0.6)) * SUPERSAMPLING
        side = int(2 * radius) + 5
        mask = coverage(random_shape(rng), side, side, ((side - 1) / 2,) * 2, radius, 0.0)
        rgba = np.concatenate([textures.random_image(rng, side, side), mask[..., None]], axis=2)
        speed = WIDTH * rng.uniform(0.05, 0.15) * rng.choice([-1, 1])
        layers.append(Layer(rgba, Motion(y=float(rng.uniform(-20, 20)), velocity=(float(speed), 0.0))))
    return _clip(_moved(_sheet(rng), 20, Motion(velocity=(float(rng.normal(0, 1)), 0.0)), *layers))


def lettering(rng: np.random.Generator) -> Clip:
    """Lines of text appear and go."""
    frames = scene(rng, 20)
    height, width = int(HEIGHT * rng.uniform(0.3, 0.9)), int(WIDTH * rng.uniform(0.6, 1.0))
    top, left = int(rng.integers(HEIGHT - height + 1)), int(rng.integers(WIDTH - width + 1))
    mask = textures.text_mask(rng, height, width, smallest=12).astype(np.float32)
    window = frames[7:14, top : top + height, left : left + width]
    window += mask * (np.float32(rng.choice([0.0, 1.0])) - window)
    return _clip(frames)


CUT: Mapping[str, Maker] = {
    "hard cut": hard,
    "hard cut, same brightness and contrast": similar,
    "hard cut between pans": in_motion,
    "hard cut through grain": noisy,
    "hard cut, night": dark,
    "to and from black": black,
    "same image, other framing": same_place,
    "shot of 1 to 3 frames": short,
}
UNCUT: Mapping[str, Maker] = {
    "ordinary motion": ordinary,
    "fade": fade,
    "dissolve": dissolve,
    "flash": flash,
    "exposure": exposure,
    "pan": pan,
    "zoom": zoom,
    "still with grain": still,
    "large objects": objects,
    "lettering": lettering,
}


def make(kind: str, seed: int) -> Clip:
    """The clip of a kind and a seed."""
    makers = {**CUT, **UNCUT}
    return makers[kind](np.random.default_rng([seed, list(makers).index(kind)]))


# real frames


@cache
def _photographs(folder: Path) -> tuple[Luma, ...]:
    return tuple(read(path) for path in sorted((folder / "set5").glob("*.png")))


@cache
def _films(folder: Path) -> tuple[Luma, ...]:
    """The films' frames, of the generated clips' size."""
    return tuple(
        np.stack([_reduced(read(path)) for path in sorted(film.glob("*.png"))])
        for film in sorted((folder / "vid4").iterdir())
    )


def read(path: Path) -> Luma:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.float32) / 255


def _reduced(image: Luma) -> Luma:
    image = Image.fromarray((255 * image).astype(np.uint8))
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX), dtype=np.float32) / 255


def _camera(rng: np.random.Generator, photograph: Luma, frames: int, speed: float, zoom: float) -> Luma:
    """A camera over a photograph, which is upscaled to the size of the sheets."""
    image = Image.fromarray((255 * photograph).astype(np.uint8))
    size = SUPERSAMPLING * WIDTH * 3 // 2, SUPERSAMPLING * HEIGHT * 3 // 2
    gray = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
    sheet = np.concatenate([gray, gray, gray, np.ones_like(gray)], axis=2)
    angle = rng.uniform(0, 2 * np.pi)
    velocity = (WIDTH * speed * float(np.cos(angle)), HEIGHT * speed * float(np.sin(angle)))
    return _moved(sheet, frames, Motion(velocity=velocity, zoom=zoom))


def real_cuts(folder: Path, seed: int) -> Clip:
    """Pieces of the films and cameras over the photographs, joined."""
    rng = np.random.default_rng([seed, 1000])
    sources = [*_films(folder), *_photographs(folder)]
    parts = []
    for index in rng.permutation(len(sources))[:5]:
        source, frames = sources[index], int(rng.integers(5, 13))
        moved = source.ndim == 2
        parts.append(_camera(rng, source, frames, rng.uniform(0, 0.03), 0.0) if moved else source[:frames])
    return _clip(*parts)


def real_motion(folder: Path, seed: int) -> Clip:
    """A quick camera over a photograph, with grain."""
    rng = np.random.default_rng([seed, 1001])
    photographs = _photographs(folder)
    photograph = photographs[rng.integers(len(photographs))]
    frames = _camera(rng, photograph, 16, rng.uniform(0.02, 0.12), float(rng.choice([0.0, rng.normal(0, 0.04)])))
    return _clip(frames, noise=float(rng.uniform(0, 0.03)), rng=rng)
