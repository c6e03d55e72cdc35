"""Motion of layers: position, rotation and zoom as smooth functions of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

SPAN = 4.6
"""Natural logarithm of the fastest speed over the slowest: two decades, since most of what is seen moves little."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a layer stands at a time; time 0 is the middle of the scene, its unit one output frame."""

    x: float = 0.0
    """Position of the layer's center from the image's center at time 0, in HR pixels, rightwards."""
    y: float = 0.0
    """The same, downwards."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """HR pixels per frame."""
    acceleration: tuple[float, float] = (0.0, 0.0)
    """HR pixels per frame squared."""
    angle: float = 0.0
    """Radians at time 0."""
    spin: float = 0.0
    """Radians per frame."""
    zoom: float = 0.0
    """Natural logarithm of the growth per frame; 0 keeps the size."""
    sway: tuple[float, float] = (0.0, 0.0)
    """Amplitude of a hand-held shake, HR pixels."""
    sway_phase: float = 0.0
    """Phase of the shake at time 0, radians."""

    def matrix(self, time: float) -> Matrix:
        """(3, 3): layer coordinates to image coordinates, both in HR pixels from their centers."""
        shake = np.sin(0.9 * time + self.sway_phase), np.cos(0.7 * time + self.sway_phase)
        x, y = (
            start + speed * time + 0.5 * push * time**2 + amplitude * wave
            for start, speed, push, amplitude, wave in zip(
                (self.x, self.y), self.velocity, self.acceleration, self.sway, shake, strict=True
            )
        )
        angle, size = self.angle + self.spin * time, np.exp(self.zoom * time)
        cos, sin = size * np.cos(angle), size * np.sin(angle)
        return np.array([[cos, -sin, x], [sin, cos, y], [0.0, 0.0, 1.0]])


def random_motion(rng: np.random.Generator, reach: float, fastest: float, span: float = SPAN) -> Motion:
    """A motion that starts anywhere within ``reach`` and moves at most about ``fastest`` pixels a frame.

    Speeds are log-uniform over a factor of exp(``span``); a tenth of the layers stands still, a half of them
    neither turns nor grows.
    """
    start = rng.uniform(-reach, reach, 2)
    if rng.random() < 0.1:
        return Motion(float(start[0]), float(start[1]))
    speed = fastest * float(np.exp(rng.uniform(-span, 0)))
    direction = rng.uniform(0, 2 * np.pi)
    push = rng.normal(0, 0.06 * speed, 2)
    turning = rng.random() < 0.5
    return Motion(
        x=float(start[0]),
        y=float(start[1]),
        velocity=(speed * float(np.cos(direction)), speed * float(np.sin(direction))),
        acceleration=(float(push[0]), float(push[1])),
        spin=float(rng.normal(0, 0.012)) if turning else 0.0,
        zoom=float(rng.normal(0, 0.006)) if turning else 0.0,
    )
