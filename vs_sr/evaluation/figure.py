"""Pictures of a measurement: crops side by side, and figures over the frames. Drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.evaluation.measure import Clip

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont
    from PIL.Image import Image

_GAP = 8
_TEXT = 16
_ROWS = 8
"""A picture of crops has no more rows: the first clips or pictures."""
_COLOURS = ("#0b6e99", "#c4581c", "#4c8c2b", "#7a4fa3")
_PLOT = (900, 320)
_MARGINS = (64, 34, 20, 40)
"""Left, top, right, bottom of a plot."""


def check() -> None:
    """Refuse early where pictures cannot be drawn.

    Raises:
        VsSrError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise VsSrError("--figure and --plot need pillow; install it with: pip install 'vs-sr[demo]'") from None


def crops(clips: Sequence[Clip], path: Path) -> None:
    """Write a picture: a row per sample, with the same part of ground truth and of every upscaler's output.

    Small parts are enlarged by whole pixels.

    Raises:
        VsSrError: Pillow is not installed.
        ArgumentError: the file cannot be written.
    """
    check()
    from PIL import Image, ImageDraw, ImageFont

    samples = [(clip, sample) for clip in clips for sample in clip.samples][:_ROWS]
    zoom = max(1, 384 // max(sample.parts[0][1].shape[1] for _, sample in samples))
    width = max(sample.parts[0][1].shape[1] for _, sample in samples) * zoom
    heights = [sample.parts[0][1].shape[0] * zoom + 2 * _TEXT + _GAP for _, sample in samples]
    columns = len(samples[0][1].parts)
    canvas = Image.new("RGB", (columns * (width + _GAP) + _GAP, sum(heights) + _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT - 4)
    top = _GAP
    for (clip, sample), height in zip(samples, heights, strict=True):
        figures = {
            label: next((s.psnr_y for s in scores if s.frame == sample.frame), math.nan)
            for label, scores in clip.scores.items()
        }
        for column, (label, part) in enumerate(sample.parts):
            left = _GAP + column * (width + _GAP)
            size = (part.shape[1] * zoom, part.shape[0] * zoom)
            canvas.paste(Image.fromarray(part).resize(size, Image.Resampling.NEAREST), (left, top))
            figure = figures.get(label, math.nan)
            text = label if math.isnan(figure) else f"{label}  {figure:.2f} dB"
            draw.text((left, top + size[1] + 2), text, font=font, fill="black")
            if column == 0:
                draw.text((left, top + size[1] + 2 + _TEXT), f"{clip.name}/{sample.frame}", font=font, fill="#666")
        top += height
    _save(canvas, path)


def plot(clips: Sequence[Clip], path: Path) -> None:
    """Write a picture: PSNR-Y over the pictures of each clip, a panel a clip; frames in between are hollow.

    Raises:
        VsSrError: Pillow is not installed.
        ArgumentError: the file cannot be written.
    """
    check()
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.new("RGB", (_PLOT[0], _PLOT[1] * len(clips)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for row, clip in enumerate(clips):
        _panel(draw, font, clip, row * _PLOT[1])
    _save(canvas, path)


def _panel(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, clip: Clip, top: int) -> None:
    left, above, right, below = _MARGINS
    box = (left, top + above, _PLOT[0] - right, top + _PLOT[1] - below)
    values = [s.psnr_y for scores in clip.scores.values() for s in scores if math.isfinite(s.psnr_y)] or [0.0]
    step = _step(max(values) - min(values))
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = high if high > low else low + step
    count = max(len(scores) for scores in clip.scores.values())

    def place(index: int, value: float) -> tuple[float, float]:
        x = box[0] + (box[2] - box[0]) * (index + 0.5) / count
        return x, box[3] - (box[3] - box[1]) * (min(value, high) - low) / (high - low)

    draw.text((box[0], top + 8), f"{clip.name}: PSNR-Y, dB", font=font, fill="black")
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        y = place(0, value)[1]
        draw.line([(box[0], y), (box[2], y)], fill="#ddd")
        draw.text((box[0] - 8, y), f"{value:.6g}", font=font, fill="black", anchor="rm")
    every = max(1, math.ceil(count / 20))
    first = next(iter(clip.scores.values()))
    for index in range(0, count, every):
        label = first[index].frame.rpartition(".")[0][-10:]
        draw.text((place(index, low)[0], box[3] + 6), label, font=font, fill="black", anchor="ma")
    for number, (label, scores) in enumerate(clip.scores.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [place(index, score.psnr_y) for index, score in enumerate(scores)]
        if clip.temporal:  # pictures that are no clip have no order to draw a line along
            draw.line(points, fill=colour, width=2)
        for (x, y), score in zip(points, scores, strict=True):
            draw.ellipse(
                (x - 4, y - 4, x + 4, y + 4), fill="white" if score.interpolated else colour, outline=colour, width=2
            )
        x = box[2] - 150 * (len(clip.scores) - number)
        draw.ellipse((x, top + 10, x + 8, top + 18), fill=colour)
        draw.text((x + 14, top + 8), label, font=font, fill="black")


def _step(span: float) -> float:
    """A round distance of grid lines: 1, 2 or 5 times a power of ten, about five to the span."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    return float(next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5))


def _save(canvas: Image, path: Path) -> None:
    try:
        canvas.save(path)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path} cannot be written: {error}") from None
