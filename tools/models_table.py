"""The README's table of models and the facts in docs/models.

A model of the house without a page gets one, for its author to go on with.

Speeds come from ``benchmarks/models.json`` (``python -m tests.bench.models``), all else from the models themselves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.pages import ROOT, markers, replaced
from vs_sr import _names, arguments, registry
from vs_sr.weights import store

if TYPE_CHECKING:
    from pathlib import Path

    from vs_sr.spec import Model

RECORD = ROOT / "benchmarks" / "models.json"


def page_of(model: Model) -> Path:
    """The page of a model, named as its package is."""
    return ROOT / "docs" / "models" / f"{model.build.__module__.rpartition('.')[2]}.md"


def house() -> list[Model]:
    """The models that vs_sr itself brings, by name; packages may have brought others."""
    own = [model for model in registry.models() if model.build.__module__.startswith("vs_sr.")]
    return sorted(own, key=lambda model: model.name.lower())


def _rows(model: Model, record: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in record["rows"] if row["model"] == model.name]


def _machine(record: dict[str, Any]) -> str:
    machine = record["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['processor']}, {threads}, {machine['capability']}, torch {record['versions']['torch']}, float32"


def _weights(model: Model) -> str:
    if model.weights:
        return f"{_shipped(model)}, shipped"
    return f"`{model.published.file}` of {model.published.repository}" if model.published else "see its page"


def _shipped(model: Model) -> str:
    """The names of the weights that come with it."""
    return ", ".join(f"`{entry.name}`" for entry in store.index().values() if entry.model == model.name)


def table(record: dict[str, Any]) -> str:
    """The README's lines between the markers."""
    lines = ["| | | seconds per megapixel | weights |", "|---|---|---|---|"]
    for model in house():
        speeds = "; ".join(
            f"{row['seconds_per_megapixel']:.2g} ({row['configuration']})" for row in _rows(model, record)
        )
        filtered = "" if model.name in _names.BUILTIN else " (no filter yet)"
        link = page_of(model).relative_to(ROOT).as_posix()
        lines.append(
            f"| [{model.name}]({link}) | {model.summary}{filtered} | {speeds or 'not measured'} | {_weights(model)} |"
        )
    lines += ["", f"Seconds are of one CPU for a megapixel of output: {_machine(record)}."]
    return "\n".join(lines)


def facts(model: Model, record: dict[str, Any]) -> str:
    """A page's lines between the markers."""
    lines = [f"{model.paper}.", ""]
    builtin = _names.BUILTIN.get(model.name)
    if builtin:
        names = ", ".join(f"`{argument.name}`" for argument in arguments.of(builtin.kind))
        lines += [f"`core.vs_sr.{model.name}(clip, ...)` takes {names}.", ""]
        for name, meaning in model.arguments.items():
            lines += [f"`{name}`: {meaning}.", ""]
    else:
        lines += ["The network is there, its filter is not yet: `vs-sr evaluate` measures it.", ""]
    if model.weights:
        lines += [f"Comes with {_shipped(model)}: [what they reach](../quality.md).", ""]
    if model.published:
        command = model.published.conversion(f"{model.name.lower()}.safetensors")
        how = "To be converted first:" if model.published.hints else "A filter reads them as they are, or converted:"
        which = "Published weights" if model.weights else "Weights"
        lines += [f"{which}: {model.published}. {how}", ""]
        get = [f"{model.published.getting} --to ."] if model.published.address else []
        lines += ["```sh", *get, command, "```", ""]
        if model.more:
            lines += ["`vs-sr weights list` has others.", ""]
    if model.hints:
        lines += ["What no tensor tells (`--set key=value`, or in the metadata of a converted file):", ""]
        lines += [*(f"- `{key}`: {hint}" for key, hint in model.hints.items()), ""]
    rows = _rows(model, record)
    if not rows:
        return "\n".join([*lines, "Its speed has not been measured."])
    lines += ["| configuration | parameters | seconds per megapixel of output |", "|---|---|---|"]
    lines += [
        f"| {row['configuration']} | {row['parameters']:,} | {row['seconds_per_megapixel']:.2f} |" for row in rows
    ]
    return "\n".join([*lines, "", f"On {_machine(record)}."])


def pages() -> dict[Path, str]:
    """Every page that holds generated lines, as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    made = {readme: replaced(readme.read_text(encoding="utf-8"), "models", table(record))}
    for model in house():
        page = page_of(model)
        text = page.read_text(encoding="utf-8") if page.is_file() else _new_page(model)
        made[page] = replaced(text, "models", facts(model, record))
    return made


def _new_page(model: Model) -> str:
    begin, end = markers("models")
    return f"# {model.name}\n\n{model.summary[0].upper()}{model.summary[1:]}.\n\n{begin}\n{end}\n"
