"""Still images for the scenes to move: dead leaves, band-limited noise, stripes, lattices, gradients, text.

Every image is (height, width, 3) float32 in 0..1 and is drawn without aliasing at its own resolution:
hard edges get a ramp of a pixel, periodic patterns stay well below Nyquist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vs_sr.evaluation import pillow
from vs_sr.training.shapes import coverage, random_shape

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Plane = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.float32]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789&%?!.,:-"
LEAF_EXPONENT = 3.0  # radii follow r**-3: the scale invariance of natural images (Lee, Mumford, Huang 2001)


def random_color(rng: np.random.Generator, spread: float = 0.1) -> npt.NDArray[np.float32]:
    """A color (3,) in 0..1: any lightness, mostly muted and sometimes vivid, as in photographs."""
    lightness = rng.uniform(0.02, 0.98)
    return np.clip(lightness + rng.normal(0, spread * rng.exponential(), 3), 0, 1).astype(np.float32)


def power_noise(rng: np.random.Generator, height: int, width: int, slope: float, cutoff: float = 0.5) -> Plane:
    """Gaussian noise with amplitude spectrum f**-slope up to ``cutoff`` cycles per pixel; mean 0, std 1."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    f = np.hypot(fy, fx)
    f[0, 0] = np.inf  # no mean
    amplitude = f**-slope / (1 + (f / cutoff) ** 8)
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) * amplitude
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return (noise / (noise.std() + 1e-12)).astype(np.float32)


