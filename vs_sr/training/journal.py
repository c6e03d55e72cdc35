"""What a run says: lines on stderr, a row of ``losses.csv`` a step, sample images, and TensorBoard where wanted."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vs_sr import files
from vs_sr.errors import VsSrError
from vs_sr.evaluation import pillow
from vs_sr.evaluation.resample import round_half_up

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

_COLUMNS = ("step", "loss", "ratio", "rate")


def say(message: str) -> None:
    """A line on stderr: stdout belongs to whoever pipes."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


class Journal:
    """The record of a run in its folder."""

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        """Go on after ``step`` steps: rows of later ones, which a killed run left behind, are dropped.

        Raises:
            VsSrError: TensorBoard is wanted and not installed.
        """
        self._path = folder / "losses.csv"
        self._samples = folder / "samples"
        rows = []
        with suppress(FileNotFoundError):
            rows = self._path.read_text(encoding="utf-8").splitlines()[1:]
        kept = [row for row in rows if row.count(",") == len(_COLUMNS) - 1 and int(row.partition(",")[0]) <= step]
        with files.replacing(self._path) as file:
            file.write("".join(f"{row}\n" for row in [",".join(_COLUMNS), *kept]).encode())
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._writer: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise VsSrError("--tensorboard needs tensorboard; install it with: pip install tensorboard") from None
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def step(self, step: int, loss: float, ratio: float, rate: float, parts: Mapping[str, float]) -> None:
        """A step's loss, in proportion to bicubic's, its learning rate, and the loss by its parts."""
        self._file.write(f"{step},{loss!r},{ratio!r},{rate!r}\n")
        if self._writer:
            for name, value in {"loss": loss, "ratio": ratio, "rate": rate, **parts}.items():
                self._writer.add_scalar(name, value, step)

    def sample(self, step: int, films: Mapping[str, Tensor]) -> None:
        """The first example's middle frames side by side: (B, S, C, H, W) in 0..1 each."""
        middles = [film[0, film.shape[1] // 2].detach().float().cpu() for film in films.values()]
        row = torch.cat([image.expand(3, -1, -1) for image in middles], -1).clamp(0, 1)
        if self._writer:
            self._writer.add_image(" | ".join(films), row, step)
        try:
            pillow.require("a sample image")
        except VsSrError:
            return
        from PIL import Image

        self._samples.mkdir(exist_ok=True)
        pixels = round_half_up(255 * row.numpy().transpose(1, 2, 0).astype(np.float64))
        with files.replacing(self._samples / f"{step:08}.png") as file:
            Image.fromarray(pixels).save(file, "PNG")

    def close(self) -> None:
        """Write what is still to be written."""
        self._file.close()
        if self._writer:
            self._writer.close()
