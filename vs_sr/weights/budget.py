"""How much work a file may make before it is refused: in proportion to its size, and never much.

A file of 1 KB that asks for a minute, or for a gigabyte, is no weights file. Steps are opcodes of a pickle, members of
an archive, values of a header, entries of a dictionary: each takes about a third of a microsecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEPS, _MAX_STEPS, _BYTES_PER_STEP = 110_000, 250_000, 512
"""Of an empty file, at most, and the bytes of a file that one more is granted for. An ESRGAN of 702 tensors takes
50,000 as a state dict, 145,000 as a whole pickled module, and has 67 MB."""
_TEXT = 4 << 20
"""Bytes of words; a thousand tensors have a hundred thousand."""


class Budget:
    """Of one file."""

    def __init__(self, size: int) -> None:
        self.spent = 0
        """Steps so far. What costs more than a step is added here without a look at the limit: the next step looks."""
        self._steps = min(_MAX_STEPS, _STEPS + size // _BYTES_PER_STEP)
        self._text = _TEXT

    def steps(self, what: str) -> Iterator[None]:
        """One step at a time; raises as :meth:`spend`."""
        while True:
            self.spent += 1
            if self.spent > self._steps:
                raise _too_much(what)
            yield

    def spend(self, count: int, what: str = "contents") -> None:
        """Take some steps.

        Raises:
            WeightsError: no weights file of this size takes as many.
        """
        self.spent += count
        if self.spent > self._steps:
            raise _too_much(what)

    def keep(self, count: int) -> None:
        """Keep so many bytes of text, which takes a few steps as well; raises as :meth:`spend`."""
        self.spent += 1 + count // 64
        self._text -= count
        if self._text < 0:
            raise _too_much("text")


def _too_much(what: str) -> WeightsError:
    return WeightsError(f"its {what} is out of proportion: no weights file of this size has as much")
