"""Finding weights and loading them: by name from the shipped index, or by path.

What a graph needs (shapes and metadata) is read from the file's header alone; the numbers are read, and the
checksum is verified, when the first frame is asked for.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import files, registry, system
from vs_sr.errors import AmbiguousError, ArgumentError, WeightsError
from vs_sr.weights import checkpoint, recognition

if TYPE_CHECKING:
    from torch import nn

    from vs_sr.files import Identity
    from vs_sr.spec import Model, Variant
    from vs_sr.weights.checkpoint import Checkpoint
    from vs_sr.weights.recognition import Recognition

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Shipped:
    """A weights file that comes with the package."""

    name: str
    """What ``weights=`` takes."""
    file: str
    """File name, beside the index."""
    sha256: str
    """Of the file, in hexadecimal."""
    model: str
    """The filter it is for."""
    scale: int | None = None
    """Output over LR; None: the clip is upscaled beforehand, by any factor."""


@dataclass(frozen=True)
class Source:
    """A weights file on disk, and its contents: another file in its place is another source."""

    path: Path
    identity: Identity
    """Of what the file held when the filter was made: nothing else is loaded."""
    sha256: str | None = None
    """Expected checksum; None for a file of the user's own."""
    hints: tuple[tuple[str, str], ...] = ()
    """What the user says of it that no tensor tells, as (key, value)."""


@cache
def index() -> dict[str, Shipped]:
    """The shipped weights, by name."""
    entries = json.loads((_FOLDER / "index.json").read_text(encoding="utf-8"))
    return {name: Shipped(name=name, **entry) for name, entry in entries.items()}


def default(model: Model, scale: int | None = None) -> str | None:
    """The name of a model's default weights, for ``scale`` where one is asked for; None: it has none.

    Raises:
        ArgumentError: it has some, for other scales.
    """
    if model.weights is None or scale is None:
        return model.weights
    entries = [index()[model.weights], *(entry for entry in index().values() if entry.model == model.name)]
    found = next((entry.name for entry in entries if entry.scale in (scale, None)), None)
    if found is None:
        scales = " and ".join(str(each) for each in sorted({entry.scale or 0 for entry in entries}))
        raise ArgumentError(f"the weights that come with {model.name} are for scale {scales}, not {scale}; give others")
    return found


def shipped(name: str) -> Source:
    """The file of a name in the index.

    Raises:
        WeightsError: it cannot be read.
    """
    entry = index()[name]
    try:
        return replace(given(_FOLDER / entry.file), sha256=entry.sha256)
    except WeightsError as error:
        raise WeightsError(f"{error}; reinstall vs-sr") from None


def given(name: str | Path) -> Source:
    """The file of the user's that a name means here and now: ``~`` and relative names are followed once.

    Raises:
        WeightsError: there is none that could be read.
    """
    try:
        path = files.resolve(name)
    except ArgumentError as error:
        raise WeightsError(f"the file {_shown(name)} {error}") from None
    with checkpoint.opened(path) as file:
        return Source(path, files.identify(file))


def locate(weights: str, model: Model) -> Source:
    """The file that ``weights`` means: a name from the index, or the path of a file.

    Raises:
        WeightsError: it is neither, or the named weights are for another model.
    """
    entry = index().get(weights)
    if entry is not None:
        if entry.model != model.name:
            raise WeightsError(f"weights {weights!r} are for {entry.model}; {_choices(model)}")
        return shipped(weights)
    try:
        path = files.resolve(weights)
        missing = not path.exists()
    except ArgumentError as error:
        raise WeightsError(f"weights={_shown(weights)} {error}; {_choices(model)}") from None
    except OSError as error:
        raise WeightsError(f"weights={_shown(weights)} cannot be read: {files.reason(error)}") from None
    if not missing:
        return given(path)
    if path.suffix or system.named(weights):
        raise WeightsError(f"there is no file {_shown(weights)}; {_choices(model)}")
    close = difflib.get_close_matches(weights, index(), 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise WeightsError(f"weights {_shown(weights)} are neither a name nor a file; {hint}{_choices(model)}")


def _shown(name: str | Path) -> str:
    text = str(name)
    return repr(text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}")


def _choices(model: Model) -> str:
    names = ", ".join(repr(entry.name) for entry in index().values() if entry.model == model.name)
    return f"names for {model.name}: {names or 'none'}; or give the path of a .safetensors or .pth file"


def recognize(model: Model, source: Source) -> Recognition:
    """What a weights file holds for ``model``.

    Raises:
        AmbiguousError: it takes a hint.
        WeightsError: the file cannot be read, or is of another architecture.
    """
    file = checkpoint.read(source.path, source.identity)
    try:
        return recognition.recognize(file, dict(source.hints), [model])
    except AmbiguousError:
        raise
    except WeightsError:
        other = next((each.name for each in _likely() if _is_of(file, each)), model.name)
        if other != model.name:
            raise WeightsError(f"{source.path} holds weights of {other}; use core.vs_sr.{other}") from None
        raise


def _likely() -> list[Model]:
    return sorted(registry.models(), key=lambda model: model.last)


def _is_of(file: Checkpoint, model: Model) -> bool:
    """Whether a file is of a model, ambiguous or not."""
    try:
        recognition.recognize(file, None, [model])
    except AmbiguousError:
        return True
    except WeightsError:
        return False
    return True


def damage(source: Source) -> str | None:
    """What is wrong with a file, by its checksum; None where nothing is, or none is known."""
    if source.sha256 is None or (found := digest(source)) == source.sha256:
        return None
    return f"{source.path} is damaged: its sha-256 is {found}, not {source.sha256}; reinstall vs-sr"


@cache
def digest(source: Source) -> str:
    """The sha-256 of a file, in hexadecimal.

    Raises:
        WeightsError: it cannot be read, or has changed since the filter was made.
    """
    with checkpoint.opened(source.path, source.identity) as file:
        return files.sha256(file)


def fingerprint(source: Source | None) -> str:
    """What identifies the numbers of a file, and what the user says of them; empty where there is no file.

    Raises:
        WeightsError: the file has changed since the filter was made, or its checksum is wrong.
    """
    if source is None:
        return ""
    if (problem := damage(source)) is not None:
        raise WeightsError(problem)
    return repr((digest(source), sorted(source.hints)))


def network(model: Model, variant: Variant, source: Source | None) -> nn.Module:
    """The network of a variant, with the numbers of a weights file; of random ones where there is none.

    Raises:
        WeightsError: the file has changed since the filter was made, its checksum is wrong, or it does not fit.
    """
    if source is None:
        return model.build(variant)
    if (problem := damage(source)) is not None:
        raise WeightsError(problem)
    found = recognize(model, source)
    return recognition.network(checkpoint.read(source.path, source.identity), replace(found, variant=variant))
