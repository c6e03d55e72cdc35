"""The user's images: crops as papers cut DIV2K, pairs in HDF5 files, and photographs as what scenes show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.evaluation import pillow
from vs_sr.evaluation.resample import round_half_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Frames = npt.NDArray[np.uint8]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def listed(folders: Sequence[Path]) -> list[Path]:
    """The images in folders, at any depth, in the order of their names.

    Raises:
        ArgumentError: a folder is missing or holds none.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise ArgumentError(f"there is no folder {folder}")
        inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not inside:
            raise ArgumentError(f"{folder} holds no images; known are {', '.join(_SUFFIXES)}")
        found += inside
    return found


@lru_cache(maxsize=8)
def read(path: Path) -> Frames:
    """An image (H, W, 3), RGB.

    Raises:
        VsSrError: it cannot be read, or Pillow is not installed.
    """
    pillow.require("training on images")
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise VsSrError(f"{path} cannot be read: {error}") from None


def places(height: int, width: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Rows and columns at which crops begin; as in the papers, the last one that would just fit is left out."""
    return [(y, x) for y in range(0, height - size, stride) for x in range(0, width - size, stride)]


def crops(path: Path, size: int, stride: int) -> list[Frames]:
    """The crops of an image, as films of one frame (1, size, size, 3)."""
    image = read(path)
    height, width = image.shape[:2]
    return [image[None, y : y + size, x : x + size] for y, x in places(height, width, size, stride)]


def crop_count(path: Path, size: int, stride: int) -> int:
    """How many :func:`crops` there are, from the file's header alone; raises as :func:`read`."""
    pillow.require("training on images")
    from PIL import Image

    try:
        with Image.open(path) as image:
            return len(places(image.height, image.width, size, stride))
    except OSError as error:
        raise VsSrError(f"{path} cannot be read: {error}") from None


@dataclass(frozen=True)
class Photographs:
    """Parts of photographs, to be what the layers of a scene show: panned, zoomed, and cut out before each other."""

    paths: tuple[Path, ...]

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
        """A random part of a random one, (height, width, 3) in 0..1, shrunk by up to 3 or, if it must be, upscaled."""
        from PIL import Image

        image = read(self.paths[rng.integers(len(self.paths))])
        room = min(image.shape[0] / height, image.shape[1] / width)
        shrink = float(np.exp(rng.uniform(0, np.log(min(room, 3.0))))) if room > 1 else room
        h, w = (
            min(length, max(1, round(shrink * side)))
            for length, side in zip(image.shape[:2], (height, width), strict=True)
        )
        y, x = (int(rng.integers(length - side + 1)) for length, side in zip(image.shape[:2], (h, w), strict=True))
        part = Image.fromarray(image[y : y + h, x : x + w]).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(part, dtype=np.float32) / np.float32(255)


def pairs(path: Path) -> Iterator[tuple[Frames, Frames]]:
    """The pairs of an HDF5 file: LR and HR, films of one frame (1, H, W, 3).

    The layout: groups ``lr`` and ``hr``, data sets "0", "1", ..., CHW of floats in 0..1.

    Raises:
        ArgumentError: it is not of this layout.
        VsSrError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise VsSrError(f"{path.name} needs h5py; install it with: pip install 'vs-sr[h5]'") from None
    try:
        with h5py.File(path) as file:
            if not {"lr", "hr"} <= file.keys() or file["lr"].keys() != file["hr"].keys():
                raise ArgumentError(f"{path} has no groups lr and hr of the same data sets; has {', '.join(file)}")
            for name in sorted(file["lr"], key=int):
                low, high = (np.asarray(file[side][name], dtype=np.float64) for side in ("lr", "hr"))
                if low.ndim != 3 or low.shape[0] != 3 or max(low.max(), high.max()) > 1:
                    raise ArgumentError(f"{path}: lr/{name} must be CHW of RGB in 0..1; got {low.shape}")
                yield _film(low), _film(high)
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error}") from None


def _film(planes: npt.NDArray[np.float64]) -> Frames:
    return round_half_up(255 * planes.transpose(1, 2, 0))[None]
