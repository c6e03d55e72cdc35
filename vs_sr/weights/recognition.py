"""Which network a weights file is of: from the names and shapes of its tensors alone, without torch.

Every model lists the naming schemes that its files come in (:class:`vs_sr.spec.Scheme`). A file is tried as
it is, then with the prefixes taken off that programs put in front of all names; the names as they are come
first because the old ESRGAN names all begin with ``model.``, which is such a prefix elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vs_sr import registry
from vs_sr.errors import WeightsError
from vs_sr.spec import Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from vs_sr.spec import Metadata, Model, Shapes, Variant
    from vs_sr.weights.checkpoint import Checkpoint

_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "model_ema.")
"""Taken off where all names have them."""
_PARTS = ("generator_ema.", "generator.", "netG.", "net_g.")
"""The part of a file that is the network, where others (a discriminator) are beside it."""
_UNIMPORTANT = re.compile(r"(.*\.)?(num_batches_tracked|step_counter)")
"""Counters of training, which no network needs."""
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
    """What stands in front of every name."""
    names: Mapping[str, str]
    """File's name to network's name, of the tensors that the network uses."""
    unused: tuple[str, ...]
    """Names of the other tensors of the file."""


def recognise(file: Checkpoint, answers: Metadata | None = None, models: Iterable[Model] | None = None) -> Recognition:
    """Find the network that a weights file is of.

    Args:
        file: the opened file.
        answers: what no tensor tells (``scale``, ``range``, ...); beats the file's metadata.
        models: to try; default: every registered one.

    Raises:
        QuestionError: something has to be told.
        WeightsError: it is of none, of several, or an answer is wrong; the message says which.
    """
    try:
        return detect(file.shapes, file.metadata, answers, models, file.values)
    except WeightsError as error:
        raise _prefixed(error, f"{file.path}: ") from None


def _prefixed(error: WeightsError, prefix: str) -> WeightsError:
    """The same error with something in front of its text."""
    error.args = (f"{prefix}{error.args[0]}", *error.args[1:])
    return error


def detect(
    shapes: Shapes,
    metadata: Metadata | None = None,
    answers: Metadata | None = None,
    models: Iterable[Model] | None = None,
    values: Callable[[str], Sequence[float]] | None = None,
) -> Recognition:
    """As :func:`recognise`, from what a file holds.

    Args:
        shapes: tensor name to shape.
        metadata: of the file; its ``architecture`` names the only model to try.
        answers: what the user says; beats the metadata.
        models: to try; default: every registered one.
        values: gives the numbers of a small tensor, by name.

    Raises:
        WeightsError: as :func:`recognise`.
    """
    known = [model for model in (registry.models() if models is None else models) if model.detect]
    told = {**(metadata or {}), **(answers or {})}
    architecture = told.pop("architecture", None)
    if architecture is not None and any(model.name == architecture for model in known):
        known = [model for model in known if model.name == architecture]
    for prefix, plain in _candidates(shapes):
        found = [
            recognition for model in known if (recognition := _match(model, plain, prefix, told, values)) is not None
        ]
        if len(found) == 1:
            return replace(found[0], unused=tuple(name for name in shapes if name not in found[0].names))
        if found:
            names = ", ".join(recognition.model.name for recognition in found)
            raise WeightsError(f"its tensors fit several models: {names}; say which with architecture=...")
    raise WeightsError(_unknown(shapes, known))


def load(network: nn.Module, file: Checkpoint, recognition: Recognition) -> None:
    """Put the numbers of a file into the network that ``recognition`` says it is of.

    Raises:
        WeightsError: a tensor is missing, has no place in the network, or has another shape.
    """
    tensors = file.tensors(recognition.names)
    state = {recognition.names[name]: tensor for name, tensor in tensors.items()}
    fit(network, state, file.path.name)


def fit(network: nn.Module, state: Mapping[str, Tensor], label: str) -> None:
    """Load ``state`` strictly, but for counters of training, which files may have or lack.

    Raises:
        WeightsError: it does not fit; the message names the first tensors, and ``label``.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state and not _UNIMPORTANT.fullmatch(name)]
    surplus = [name for name in state if name not in own and not _UNIMPORTANT.fullmatch(name)]
    shaped = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and tensor.shape != own[name].shape
    ]
    problems = [
        f"{what} {_some(names)}"
        for what, names in (("lacks", missing), ("has besides", surplus), ("has", shaped))
        if names
    ]
    if problems:
        kind = type(network).__name__
        raise WeightsError(f"{label} does not fit the network {kind}: it {'; it '.join(problems)}")
    network.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def _candidates(shapes: Shapes, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Shapes]]:
    """The shapes as they are, then with prefixes taken off; counters apart."""
    plain = {name: shape for name, shape in shapes.items() if not name.endswith("step_counter")}
    yield prefix, plain
    if depth == 3:
        return
    for each in (*_PARTS, *_PREFIXES):
        inside = {name.removeprefix(each): shape for name, shape in plain.items() if name.startswith(each)}
        if inside and (each in _PARTS or len(inside) == len(plain)):
            yield from _candidates(inside, prefix + each, depth + 1)


def _match(
    model: Model,
    shapes: Shapes,
    prefix: str,
    told: Metadata,
    values: Callable[[str], Sequence[float]] | None,
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
            variant = model.detect(renamed, {**scheme.facts, **numbers, **told}) if model.detect else None
        except WeightsError as error:
            prefix = f"its tensors are those of {model.name} ({scheme.name} names), but "
            raise _prefixed(error, prefix) from None
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
        twice = sorted({new for new in names.values() if list(names.values()).count(new) > 1})
        raise WeightsError(f"it has {_some(twice)} more than once, under different names")


def _unknown(shapes: Shapes, known: Sequence[Model]) -> str:
    seen = f"none of the known networks; it has {len(shapes)} tensors: {_some(list(shapes))}"
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
                    closest = f"; the closest is {model.name} ({scheme.name} names), but it lacks {_some(lacking)}"
                elif score > best:
                    best = score
                    closest = f"; the closest is {model.name} ({scheme.name} names), but the rest does not fit"
    return seen + (closest or f"; known are {', '.join(sorted(model.name for model in known))}")


def _some(names: Sequence[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
