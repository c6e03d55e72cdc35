"""The README's table of models and the facts in docs/models: ``python -m tests.bench.models_table`` writes them anew.

Speeds come from ``benchmarks/models.json`` (``python -m tests.bench.models``), all else from the models themselves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import _names
from vs_sr.evaluation.upscalers import architectures

if TYPE_CHECKING:
    from vs_sr.spec import Model

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "models.json"
BEGIN, END = "<!-- models: python -m tests.bench.models_table -->", "<!-- /models -->"


def page_of(model: Model) -> Path:
    """The page of a model, named as its package is."""
    return ROOT / "docs" / "models" / f"{model.build.__module__.rpartition('.')[2]}.md"


def _rows(model: Model, record: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in record["rows"] if row["model"] == model.name]


def _machine(record: dict[str, Any]) -> str:
    machine = record["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['processor']}, {threads}, {machine['capability']}, torch {record['versions']['torch']}, float32"


def _weights(model: Model) -> str:
    if model.weights:
        return f"`{model.weights}`, shipped"
    return f"`{model.published.file}` of {model.published.repository}" if model.published else "see its page"


def table(record: dict[str, Any]) -> str:
    """The README's lines between the markers."""
    lines = ["| | | seconds per megapixel | weights |", "|---|---|---|---|"]
    for model in sorted(architectures().values(), key=lambda model: model.name.lower()):
        page = page_of(model)
        if not page.is_file():  # a package's model
            continue
        speeds = "; ".join(
            f"{row['seconds_per_megapixel']:.2g} ({row['configuration']})" for row in _rows(model, record)
        )
        filtered = "" if model.name in _names.BUILTIN else " (no filter yet)"
        link = page.relative_to(ROOT).as_posix()
        lines.append(f"| [{model.name}]({link}) | {model.summary}{filtered} | {speeds} | {_weights(model)} |")
    lines += ["", f"Seconds are of one CPU for a megapixel of output: {_machine(record)}."]
    return "\n".join(lines)


def facts(model: Model, record: dict[str, Any]) -> str:
    """A page's lines between the markers."""
    lines = [f"{model.paper}.", ""]
    builtin = _names.BUILTIN.get(model.name)
    if builtin:
        names = [name for name in _names.arguments(builtin.signature) if name != "clip"]
        arguments = ", ".join(f"`{name}`" for name in names)
        lines += [f"`core.vs_sr.{model.name}(clip, ...)` takes {arguments}.", ""]
    else:
        lines += ["The network is there, its filter is not yet: `vs-sr evaluate` measures it.", ""]
    if model.published:
        command = model.published.conversion(f"{model.name.lower()}.safetensors")
        how = "To be converted first:" if model.published.answers else "A filter reads them as they are, or converted:"
        lines += [f"Weights: {model.published}. {how}", ""]
        lines += ["```sh", command, "```", ""]
    if model.asks:
        lines += ["What no tensor tells (`--set key=value`, or in the metadata of a converted file):", ""]
        lines += [*(f"- `{key}`: {question}" for key, question in model.asks.items()), ""]
    lines += ["| configuration | parameters | seconds per megapixel of output |", "|---|---|---|"]
    lines += [
        f"| {row['configuration']} | {row['parameters']:,} | {row['seconds_per_megapixel']:.2f} |"
        for row in _rows(model, record)
    ]
    return "\n".join([*lines, "", f"On {_machine(record)}."])


def replaced(text: str, lines: str) -> str:
    """A page with what stands between its markers replaced.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"a page of models needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{lines}\n{END}{after}"


def pages() -> dict[Path, str]:
    """Every page that holds generated lines, as it should be."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    made = {readme: replaced(readme.read_text(encoding="utf-8"), table(record))}
    for model in architectures().values():
        page = page_of(model)
        if page.is_file():
            made[page] = replaced(page.read_text(encoding="utf-8"), facts(model, record))
    return made


def main() -> None:
    """Rewrite the pages."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
