"""Make a clip four times as large and twice as smooth, and a picture of the difference."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import numpy.typing as npt

    from vs_sr.cli import _video

_SIZE = (192, 108)
_FRAMES = 24
_MINUTES = 3.0
"""A clip of the user's own is shrunk until rendering it is expected to take no longer than this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--clip`` and ``--out``."""
    parser.add_argument("--clip", type=Path, help="use the first second of this video instead of a generated one")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")


def run(options: argparse.Namespace) -> int:
    """Write the film and the side-by-side picture."""
    for package in ("pillow", "vapoursynth-bestsource"):
        try:
            version(package)
        except PackageNotFoundError:
            raise VsSrError(f"needs {package}; install it with: pip install 'vs-sr[demo]'") from None
    from vs_sr.cli import _picture, _video

    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.clip is None:
        source = out / "input.mp4"
        _generate(source)
    else:
        source = options.clip
        if not source.is_file():
            raise VsSrError(f"there is no file {source}")
    info = _video.probe(source)
    arguments = {"source": str(source.resolve()), "frames": str(_frames(info))}
    if options.clip is not None:
        width, height = _affordable(info)
        if (width, height) != (info.width, info.height):
            print(
                f"{info.width}x{info.height} would take this machine more than {_MINUTES:.0f} minutes: "
                f"scaled down to {width}x{height}",
                file=sys.stderr,
            )
        arguments |= {"width": str(width), "height": str(height)}
    film, picture = out / "slowmo.mp4", out / "side_by_side.png"
    _video.render(_script(), arguments, film, info.colour)

    output = _video.frames(film)
    # an interpolated frame from the middle
    middle = len(output) // 2 | 1
    _picture.side_by_side(_neighbours(source, middle // 2, output[0]), output[middle], picture)
    height, width = output[0].shape[:2]
    rate = _video.probe(film).rate
    print(f"{len(output)} frames, {width}x{height}, {float(rate):.5g} fps: {film}, {picture}")
    return 0


def _generate(path: Path) -> None:
    """Render a moving scene at the size of the result, and reduce and encode it as the input."""
    import numpy as np

    from vs_sr.cli import _video
    from vs_sr.evaluation.vid4 import reduce_frames
    from vs_sr.training.demo import demo_scene

    print("rendering a moving scene ...", file=sys.stderr)
    width, height = _SIZE
    scene = demo_scene(_FRAMES, 4 * height, 4 * width)
    pixels = np.rint(np.asarray(scene).transpose(0, 2, 3, 1) * 255).clip(0, 255).astype(np.uint8)
    _video.write(path, list(reduce_frames(pixels)), Fraction(24))


def _script() -> Path:
    """``examples/slowmo.vpy``: in the source tree, or as the wheel brings it."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent, package):
        path = folder / "examples" / "slowmo.vpy"
        if path.is_file():
            return path
    raise VsSrError("the package lacks examples/slowmo.vpy; reinstall vs-sr")


def _frames(info: _video.Info) -> int:
    """Frames in one second."""
    return max(2, round(info.rate)) if info.rate else _FRAMES


def _affordable(info: _video.Info) -> tuple[int, int]:
    """The size at which a second is rendered within a few minutes here; even, and never above the clip's own."""
    import torch

    from vs_sr import registry, session
    from vs_sr.weights import store

    model = registry.model("ZoomingSlowMo")
    source = store.shipped(model.weights or "")
    device = session.choose_device(None)
    plan = session.Plan(
        model=model,
        variant=store.recognise(model, source).variant,
        source=source,
        device=device,
        precision=session.choose_precision("auto", device, float_clip=False),
        backend="eager",
    )
    probe = torch.rand(4, 3, 64, 96)
    running = session.acquire(plan)
    running.run(probe, 2)
    start = time.perf_counter()
    running.run(probe, 2)
    # a window gives frames for three of its four inputs
    per_pixel = (time.perf_counter() - start) / (3 * probe.shape[-1] * probe.shape[-2])
    seconds = per_pixel * info.width * info.height * _frames(info)
    factor = min(1.0, (60 * _MINUTES / seconds) ** 0.5)
    width, height = (max(16, int(length * factor) // 2 * 2) for length in (info.width, info.height))
    return width, height


def _neighbours(
    source: Path, number: int, like: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Two consecutive frames of the input, at a quarter of the size of ``like``."""
    import numpy as np
    from PIL import Image

    from vs_sr.cli import _video

    height, width = (length // 4 for length in like.shape[:2])
    before, after = _video.frames(source, number, number + 2)
    resized = [
        np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        for picture in (before, after)
    ]
    return resized[0], resized[1]
