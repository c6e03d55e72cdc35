"""The demo's film: a designed street scene with lettering, fine structure and several moving objects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vs_sr.evaluation import pillow
from vs_sr.training import textures
from vs_sr.training.motion import Motion
from vs_sr.training.scenes import SUPERSAMPLING, Layer, Scene, render
from vs_sr.training.shapes import Distance, coverage, ellipse, rectangle, ring, star

Pixels = npt.NDArray[np.float32]

SKY = ((0.36, 0.55, 0.78), (0.93, 0.86, 0.76))  # above, at the horizon
WALLS = ((0.62, 0.36, 0.29), (0.80, 0.72, 0.58), (0.42, 0.47, 0.53), (0.70, 0.52, 0.36), (0.55, 0.60, 0.55))
POSTER = (
    (0.155, "ZOOMING"),
    (0.155, "SLOW-MO"),
    (0.066, "four times the size"),
    (0.066, "twice the frames"),
    (0.046, "A B C D E F G H I J 0 1 2 3 4 5 6 7 8 9"),
    (0.035, "the quick brown fox jumps over the lazy dog"),
)  # size as a share of the poster's height, text


def demo_scene(frames: int, height: int, width: int, seed: int = 0) -> Scene:
    """A short film to show what upscaling does: a street under a slow camera move.

    Args:
        frames: length; the motion is laid out for a few dozen.
        height, width: in pixels; everything scales with the height. Render at the size of the result and
            reduce it for the input, so that the detail lost is natural.
        seed: varies windows, clouds and stones.

    Returns:
        (frames, 3, height, width) float32 in 0..1, RGB, gamma-coded.

    Raises:
        ValueError: fewer than 1 frame, or an image below 32 pixels.
        VsSrError: Pillow is not installed.
    """
    if frames < 1 or min(height, width) < 32:
        raise ValueError(f"demo needs frames >= 1 and sizes >= 32; got {frames}, {height}, {width}")
    rng = np.random.default_rng(seed)
    u = float(height)  # the unit of length
    layers = [
        _sky(rng, height, width),
        *_street(rng, height, width),
        _pavement(rng, height, width),
        _shape(
            ellipse(1.0),
            _checks(0.20 * u, (0.95, 0.93, 0.88), (0.75, 0.16, 0.15)),
            0.10 * u,
            Motion(-0.42 * u, 0.30 * u, velocity=(0.011 * u, 0.0), spin=0.11),
        ),
        _poster(height),
        _shape(
            star(14, 0.28),
            _brushed(rng, 0.36 * u, (0.85, 0.62, 0.20)),
            0.18 * u,
            Motion(-0.50 * u, -0.16 * u, spin=0.035),
        ),
        _shape(
            ring(0.45), _brushed(rng, 0.18 * u, (0.30, 0.33, 0.38)), 0.09 * u, Motion(-0.50 * u, -0.16 * u, spin=0.035)
        ),
        _shape(
            star(8, 0.30),
            _brushed(rng, 0.22 * u, (0.45, 0.50, 0.58)),
            0.11 * u,
            Motion(-0.232 * u, -0.242 * u, angle=0.16, spin=-0.06125),
        ),
        _wires(height, width),
        _shape(rectangle(0.45, 0.5), _tram(0.34 * u), 0.17 * u, Motion(0.55 * u, 0.37 * u, velocity=(-0.014 * u, 0.0))),
    ]
    camera = Motion(
        velocity=(-0.0022 * u, 0.0004 * u), zoom=0.0025, spin=0.0004, sway=(0.002 * u, 0.0015 * u), sway_phase=1.0
    )
    return render(layers, camera, frames, height, width)


def _opaque(image: Pixels) -> Pixels:
    return np.concatenate([image, np.ones((*image.shape[:2], 1), np.float32)], axis=2)


def _color(rgb: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    return np.array(rgb, dtype=np.float32)


def _sky(rng: np.random.Generator, height: int, width: int) -> Layer:
    """A gradient with drifting clouds."""
    h, w = int(SUPERSAMPLING * height * 1.2), int(SUPERSAMPLING * width * 1.2)
    ramp = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    sky = _color(SKY[0]) + ramp * (_color(SKY[1]) - _color(SKY[0]))
    cloud = np.clip(textures.power_noise(rng, h, w, 1.7, 0.05) - 0.2, 0, 1)[..., None] * (1 - ramp)
    image = (sky + 0.55 * cloud * (1 - sky)).astype(np.float32)
    return Layer(_opaque(image), Motion(velocity=(0.0008 * height, 0)), parallax=0.2, mirrored=True)


def _street(rng: np.random.Generator, height: int, width: int) -> list[Layer]:
    """A row of houses, each of its own width, height, color and windows."""
    layers, left, index = [], -0.62 * width, int(rng.integers(len(WALLS)))
    while left < 0.62 * width:
        house_w, house_h = height * rng.uniform(0.22, 0.40), height * rng.uniform(0.45, 0.85)
        image = _house(rng, int(SUPERSAMPLING * house_h), int(SUPERSAMPLING * house_w), WALLS[index % len(WALLS)])
        motion = Motion(left + house_w / 2, 0.36 * height - house_h / 2)
        layers.append(Layer(_opaque(image), motion, parallax=0.7))
        left, index = left + house_w, index + 1
    return layers


def _house(rng: np.random.Generator, h: int, w: int, wall: tuple[float, float, float]) -> Pixels:
    """Bricks, rows of windows with crosses, a cornice."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    course = max(8.0, h / 55)
    row = np.floor(y / course)
    shifted = x + (row % 2) * course
    joint = np.minimum(
        np.clip(np.abs((y % course) - course / 2) - course / 2 + 1.6, 0, 1) * -1 + 1,
        np.clip(np.abs((shifted % (2 * course)) - course) - course + 1.6, 0, 1) * -1 + 1,
    )
    column = np.floor(shifted / (2 * course)).astype(np.int64)
    tone = rng.normal(0, 0.035, (int(row.max()) + 1, int(column.max()) + 1))[row.astype(np.int64), column]
    image = _color(wall) * (1 + tone[..., None]) + 0.12 * (1 - joint[..., None])
    columns, storeys = max(2, round(w / (h / 7))), 6
    cell_w, cell_h = w / columns, h / (storeys + 0.6)
    for storey in range(storeys):
        for window in range(columns):
            center = ((window + 0.5) * cell_w, (storey + 0.85) * cell_h)
            lit = rng.random() < 0.25
            glass = np.array([0.95, 0.83, 0.52] if lit else [0.20, 0.27, 0.36]) * rng.uniform(0.75, 1.1)
            _pane(image, x, y, center, (0.30 * cell_w, 0.32 * cell_h), _color((0.93, 0.92, 0.88)), 0.0)
            _pane(image, x, y, center, (0.26 * cell_w, 0.29 * cell_h), glass, cell_w / 22)
    image[: max(2, h // 40)] = _color((0.86, 0.84, 0.78))
    return np.asarray(np.clip(image, 0, 1), dtype=np.float32)


def _pane(
    image: npt.NDArray[np.floating],
    x: Pixels,
    y: Pixels,
    center: tuple[float, float],
    half: tuple[float, float],
    color: npt.NDArray[np.floating],
    bar: float,
) -> None:
    """Paint a rectangle of half sizes ``half`` whose middle lines are left out ``bar`` pixels wide."""
    dx, dy = np.abs(x - center[0]), np.abs(y - center[1])
    mask = np.clip(half[0] - dx + 0.5, 0, 1) * np.clip(half[1] - dy + 0.5, 0, 1)
    if bar:
        mask = mask * np.clip(dx - bar / 2 + 0.5, 0, 1) * np.clip(dy - bar / 2 + 0.5, 0, 1)
    image += mask[..., None] * (color - image)


def _pavement(rng: np.random.Generator, height: int, width: int) -> Layer:
    """Cobbles: a lattice of stones of varied gray."""
    h, w = int(SUPERSAMPLING * height * 0.4), int(SUPERSAMPLING * width * 1.3)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    stone = max(9.0, height / 24 * SUPERSAMPLING / 2)
    row = np.floor(y / stone)
    shifted = x + (row % 2) * stone / 2
    column = np.floor(shifted / stone).astype(np.int64)
    edge = np.maximum(np.abs(y % stone - stone / 2), np.abs(shifted % stone - stone / 2))
    tone = rng.uniform(0.42, 0.66, (int(row.max()) + 1, int(column.max()) + 1))[row.astype(np.int64), column]
    grain = 0.02 * textures.power_noise(rng, h, w, 0.8, 0.2)
    gray = np.where(tone > 0, tone + grain, 0) * (1 - 0.55 * np.clip(edge - stone / 2 + 2, 0, 1))
    image = gray[..., None] * _color((1.0, 0.97, 0.92))
    return Layer(_opaque(np.clip(image, 0, 1).astype(np.float32)), Motion(0, 0.54 * height))


def _poster(height: int) -> Layer:
    """A notice board with lettering from large to the limit of what survives the reduction."""
    pillow.require("text in scenes")
    from PIL import Image, ImageDraw

    h, w = int(SUPERSAMPLING * height * 0.50), int(SUPERSAMPLING * height * 0.62)
    page = Image.new("RGB", (w, h), (246, 242, 230))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, w - 1, h - 1), outline=(38, 52, 74), width=max(2, h // 45))
    y = h * 0.075
    for index, (share, text) in enumerate(POSTER):
        face = textures.font(share * h)
        color = (178, 38, 36) if index == 1 else (38, 52, 74)
        draw.text((w / 2, y), text, fill=color, font=face, anchor="ma")
        y += 1.28 * share * h
    image = np.asarray(page).astype(np.float32) / np.float32(255)
    _wedges(image)
    return Layer(_opaque(image), Motion(0.36 * height, -0.06 * height, angle=-0.02))


def _wedges(page: Pixels) -> None:
    """Draw patches of lines ever closer along the foot of ``page``: where they merge is the resolution."""
    h, w = page.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    for index in range(9):
        pitch, left = h * 0.030 * 0.84**index, w * (0.08 + 0.095 * index)
        sine = np.cos(2 * np.pi * (y - h * 0.83) / pitch)
        inside = np.clip(h * 0.055 - np.abs(y - h * 0.885), 0, 1) * np.clip(
            w * 0.0375 - np.abs(x - left - w * 0.0375), 0, 1
        )
        mask = inside * (0.5 + 0.5 * np.clip(sine * pitch / np.pi, -1, 1))
        page += mask[..., None] * (_color((0.15, 0.20, 0.29)) - page)


def _shape(distance: Distance, image: Pixels, radius: float, motion: Motion) -> Layer:
    """``image`` cut out by a shape of ``radius`` HR pixels."""
    h, w = image.shape[:2]
    mask = coverage(distance, h, w, ((w - 1) / 2, (h - 1) / 2), radius * SUPERSAMPLING, 0.0)
    return Layer(np.concatenate([image, mask[..., None]], axis=2).astype(np.float32), motion)


def _checks(size: float, light: tuple[float, float, float], dark: tuple[float, float, float]) -> Pixels:
    """A ball's checks, shaded towards the edge."""
    side = int(size * SUPERSAMPLING) + 5
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) - (side - 1) / 2) / (side / 2)
    sharp = side / 8
    mix = 0.5 + 0.5 * np.clip(sharp * np.sin(3 * np.pi * x), -1, 1) * np.clip(sharp * np.sin(3 * np.pi * y), -1, 1)
    shade = 1 - 0.35 * (x * x + y * y)
    tint = _color(dark) + mix[..., None] * (_color(light) - _color(dark))
    return np.asarray(tint * shade[..., None], dtype=np.float32)


