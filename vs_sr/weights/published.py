"""Weights that others publish: which there are, where they lie here, and getting one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from vs_sr import files, registry, settings
from vs_sr.errors import WeightsError
from vs_sr.weights import checkpoint, download, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vs_sr.spec import Model, Published
    from vs_sr.weights.recognition import Recognition


def of(model: Model) -> tuple[Published, ...]:
    """All that are known of a model, the one to get first."""
    return ((model.published,) if model.published else ()) + model.more


def folder() -> Path:
    """Where they lie unless the user says otherwise: in the cache; may not exist yet."""
    return settings.cache_folder().absolute() / "weights"


def find(name: str) -> tuple[Model, Published]:
    """The published weights that a name means: a file's, or a model's for the first of it that can be got.

    Raises:
        WeightsError: there are none of that name.
    """
    if "://" in name:
        raise WeightsError(f"{name[:80]!r} is an address; get takes the names that `vs-sr weights list` has")
    models = registry.models()
    known = {published.file: (model, published) for model in models for published in of(model)}
    if name in known:
        return known[name]
    model = next((model for model in models if model.name == name), None)
    if model is not None and of(model):
        choices = of(model)
        return model, next((published for published in choices if published.address), choices[0])
    if model is not None:
        raise WeightsError(f"nobody is known to publish weights of {name}; `vs-sr weights list` has what there is")
    if name in store.index():
        use = f"core.vs_sr.{store.index()[name].model}(clip, weights={name!r})"
        raise WeightsError(f"{name} comes with vs-sr: {use}")
    close = difflib.get_close_matches(name, [*known, *(model.name for model in models)], 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise WeightsError(f"no published weights are called {name[:80]!r}; {hint}`vs-sr weights list` has all of them")


def get(
    model: Model,
    published: Published,
    target: Path,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> str:
    """Get a file, unless it is there already, and give its sha-256 in hexadecimal.

    It is kept where its checksum is the published one, if any is, and the model recognizes it.

    Args:
        model: whose weights they are.
        published: which.
        target: the file to write; one that is there already is checked, and left as it is.
        report: as of :func:`~vs_sr.weights.download.fetch`.

    Raises:
        WeightsError: it is not to be had, or is another.
        ArgumentError: it cannot be written.
    """
    if target.exists():
        with checkpoint.opened(target) as file:
            found = files.sha256(file)
        if not found.startswith(published.checksum):
            raise WeightsError(
                f"{target} is there and is another file: its sha-256 is {found}, and that of the published one begins "
                f"with {published.checksum}. Move it away, or name another folder with --to"
            )
        recognized(model, published, target)
        return found
    if not published.address:
        others = [other.file for other in of(model) if other.address]
        instead = f"; of {model.name}, get can fetch {', '.join(others)}" if others else ""
        raise WeightsError(
            f"{published} has no address that a program can fetch it from. Get it with a browser, and give its path as "
            f"weights{instead}"
        )

    def check(path: Path) -> None:
        try:
            recognized(model, published, path)
        except WeightsError as error:
            text = str(error).replace(str(path), "it")
            raise WeightsError(f"what came from {published.address} is not {published.file}: {text}") from None

    return download.fetch(published.address, target, sha256=published.checksum, check=check, report=report)


def recognized(model: Model, published: Published, path: Path) -> Recognition:
    """What a file is taken for that should be ``published``.

    Raises:
        WeightsError: it is no weights file, or not of the model.
    """
    with checkpoint.opened(path) as file:
        source = store.Source(path, files.identify(file), hints=tuple(published.hints.items()))
    return store.recognize(model, source)
