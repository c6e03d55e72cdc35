"""Models of kind "sequence": the forward state goes from window to window, or is rebuilt where it is not known.

In order it is carried. After a seek it is rebuilt from the nearest state that is known: a checkpoint, a cut, or
the beginning of the segment. A rebuild runs the forward direction alone, no reconstruction, and asks for its
frames in portions. Between two portions other windows may be served, and the next one may never come: how far a
rebuild has come is in its request's own variables, and what others can use of it (the states that it passes, the
windows without a cut) is shared, so that many seeks at once do together about what the longest does alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr import windows
from vs_sr.engine.device import OutOfMemoryError
from vs_sr.engine.scheduler.base import Held, Scheduler
from vs_sr.engine.scheduler.checkpoints import Checkpoints
from vs_sr.engine.scheduler.stream import Stream
from vs_sr.engine.transfer import Made
from vs_sr.errors import FrameError
from vs_sr.windows import Need, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.engine.scheduler.base import Work
    from vs_sr.engine.scheduler.checkpoints import States
    from vs_sr.spec import SequenceNetwork
    from vs_sr.windows import Run

_PORTION = 8
"""Input frames that a rebuild asks for at a time, roughly."""


class Recurrent(Scheduler):
    """Windows over a sequence, each tile of the frames a stream with states of its own.

    Args:
        pipeline: what is run.
        every: windows from one checkpoint to the next.
        memory: bytes that checkpoints may take.
        given: a window and the states before it, from an earlier run.
        save: is given the states before a window, and whether the clip ends there: at each checkpoint, and at
            the end of a clip whose last window is a whole one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        every: int,
        memory: int,
        given: tuple[int, States] | None = None,
        save: Callable[[int, States, bool], None] | None = None,
    ) -> None:
        super().__init__(pipeline)
        self._every = every
        self._checkpoints = Checkpoints(every, memory)
        self._given = given
        self._save = save
        self._saved = -1
        self._passed = Numbers()
        """Windows in which no cut is, as rebuilds have found."""
        self._portion = max(1, _PORTION // self.grid.step)
        self._streams = self._make_streams()
        self._zero: States = (None,) * len(self._streams)

    def _make_streams(self) -> list[Stream]:
        return [Stream(tile, self.pipeline) for tile in self.tiles]

    def _reset(self) -> None:
        if self._given is not None and self._given[0] == 0:
            raise OutOfMemoryError(
                "out of memory, and with smaller tiles the state of the film's earlier part would be lost; "
                "run that part and this one with a smaller tilesize"
            )
        self._given = None
        self._checkpoints.clear()
        self._streams = self._make_streams()
        self._zero = (None,) * len(self._streams)

    def _render(self, network: SequenceNetwork, group: int, held: Held) -> Work[Made]:
        before, held = yield from self._before(network, group, held)
        runs = self._runs(group, held)
        while missing := {frame for run in runs for frame in run.inputs} - held.numbers:
            held = yield Need(sorted(missing))  # of drawings that go on after it; they may lead to others
            runs = self._runs(group, held)
        border = self._border(group)
        results = [
            stream.window(network, runs, state, held.image) for stream, state in zip(self._streams, before, strict=True)
        ]
        after = tuple(state for _, state in results)
        self._enter(group + 1, after)
        self._forget(group)
        whole: dict[tuple[int, ...], Tensor] = {}  # an output that repeats another has the same tensor
        images = {}
        for output in results[0][0]:
            parts = [made[output] for made, _ in results]
            key = tuple(id(part) for part in parts)
            if key not in whole:
                whole[key] = self._assemble(parts)
            images[output] = whole[key]
        return Made(
            images,
            before={f"the state before frame {border - self.grid.step} of the clip": self._here(before)},
            after={f"the state before frame {border} of the clip": self._here(after)},
        )

    def _runs(self, window: int, held: Held) -> list[Run]:
        return windows.runs(self.grid, window, held.cuts, held.drawings)

    def _border(self, window: int) -> int:
        """The first frame of the window after one."""
        return (window + 1) * self.grid.step

    def _enter(self, window: int, states: States) -> None:
        """Remember the states before a window, in files as well where they are wanted."""
        if not self.grid.carry:
            return
        final = window == self.grid.groups
        if not final and not self.grid.fresh(window):
            self._checkpoints.put(window, states)
        due = self.grid.ends_at_border() if final else window % self._every == 0
        if self._save is not None and due and window > self._saved:
            self._saved = window
            self._save(window, states, final)

    def _known(self, window: int, held: Held | None = None) -> States | None:
        """The states before a window, where no rebuild is needed for them."""
        if self._given is not None and self._given[0] == window:
            return self._given[1]
        if self.grid.fresh(window) or (held is not None and window * self.grid.step - 1 in held.cuts):
            return self._zero
        return self._checkpoints.get(window) if window in self._checkpoints else None

    def _before(self, network: SequenceNetwork, group: int, held: Held) -> Work[tuple[States, Held]]:
        """The states before a group, and the frames that are held by then."""
        known = self._known(group, held)
        if known is not None:
            return known, held
        window, states, held = yield from self._beginning(group, held)
        while window < group:
            ahead = self._checkpoints.last(window + 1, group)
            if ahead is not None:  # another request has been there meanwhile
                window, states = ahead, self._checkpoints.get(ahead)
            elif held.numbers.issuperset(self.grid.inputs(window)):
                run = self._runs(window, held)[-1]
                if missing := set(run.made_of(run.border or 0)) - held.numbers:
                    held = yield Need(sorted(missing))
                    continue
                states = self._advance(network, window, run, states, held)
                window += 1
                self._enter(window, states)
            else:
                held = yield self._need(group, range(window, min(group, window + self._portion)), held)
        return states, held

    def _beginning(self, group: int, held: Held) -> Work[tuple[int, States, Held]]:
        """The last window before a group that the state can be rebuilt from, the states there, and what is held."""
        window = group - 1
        while (known := self._known(window)) is None:
            if window < 0:
                raise FrameError(
                    f"output frame {self.grid.outputs(group).start} needs the state at the clip's beginning, and "
                    "state_in= is of a later place; start there (vspipe --start), or give the state that the earlier "
                    "clip ended with"
                )
            passed = self._passed.first(window)
            if passed is not None:  # a rebuild has looked at these windows, which had states of their own since
                ahead = self._checkpoints.last(passed, window)
                window = passed - 1 if ahead is None else ahead
            elif not held.numbers.issuperset(self.grid.inputs(window)):
                held = yield self._need(group, range(max(0, window + 1 - self._portion), window + 1), held)
            elif windows.passes(self.grid, window, held.cuts):
                self._passed.add(window)
                window -= 1
            else:
                return window, self._zero, held
        return window, known, held

    def _need(self, group: int, wanted: range, held: Held) -> Need:
        """Ask for the inputs of some windows, and give back those that are held of others."""
        frames = {number for window in wanted for number in self.grid.inputs(window)}
        own = set(self.grid.seen(group))
        return Need(sorted(frames - held.numbers), drop=sorted(held.numbers - own - frames))

    def _advance(self, network: SequenceNetwork, window: int, run: Run, states: States, held: Held) -> States:
        advanced = tuple(
            stream.advance(network, run, state, held.image) for stream, state in zip(self._streams, states, strict=True)
        )
        self._forget(window)
        return advanced

    def _forget(self, window: int) -> None:
        """Keep of the positions what the next window sees as well."""
        keep = self.grid.near(window)
        for stream in self._streams:
            stream.forget(keep)

    def _here(self, states: States) -> list[Tensor]:
        """The parts of states that are on the device: those that were parked were looked at where they were made."""
        kind = self.pipeline.device.partition(":")[0]
        return [part for state in states if state is not None for part in state if part.device.type == kind]
