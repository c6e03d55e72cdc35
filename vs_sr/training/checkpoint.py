"""All that a run needs to go on, in one safetensors file that is written whole: no pickle, and never half of it.

Batches are drawn from the seed and the number of the step, so that a resumed run sees what an uninterrupted one would
have; torch's own generators are kept for networks that draw.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from vs_sr.errors import ArgumentError
from vs_sr.training.schedule import Plan
from vs_sr.weights import writing

if TYPE_CHECKING:
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
            "plan": json.dumps(asdict(self.progress.plan)),
            "step": str(self.progress.step),
            "seconds": repr(self.progress.seconds),
            "scaler": json.dumps(self.scaler.state_dict()),
        }
        writing.save(path, {name: tensor.detach().cpu() for name, tensor in tensors.items()}, facts)

    def load(self, path: Path, recipe: str) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            ArgumentError: the checkpoint is of another recipe.
        """
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            if facts["recipe"] != recipe:
                raise ArgumentError(
                    f"{path.parent} has a run of another recipe; give another folder, or the recipe as it was"
                )
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
        self.progress.plan = Plan(**json.loads(facts["plan"]))
        self.progress.step = int(facts["step"])
        self.progress.seconds = float(facts["seconds"])


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
        optimizer.state[parameter][moment] = value if moment == "step" else value.to(parameter.device)
