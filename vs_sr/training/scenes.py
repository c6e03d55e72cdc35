"""Moving scenes made by a program: what the default weights are trained on, and the demo's film.

A scene is a background and a few cut-out layers, each a still image (``textures``) behind a mask
(``shapes``) that moves on its own (``motion``) under a common camera. Layers are drawn and moved at twice the
output's size and reduced with an antialiasing filter, so edges and subpixel motion are exact to a fraction
of a pixel and nothing in the result aliases. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from vs_sr.evaluation.resample import resize_matrix
from vs_sr.training import textures
from vs_sr.training.motion import SPAN, Motion, random_motion
from vs_sr.training.shapes import coverage, random_shape

Scene = npt.NDArray[np.float32]
type MakeImage = Callable[[np.random.Generator, int, int], npt.NDArray[np.float32]]
"""Makes an image (height, width, 3) in 0..1."""

SUPERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Layer:
    """An image that moves."""

    rgba: npt.NDArray[np.float32]
    """(h, w, 4) in 0..1 at SUPERSAMPLING times the output's resolution, not premultiplied."""
    motion: Motion
    parallax: float = 1.0
    """Share of the camera's motion that the layer takes part in; 0 is glued to the screen."""
    mirrored: bool = False
    """Continue the image by mirroring (a background) instead of ending it."""


def render(layers: list[Layer], camera: Motion, frames: int, height: int, width: int, lead: int = 0) -> Scene:
    """Compose layers, first one lowest, over black.

    Args:
        layers: what is seen; layers take part in the camera's motion according to their parallax.
        camera: motion of the whole scene.
        frames, height, width: of the result.
        lead: frames before them.

    Returns:
        (lead + frames, 3, height, width) float32 in 0..1.
    """
    size = (SUPERSAMPLING * height, SUPERSAMPLING * width)
    sheets = [_premultiplied(layer) for layer in layers]
    reduce_v = torch.from_numpy(resize_matrix(size[0], 1 / SUPERSAMPLING).astype(np.float32))
    reduce_h = torch.from_numpy(resize_matrix(size[1], 1 / SUPERSAMPLING).astype(np.float32))
    out = torch.empty(lead + frames, 3, height, width)
    for t in range(lead + frames):
        time = t - lead - (frames - 1) / 2
        canvas = torch.zeros(3, *size)
        for layer, sheet in zip(layers, sheets, strict=True):
            moved = camera.matrix(layer.parallax * time) @ layer.motion.matrix(time)
            _draw(canvas, sheet, moved, layer.mirrored)
        out[t] = reduce_v @ canvas @ reduce_h.T
    return out.clamp_(0, 1).numpy()


def make_scene(
    seed: int,
    *,
    frames: int = 7,
    height: int = 160,
    width: int = 160,
    fastest: float = 6.0,
    span: float = SPAN,
    noise: bool = True,
    image: MakeImage = textures.random_image,
    lead: int = 0,
) -> Scene:
    """A random scene.

    Args:
        seed: the same seed and arguments give the same scene.
        frames: output frames; a network sees every second of them.
        height, width: in pixels.
        fastest: about the highest speed of a layer, in pixels per output frame.
        span: natural logarithm of the highest speed over the lowest; 2.3 leaves out the slower of two decades.
        noise: add sensor noise (standard deviation up to 0.012) to one scene in five.
        image: makes what layers show; photographs, for one (:mod:`vs_sr.training.images`).
        lead: frames of the same scene before the others, which are the same with and without them.

    Returns:
        (lead + frames, 3, height, width) float32 in 0..1, RGB, gamma-coded.

    Raises:
        ValueError: a size below 1.
        VsSrError: Pillow is not installed.
    """
    if min(frames, height, width) < 1:
        raise ValueError(f"frames, height and width must be >= 1; got {frames}, {height}, {width}")
    rng = np.random.default_rng(seed)
    camera = random_motion(rng, 0, fastest / 2, span)
    layers = [_background(rng, height, width, fastest, span, image)]
    layers += [_object(rng, height, width, fastest, span, image) for _ in range(rng.integers(1, 6))]
    if rng.random() < 0.35:
        layers.append(_caption(rng, height, width, fastest, span))
    scene = render(layers, camera, frames, height, width, lead)
    if rng.random() < 0.3:
        scene = _defocus(scene, float(rng.uniform(0.3, 0.8)))
    if noise and rng.random() < 0.2:
        grain = np.roll(rng.normal(0, rng.uniform(0.002, 0.012), scene.shape), lead, axis=0)  # theirs are drawn last
        scene = np.clip(scene + grain, 0, 1).astype(np.float32)
    return scene


def _background(
    rng: np.random.Generator, height: int, width: int, fastest: float, span: float, make_image: MakeImage
) -> Layer:
    """An opaque image a little larger than the frame."""
    h, w = (int(SUPERSAMPLING * (size + 4 * fastest)) for size in (height, width))
    image = make_image(rng, h, w)
    rgba = np.concatenate([image, np.ones((h, w, 1), np.float32)], axis=2)
    motion = random_motion(rng, 0, fastest / 3, span)
    tilt = float(rng.normal(0, 0.15)) if rng.random() < 0.7 else 0.0
    return Layer(rgba, _turned(motion, tilt), mirrored=True)


