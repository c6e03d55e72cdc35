"""Optimizers of a recipe, and the average of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vs_sr.training.recipe import Optimizer


def make(facts: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a network's parameters; a group for each share of the learning rate, kept as "share".

    Raises:
        ArgumentError: ``rates`` names no parameter.
    """
    named = dict(network.named_parameters())
    for prefix in facts.rates:
        if not any(name.startswith(prefix) for name in named):
            raise ArgumentError(f"optimizer.rates: no parameter's name begins with {prefix!r}: {', '.join(named)}")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        share = next((share for prefix, share in facts.rates.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(share, []).append(parameter)
    given = [{"params": parameters, "share": share} for share, parameters in groups.items()]
    match facts.name:
        case "adam":
            return torch.optim.Adam(given, betas=facts.betas, weight_decay=facts.weight_decay)
        case "adamw":
            return torch.optim.AdamW(given, betas=facts.betas, weight_decay=facts.weight_decay)
        case "sgd":
            return torch.optim.SGD(given, lr=0.0, momentum=facts.momentum, weight_decay=facts.weight_decay)


def larger(facts: Optimizer, batches: int) -> float:
    """What the learning rate is multiplied by where a step takes ``batches`` times as many examples.

    Its square root for Adam, whose steps are as long as the gradient's noise lets them (Malladi et al., "On the SDEs
    and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022); as it is for SGD (Goyal et al., 2017).
    """
    return float(batches) if facts.name == "sgd" else batches**0.5


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group's share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


class Average:
    """The exponential average of all numbers of a network; with a decay of 0 the network's own.

    Counters and other integers are taken as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        state = {name: tensor.detach() for name, tensor in network.state_dict().items()}
        self.tensors = {name: tensor.clone() for name, tensor in state.items()}
        floats = [name for name, tensor in state.items() if tensor.is_floating_point()]
        self._floats = [self.tensors[name] for name in floats], [state[name] for name in floats]
        self._others = [(self.tensors[name], tensor) for name, tensor in state.items() if name not in set(floats)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps; a young average forgets faster."""
        decay = min(self.decay, step / (step + 9)) if self.decay else 0.0
        torch._foreach_lerp_(*self._floats, 1 - decay)
        for kept, tensor in self._others:
            kept.copy_(tensor)

    def exported(self, *, half: bool) -> dict[str, Tensor]:
        """The tensors on the CPU; floats as float16 where ``half``, else as float32."""
        kind = torch.float16 if half else torch.float32
        return {n: (t.to(kind) if t.is_floating_point() else t).cpu() for n, t in self.tensors.items()}
