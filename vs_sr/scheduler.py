"""From windows to frames: which inputs are run together, and which result becomes which output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vs_sr import windows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from vs_sr.session import Session
    from vs_sr.tiles import Tile
    from vs_sr.windows import Grid


@dataclass(frozen=True)
class Scheduler:
    """Computes a clip window by window. A window depends on its own frames and cuts alone, so that any order
    of requests gives the same bits."""

    grid: Grid
    session: Session
    tiles: Sequence[Tile] = ()
    """Image models: the parts that a frame is run in; none: the whole frame."""

    def render(self, group: int, frames: Mapping[int, Tensor], cuts: Collection[int]) -> list[Tensor]:
        """The outputs of a window.

        Args:
            group: the window's number.
            frames: its input frames by number, (C, H, W) float32, RGB or luma.
            cuts: numbers i where there is a cut between the input frames i and i+1.

        Returns:
            The window's output frames in time order, (C, scale*H, scale*W). A repeated frame is the same tensor.
        """
        import torch

        out: list[Tensor] = []
        for run in windows.runs(self.grid, group, cuts):
            batch = torch.stack([frames[i] for i in run.inputs])
            results = self.session.run(batch, self.grid.multi, self.tiles).unbind()
            out += [results[position] for _, position in run.outputs]
        return out
