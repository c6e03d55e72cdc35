"""Shapes as coverage masks, antialiased by their distance to the edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Distance = Callable[[Plane, Plane], Plane]
"""Signed distance to an edge from local coordinates (x, y); negative inside; the shape fits in radius 1."""


def ellipse(aspect: float) -> Distance:
    """An ellipse with half axes 1 and ``aspect`` (0..1]."""
    return lambda x, y: ((np.hypot(x, y / aspect) - 1) * aspect).astype(np.float32)


def rectangle(aspect: float, rounding: float = 0.0) -> Distance:
    """A rectangle in the unit circle, sides 1 : ``aspect``; ``rounding`` (0..1) is the corner's share."""
    half_x = 1 / np.hypot(1, aspect)
    half_y = half_x * aspect
    radius = rounding * min(half_x, half_y)

    def distance(x: Plane, y: Plane) -> Plane:
        dx, dy = np.abs(x) - half_x + radius, np.abs(y) - half_y + radius
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
        return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - radius, dtype=np.float32)

    return distance


def polygon(corners: int, rng: np.random.Generator) -> Distance:
    """A convex polygon with ``corners`` irregular sides."""
    angle = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    reach = rng.uniform(0.5, 0.85, corners)

    def distance(x: Plane, y: Plane) -> Plane:
        sides = [np.cos(a) * x + np.sin(a) * y - r for a, r in zip(angle, reach, strict=True)]
        return np.asarray(np.max(sides, axis=0), dtype=np.float32)

    return distance


def blob(rng: np.random.Generator, lobes: int = 5, strength: float = 0.25) -> Distance:
    """A smooth closed curve: a circle whose radius is a short Fourier series of the angle."""
    order = np.arange(2, 2 + lobes)
    size = strength * rng.normal(size=lobes) / order
    phase = rng.uniform(0, 2 * np.pi, lobes)
    scale = 1 / (1 + np.abs(size).sum())

    def distance(x: Plane, y: Plane) -> Plane:
        angle = np.arctan2(y, x)
        radius = scale * (1 + sum(s * np.cos(k * angle + p) for k, s, p in zip(order, size, phase, strict=True)))
        return np.asarray((np.hypot(x, y) - radius) * scale, dtype=np.float32)

    return distance


def star(points: int, depth: float) -> Distance:
    """A star or gear with ``points`` teeth; ``depth`` (0..1) is the teeth's share of the radius."""

    def distance(x: Plane, y: Plane) -> Plane:
        wave = np.cos(points * np.arctan2(y, x))
        radius = 1 - depth / 2 + depth / 2 * np.clip(2.5 * wave, -1, 1)
        return np.asarray((np.hypot(x, y) - radius) * 0.7, dtype=np.float32)

    return distance


def ring(width: float) -> Distance:
    """A circle line of relative ``width`` (0..1)."""
    return lambda x, y: (np.abs(np.hypot(x, y) - 1 + width / 2) - width / 2).astype(np.float32)


def random_shape(rng: np.random.Generator) -> Distance:
    """One of the shapes above, thin bars and lines included."""
    kind = rng.choice(
        ["ellipse", "rectangle", "polygon", "blob", "star", "ring", "bar"],
        p=[0.2, 0.22, 0.16, 0.16, 0.06, 0.06, 0.14],
    )
    match kind:
        case "ellipse":
            return ellipse(float(rng.uniform(0.3, 1)))
        case "rectangle":
            return rectangle(float(rng.uniform(0.3, 1)), float(rng.choice([0, rng.uniform(0, 1)])))
        case "polygon":
            return polygon(int(rng.integers(3, 7)), rng)
        case "blob":
            return blob(rng)
        case "star":
            return star(int(rng.integers(4, 13)), float(rng.uniform(0.2, 0.6)))
        case "ring":
            return ring(float(rng.uniform(0.08, 0.4)))
        case _:
            return rectangle(float(rng.uniform(0.01, 0.12)))


def coverage(
    distance: Distance,
    height: int,
    width: int,
    center: tuple[float, float],
    radius: float,
    angle: float,
    softness: float = 1.0,
) -> Plane:
    """How much of each pixel a shape covers.

    Args:
        distance: the shape.
        height, width: of the mask, in pixels.
        center: (x, y) of the shape, in pixels; pixel centers lie at integers.
        radius: of the shape, in pixels.
        angle: rotation in radians.
        softness: width of the edge in pixels; 1 is a box-filtered edge, more is out of focus.

    Returns:
        (height, width) float32 in 0..1.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (x - center[0]) / radius, (y - center[1]) / radius
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    edge = distance(cos * dx + sin * dy, cos * dy - sin * dx) * np.float32(radius / softness)
    return np.asarray(np.clip(0.5 - edge, 0, 1), dtype=np.float32)
