"""Which of the state dicts in a file is the network's: its averaged copy, where training kept one.

Programs put a state dict under a key, among other things, often with a second one beside it: the moving average of the
weights, which is what people are meant to run. Keys are read as words, so that every spelling of one is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.weights.unpickle import Inert, TensorRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vs_sr.weights.budget import Budget

KNOWN = (
    "params",
    "state dict",
    "model state dict",
    "model",
    "net",
    "net g",
    "netg",
    "generator",
    "g",
    "network",
    "module",
    "weights",
)
"""Keys under which programs put a network's state dict, as words; of several the first is taken."""
_AVERAGED = frozenset({"ema", "averaged", "average", "avg", "swa", "polyak", "shadow"})
_TOGETHER = re.compile(
    r"(params?|model|net_?g?|g|generator|weights?|state_?dict)(ema|swa)|(ema|swa)(params?|model|net)"
)
"""Spellings without a border between the words."""
_OPTIMIZER = frozenset({"optimizer", "optimizers", "optim", "scheduler", "schedulers", "scaler"})
_MOMENTS = frozenset({"exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum"})
_OTHER = frozenset({"d", "discriminator", "disc", "critic", "vgg", "lpips", "perceptual", "loss", "criterion"})
"""Words of networks that only training uses."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_DEPTH = 6


@dataclass(frozen=True)
class Found:
    """The state dict that is taken of a file."""

    tensors: dict[str, TensorRef]
    path: tuple[str, ...]
    """The keys that lead to it."""
    averaged: bool
    """Whether it is the averaged copy of a network."""
    others: tuple[tuple[str, ...], ...]
    """The keys that lead to other networks, which are left out."""

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Smaller is better."""
        words = [_words(key) for key in self.path]
        names = [" ".join(word for word in each if word not in _AVERAGED) for each in words]
        places = [KNOWN.index(name) for name in names if name in KNOWN]
        unknown = len(KNOWN) if self.path else len(KNOWN) - 1  # tensors beside the keys come before unknown keys
        return any(_OTHER & {*each} for each in words), not self.averaged, min(places, default=unknown)


def averaged(key: str) -> bool:
    """Whether a key names an averaged copy: ``params-ema``, ``net_g_ema``, ``ModelEMA``, ``averaged_model``."""
    return bool(_AVERAGED & {*_words(key)}) or _TOGETHER.fullmatch(key[:40].lower()) is not None


def choose(root: object, budget: Budget) -> Found:
    """The network's state dict in what a file holds.

    Raises:
        WeightsError: there is none, or several with nothing to choose by.
    """
    found = list(_state_dicts(root, budget))
    networks = [each for each in found if not _of_optimizer(each)]
    if not networks:
        raise WeightsError(_nothing(root, bool(found)))
    networks.sort(key=lambda each: (each.rank, len(each.path)))
    best = networks[0]
    rivals = [each for each in networks if each.rank == best.rank]
    if len(rivals) > 1:
        names = listed([" / ".join(each.path) for each in rivals])
        raise WeightsError(
            f"it holds several networks, and nothing says which to take: {names}; save one of them by torch.save"
        )
    return Found(best.tensors, best.path, best.averaged, tuple(each.path for each in networks[1:]))


def listed(names: Sequence[str], limit: int = 4) -> str:
    """Some of the names, cut where they are long, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(name if len(name) <= 100 else f"{name[:97]}..." for name in names[:limit]) + more


def _state_dicts(root: object, budget: Budget) -> Iterator[Found]:
    """Every dictionary and every module with tensors in it, from the outside to the inside."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), root)]
    seen: set[int] = set()
    for path, value in waiting:
        budget.spend(2)
        if id(value) in seen or len(path) > _DEPTH:
            continue
        seen.add(id(value))
        tensors: dict[str, TensorRef] = {}
        inside = value
        if isinstance(value, Inert):
            tensors = _module(value, budget)
            inside = None if tensors else value.state
        if isinstance(inside, dict):
            budget.spend(len(inside))
            tensors = tensors or {key: part for key, part in inside.items() if type(part) is TensorRef}
            waiting += [((*path, key), part) for key, part in inside.items() if isinstance(part, dict | Inert)]
        if any(tensor.shape for tensor in tensors.values()):  # a counter alone is no network
            copy = "n_averaged" in tensors or any(averaged(key) for key in path)
            yield Found(tensors, path, copy, ())


def _of_optimizer(found: Found) -> bool:
    return any(_OPTIMIZER & {*_words(key)} for key in found.path) or found.tensors.keys() <= {*_MOMENTS, "step"}


def _nothing(root: object, moments: bool) -> str:
    """What is wrong with a file without a network."""
    keys = [*root] if isinstance(root, dict) else []
    if moments or any(_OPTIMIZER & {*_words(key)} for key in keys):
        return (
            "it holds the state of an optimizer and no network: it is what training goes on from; give the file of "
            "weights that was saved beside it"
        )
    holds = f"it holds {listed(sorted(keys)) or 'nothing'}" if isinstance(root, dict) else "it holds no tensors"
    names = ", ".join(name.replace(" ", "_") for name in KNOWN)
    return f"no weights found: {holds}; a state dict, alone or under a key like {names}, is needed"


def _module(root: Inert, budget: Budget) -> dict[str, TensorRef]:
    """The tensors of a pickled module (or of a TorchScript one), named by the path that leads to them."""
    tensors: dict[str, TensorRef] = {}
    waiting: list[tuple[str, Inert]] = [("", root)]
    seen: set[int] = set()
    while waiting:
        prefix, module = waiting.pop()
        budget.spend(2)
        if id(module) in seen or not isinstance(module.state, dict):
            continue
        seen.add(id(module))
        state = module.state
        groups = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
        if not any(isinstance(group, dict) for group in groups):
            groups = [state]  # TorchScript: its tensors and modules are attributes
        children: list[tuple[str, Inert]] = []
        for group in groups:
            for name, value in group.items() if isinstance(group, dict) else ():
                budget.spend(1)
                if isinstance(value, TensorRef | Inert):
                    budget.keep(len(prefix) + len(name))
                if isinstance(value, TensorRef):
                    tensors[f"{prefix}{name}"] = value
                elif isinstance(value, Inert):
                    children.append((f"{prefix}{name}.", value))
        waiting += reversed(children)
    return tensors


def _words(key: str) -> list[str]:
    """The words of a key in small letters; of a long one, those of its beginning."""
    return [word.lower() for word in _WORDS.findall(key[:100])]
