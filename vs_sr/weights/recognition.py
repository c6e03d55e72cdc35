"""Which network a weights file is of: from the names and shapes of its tensors alone, without torch.

Every model lists the naming schemes that its files come in (:class:`vs_sr.spec.Scheme`). A file is tried as
it is, then with the prefixes taken off that programs put before all names; the names as they are come
first because the old ESRGAN names all begin with ``model.``, which is such a prefix elsewhere.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from vs_sr import registry
from vs_sr.errors import WeightsError
from vs_sr.spec import Scheme
from vs_sr.weights import wrappers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from vs_sr.spec import Metadata, Model, Shapes, Variant
    from vs_sr.weights.checkpoint import Checkpoint

_log = logging.getLogger("vs_sr")

_PREFIXES = ("generator", "netG", "net_g", "module", "_orig_mod", "model", "net", "network")
"""The part of a file that is the network, where others (a discriminator, a loss) are beside it, or all of it."""
_COUNTERS = ("step_counter", "n_averaged")
_UNIMPORTANT = re.compile(r"(.*\.)?(num_batches_tracked|step_counter|n_averaged)")
"""Counters of training, which no network needs."""
_AVERAGED_PARTS = 4
"""Averaged copies of one file that are tried."""
_MAX_DEPTH = 3
"""Prefixes before one name."""
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "the discriminator of ESRGAN, which only training uses": ("conv0_0.weight", "bn0_1.weight", "linear1.weight"),
    "a VGG-like discriminator, which only training uses": ("features.3.running_mean", "classifier.2.weight"),
    "the discriminator of SRGAN, which only training uses": ("net.0.weight", "net.3.running_mean", "net.26.weight"),
    "SpyNet, the optical flow of BasicSR's networks, alone": ("basic_module.0.basic_module.0.weight",),
    "the MINC network, which only a training loss uses": ("conv11.weight", "conv53.weight"),
    "a VGG network, which only a training loss uses": ("features.0.weight", "classifier.6.weight"),
}
"""Networks that people have files of and that are no filters, by tensors that they have."""


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """Which network a file is of, and how its tensors are named there."""

    model: Model
    variant: Variant
    scheme: Scheme
    prefix: str
    """What stands before every name."""
    names: Mapping[str, str]
    """File's name to network's name, of the tensors that the network uses."""
    unused: tuple[str, ...]
    """Names of the other tensors of the file."""

    @property
    def averaged(self) -> bool:
        """Whether the prefix is that of an averaged copy."""
        return any(map(wrappers.averaged, self.prefix.split(".")))


def recognize(file: Checkpoint, hints: Metadata | None = None, models: Iterable[Model] | None = None) -> Recognition:
    """Find the network that a weights file is of.

    Args:
        file: the opened file.
        hints: what no tensor tells (``scale``, ``range``, ...); beats the file's metadata.
        models: to try; default: every registered one.

    Raises:
        AmbiguousError: it takes a hint.
        WeightsError: it is of none, of several, or a hint is wrong; the message says which.
    """
    try:
        return detect(file.shapes, file.metadata, hints, models, file.values, file.stream)
    except WeightsError as error:
        raise _prefixed(error, f"{file.path}: ") from None


def _prefixed(error: WeightsError, prefix: str) -> WeightsError:
    """The same error with something before its text."""
    error.args = (f"{prefix}{error.args[0]}", *error.args[1:])
    return error


def detect(
    shapes: Shapes,
    metadata: Metadata | None = None,
    hints: Metadata | None = None,
    models: Iterable[Model] | None = None,
    values: Callable[[str], Sequence[float]] | None = None,
    stream: Callable[[Iterable[str]], Iterable[tuple[str, Tensor]]] | None = None,
) -> Recognition:
    """As :func:`recognize`, from what a file holds.

    Args:
        shapes: tensor name to shape.
        metadata: of the file; its ``architecture`` names the only model to try.
        hints: what the user says; beats the metadata.
        models: to try; default: every registered one.
        values: gives the numbers of a small tensor, by name.
        stream: gives tensors, by their names.

    Raises:
        WeightsError: as :func:`recognize`.
    """
    known = [
        model
        for model in (registry.models() if models is None else models)
        if model.detect or (model.load and stream is not None)
    ]
    facts = {**(metadata or {}), **(hints or {})}
    architecture = facts.pop("architecture", None)
    if architecture is not None and (
        any(model.name == architecture for model in known) or registry.is_model(architecture)
    ):
        others = ", ".join(model.name for model in known)
        known = [model for model in known if model.name == architecture]
        if not known:
            raise WeightsError(f"architecture={architecture} is what it says of itself, not {others}")
    for prefix, plain in _candidates(shapes):
        found: list[Recognition] = []
        for last in (False, True):
            tried = [model for model in known if model.last == last and not found]
            matches = [_match(model, plain, prefix, facts, values, stream) for model in tried]
            found += [recognition for recognition in matches if recognition is not None]
        if len(found) == 1:
            return replace(found[0], unused=tuple(name for name in shapes if name not in found[0].names))
        if found:
            names = ", ".join(recognition.model.name for recognition in found)
            raise WeightsError(f"its tensors fit several models: {names}; say which with architecture=...")
    raise WeightsError(_unknown(shapes, known))


def network(file: Checkpoint, recognition: Recognition) -> nn.Module:
    """The network that a file is of, with the file's numbers.

    Nothing is built that the file does not have the numbers for, and no tensor is taken twice into memory.

    Raises:
        WeightsError: the file has changed, or as :func:`fit`.
    """
    from vs_sr.weights.construction import Allowance  # imports torch

    used = {new: file.shapes[old] for old, new in recognition.names.items()}
    if recognition.model.load is not None:
        loaded = _loaded(recognition.model, recognition.names, used, file.stream, {})
        if loaded is None:
            raise WeightsError(f"{file.path} is no longer of {recognition.model.name}")
        return loaded[1]
    with Allowance(sum(map(math.prod, used.values())), len(used)):
        made = recognition.model.build(recognition.variant)
    tensors = ((recognition.names[old], tensor) for old, tensor in file.stream(recognition.names))
    fit(made, used, tensors, file.path.name)
    return made


def _loaded(
    model: Model,
    names: Mapping[str, str],
    shapes: Shapes,
    stream: Callable[[Iterable[str]], Iterable[tuple[str, Tensor]]],
    facts: Metadata,
) -> tuple[Variant, nn.Module] | None:
    """What a model's ``load`` makes of tensors, no network larger than they are."""
    from vs_sr.weights.construction import Allowance

    tensors = dict(_checked(((names[old], tensor) for old, tensor in stream(names)), model.name))
    with Allowance(sum(map(math.prod, shapes.values())), len(shapes)):
        return cast("Callable[[Any, Metadata], tuple[Variant, nn.Module] | None]", model.load)(tensors, facts)


