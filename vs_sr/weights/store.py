"""Finding weights and loading them: by name from the shipped index, or by path.

What a graph needs (shapes and metadata) is read from the file's header alone; the numbers are read, and the
checksum is verified, when the first frame is asked for.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import registry
from vs_sr.errors import QuestionError, WeightsError
from vs_sr.weights import checkpoint, recognition

if TYPE_CHECKING:
    from torch import nn

    from vs_sr.spec import Model
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


@dataclass(frozen=True)
class Source:
    """A weights file on disk."""

    path: Path
    sha256: str | None = None
    """Expected checksum; None for a file of the user's own."""
    answers: tuple[tuple[str, str], ...] = ()
    """What the user says of it that no tensor tells, as (key, value)."""


@cache
def index() -> dict[str, Shipped]:
    """The shipped weights, by name."""
    entries = json.loads((_FOLDER / "index.json").read_text(encoding="utf-8"))
    return {name: Shipped(name=name, **entry) for name, entry in entries.items()}


def shipped(name: str) -> Source:
    """The file of a name in the index."""
    entry = index()[name]
    return Source(_FOLDER / entry.file, entry.sha256)


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
    path = Path(weights).expanduser()
    if path.is_file():
        return Source(path, None)
    if path.suffix or "/" in weights:
        raise WeightsError(f"there is no file {weights!r}; {_choices(model)}")
    close = difflib.get_close_matches(weights, index(), 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise WeightsError(f"weights {weights!r} are neither a name nor a file; {hint}{_choices(model)}")


def _choices(model: Model) -> str:
    names = ", ".join(repr(entry.name) for entry in index().values() if entry.model == model.name)
    return f"names for {model.name}: {names or 'none'}; or give the path of a .safetensors or .pth file"


def recognise(model: Model, source: Source) -> Recognition:
    """What a weights file holds for ``model``.

    Raises:
        QuestionError: something has to be told.
        WeightsError: the file cannot be read, or is of another architecture.
    """
    file = checkpoint.read(source.path)
    try:
        return recognition.recognise(file, dict(source.answers), [model])
    except QuestionError:
        raise
    except WeightsError:
        other = next((each.name for each in registry.models() if _is_of(file, each)), model.name)
        if other != model.name:
            raise WeightsError(f"{source.path} holds weights of {other}; use core.vs_sr.{other}") from None
        raise


def _is_of(file: Checkpoint, model: Model) -> bool:
    """Whether a file is of a model, whatever is still to be told about it."""
    try:
        recognition.recognise(file, None, [model])
    except QuestionError:
        return True
    except WeightsError:
        return False
    return True


def damage(source: Source) -> str | None:
    """What is wrong with a file, by its checksum; None where nothing is, or none is known."""
    if source.sha256 is None:
        return None
    if not source.path.is_file():
        return f"{source.path} is missing; reinstall vs-sr"
    with source.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest == source.sha256:
        return None
    return f"{source.path} is damaged: its sha-256 is {digest}, not {source.sha256}; reinstall vs-sr"


def load(network: nn.Module, model: Model, source: Source) -> None:
    """Put the numbers of a weights file into ``network``, strictly.

    Raises:
        WeightsError: wrong checksum, or tensors that are not the network's.
    """
    problem = damage(source)
    if problem is not None:
        raise WeightsError(problem)
    recognition.load(network, checkpoint.read(source.path), recognise(model, source))
