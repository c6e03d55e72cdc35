"""Figures of a measurement, as images: crops side by side, and PSNR over the frames. Drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import ArgumentError
from vs_sr.evaluation.measure import Clip

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont
    from PIL.Image import Image

    from vs_sr.evaluation.drift import Drift, Mode

    type Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP = 8
_TEXT = 16
_ROWS = 8
"""An image of crops has no more rows: the first clips or images."""
_COLORS = ("#0b6e99", "#c4581c", "#4c8c2b", "#7a4fa3", "#a8324a", "#8a7a1f")
_PLOT = (900, 320)
_MARGINS = (64, 34, 20, 40)
"""Left, top, right, bottom of a plot."""
_DOTS = 200
"""More frames than that are a line alone."""
_PANEL, _LEGEND = (600, 340), 210
"""A plot of drift, and what stands at its right; in pixels."""


def crops(clips: Sequence[Clip], path: Path) -> None:
    """Write an image: a row per sample, with the same part of ground truth and of every upscaler's output.

    Small parts are upscaled by whole pixels.

    Raises:
        VsSrError: Pillow is not installed.
        ArgumentError: the file cannot be written.
    """
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
    """Write an image: PSNR-Y over the frames of each clip, a panel a clip; interpolated ones are hollow.

    Raises:
        VsSrError: Pillow is not installed.
        ArgumentError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.new("RGB", (_PLOT[0], _PLOT[1] * len(clips)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for row, clip in enumerate(clips):
        _panel(draw, font, clip, row * _PLOT[1])
    _save(canvas, path)


def drift(drifts: Sequence[Drift], path: Path) -> None:
    """Write an image: PSNR-Y over input frames since the reset, and the gain above windows; a line a mode.

    A row a set of clips. Modes that differ in their lookahead alone have one color, the paler the more they see.

    Raises:
        VsSrError: Pillow is not installed.
        ArgumentError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    (width, height), (left, above, right, below) = _PANEL, _MARGINS
    canvas = Image.new("RGB", (2 * width + _LEGEND, height * len(drifts)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    colors = _shades(list(dict.fromkeys(mode for drift in drifts for mode in drift.psnr)))
    for row, drift in enumerate(drifts):
        top = row * height
        curves = {mode: drift.curve(mode) for mode in drift.psnr}
        count = max(point.frames for curve in curves.values() for point in curve) + 1
        for column, (title, figure) in enumerate(
            (
                ("PSNR-Y, dB, over input frames since the reset", "psnr_y"),
                ("dB above windows on the same frames", "gain"),
            )
        ):
            lines = {
                mode: [(point.frames, getattr(point, figure)) for point in curve] for mode, curve in curves.items()
            }
            values = [value for line in lines.values() for _, value in line]
            box = (column * width + left, top + above, (column + 1) * width - right, top + height - below)
            axes = _Axes(box, values, count)
            axes.draw(draw, font, f"{drift.name}: {title}")
            axes.label(draw, font, [str(number) for number in range(count)])
            for mode, line in reversed(lines.items()):  # the simplest on top
                draw.line([axes.place(index, value) for index, value in line], fill=colors[mode], width=2)
        for number, mode in enumerate(curves):
            y = top + above + 14 * number
            draw.line([(2 * width, y + 7), (2 * width + 16, y + 7)], fill=colors[mode], width=3)
            draw.text((2 * width + 22, y), str(mode), font=font, fill="black")
    _save(canvas, path)


def _shades(modes: Sequence[Mode]) -> dict[Mode, str]:
    """A color for each mode."""
    from PIL import ImageColor

    families = list(dict.fromkeys((mode.carry, mode.segment) for mode in modes))
    found = {}
    for mode in modes:
        color = ImageColor.getrgb(_COLORS[families.index((mode.carry, mode.segment)) % len(_COLORS)])
        pale = mode.lookahead / (1 + max(each.lookahead for each in modes))
        found[mode] = "#" + "".join(f"{round(part + (255 - part) * pale):02x}" for part in color[:3])
    return found


@dataclass(frozen=True)
class _Axes:
    """Where values are drawn: numbers from 0 to ``count`` - 1 rightwards, finite values upwards."""

    box: tuple[int, int, int, int]
    values: Sequence[float]
    count: int

    @cached_property
    def _grid(self) -> tuple[float, float, float]:
        """Lowest and highest line, and the distance of two."""
        values = [value for value in self.values if math.isfinite(value)] or [0.0]
        step = _step(max(values) - min(values))
        low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
        return low, high if high > low else low + step, step

    def place(self, index: float, value: float) -> tuple[float, float]:
        """In the image; what is above the highest line is drawn on it."""
        low, high, _ = self._grid
        left, top, right, bottom = self.box
        x = left + (right - left) * (index + 0.5) / self.count
        return x, bottom - (bottom - top) * (min(value, high) - low) / (high - low)

    def draw(self, draw: ImageDraw.ImageDraw, font: Font, title: str) -> None:
        """The title, and the lines with their values."""
        low, high, step = self._grid
        draw.text((self.box[0], self.box[1] - _MARGINS[1] + 8), title, font=font, fill="black")
        for number in range(round((high - low) / step) + 1):
            value = low + number * step
            y = self.place(0, value)[1]
            draw.line([(self.box[0], y), (self.box[2], y)], fill="#ddd")
            draw.text((self.box[0] - 8, y), f"{value:.6g}", font=font, fill="black", anchor="rm")

    def label(self, draw: ImageDraw.ImageDraw, font: Font, labels: Sequence[str]) -> None:
        """Some of the labels, as there is room."""
        for index in range(0, self.count, max(1, math.ceil(self.count / 20))):
            x = self.place(index, 0)[0]
            draw.text((x, self.box[3] + 6), labels[index], font=font, fill="black", anchor="ma")


def _panel(draw: ImageDraw.ImageDraw, font: Font, clip: Clip, top: int) -> None:
    left, above, right, below = _MARGINS
    box = (left, top + above, _PLOT[0] - right, top + _PLOT[1] - below)
    values = [s.psnr_y for scores in clip.scores.values() for s in scores]
    axes = _Axes(box, values, max(len(scores) for scores in clip.scores.values()))
    axes.draw(draw, font, f"{clip.name}: PSNR-Y, dB")
    axes.label(draw, font, [Path(score.frame).stem[-10:] for score in next(iter(clip.scores.values()))])
    for number, (label, scores) in enumerate(clip.scores.items()):
        color = _COLORS[number % len(_COLORS)]
        points = [axes.place(index, score.psnr_y) for index, score in enumerate(scores)]
        if clip.temporal:  # images that are no clip have no order to draw a line along
            draw.line(points, fill=color, width=2)
        for (x, y), score in zip(points, scores, strict=True) if len(scores) <= _DOTS or not clip.temporal else ():
            draw.ellipse(
                (x - 4, y - 4, x + 4, y + 4), fill="white" if score.interpolated else color, outline=color, width=2
            )
        x = box[2] - 150 * (len(clip.scores) - number)
        draw.ellipse((x, top + 10, x + 8, top + 18), fill=color)
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
