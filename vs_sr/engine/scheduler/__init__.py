"""From windows to frames: what is run when, with which state. One scheduler for each kind of model.

They all have the same promise: an output's bits depend on the clip and the arguments, not on what was asked for
before. What is kept from one call to the next is always what the same call with the same shapes would give again.
"""

from __future__ import annotations

from vs_sr.engine.scheduler.base import Held, Scheduler, Work, finish
from vs_sr.engine.scheduler.recurrent import Recurrent
from vs_sr.engine.scheduler.single import Single
from vs_sr.engine.scheduler.sliding import Sliding
from vs_sr.engine.scheduler.state import Kept, State, compare

__all__ = [
    "Held", "Kept", "Recurrent", "Scheduler", "Single", "Sliding", "State", "Work", "compare", "finish",
]  # fmt: skip
