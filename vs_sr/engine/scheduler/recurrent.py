"""Models of kind "sequence": the forward state goes from window to window, or is rebuilt where it is not known.

In order it is carried. After a seek it is rebuilt from the nearest state that is known: a checkpoint, a cut, or
the beginning of the segment. A rebuild runs the forward direction alone, no reconstruction, and asks for its
frames in portions. Between two portions other windows may be served, and the next one may never come: how far a
rebuild has come is in its request's own variables, and what others can use of it (the states that it passes, the
windows without a cut) is shared, so that many seeks at once do together about what the longest does alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vs_sr import windows
from vs_sr.engine.scheduler.base import Held, Layout, Scheduler
from vs_sr.engine.scheduler.checkpoints import Checkpoints
from vs_sr.engine.scheduler.stream import Stream
from vs_sr.engine.session import OutOfMemoryError
from vs_sr.errors import FrameError
from vs_sr.windows import Need, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from vs_sr.engine.scheduler.base import Work
    from vs_sr.engine.scheduler.checkpoints import States
    from vs_sr.engine.session import Session
    from vs_sr.windows import Grid

_PORTION = 8
"""Input frames that a rebuild asks for at a time, roughly."""


class Recurrent(Scheduler):
    """Windows over a sequence, each tile of the frames a stream with states of its own.

    Args:
        grid: of the windows.
        session: of the network.
        layout: of the tiles.
        every: windows from one checkpoint to the next.
        memory: bytes that checkpoints may take.
        given: a window and the states before it, from an earlier run.
        save: is told the states before a window, and whether the clip ends there: at each checkpoint, and at
            the end of a clip whose last window is a whole one.
    """

    def __init__(
        self,
        grid: Grid,
        session: Session,
        layout: Layout,
        *,
        every: int,
        memory: int,
        given: tuple[int, States] | None = None,
        save: Callable[[int, States, bool], None] | None = None,
    ) -> None:
        super().__init__(grid, session, layout)
        self._every = every
        self._checkpoints = Checkpoints(every, memory)
        self._given = given
        self._save = save
        self._saved = -1
        self._passed = Numbers()
        """Windows in which no cut is, as rebuilds have found."""
        self._portion = max(1, _PORTION // grid.step)
        self._streams = self._make_streams()
        self._zero: States = (None,) * len(self._streams)

    def _make_streams(self) -> list[Stream]:
        return [Stream(tile, self.grid.density, self.session.plan.device) for tile in self.tiles]

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

    def _render(self, group: int, held: Held) -> Work[dict[int, Tensor]]:
        before, held = yield from self._before(group, held)
        runs = windows.runs(self.grid, group, held.cuts)
        border = self.grid.inputs(group).start + self.grid.step
        results = [
            self.session.call(
                partial(stream.window, runs=runs, state=state, border=border, picture=held.picture)
            )
            for stream, state in zip(self._streams, before, strict=True)
        ]  # fmt: skip
        self._enter(group + 1, tuple(state for _, state in results))
        self._forget(group)
        made = [outputs for outputs, _ in results]
        if len(made) == 1:
            return made[0]
        whole: dict[tuple[int, ...], Tensor] = {}  # an output that repeats another has the same tensor
        for output in made[0]:
            key = tuple(id(part[output]) for part in made)
            if key not in whole:
                whole[key] = self._assemble([part[output] for part in made])
        return {output: whole[tuple(id(part[output]) for part in made)] for output in made[0]}

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

    def _before(self, group: int, held: Held) -> Work[tuple[States, Held]]:
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
                states = self._advance(window, states, held)
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

    def _advance(self, window: int, states: States, held: Held) -> States:
        run = windows.runs(self.grid, window, held.cuts)[-1]
        border = self.grid.inputs(window).start + self.grid.step
        advanced = tuple(
            self.session.call(partial(stream.advance, run=run, state=state, border=border, picture=held.picture))
            for stream, state in zip(self._streams, states, strict=True)
        )
        self._forget(window)
        return advanced

    def _forget(self, window: int) -> None:
        """Keep of the positions what the next window sees as well."""
        keep = range((window + 1) * self.grid.step, self.grid.seen(window).stop)
        for stream in self._streams:
            stream.forget(keep)
