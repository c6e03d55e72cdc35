"""Make a clip four times as large and twice as smooth, and an image of the difference."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.errors import ArgumentError, VsSrError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from vs_sr.cli import _source

    Image = npt.NDArray[np.uint8]

_LABELS = ("bicubic, neighbors blended", "vs_sr ZoomingSlowMo")
_SIZE = (192, 108)
_FRAMES = 24
_SMALLEST = 8
"""Pixels a side."""
_MINUTES = 3.0
"""A clip of the user's own is shrunk until rendering it is expected to take no longer than this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--clip`` and ``--out``."""
    parser.add_argument(
        "--clip", metavar="FILE", type=Path, help="use the first second of this video instead of a generated one"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("demo"), help="folder for the results (default: demo)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the film and the side-by-side image."""
    for package in ("pillow", "vapoursynth-bestsource"):
        try:
            version(package)
        except PackageNotFoundError:
            raise VsSrError(f"needs {package}; install it with: pip install 'vs-sr[demo]'") from None
    out: Path = options.out
    film, image = out / "slowmo.mp4", out / "side_by_side.png"
    _check(out, film, image)
    try:
        return _make(options.clip, out, film, image)
    except OSError as error:
        raise VsSrError(f"{error.filename or out} cannot be written: {error.strerror or error}") from None


def _check(out: Path, *results: Path) -> None:
    """Refuse at once what would fail after minutes of work.

    Raises:
        VsSrError: the results cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VsSrError(f"nothing can be written to the folder {out}: {error.strerror}; use another --out") from None
    for path in results:
        try:
            files.check_target(path)
        except ArgumentError as error:
            raise VsSrError(f"{path} {error}; use another --out") from None


def _make(clip: Path | None, out: Path, film: Path, image: Path) -> int:
    from vs_sr.cli import _source, _video

    if clip is None:
        _generate(out / "input.mp4")
    elif clip.resolve() in (film.resolve(), image.resolve()):
        raise VsSrError(f"{clip} is what the demo writes; use another --out")
    source = _source.open_file(clip or out / "input.mp4")
    width, height = source.clip.width, source.clip.height
    if min(width, height) < _SMALLEST:
        raise VsSrError(f"{clip} is {width}x{height}; the model takes at least {_SMALLEST}x{_SMALLEST} pixels")
    arguments = {"source": str(source.path), "frames": str(len(source.durations))}
    if clip is not None:
        width, height = _affordable(source)
        if (width, height) != (source.clip.width, source.clip.height):
            arguments |= {"width": str(width), "height": str(height)}
            print(
                f"{source.clip.width}x{source.clip.height} would take this machine more than {_MINUTES:.0f} minutes: "
                f"scaled down to {width}x{height}",
                file=sys.stderr,
            )
    if source.format is not None:
        arguments["format"] = source.format
    sar, halves = source.at(width, height), [duration / 2 for duration in source.durations for _ in range(2)]
    times = None if source.even else [Fraction(0), *accumulate(halves)]
    _video.render(_script(), arguments, film, _video.Look(color=source.color, sar=sar, times=times))

    output = _video.frames(film)
    # an interpolated frame from the middle
    middle = len(output) // 2 | 1
    height, width = output[0].shape[:2]
    neighbors = [source.image(middle // 2 + step, width // 4, height // 4) for step in (0, 1)]
    _side_by_side(neighbors, output[middle], image, sar)
    rate = len(halves) / sum(halves)
    print(f"{len(output)} frames, {width}x{height}, {float(rate):.5g} fps: {film}, {image}")
    return 0


def _side_by_side(neighbors: Sequence[Image], ours: Image, path: Path, sar: Fraction) -> None:
    """Write a PNG of two panels.

    Args:
        neighbors: the input frames (H, W, 3) before and after; upscaled by bicubic and blended on the left.
        ours: the frame between them, (4H, 4W, 3), on the right.
        path: of the PNG.
        sar: width of a pixel divided by its height; the panels have square ones.
    """
    from PIL import Image, ImageDraw, ImageFont

    from vs_sr.evaluation import protocols
    from vs_sr.evaluation.upscalers import Bicubic

    protocol = protocols.preset("space-time")
    blended = protocols.code_values(list(Bicubic(4, 2)(neighbors, protocol))[1].rgb, protocol)
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


def _generate(path: Path) -> None:
    """Render a moving scene at the size of the result, and reduce and encode it as the input."""
    from vs_sr.cli import _video
    from vs_sr.training.clips import as_frames, reduce_frames
    from vs_sr.training.demo import demo_scene

    print("rendering a moving scene ...", file=sys.stderr)
    width, height = _SIZE
    scene = demo_scene(_FRAMES, 4 * height, 4 * width)
    _video.write(path, list(reduce_frames(as_frames(scene))), Fraction(24))


def _script() -> Path:
    """``examples/slowmo.vpy``: in the source tree, or as the wheel brings it."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent, package):
        path = folder / "examples" / "slowmo.vpy"
        if path.is_file():
            return path
    raise VsSrError("the package lacks examples/slowmo.vpy; reinstall vs-sr")


def _affordable(source: _source.Source) -> tuple[int, int]:
    """The size at which the part is rendered within a few minutes here; even, and never above the clip's own."""
    from vs_sr import registry, windows
    from vs_sr.engine.engine import Engine
    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.plan import Plan
    from vs_sr.runtime import torch
    from vs_sr.weights import store

    model = registry.model("ZoomingSlowMo")
    weights = store.shipped(model.weights or "")
    variant = store.recognize(model, weights).variant
    width, height = 48, 32
    grid = windows.grid(model, model.window)
    pipeline = Pipeline(model=model, variant=variant, source=weights, size=(width, height), grid=grid)
    engine, probe = Engine(Plan(pipeline), grid), list(torch.rand(grid.window, 3, height, width))
    list(engine.clip(probe))
    start = time.perf_counter()
    list(engine.clip(probe))
    per_pixel = (time.perf_counter() - start) / (grid.step * width * height)
    size = (source.clip.width, source.clip.height)
    seconds = per_pixel * size[0] * size[1] * len(source.durations)
    if seconds <= 60 * _MINUTES:
        return size
    factor = (60 * _MINUTES / seconds) ** 0.5
    width, height = (max(min(16, length), int(length * factor) // 2 * 2) for length in size)
    return width, height
