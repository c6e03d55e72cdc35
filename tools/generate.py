"""What is made of the models, of ``vs_sr/arguments.py`` and of the recorded benchmarks: ``python -m tools.generate``.

The stub ``vs_sr/__init__.pyi``, by which type checkers and editors know the functions, the README's tables, and the
facts and figures in docs. A test compares all of it with what is committed.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import vs_sr
from tools import (
    account_table,
    backends_table,
    cluster_table,
    cuts_table,
    drift_table,
    models_table,
    quality_table,
    rates_table,
    speed_table,
)
from tools.pages import COMMAND, ROOT, replaced
from vs_sr import _names, arguments, functions, registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vs_sr.spec import Model

STUB = ROOT / "vs_sr" / "__init__.pyi"


KEYWORDS = {
    ("_All", ""): arguments.ALL,
    ("_Repeating", "_All"): arguments.REPEATING,
    ("_Image", "_Repeating"): arguments.IMAGE,
    ("_Video", "_All"): arguments.VIDEO,
    ("_Sequence", "_Video, _Repeating"): arguments.SEQUENCE,
}
"""A class of keyword arguments, and those that it has the others from, to the kinds of model that take them."""
TAKES = {"image": "_Image", "sequence": "_Sequence"}
"""What filters take, by the kind of their model; the others ``_Video``."""


def stub() -> str:
    """The package as type checkers see it."""
    lines = ['"""Space-time video super-resolution for VapourSynth."""', ""]
    lines += [f"# Written by `{COMMAND}`: what vs_sr/__init__.py loads when it is first used.", ""]
    lines += ["from collections.abc import Sequence", "from typing import Literal, TypedDict, Unpack", ""]
    lines += ["import vapoursynth as vs", ""]
    homes: dict[str, str] = vars(vs_sr)["_HOMES"]
    for home in sorted(set(homes.values())):
        names = sorted(name for name, module in homes.items() if module == home)
        lines += [f"from {home} import {name} as {name}" for name in names]
    lines += ["", "__version__: str", "__all__ = [  # noqa: RUF022 - plain order"]
    lines += [*(f'    "{name}",' for name in vs_sr.__all__), "]"]
    for (name, base), kinds in KEYWORDS.items():
        lines += ["", f"class {name}({base or 'TypedDict'}, total=False):", *_keywords(kinds)]
    for name in _names.BUILTIN:
        lines += ["", *_function(registry.model(name))]
    return "\n".join([*lines, ""])


def _keywords(kinds: tuple[str, ...]) -> Iterator[str]:
    """The fields of a class of keyword arguments, the names of other filters behind the argument itself."""
    for argument in arguments.ARGUMENTS:
        if argument.kinds != kinds:
            continue
        default = argument.absent if argument.default is None else f"`{argument.default}`"
        yield f"    {argument.name}: {_type(argument.python)}"
        meaning = argument.meaning[0].upper() + argument.meaning[1:]
        yield from _docstring(f"{meaning}. Default: {default}." if default else f"{meaning}.")
        if argument.alias:
            yield f"    {argument.alias}: {_type(functions.alias_type(argument))}"
            yield from _docstring(f"``{argument.name}``, as other filters call it.")


def _function(model: Model) -> Iterator[str]:
    """The lines of one function."""
    takes = TAKES.get(model.kind, "_Video")
    yield f"def {model.name}(clip: vs.VideoNode, **arguments: Unpack[{takes}]) -> vs.VideoNode:"
    own = [f"``{name}``: {meaning}." for name, meaning in model.arguments.items()]
    first, *rest = filter(None, [f"{model.name}: {model.summary}.", model.paper and f"{model.paper}.", *own])
    yield from _docstring(first, *rest)


def _docstring(first: str, *others: str) -> list[str]:
    parts = [textwrap.wrap(text, 110, break_on_hyphens=False) for text in (first, *others)]
    lines = [line for part in parts for line in (*part, "")][:-1]
    if len(lines) == 1:
        return [f'    """{lines[0]}"""']
    return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """']


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("'", '"')
    return text.replace("typing.", "").replace("collections.abc.", "")


def argument_table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Name, default, meaning, as Markdown."""
    lines = (f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows)
    return "\n".join(["| argument | default | meaning |", "|---|---|---|", *lines])


def arguments_of_the_first_filter() -> str:
    """All of ZoomingSlowMo's, with the values that VapourSynth knows."""
    rows = functions.meanings(registry.model("ZoomingSlowMo")).items()
    numbers = {"`True`": "`1`", "`False`": "`0`"}
    return argument_table((name, numbers.get(default, default), meaning) for name, (default, meaning) in rows)


def arguments_of_image_models() -> str:
    """Those that ZoomingSlowMo has not, with what each model says of its own."""
    models = [registry.model(name) for name, builtin in _names.BUILTIN.items() if builtin.kind == "image"]
    rows = []
    for argument in arguments.of("image"):
        if argument in arguments.of("sequence"):
            continue
        own: dict[str, list[str]] = {}
        for model in models:
            if argument.name in model.arguments:
                own.setdefault(model.arguments[argument.name], []).append(f"`{model.name}`")
        special = "".join(f". {', '.join(names)}: {meaning}" for meaning, names in own.items())
        default = argument.absent if argument.default is None else f"`{argument.default}`"
        rows.append((argument.name, default, argument.meaning + special))
    return argument_table(rows)


def files() -> dict[Path, str]:
    """Every file that is generated or holds generated lines, as it should be."""
    made = {STUB: stub(), **models_table.pages(), **drift_table.pages(), **cuts_table.pages()}
    made |= {**quality_table.pages(), **rates_table.pages(), **backends_table.pages(), **cluster_table.pages()}
    made[account_table.PAGE] = account_table.page(made[account_table.PAGE])
    readme = ROOT / "README.md"
    text = speed_table.readme(made[readme])
    text = replaced(text, "arguments of ZoomingSlowMo", arguments_of_the_first_filter())
    made[readme] = replaced(text, "arguments of image models", arguments_of_image_models())
    return made


def main() -> None:
    """Write all of them."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
