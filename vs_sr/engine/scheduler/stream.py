"""One tile of a clip's frames as a sequence: its timesteps while they are needed, its states on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr.engine import recurrence
from vs_sr.engine.scheduler.base import upload
from vs_sr.windows import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.transfer import Image
    from vs_sr.spec import Carried, SequenceNetwork
    from vs_sr.tiles import Tile
    from vs_sr.windows import Run


class Stream:
    """Timesteps are computed one at a time, once while they are needed; steps, too, are calls with one timestep each,
    whoever asks for them: so the bits are the same in a window and in a rebuild."""

    def __init__(self, tile: Tile, pipeline: Pipeline) -> None:
        self._tile = tile
        self._device = pipeline.device
        self._encoded: dict[int, Any] = {}
        self._between: dict[tuple[int, int, int], Any] = {}
        """By two neighbors, and how many parts of the way from one to the other."""

    def window(
        self,
        network: SequenceNetwork,
        runs: Sequence[Run],
        state: Carried | None,
        border: int,
        image: Callable[[int], Image],
    ) -> tuple[dict[int, Tensor], Carried | None]:
        """The outputs of a window, and the forward state at its end.

        Args:
            network: of the session.
            runs: of the window.
            state: the forward state before the window's first timestep; None: zero.
            border: the first frame of the next window: the state is the one before its timestep.
            image: a whole input frame by number, for all of ``runs``.

        Returns:
            Output frame to its image (C, H, W) on the device, and the state; None where a scene ended before.
        """
        made: dict[int, Tensor] = {}
        left: Carried | None = None
        for run in runs:
            at = run.before(border)
            images, found = recurrence.run(
                network,
                [self._timestep(network, run, t, image) for t in run.timesteps],
                state=None if run.fresh else _begin(state, self._device),
                own=run.own,
                outputs={timestep for _, timestep in run.outputs},
                border=at,
            )
            if at is not None:
                left = found
            made |= {output: images[timestep][0] for output, timestep in run.outputs}
        return made, left

    def advance(
        self,
        network: SequenceNetwork,
        run: Run,
        state: Carried | None,
        border: int,
        image: Callable[[int], Image],
    ) -> Carried | None:
        """The state that :meth:`window` gives for a window whose last run this is, and nothing else."""
        if border not in run.inputs:
            return None
        timesteps = [self._timestep(network, run, t, image) for t in run.timesteps[: run.own]]
        state = None if run.fresh else _begin(state, self._device)
        return recurrence.run(network, timesteps, state=state, outputs=(), border=run.own)[1]

    def forget(self, keep: range) -> None:
        """Give up all timesteps but those of the frames ``keep``."""
        self._encoded = {frame: timestep for frame, timestep in self._encoded.items() if frame in keep}
        self._between = {key: timestep for key, timestep in self._between.items() if set(key[:2]) <= set(keep)}

    def _timestep(self, network: SequenceNetwork, run: Run, t: int, image: Callable[[int], Image]) -> Any:
        first, part = divmod(t, PARTS)
        if part == 0:
            return self._encode(network, run.inputs[first], image)
        key = run.inputs[first], run.inputs[first + 1], part
        if key not in self._between:
            half = part & -part  # as far off are both of its neighbors
            neighbors = (self._timestep(network, run, at, image) for at in (t - half, t + half))
            (self._between[key],) = network.between(*neighbors)
        return self._between[key]

    def _encode(self, network: SequenceNetwork, frame: int, image: Callable[[int], Image]) -> Any:
        if frame not in self._encoded:
            self._encoded[frame] = network.encode(upload(image(frame), self._tile, self._device))
        return self._encoded[frame]


def _begin(state: Carried | None, device: str) -> Carried | None:
    """A state as a window begins with it: on the device, in one memory format wherever it has been meanwhile,
    since the last bits of a convolution depend on that."""
    if state is None:
        return None
    from vs_sr.runtime import torch

    def canonical(part: Tensor) -> Tensor:
        layout = torch.channels_last if part.dim() == 4 else torch.contiguous_format
        return torch.empty(part.shape, dtype=part.dtype, device=device, memory_format=layout).copy_(part)

    return tuple(canonical(part) for part in state)