def _brushed(rng: np.random.Generator, size: float, rgb: tuple[float, float, float]) -> Pixels:
    """Brushed metal: circular grain around the center."""
    side = int(size * SUPERSAMPLING) + 5
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - (side - 1) / 2
    radius = np.hypot(x, y)
    grooves = textures.power_noise(rng, 1, 4 * side, 0.3, 0.12)[0][radius.astype(np.int64)]
    sheen = 0.12 * np.cos(2 * np.arctan2(y, x))
    metal = _color(rgb) * (1 + sheen + 0.06 * grooves)[..., None]
    return np.asarray(np.clip(metal, 0, 1), dtype=np.float32)


def _tram(size: float) -> Pixels:
    """A tram's side: windows, a stripe, a number."""
    pillow.require("text in scenes")
    from PIL import Image, ImageDraw

    side = int(size * SUPERSAMPLING) + 5
    body = Image.new("RGB", (side, side), (190, 40, 42))
    draw = ImageDraw.Draw(body)
    draw.rectangle((0, side * 0.50, side, side * 0.56), fill=(240, 232, 214))
    for index in range(5):
        x0 = side * (0.10 + 0.165 * index)
        draw.rectangle((x0, side * 0.35, x0 + side * 0.135, side * 0.48), fill=(52, 66, 84))
    face = textures.font(side * 0.075)
    draw.text((side / 2, side * 0.615), "VapourSynth 24", fill=(250, 240, 220), font=face, anchor="mm")
    return np.asarray(body).astype(np.float32) / np.float32(255)


def _wires(height: int, width: int) -> Layer:
    """Thin wires across the sky."""
    h, w = int(SUPERSAMPLING * height * 0.5), int(SUPERSAMPLING * width * 1.3)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    t = x / w - 0.5
    mask = np.zeros((h, w), np.float32)
    for drop, tilt in ((0.15, 0.05), (0.22, 0.04), (0.34, -0.10)):
        line = h * (drop + tilt * t + 0.25 * t * t)
        mask = np.maximum(mask, np.clip(height / 300 * SUPERSAMPLING / 2 + 0.5 - np.abs(y - line), 0, 1))
    color = np.broadcast_to(_color((0.12, 0.13, 0.16)), (h, w, 3))
    return Layer(np.concatenate([color, mask[..., None]], axis=2), Motion(0, -0.30 * height))
