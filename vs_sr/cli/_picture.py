"""The side-by-side image: what interpolation makes of the input, and what the network makes of it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vs_sr.evaluation.vid4 import bicubic_blend

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

_LABELS = ("bicubic, neighbors blended", "vs_sr ZoomingSlowMo")


def side_by_side(neighbors: tuple[Image, Image], ours: Image, path: Path, sar: Fraction = Fraction(1)) -> None:
    """Write a PNG of two panels.

    Args:
        neighbors: the input frames (H, W, 3) before and after; upscaled by bicubic and blended on the left.
        ours: the frame between them, (4H, 4W, 3), on the right.
        path: of the PNG.
        sar: width of a pixel divided by its height; the panels have square ones.
    """
    from PIL import Image, ImageDraw, ImageFont

    blended = bicubic_blend(np.stack(neighbors))[1]
    height, width = ours.shape[:2]
    width, height = (round(width * sar), height) if sar > 1 else (width, round(height / sar))
    gap = 4
    canvas = Image.new("RGB", (2 * width + gap, height), "white")
    for left, panel, label in zip((0, width + gap), (blended, ours), _LABELS, strict=True):
        canvas.paste(Image.fromarray(panel).resize((width, height), Image.Resampling.BICUBIC), (left, 0))
        draw = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(max(10, height // 24))
        box = draw.textbbox((left + 8, 8), label, font=font)
        draw.rectangle((box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4), fill="black")
        draw.text((left + 8, 8), label, font=font, fill="white")
    canvas.save(path)
