"""Image files for tests, and images that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, image: np.ndarray) -> Path:
    """A PNG of (H, W, 3) uint8."""
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def scene(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Waves that move, in colour."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for t in range(count):
        planes = [128 + 60 * np.sin((x + 2 * t) / (3 + c)) + 50 * np.cos((y - t) / (4 + c)) for c in range(3)]
        frames.append(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))
    return frames