def fit(network: nn.Module, shapes: Shapes, tensors: Iterable[tuple[str, Tensor]], label: str) -> None:
    """Put tensors into a network, strictly but for counters of training, which files may have or lack.

    Args:
        network: of the tensors' names.
        shapes: of all the tensors, by name.
        tensors: one after the other, with their names.
        label: of the file, for messages.

    Raises:
        WeightsError: a tensor is missing, has no place in the network, has another shape, or holds NaN or infinity.
    """
    state = network.state_dict()
    _compare(state, shapes, f"{label} does not fit the network {type(network).__name__}")
    for name, tensor in _checked(tensors, label):
        if name in state:
            state[name].copy_(tensor)


def _checked(tensors: Iterable[tuple[str, Tensor]], label: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors, as long as their numbers are finite."""
    for name, tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{label}: {name} holds NaN or infinity, which would spoil every frame: training went wrong, or the "
                "file is damaged; use another one"
            )
        yield name, tensor


def _compare(state: Mapping[str, Tensor], shapes: Shapes, problem: str) -> None:
    """Raise WeightsError where names or shapes differ: ``problem``, then the first tensors."""
    missing = [name for name in state if name not in shapes and not _UNIMPORTANT.fullmatch(name)]
    surplus = [name for name in shapes if name not in state and not _UNIMPORTANT.fullmatch(name)]
    shaped = [
        f"{name} {tuple(shape)} instead of {tuple(state[name].shape)}"
        for name, shape in shapes.items()
        if name in state and tuple(shape) != tuple(state[name].shape)
    ]
    problems = [
        f"{what} {wrappers.listed(names)}"
        for what, names in (("lacks", missing), ("has besides", surplus), ("has", shaped))
        if names
    ]
    if problems:
        raise WeightsError(f"{problem}: it {'; it '.join(problems)}")


def _candidates(shapes: Shapes, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Shapes]]:
    """Averaged copies, the shapes as they are, then with prefixes taken off; counters apart."""
    plain = {name: shape for name, shape in shapes.items() if not name.endswith(_COUNTERS)}
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    if depth < _MAX_DEPTH:
        for name, shape in plain.items():
            first, dot, rest = name.partition(".")
            if dot and (first in _PREFIXES or first in parts or wrappers.averaged(first)):
                parts.setdefault(first, {})[rest] = shape
    copies = sorted((first for first in parts if first not in _PREFIXES), key=lambda first: -len(parts[first]))
    for first in copies[:_AVERAGED_PARTS]:
        yield from _candidates(parts[first], f"{prefix}{first}.", depth + 1)
    yield prefix, plain
    for first in _PREFIXES:
        if first in parts:
            yield from _candidates(parts[first], f"{prefix}{first}.", depth + 1)


def _match(
    model: Model,
    shapes: Shapes,
    prefix: str,
    facts: Metadata,
    values: Callable[[str], Sequence[float]] | None,
    stream: Callable[[Iterable[str]], Iterable[tuple[str, Tensor]]] | None,
) -> Recognition | None:
    for scheme in model.schemes or (Scheme(name=model.name, signature=()),):
        if not all(name in shapes for name in scheme.signature):
            continue
        numbers = {
            name: " ".join(f"{value:.9g}" for value in values(prefix + name))
            for name in scheme.values
            if values is not None and name in shapes
        }
        try:
            names = scheme.rename(shapes) if scheme.rename else {name: name for name in shapes}
            renamed = {new: shapes[old] for old, new in names.items()}
            _check_distinct(names, renamed)
            variant = None
            if model.load is not None and stream is not None:
                made = _loaded(model, {prefix + old: new for old, new in names.items()}, renamed, stream, facts)
                variant = None if made is None else made[0]
            elif model.detect is not None:
                variant = model.detect(renamed, {**scheme.facts, **numbers, **facts})
            if variant is not None:
                _check_sides(renamed)
        except WeightsError as error:
            raise _prefixed(error, f"its tensors are those of {model.name} ({scheme.name} names), but ") from None
        except (ArithmeticError, LookupError, TypeError, ValueError):  # shapes that no network has
            _log.debug("detect() of %s", model.name, exc_info=True)
            raise WeightsError(
                f"its tensors have the names of {model.name} ({scheme.name} names), but shapes that no such network has"
            ) from None
        if variant is not None:
            return Recognition(
                model=model,
                variant=variant,
                scheme=scheme,
                prefix=prefix,
                names={prefix + old: new for old, new in names.items()},
                unused=(),
            )
    return None


def _check_distinct(names: Mapping[str, str], renamed: Shapes) -> None:
    """Raise WeightsError where two of a file's names mean the same tensor."""
    if len(names) != len(renamed):
        twice = sorted(new for new, count in Counter(names.values()).items() if count > 1)
        raise WeightsError(f"it has {wrappers.listed(twice)} more than once, under different names")


def _check_sides(shapes: Shapes) -> None:
    """Raise WeightsError where a tensor holds no number: its other sides would be those of a network all the same."""
    for name, shape in shapes.items():
        if 0 in shape:
            raise WeightsError(f"{wrappers.listed([name])} holds no numbers: it is of shape {shape}")


def _unknown(shapes: Shapes, known: Sequence[Model]) -> str:
    seen = f"none of the known networks; it has {len(shapes)} tensors: {wrappers.listed(list(shapes))}"
    candidates = list(_candidates(shapes))
    for what, signature in _OTHERS.items():
        if any(all(name in plain for name in signature) for _, plain in candidates):
            return f"this is {what}"
    best, closest = 0.0, ""
    for _, plain in candidates:
        for model in known:
            for scheme in model.schemes:
                lacking = [name for name in scheme.signature if name not in plain]
                score = 1 - len(lacking) / max(1, len(scheme.signature))
                if score > best and lacking:
                    best = score
                    closest = (
                        f"; the closest is {model.name} ({scheme.name} names), but it lacks {wrappers.listed(lacking)}"
                    )
                elif score > best:
                    best = score
                    closest = f"; the closest is {model.name} ({scheme.name} names), but the rest does not fit"
    return seen + (closest or f"; known are {', '.join(sorted(model.name for model in known))}")
