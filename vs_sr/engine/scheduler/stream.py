"""One tile of a clip as a stream of its own through a network of kind "sequence"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr.engine import session as sessions
from vs_sr.engine.scheduler.base import crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vs_sr.spec import Carried, SequenceNetwork
    from vs_sr.tiles import Tile
    from vs_sr.windows import Run

type Picture = Callable[[int], Tensor]
"""A whole input frame by number, (C, H, W) float32 on the host."""


class Stream:
    """Positions of the sequence are computed one at a time, once while they are needed; steps, too, are calls
    with one position each, whoever asks for them: so the bits are the same in a window and in a rebuild."""

    def __init__(self, tile: Tile, density: int, device: str) -> None:
        self._tile = tile
        self._density = density
        self._device = device
        self._encoded: dict[int, Any] = {}
        self._between: dict[tuple[int, int], Sequence[Any]] = {}

    def window(
        self, network: SequenceNetwork, runs: Sequence[Run], state: Carried | None, border: int, picture: Picture
    ) -> tuple[dict[int, Tensor], Carried | None]:
        """The outputs of a window, and the forward state at its end.

        Args:
            network: of the session.
            runs: of the window.
            state: the forward state before the window's first position; None: zero.
            border: the first frame of the next window: the state is the one before its position.
            picture: for all frames of ``runs``.

        Returns:
            Output frame to its picture on the host, and the state; None where a scene ended before.
        """
        made: dict[int, Tensor] = {}
        left: Carried | None = None
        state = _begin(state, self._device)
        for run in runs:
            at = [self._position(network, run, p, picture) for p in range((len(run.inputs) - 1) * self._density + 1)]
            future: list[Tensor] = []
            after: Carried | None = None
            for p in reversed(range(len(at))):
                after = network.backward_step(at[p], after)
                if p < run.own:
                    future.append(after[0])
            state = None if run.fresh else state
            wanted: dict[int, list[int]] = {}
            for output, position in run.outputs:
                wanted.setdefault(position, []).append(output)
            start = run.inputs[0] * self._density
            for p in range(run.own):
                left = state if start + p == border * self._density else left
                state = network.forward_step(at[p], state)
                if p in wanted:
                    result = sessions.to_host(network.reconstruct(at[p], state[0], future[-1])[0], wanted[p][0])
                    made |= dict.fromkeys(wanted[p], result)
                future.pop()
            left = state if start + run.own == border * self._density else left
        return made, _end(left, border)

    def advance(
        self, network: SequenceNetwork, run: Run, state: Carried | None, border: int, picture: Picture
    ) -> Carried | None:
        """The state that :meth:`window` gives for a window whose last run this is, and nothing else."""
        state = None if run.fresh else _begin(state, self._device)
        for p in range(run.own):
            state = network.forward_step(self._position(network, run, p, picture), state)
        return _end(state, border) if run.inputs[0] * self._density + run.own == border * self._density else None

    def forget(self, keep: range) -> None:
        """Give up all positions but those of the frames ``keep``."""
        self._encoded = {frame: position for frame, position in self._encoded.items() if frame in keep}
        self._between = {pair: positions for pair, positions in self._between.items() if set(pair) <= set(keep)}

    def _position(self, network: SequenceNetwork, run: Run, p: int, picture: Picture) -> Any:
        first, part = divmod(p, self._density)
        before = self._encode(network, run.inputs[first], picture)
        if part == 0:
            return before
        pair = run.inputs[first], run.inputs[first + 1]
        if pair not in self._between:
            self._between[pair] = network.between(before, self._encode(network, pair[1], picture))
        return self._between[pair][part - 1]

    def _encode(self, network: SequenceNetwork, frame: int, picture: Picture) -> Any:
        if frame not in self._encoded:
            part = crop(picture(frame), self._tile).to(self._device)
            self._encoded[frame] = network.encode(part[None])
        return self._encoded[frame]


def _end(state: Carried | None, border: int) -> Carried | None:
    """A state as a window leaves it: finite, or everything behind it would not be.

    Raises:
        NotFiniteError: it is not.
    """
    if state is not None and not all(sessions.finite(part) for part in state):
        raise sessions.NotFiniteError(f"the state before frame {border} of the clip")
    return state


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