def noise_image(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Cloudy to grainy noise between two colors."""
    plane = power_noise(rng, height, width, rng.uniform(0.6, 2.0), rng.uniform(0.08, 0.3))
    mix = 0.5 + 0.5 * np.tanh(plane * rng.uniform(0.5, 2.5))
    return _between(random_color(rng), random_color(rng), mix)


def gradient_image(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A smooth ramp between two colors, linear or radial."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * x / width + np.sin(angle) * y / height
    else:
        ramp = np.hypot(x / width - rng.random(), y / height - rng.random())
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    return _between(random_color(rng), random_color(rng), ramp)


def stripes_image(rng: np.random.Generator, height: int, width: int, shortest: float = 6.0) -> Pixels:
    """Stripes or checks of two colors, periods from ``shortest`` pixels on, sharp or sinusoidal."""
    period = shortest * float(np.exp(rng.uniform(0, 2.3)))
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u = _wave(np.cos(angle) * x + np.sin(angle) * y, period, rng)
    if rng.random() < 0.35:
        v = _wave(np.cos(angle) * y - np.sin(angle) * x, period * rng.uniform(0.7, 2), rng)
        u = np.asarray(0.5 + 2 * (u - 0.5) * (v - 0.5), dtype=np.float32)
    return _between(random_color(rng), random_color(rng), u)


def lattice_image(rng: np.random.Generator, height: int, width: int, shortest: float = 8.0) -> Pixels:
    """Rows of small panes in a frame, each of its own lightness: facades, tiles, tables, grilles."""
    pane_w = shortest * float(np.exp(rng.uniform(0, 1.8)))
    pane_h = pane_w * float(np.exp(rng.uniform(-0.7, 0.7)))
    fill_w, fill_h = rng.uniform(0.35, 0.9, 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x + rng.uniform(0, pane_w), y + rng.uniform(0, pane_h)
    column, row = np.floor(x / pane_w).astype(np.int64), np.floor(y / pane_h).astype(np.int64)
    inside = _bar(x - column * pane_w, pane_w, fill_w) * _bar(y - row * pane_h, pane_h, fill_h)
    tone = rng.random((int(row.max()) + 1, int(column.max()) + 1)).astype(np.float32)[row, column]
    frame, dark, light = random_color(rng), random_color(rng), random_color(rng)
    contrast = rng.choice([0.0, 0.3, 1.0])
    pane = _between(dark, light, 0.5 + contrast * (tone - 0.5))
    return (frame + inside[..., None] * (pane - frame)).astype(np.float32)


def dead_leaves(rng: np.random.Generator, height: int, width: int, smallest: float = 3.0) -> Pixels:
    """Opaque textured shapes dropped on each other until little else shows.

    ``smallest`` and a third of the image bound the radii, in pixels.
    """
    image = noise_image(rng, height, width)
    largest = max(smallest * 2, min(height, width) / 3)
    grain = power_noise(rng, 128, 128, rng.uniform(0.5, 1.2), rng.uniform(0.1, 0.25))
    palette = np.stack([random_color(rng) for _ in range(rng.integers(4, 16))])
    lowest, highest = largest ** (1 - LEAF_EXPONENT), smallest ** (1 - LEAF_EXPONENT)
    # A strict r**-3 law on so small an image leaves hardly any large shape: one in eight is drawn large.
    area = 0.0
    leaves: list[float] = []
    while area < 1.5 * height * width and len(leaves) < 900:
        radius = float(rng.uniform(lowest, highest) ** (1 / (1 - LEAF_EXPONENT)))
        if rng.random() < 0.12:
            radius = float(rng.uniform(0.3, 1) * largest)
        leaves.append(radius)
        area += 2 * radius * radius
    for radius in leaves:
        _drop_leaf(rng, image, radius, palette, grain)
    return np.clip(image, 0, 1)


def text_image(rng: np.random.Generator, height: int, width: int, smallest: float = 9.0) -> Pixels:
    """Lines of random words, letter heights from ``smallest`` pixels on, on a plain or shaded ground."""
    ground = (
        gradient_image(rng, height, width)
        if rng.random() < 0.4
        else np.broadcast_to(random_color(rng), (height, width, 3))
    )
    ink = random_color(rng)
    mean = float(ground.mean())
    if abs(float(ink.mean()) - mean) < 0.25:  # legible
        ink = np.clip(ink + (0.5 if mean < 0.5 else -0.5), 0, 1)
    mask = text_mask(rng, height, width, smallest)[..., None]
    return (ground + mask * (ink - ground)).astype(np.float32)


def text_mask(rng: np.random.Generator, height: int, width: int, smallest: float = 9.0) -> Plane:
    """Coverage (height, width) in 0..1 of lines of random words, one size a line.

    Raises:
        VsSrError: Pillow is not installed.
    """
    pillow.require("text in scenes")
    from PIL import Image, ImageDraw

    page = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(page)
    same = smallest * float(np.exp(rng.uniform(0, 1.6)))
    varied = rng.random() < 0.5
    y = float(rng.uniform(-same, same))
    while y < height:
        size = smallest * float(np.exp(rng.uniform(0, 2))) if varied else same
        line = " ".join(_word(rng) for _ in range(int(width / size / 2) + 2))
        stroke = int(rng.random() < 0.2 and size > 20)
        draw.text((float(rng.uniform(-size, size)), y), line, fill=255, font=font(size), stroke_width=stroke)
        if rng.random() < 0.08:
            draw.line((0, y, width, y), fill=255, width=max(1, int(size / 10)))
        y += size * float(rng.uniform(1.05, 1.5))
    return np.asarray(page).astype(np.float32) / np.float32(255)


def font(size: float) -> FreeTypeFont | ImageFont:
    """The typeface that comes with Pillow, ``size`` in pixels: the same on every machine.

    Raises:
        VsSrError: Pillow is not installed.
    """
    pillow.require("text in scenes")
    from PIL import ImageFont

    return ImageFont.load_default(size)


def random_image(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """One of the images above, at random."""
    kind = rng.choice(
        ["leaves", "text", "lattice", "stripes", "noise", "gradient"], p=[0.42, 0.22, 0.14, 0.08, 0.09, 0.05]
    )
    makers = {
        "leaves": dead_leaves,
        "text": text_image,
        "lattice": lattice_image,
        "stripes": stripes_image,
        "noise": noise_image,
        "gradient": gradient_image,
    }
    return makers[str(kind)](rng, height, width)


def _drop_leaf(rng: np.random.Generator, image: Pixels, radius: float, palette: Pixels, grain: Plane) -> None:
    """Paint one shape into ``image``."""
    height, width = image.shape[:2]
    cx, cy = rng.uniform(-0.3 * radius, width + 0.3 * radius), rng.uniform(-0.3 * radius, height + 0.3 * radius)
    x0, x1 = max(0, int(cx - radius - 2)), min(width, int(cx + radius + 3))
    y0, y1 = max(0, int(cy - radius - 2)), min(height, int(cy + radius + 3))
    if x0 >= x1 or y0 >= y1:
        return
    h, w = y1 - y0, x1 - x0
    softness = 1.0 if rng.random() < 0.75 else float(rng.uniform(1, 6))
    center = (cx - x0, cy - y0)
    mask = coverage(random_shape(rng), h, w, center, radius, rng.uniform(0, 2 * np.pi), softness)
    base = np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 0.07), 0, 1).astype(np.float32)
    leaf: Pixels = np.broadcast_to(base, (h, w, 3))
    if radius > 6:
        match rng.choice(["flat", "gradient", "grain", "stripes", "lattice"], p=[0.25, 0.25, 0.3, 0.13, 0.07]):
            case "gradient":
                leaf = base + 0.5 * (gradient_image(rng, h, w) - 0.5)
            case "grain":
                start = rng.integers(0, 128, 2)
                rows, columns = (start[0] + np.arange(h)) % 128, (start[1] + np.arange(w)) % 128
                leaf = base + np.float32(rng.uniform(0.02, 0.2)) * grain[np.ix_(rows, columns)][..., None]
            case "stripes":
                leaf = _between(base, random_color(rng), stripes_image(rng, h, w)[..., 0])
            case "lattice":
                leaf = lattice_image(rng, h, w)
            case _:
                pass
    window = image[y0:y1, x0:x1]
    window += mask[..., None] * (leaf - window)


def _between(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], mix: npt.NDArray[np.floating]) -> Pixels:
    """(1 - mix) a + mix b, per pixel."""
    return np.asarray(a + mix[..., None] * (b - a), dtype=np.float32)


def _wave(phase: Plane, period: float, rng: np.random.Generator) -> Plane:
    """A wave in 0..1 along ``phase`` (pixels): a sine, or a square whose flanks are a pixel wide."""
    sine = np.sin(2 * np.pi * phase / period + rng.uniform(0, 2 * np.pi))
    steepness = rng.choice([1.0, period / np.pi])
    return np.asarray(0.5 + 0.5 * np.clip(sine * steepness, -1, 1), dtype=np.float32)


def _bar(position: Plane, period: float, fill: float) -> Plane:
    """Coverage of a bar of ``fill`` (0..1) of a period, centered in it, with edges a pixel wide."""
    return np.clip(0.5 + period * fill / 2 - np.abs(position - period / 2), 0, 1).astype(np.float32)


def _word(rng: np.random.Generator) -> str:
    """A random word or number."""
    letters = "0123456789" if rng.random() < 0.25 else LETTERS
    return "".join(rng.choice(list(letters), rng.integers(1, 9)))
