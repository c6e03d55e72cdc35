"""What is made of the models, of ``vs_sr/arguments.py`` and of the recorded benchmarks: ``python -m tools.generate``.

The stub ``vs_sr/__init__.pyi``, by which type checkers and editors know the functions, the README's tables, and the
facts and figures in docs. A test compares all of it with what is committed.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import vs_sr
from tools import cuts_table, drift_table, models_table, speed_table
from tools.pages import COMMAND, ROOT, replaced
from vs_sr import _names, arguments, functions, registry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STUB = ROOT / "vs_sr" / "__init__.pyi"


def stub() -> str:
    """The package as type checkers see it."""
    lines = ['"""Space-time video super-resolution for VapourSynth."""', ""]
    lines += [f"# Written by `{COMMAND}`: what vs_sr/__init__.py loads when it is first used.", ""]
    lines += ["from collections.abc import Sequence", "from typing import Literal", "", "import vapoursynth as vs", ""]
    homes: dict[str, str] = vars(vs_sr)["_HOMES"]
    for home in sorted(set(homes.values())):
        names = sorted(name for name, module in homes.items() if module == home)
        lines += [f"from {home} import {name} as {name}" for name in names]
    lines += ["", "__version__: str", "__all__ = [  # noqa: RUF022 - plain order"]
    lines += [*(f'    "{name}",' for name in vs_sr.__all__), "]"]
    for name in _names.BUILTIN:
        lines += ["", *_function(name)]
    return "\n".join([*lines, ""])


def _function(name: str) -> list[str]:
    """The lines of one function."""
    function = getattr(vs_sr, name)
    clip, *others = inspect.signature(function).parameters.values()
    lines = [f"def {name}(", f"    {_parameter(clip)},", "    *,", *(f"    {_parameter(other)}," for other in others)]
    first, *rest = (inspect.getdoc(function) or "").splitlines()
    lines += [") -> vs.VideoNode:", f'    """{first}', *(f"    {line}".rstrip() for line in rest), '    """']
    return lines


def _parameter(parameter: inspect.Parameter) -> str:
    text = str(parameter).replace("'", '"')
    for long, short in (("typing.", ""), ("collections.abc.", ""), ("vapoursynth.", "vs.")):
        text = text.replace(long, short)
    return text


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
