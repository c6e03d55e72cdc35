"""The clips of a recipe in one small file, for a machine that has neither the films nor their decoder.

A zip of WebP images: HR as small as the room that there is asks for, a clip's frames below each other, and LR to the
last bit where a clip was degraded. LR of the others is made again, of the HR as it was carried.
"""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from vs_sr import files
from vs_sr.errors import ArgumentError
from vs_sr.evaluation import pillow
from vs_sr.training.clips import Clips, reduce_frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vs_sr.evaluation.resample import Rule
    from vs_sr.training.recipe import Data

Frames = npt.NDArray[np.uint8]

_QUALITIES = (95, 90, 85, 80, 75, 70)
"""Of WebP, the best first: below the last one targets are no longer worth learning."""
_SAMPLES = 24
"""Clips of which the size of all is told."""
_FACTS = "facts.json"


def pack(path: Path, clips: Clips, data: Data, given: Mapping[str, object], described: str, limit: int) -> float:
    """Write all clips.

    Args:
        path: of the file.
        clips: of the recipe.
        data: of the recipe; only it can take them.
        given: what tells the files that they were made of from others, by their options.
        described: what they are, for the weights' metadata.
        limit: bytes of the file.

    Returns:
        PSNR of the HR as carried, in dB, over a sample.

    Raises:
        ArgumentError: they do not fit into the limit.
        VsSrError: Pillow is not installed.
        OSError: it cannot be written.
    """
    pillow.require("packing clips")
    degraded = list(clips.degraded) or [False] * len(clips.hr)
    some = range(0, len(clips.hr), max(1, len(clips.hr) // _SAMPLES))
    fixed = sum(len(each) for index in some if degraded[index] for _, each in _lows(clips, index))
    size = 0.0
    for quality in _QUALITIES:
        sample = [_webp(clips.hr[index], quality) for index in some]
        size = 1.05 * (fixed + sum(map(len, sample))) * len(clips.hr) / len(some)
        if size <= limit:
            break
    else:
        raise ArgumentError(f"{len(clips.hr)} clips take {size:,.0f} bytes, and {limit:,} can be carried; take fewer")
    errors = [
        np.mean((_frames(each, len(clips.hr[index])).astype(float) - clips.hr[index]) ** 2)
        for index, each in zip(some, sample, strict=True)
    ]
    facts = {
        "data": repr(data),
        "files": dict(given),
        "described": described,
        "frames": [len(film) for film in clips.hr],
        "degraded": degraded,
    }
    with files.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_FACTS, json.dumps(facts))
        for index, film in enumerate(clips.hr):
            archive.writestr(f"hr/{index}", _webp(film, quality))
            for name, each in _lows(clips, index) if degraded[index] else ():
                archive.writestr(name, each)
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def unpack(path: Path, data: Data, workers: int) -> Clips:
    """The clips of a file, in memory.

    Args:
        path: of the file.
        data: of the recipe.
        workers: threads.

    Raises:
        ArgumentError: it cannot be read, or is for another recipe.
        VsSrError: Pillow is not installed.
    """
    pillow.require("packed clips")
    found = facts(path)
    if found["data"] != repr(data):
        raise ArgumentError(f"{path.name} has clips for another recipe; pack those of this one")
    keys = sorted({(scale, multi) for scale in data.scale for multi in data.multi})
    with zipfile.ZipFile(path) as archive:
        images = {name: archive.read(name) for name in archive.namelist() if name != _FACTS}

    def clip(index: int) -> tuple[Frames, dict[tuple[int, int], Frames]]:
        count = found["frames"][index]
        hr = _frames(images[f"hr/{index}"], count)
        if found["degraded"][index]:
            return hr, {key: _frames(images[_low(key, index)], count) for key in keys}
        reduced = {scale: reduce_frames(hr, scale, cast("Rule", data.rule)) for scale in data.scale}
        return hr, {key: reduced[key[0]] for key in keys}

    with ThreadPoolExecutor(workers) as pool:
        made = list(pool.map(clip, range(len(found["frames"]))))
    lr = {key: [low[key] for _, low in made] for key in keys}
    return Clips([hr for hr, _ in made], lr, found["degraded"] if any(found["degraded"]) else ())


def facts(path: Path) -> dict[str, Any]:
    """What a file says of itself: ``files``, ``described``, and what its clips are like.

    Raises:
        ArgumentError: it cannot be read.
    """
    try:
        with files.open_regular(path) as file, zipfile.ZipFile(file) as archive:
            found: dict[str, Any] = json.loads(archive.read(_FACTS))
    except ArgumentError as error:
        raise ArgumentError(f"{path} {error}") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{path} is no file of packed clips: {error}") from None
    return found


def _low(key: tuple[int, int], index: int) -> str:
    return f"x{key[0]}_{key[1]}/{index}"


def _lows(clips: Clips, index: int) -> list[tuple[str, bytes]]:
    lossless = partial(_webp, quality=100, lossless=True)
    return [(_low(key, index), lossless(films[index])) for key, films in clips.lr.items()]


def _webp(film: Frames, quality: int, *, lossless: bool = False) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(film))).save(file, "WEBP", quality=quality, lossless=lossless, method=4)
    return file.getvalue()


def _frames(image: bytes, count: int) -> Frames:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        whole = np.asarray(opened.convert("RGB"))
    return whole.reshape(count, -1, *whole.shape[1:])
