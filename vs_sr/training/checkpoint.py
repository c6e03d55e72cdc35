"""All that a run needs to go on, in one safetensors file that is written whole: no pickle, and never half of it.

Batches are drawn from the seed and the number of the step, so that a resumed run sees what an uninterrupted one would
have; torch's own generators are kept for networks that draw.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from vs_sr.errors import ArgumentError
from vs_sr.training.schedule import Plan
from vs_sr.weights import writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from vs_sr.training.adversary import Adversary
    from vs_sr.training.learner import Learner
    from vs_sr.training.optimizers import Average

    type Scaler = torch.amp.GradScaler


@dataclass
class Progress:
    """How far a run is."""

    plan: Plan
    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Spent on them, resumed runs together."""
    whole: float = 0.0
    """Spent by the commands in all: with their start, clips and exports."""
    moments: int = 0
    """Step at which the optimizer began to remember: a run that went on with averages alone warms up there."""
    batches: list[tuple[int, int]] = field(default_factory=list)
    """From which step on a step took how many of the recipe's batches."""
    files: Mapping[str, object] = field(default_factory=dict)
    """What tells the user's files from others, by the option that they were given with."""

    def facts(self) -> dict[str, str]:
        """All of it, as metadata."""
        return {
            "plan": json.dumps(asdict(self.plan)),
            "step": str(self.step),
            "seconds": repr(self.seconds),
            "whole": repr(self.whole),
            "moments": str(self.moments),
            "batches": json.dumps(self.batches),
            "files": json.dumps(self.files),
        }

    def take(self, facts: Mapping[str, str]) -> None:
        """Go on from what :meth:`facts` said; files stay those of now. Older runs did not say everything."""
        self.plan = Plan(**json.loads(facts["plan"]))
        self.step = int(facts["step"])
        self.seconds = float(facts["seconds"])
        self.whole = float(facts.get("whole", facts["seconds"]))
        self.moments = int(facts.get("moments", 0))
        self.batches = [(step, times) for step, times in json.loads(facts.get("batches", "[]"))]

    def check_files(self, folder: Path, then: Mapping[str, object]) -> None:
        """Whether a run goes on with the files that it began with.

        Raises:
            ArgumentError: it does not.
        """
        now = json.loads(json.dumps(self.files))
        for option in {**then, **now}:
            if then.get(option) != now.get(option):
                raise ArgumentError(
                    f"{folder} has a run that began with {_named(then.get(option))} as {option}, not with "
                    f"{_named(now.get(option))}; give that again, another folder, or --other-files to go on"
                )


@dataclass(frozen=True)
class Run:
    """What changes from step to step."""

    learner: Learner
    optimizer: torch.optim.Optimizer
    average: Average
    scaler: Scaler
    adversary: Adversary | None
    progress: Progress

    def save(self, path: Path, recipe: str) -> None:
        """Write all of it, with the text of the recipe.

        Raises:
            OSError: it cannot be written; the checkpoint before is still there.
        """
        tensors: dict[str, Tensor] = {
            **_prefixed("net", self.learner.network.state_dict()),
            **_prefixed("ema", self.average.tensors),
            **_prefixed("optimizer", _moments(self.learner.network, self.optimizer)),
            "random.cpu": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        if self.adversary:
            tensors |= _prefixed("adversary.net", self.adversary.network.state_dict())
            tensors |= _prefixed("adversary.optimizer", _moments(self.adversary.network, self.adversary.optimizer))
        facts = {
            "recipe": recipe,
            **self.progress.facts(),
            "scaler": json.dumps(self.scaler.state_dict()),
        }
        writing.save(path, {name: tensor.detach().cpu() for name, tensor in tensors.items()}, facts)

    def load(self, path: Path, recipe: str, *, other_files: bool = False) -> None:
        """Restore what :meth:`save` wrote.

        Args:
            path: of the checkpoint.
            recipe: its text.
            other_files: whether the user's files may be other ones than the run began with.

        Raises:
            ArgumentError: the checkpoint is of another recipe, or of other files.
        """
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            if facts["recipe"] != recipe:
                raise ArgumentError(
                    f"{path.parent} has a run of another recipe; give another folder, or the recipe as it was"
                )
            if not other_files and "files" in facts:
                self.progress.check_files(path.parent, json.loads(facts["files"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.learner.network.load_state_dict(_under("net", tensors))
        for name, tensor in _under("ema", tensors).items():
            self.average.tensors[name].copy_(tensor)
        _restore(self.learner.network, self.optimizer, _under("optimizer", tensors))
        if self.adversary:
            self.adversary.network.load_state_dict(_under("adversary.net", tensors))
            _restore(self.adversary.network, self.adversary.optimizer, _under("adversary.optimizer", tensors))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        if scaler := json.loads(facts["scaler"]):
            self.scaler.load_state_dict(scaler)
        self.progress.take(facts)

    def go_on(self, path: Path, recipe: str, *, other_files: bool = False) -> None:
        """Begin where an unfinished run was exported: with its averages; the optimizer remembers nothing.

        Args:
            path: of the weights.
            recipe: its text.
            other_files: whether the user's files may be other ones than the run began with.

        Raises:
            ArgumentError: they are of another recipe or of other files, or of a run that has ended.
        """
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            facts = json.loads(metadata.get("progress", "{}"))
            if not facts:
                raise ArgumentError(f"{path.name} is of no unfinished run; --start begins a run with any weights")
            if not metadata.get("recipe", "").endswith(recipe):
                raise ArgumentError(f"{path.name} is of another recipe; give that one")
            if not other_files:
                self.progress.check_files(path, json.loads(facts["files"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.learner.network.load_state_dict(tensors)
        for name, tensor in tensors.items():
            self.average.tensors[name].copy_(tensor)
        self.progress.take(facts)
        self.progress.moments = self.progress.step


def _named(files: object) -> str:
    """Files for people: the names and sizes of the first ones."""
    if not isinstance(files, list) or not files:
        return "none"
    first = ", ".join(f"{name} ({size:,} bytes)" for name, size, _ in files[:3])
    return first + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _moments(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of each parameter: "exp_avg.conv1.weight"; nothing of those it has not seen."""
    return {
        f"{moment}.{name}": value
        for name, parameter in network.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def _restore(network: torch.nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    parameters = dict(network.named_parameters())
    for key, value in moments.items():
        moment, _, name = key.partition(".")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = (
            value if moment == "step" else torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        )
