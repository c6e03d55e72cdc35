"""Clips in a device's memory, and batches that are cut out of them there: by the same draws, the same to the bit.

Each side is one row of bytes, and an example is where its bytes lie: flips, turns and channels are only other places.
One gathering makes a batch, whatever the sizes of the clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from vs_sr.training.clips import Clips, Crop

    type Numbers = npt.NDArray[np.int64]


class Resident:
    """What :class:`~vs_sr.training.clips.Clips` gives, from the memory of a device."""

    def __init__(self, clips: Clips, device: torch.device) -> None:
        """Bring all clips there.

        Raises:
            torch.OutOfMemoryError: they are too large for it.
        """
        self.clips = clips
        self._hr = _Bytes(clips.hr, device)
        self._lr = {key: _Bytes(side, device) for key, side in clips.lr.items()}

    @property
    def nbytes(self) -> int:
        """Of the device's memory."""
        return sum(side.bytes.nbytes for side in (self._hr, *self._lr.values()))

    def batch(
        self,
        rng: np.random.Generator,
        count: int,
        inputs: int,
        patch: int,
        *,
        scale: int = 4,
        multi: int = 2,
        colors: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`vs_sr.training.clips.Clips.batch`, on the device."""
        frames = multi * (inputs - 1) + 1
        shapes = self.clips.lr[scale, multi]
        crops = [self.clips.draw(rng, frames, patch, colors=colors, shapes=shapes) for _ in range(count)]
        lr = self._lr[scale, multi].cut(crops, range(0, frames, multi), patch, 1)
        return lr, self._hr.cut(crops, range(frames), patch, scale)


class _Bytes:
    """Films (T, H, W, 3) behind one another."""

    def __init__(self, films: Sequence[npt.NDArray[np.uint8]], device: torch.device) -> None:
        self._widths = np.array([film.shape[2] for film in films])
        self._heights = np.array([film.shape[1] for film in films])
        sizes = [film.size for film in films]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self.bytes = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        for start, film in zip(self._starts, films, strict=True):  # never all of them in the host's memory
            self.bytes[start : start + film.size] = torch.from_numpy(np.array(film)).flatten()

    def cut(self, crops: Sequence[Crop], times: range, patch: int, scale: int) -> Tensor:
        """The examples (B, T, 3, h, w) in 0..1 of crops, at ``scale`` times the LR's size."""
        side = scale * patch
        count = len(crops)
        place = np.empty((count, len(times) + 3 + 2 * side + 1), dtype=np.int64)
        for row, crop in zip(place, crops, strict=True):
            line = 3 * self._widths[crop.clip]
            frame = line * self._heights[crop.clip]
            steps = np.array(times)[:: -1 if crop.backward else 1]
            down = line * (scale * crop.y + np.arange(side)[:: -1 if crop.upside_down else 1])
            right = 3 * (scale * crop.x + np.arange(side)[:: -1 if crop.mirrored else 1])
            if crop.turned:
                down, right = right, down
            first = self._starts[crop.clip] + frame * (crop.start + steps)
            row[:] = np.concatenate([first, crop.channels, down, right, [255 * crop.negative]])
        host = torch.from_numpy(place)
        if self.bytes.device.type == "cuda":
            host = host.pin_memory()  # else the host would wait for the steps before
        moved = host.to(self.bytes.device, non_blocking=True)
        first, channels, down, right, negative = moved.split([len(times), 3, side, side, 1], 1)
        where = first[:, :, None, None, None] + channels[:, None, :, None, None]
        where = where + down[:, None, None, :, None] + right[:, None, None, None, :]
        values = self.bytes[where] ^ negative.to(torch.uint8)[:, :, None, None, None]
        made: Tensor = values.float() / 255
        return made
