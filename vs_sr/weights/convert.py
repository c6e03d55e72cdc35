"""Turning a checkpoint into a safetensors file that says what it is, and describing one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.errors import ArgumentError, WeightsError, bounded
from vs_sr.weights import checkpoint, recognition, wrappers, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vs_sr.spec import Metadata, Model
    from vs_sr.weights.recognition import Recognition

_ALWAYS = ("scale", "architecture")
_NOTES = 32
"""Entries of the metadata that are shown."""


def convert(
    source: str | Path,
    target: str | Path,
    hints: Metadata | None = None,
    *,
    notes: Metadata | None = None,
    models: Iterable[Model] | None = None,
) -> Recognition:
    """Recognize a checkpoint and write it as safetensors, with the network's names and with metadata.

    The metadata holds ``architecture``, ``scale``, all hints that recognition needs, the naming scheme, and
    name and sha-256 of the source. The target appears complete or not at all.

    Args:
        source: a file of any known format and naming scheme.
        target: a name that ends in ``.safetensors``; an existing file is replaced.
        hints: what no tensor tells (``scale``, ``range``, ...), see ``Model.hints``.
        notes: further metadata: ``licence``, ``training_data``, ...
        models: to try; default: every registered one.

    Returns:
        What the file was recognized as.

    Raises:
        WeightsError: the source cannot be read, is not recognized, or does not fit its network.
        ArgumentError: a hint that the model has no use for, or a target that cannot be written.
    """
    source, target = _found(source), _found(target)
    if target.suffix != ".safetensors":
        raise ArgumentError(f"the target must end in .safetensors; got {target.name!r}")
    if target.exists() and source.exists() and target.samefile(source):
        raise ArgumentError(f"source and target are the same file: {source}")
    try:
        files.check_target(target)
    except ArgumentError as error:
        raise ArgumentError(f"{target} {error}") from None
    file = checkpoint.read(source)
    found = recognition.recognize(file, hints, models)
    known = (*_ALWAYS, *found.model.hints)
    if unknown := [key for key in hints or () if key not in known]:
        raise ArgumentError(f"{unknown[0]} is no hint for {found.model.name}; choices: {', '.join(sorted(set(known)))}")
    network = recognition.network(file, found)
    with checkpoint.opened(source, file.identity) as content:
        digest = files.sha256(content)
    metadata = {
        **file.metadata,
        "format": "pt",
        "architecture": found.model.name,
        "scale": str(found.variant.scale),
        **found.variant.metadata,
        "source_names": found.scheme.name,
        "source": source.name,
        "source_sha256": digest,
        **(notes or {}),
    }
    try:
        writing.save(target, network.state_dict(), metadata)
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {files.reason(error)}") from None
    return found


def _found(name: str | Path) -> Path:
    try:
        return files.resolve(name)
    except ArgumentError as error:
        raise ArgumentError(f"the file {str(name)[:80]!r} {error}") from None


def describe(path: str | Path, hints: Metadata | None = None, *, models: Iterable[Model] | None = None) -> str:
    """What a weights file holds and is, in lines; torch is not needed. Arguments as of :func:`convert`.

    Raises:
        WeightsError: it cannot be read. A file that can be read but is not recognized is described all the
            same, with the reason.
    """
    file = checkpoint.read(_found(path))
    numbers = sum(math.prod(shape) for shape in file.shapes.values())
    lines = [
        ("file", f"{file.path.name}: {file.format}, {len(file.shapes)} tensors, {numbers:,} numbers"),
        ("types", ", ".join(sorted(file.dtypes))),
    ]
    if file.wrappers:
        copy = " (the averaged copy)" if file.averaged else ""
        others = f"; left out: {wrappers.listed(file.others)}" if file.others else ""
        lines.append(("inside", f"{' / '.join(file.wrappers)}{copy}{others}"))
    try:
        found = recognition.recognize(file, hints, models)
    except WeightsError as error:
        lines.append(("network", f"not recognized: {str(error).removeprefix(f'{file.path}: ')}"))
        lines += [("", f"{name} {list(shape)}") for name, shape in list(file.shapes.items())[:8]]
    else:
        variant = found.variant
        copy = " (the averaged copy)" if found.averaged else ""
        prefix = f", with the prefix {found.prefix!r}{copy}" if found.prefix else ""
        scale = "1, for a clip upscaled beforehand" if variant.upscaled else str(variant.scale)
        lines += [
            ("network", f"{found.model.name}: {found.model.summary}"),
            ("names", f"{found.scheme.name}{prefix}"),
            ("scale", scale),
            ("takes", "luma" if variant.color == "y" else "RGB"),
            ("config", ", ".join(f"{key}={value}" for key, value in variant.config.items())),
        ]
        if found.unused:
            lines.append(("unused", ", ".join(found.unused[:8]) + (", ..." if len(found.unused) > 8 else "")))
    notes = sorted(file.metadata.items())
    lines += [("metadata", f"{key}: {value}") for key, value in notes[:_NOTES]]
    if len(notes) > _NOTES:
        lines.append(("metadata", f"and {len(notes) - _NOTES} more"))
    return "\n".join(bounded(f"{label:<9} {text}".replace("\n", " ")) for label, text in lines)