def _object(
    rng: np.random.Generator, height: int, width: int, fastest: float, span: float, make_image: MakeImage
) -> Layer:
    """A textured shape that covers a tenth to two thirds of the frame's shorter side."""
    radius = min(height, width) * float(rng.uniform(0.08, 0.35)) * SUPERSAMPLING
    side = int(2 * radius) + 5
    image = make_image(rng, side, side)
    softness = SUPERSAMPLING * (1.0 if rng.random() < 0.8 else float(rng.uniform(1, 4)))
    center = ((side - 1) / 2, (side - 1) / 2)
    mask = coverage(random_shape(rng), side, side, center, radius, 0.0, softness)
    motion = _turned(random_motion(rng, min(height, width) / 2, fastest, span), float(rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.4:  # upright, as signs and screens are
        motion = _turned(motion, float(rng.normal(0, 0.05)))
    return Layer(np.concatenate([image, mask[..., None]], axis=2), motion, float(rng.uniform(0.3, 1.5)))


def _caption(rng: np.random.Generator, height: int, width: int, fastest: float, span: float) -> Layer:
    """Lettering without a ground: subtitles that stay, credits that roll."""
    h, w = int(SUPERSAMPLING * height * rng.uniform(0.2, 0.8)), int(SUPERSAMPLING * width * rng.uniform(0.5, 1.0))
    mask = textures.text_mask(rng, h, w, smallest=14)
    color = np.broadcast_to(textures.random_color(rng, 0.1), (h, w, 3))
    motion = random_motion(rng, min(height, width) / 3, fastest, span)
    return Layer(np.concatenate([color, mask[..., None]], axis=2), motion, float(rng.choice([0.0, 1.0])))


def _turned(motion: Motion, angle: float) -> Motion:
    """``motion`` with another angle at time 0."""
    return Motion(motion.x, motion.y, motion.velocity, motion.acceleration, angle, motion.spin, motion.zoom)


def _premultiplied(layer: Layer) -> torch.Tensor:
    """(4, h, w), colors times alpha: the form in which images can be interpolated."""
    rgba = torch.from_numpy(np.ascontiguousarray(layer.rgba.transpose(2, 0, 1)))
    return torch.cat([rgba[:3] * rgba[3:], rgba[3:]])


def _draw(canvas: torch.Tensor, sheet: torch.Tensor, moved: npt.NDArray[np.float64], mirrored: bool) -> None:
    """Lay a sheet (4, h, w) over ``canvas`` (3, H, W) where ``moved`` puts it (HR pixels from the centers)."""
    height, width = canvas.shape[1:]
    moved = moved.copy()
    moved[:2, 2] *= SUPERSAMPLING
    x0, y0, x1, y1 = (0, 0, width, height) if mirrored else _bounds(sheet, moved, height, width)
    if x0 >= x1 or y0 >= y1:
        return
    # from the window's and to the sheet's coordinates in -1..1, as grid_sample has them
    window = np.array(
        [[(x1 - x0) / 2, 0, (x0 + x1 - width) / 2], [0, (y1 - y0) / 2, (y0 + y1 - height) / 2], [0, 0, 1]]
    )
    image = np.diag([2 / sheet.shape[2], 2 / sheet.shape[1], 1.0])
    theta = torch.from_numpy((image @ np.linalg.inv(moved) @ window)[:2].astype(np.float32))[None]
    grid = F.affine_grid(theta, [1, 4, y1 - y0, x1 - x0], align_corners=False)
    padding = "reflection" if mirrored else "zeros"
    rgba = F.grid_sample(sheet[None], grid, mode="bicubic", padding_mode=padding, align_corners=False)[0]
    rgba.clamp_(0, 1)
    target = canvas[:, y0:y1, x0:x1]
    target.mul_(1 - rgba[3]).add_(rgba[:3])


def _bounds(sheet: torch.Tensor, moved: npt.NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int]:
    """The part (x0, y0, x1, y1) of a canvas that a moved sheet can reach."""
    w, h = sheet.shape[2] / 2 + 2, sheet.shape[1] / 2 + 2
    corners = moved @ np.array([[-w, w, -w, w], [-h, -h, h, h], [1, 1, 1, 1]])
    x, y = corners[0] + width / 2, corners[1] + height / 2
    return max(0, int(x.min())), max(0, int(y.min())), min(width, int(x.max()) + 1), min(height, int(y.max()) + 1)


def _defocus(scene: Scene, sigma: float) -> Scene:
    """A Gaussian of ``sigma`` pixels: a lens."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    weight = torch.from_numpy(taps.astype(np.float32))
    planes = torch.from_numpy(scene).flatten(0, 1)[:, None]
    planes = F.conv2d(F.pad(planes, (3, 3, 3, 3), mode="replicate"), weight.view(1, 1, 1, 7))
    return F.conv2d(planes, weight.view(1, 1, 7, 1)).view(scene.shape).numpy()
