"""Learning rates: a place in the recipe to a rate, and a step of the run to a place.

Where time is what there is, the recipe is stretched or shrunk into it. The plan is made again at every checkpoint and
kept there, so that a resumed run goes on at the rates that an uninterrupted one would have had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vs_sr.training.recipe import Stage


def stage_at(stages: Sequence[Stage], place: float) -> tuple[Stage, float]:
    """The stage of a place in the recipe, and the place within it; both counted in the recipe's steps."""
    for stage in stages[:-1]:
        if place < stage.steps:
            return stage, place
        place -= stage.steps
    return stages[-1], place


def rate(stages: Sequence[Stage], place: float) -> float:
    """The learning rate at a place: every stage warms up linearly, then follows its schedule."""
    stage, into = stage_at(stages, place)
    if into < stage.warmup:
        return float(stage.rate * (into + 1) / stage.warmup)
    match stage.schedule:
        case "constant":
            return stage.rate
        case "cosine":
            progress = min(1.0, (into - stage.warmup) / max(1, stage.steps - stage.warmup))
            return float(stage.last + (stage.rate - stage.last) * 0.5 * (1 + math.cos(math.pi * progress)))
        case "step":
            return float(stage.rate * stage.factor ** (into // stage.every))
        case "halving":
            return float(stage.rate * 0.5 ** sum(into >= at for at in stage.halve))


@dataclass(frozen=True)
class Plan:
    """From steps to places: a line from (``step``, ``place``) to (``end``, the recipe's steps)."""

    total: int
    """Steps of the recipe."""
    end: int
    """Step after which the run is over."""
    step: int = 0
    place: float = 0.0

    def at(self, step: int) -> float:
        """The place of a step, from ``step`` to ``end``."""
        if self.end <= self.step:
            return float(self.total)
        return self.place + (self.total - self.place) * (step - self.step) / (self.end - self.step)

    def widened(self, step: int, batches: int) -> Plan:
        """The plan from here on where a step stands for ``batches`` of the recipe's."""
        place = self.at(step)
        return Plan(self.total, step + math.ceil((self.total - place) / batches), step, place)

    def again(self, step: int, remaining: float, pace: float) -> Plan:
        """The plan from here on.

        Args:
            step: steps done.
            remaining: seconds left.
            pace: seconds a step.
        """
        return Plan(self.total, step + max(0, int(remaining / pace)), step, self.at(step))
