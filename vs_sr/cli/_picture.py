"""The side-by-side picture: what interpolation makes of the input, and what the network makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vs_sr.evaluation.vid4 import bicubic_blend

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

_LABELS = ("bicubic, neighbours blended", "vs_sr ZoomingSlowMo")


def side_by_side(neighbours: tuple[Picture, Picture], ours: Picture, path: Path) -> None:
    """Write a PNG of two panels.

    Args:
        neighbours: the input frames (H, W, 3) before and after; enlarged by bicubic and blended on the left.
        ours: the frame between them, (4H, 4W, 3), on the right.
        path: of the PNG.
    """
    from PIL import Image, ImageDraw, ImageFont

    blended = bicubic_blend(np.stack(neighbours))[1]
    height, width = ours.shape[:2]
    gap = 4
    canvas = Image.new("RGB", (2 * width + gap, height), "white")
    for left, picture, label in zip((0, width + gap), (blended, ours), _LABELS, strict=True):
        canvas.paste(Image.fromarray(picture), (left, 0))
        draw = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(max(10, height // 24))
        box = draw.textbbox((left + 8, 8), label, font=font)
        draw.rectangle((box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4), fill="black")
        draw.text((left + 8, 8), label, font=font, fill="white")
    canvas.save(path)
