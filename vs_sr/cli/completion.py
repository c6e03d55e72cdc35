"""Print what makes a shell complete this command: for bash, zsh or fish."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``bash``, ``zsh`` or ``fish``."""
    parser.add_argument(
        "shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish; docs/installation.md says where it goes"
    )


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from vs_sr import cli

    print(script(options.shell, commands(cli.parser())), end="")
    return 0


@dataclass(frozen=True)
class Value:
    """What an argument may be; with neither words nor files, something that no shell knows."""

    words: tuple[str, ...] = ()
    files: bool = False
    folders: bool = False


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    names: tuple[str, ...]
    summary: str
    value: Value | None
    """None: it takes none."""


@dataclass(frozen=True)
class Command:
    """The program, one of its commands, or an action of one."""

    path: str
    """Empty; ``render``; ``weights get``."""
    options: tuple[Option, ...]
    value: Value | None
    """Of its arguments without a name, whichever comes next; None: it takes none."""
    inner: tuple[tuple[str, str], ...]
    """The commands that can follow, with a summary each."""


def _models() -> tuple[str, ...]:
    from vs_sr import registry

    return tuple(model.name for model in registry.models())


def _published() -> tuple[str, ...]:
    from vs_sr import registry
    from vs_sr.weights import published

    every = [(model, published.of(model)) for model in registry.models()]
    return tuple(
        name for model, files in every if files for name in (model.name, *(each.file for each in files if each.address))
    )


def _shipped() -> tuple[str, ...]:
    from vs_sr.weights import store

    return tuple(store.index())


def _backends() -> tuple[str, ...]:
    from vs_sr import registry

    return ("auto", *(backend.name for backend in registry.backends()))


def _recipes() -> tuple[str, ...]:
    folder = Path(__file__).parents[1] / "training" / "recipes"
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


NAMES: dict[tuple[str, str], Callable[[], tuple[str, ...]]] = {
    ("weights list", "models"): _models,
    ("weights get", "name"): _published,
    ("render", "model"): _models,
    ("evaluate", "model"): _models,
    ("evaluate", "weights"): _shipped,
    ("evaluate", "backend"): _backends,
    ("train", "recipe"): _recipes,
    ("train", "start"): _shipped,
}
"""What an argument that is no choice of argparse's may be called, by its command and destination. Names are those of
when the script is printed: models of packages that are installed later need a new one."""
_ALSO_FILES = ("weights", "recipe", "start")
"""Of these, arguments that may be files, too."""


def commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Command]:
    """A parser's command, and those inside of it, from the outermost inwards."""
    options: list[Option] = []
    values: list[Value] = []
    inner: dict[str, argparse.ArgumentParser] = {}
    summaries: tuple[tuple[str, str], ...] = ()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = action.choices
            summaries = tuple((each.dest, each.help or "") for each in action._choices_actions)
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action, path)
            options.append(Option(tuple(action.option_strings), _summary(action), value))
        else:
            values.append(_value(action, path))
    words = tuple(dict.fromkeys(word for value in values for word in value.words))
    together = Value(words, any(each.files for each in values), any(each.folders for each in values))
    yield Command(path, tuple(options), together if values else None, summaries)
    for name, each in inner.items():
        yield from commands(each, f"{path} {name}".strip())


def _value(action: argparse.Action, path: str) -> Value:
    if action.choices is not None:
        return Value(tuple(map(str, action.choices)))
    name = NAMES.get((path, action.dest))
    if name is not None:
        return Value(name(), files=action.dest in _ALSO_FILES)
    if action.type is not Path:
        return Value()
    folder = action.metavar == "FOLDER" or action.dest == "folder"
    return Value(files=not folder, folders=folder)


def _summary(action: argparse.Action) -> str:
    """The first clause of its help."""
    text = (action.help or "") % {"default": action.default, "prog": "vs-sr"}
    return text.partition("; ")[0].partition(" (default")[0]


def script(shell: str, every: Iterable[Command]) -> str:
    """The completion of a shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](tuple(every))


def _paths(every: tuple[Command, ...]) -> str:
    """The patterns of a ``case`` that finds the command: what it is so far, a slash, and the next word."""
    return " | ".join(f'"{each.path}/{name}"' for each in every for name, _ in each.inner)


def _valued(every: tuple[Command, ...]) -> Iterator[tuple[str, Value]]:
    """Pattern and value of the options that take one, those of equal values together."""
    found: dict[Value, list[str]] = {}
    for each in every:
        for option in each.options:
            if option.value is not None:
                found.setdefault(option.value, []).extend(f'"{each.path} {name}"' for name in option.names)
    for value, patterns in found.items():
        yield " | ".join(patterns), value


_BASH = """\
# Completion of vs-sr for bash; made by: vs-sr completion bash
_vs_sr() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command= words= files= i
    if [[ $word == "=" ]]; then
        word=
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command/${{COMP_WORDS[i]}}" in
        {paths}) command+=${{command:+ }}${{COMP_WORDS[i]}} ;;
        esac
    done
    COMPREPLY=()
    case "$command $previous" in
{valued}    *)
        if [[ $word == -* ]]; then
            case "$command" in
{options}            esac
        else
            case "$command" in
{values}            esac
        fi
        ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    case $files in
    "") compopt +o bashdefault +o default 2>/dev/null ;;
    folders) compopt -o dirnames +o bashdefault +o default 2>/dev/null ;;
    esac
}}
complete -o bashdefault -o default -F _vs_sr vs-sr
"""


def _bash(every: tuple[Command, ...]) -> str:
    """Where nothing is found, readline goes on with files, unless ``compopt`` (of bash 4) has said otherwise."""

    def line(indent: int, pattern: str, value: Value | None, extra: tuple[str, ...] = ()) -> str:
        words = (*extra, *(value.words if value else ()))
        say = [f'words="{" ".join(words)}"'] if words else []
        if value is not None and (value.files or value.folders):
            say.append("files=files" if value.files else "files=folders")
        return f"{' ' * indent}{pattern}) {'; '.join(say or [':'])} ;;\n"

    return _BASH.format(
        paths=_paths(every),
        valued="".join(line(4, *each) for each in _valued(every)),
        options="".join(
            line(12, f'"{each.path}"', Value(tuple(name for option in each.options for name in option.names)))
            for each in every
        ),
        values="".join(line(12, f'"{each.path}"', each.value, tuple(name for name, _ in each.inner)) for each in every),
    )


_ZSH = """\
#compdef vs-sr
# Completion of vs-sr for zsh; made by: vs-sr completion zsh
_vs_sr() {{
    local word=${{words[CURRENT]}} previous=${{words[CURRENT - 1]}} command= i
    local -a found
    for ((i = 2; i < CURRENT; i++)); do
        case "$command/${{words[i]}}" in
        {paths}) command+=${{command:+ }}${{words[i]}} ;;
        esac
    done
    if [[ $word == --*=* ]]; then
        previous=${{word%%=*}}
        compset -P '*='
        word=${{word#*=}}
    fi
    case "$command $previous" in
{valued}    *)
        if [[ $word == -* ]]; then
            case "$command" in
{options}            esac
            _describe option found
        else
            case "$command" in
{values}            esac
        fi
        ;;
    esac
}}
if [[ $funcstack[1] == _vs_sr ]]; then
    _vs_sr "$@"
else
    compdef _vs_sr vs-sr
fi
"""


def _zsh(every: tuple[Command, ...]) -> str:
    def described(pairs: Iterable[tuple[str, str]]) -> str:
        entries = (shlex.quote(name + ":" + summary.replace(":", r"\:")) for name, summary in pairs)
        return f"found=({' '.join(entries)})"

    def line(indent: int, pattern: str, value: Value | None) -> str:
        say = [f"compadd -- {' '.join(value.words)}"] if value and value.words else []
        if value and value.files:
            say.append("_files")
        elif value and value.folders:
            say.append("_files -/")
        return f"{' ' * indent}{pattern}) {'; '.join(say or [':'])} ;;\n"

    return _ZSH.format(
        paths=_paths(every),
        valued="".join(line(4, *each) for each in _valued(every)),
        options="".join(
            f'            "{each.path}") '
            + described((name, option.summary) for option in each.options for name in option.names)
            + " ;;\n"
            for each in every
        ),
        values="".join(
            f'            "{each.path}") {described(each.inner)}; _describe command found ;;\n'
            if each.inner
            else line(12, f'"{each.path}"', each.value)
            for each in every
        ),
    )


_FISH = """\
# Completion of vs-sr for fish; made by: vs-sr completion fish
function __vs_sr_command
    set -l command ""
    for word in (commandline -opc)[2..]
        switch "$command/$word"
            case {paths}
                set command (string trim "$command $word")
        end
    end
    test "$command" = "$argv"
end
complete -c vs-sr -f
"""


def _fish(every: tuple[Command, ...]) -> str:
    lines = [_FISH.format(paths=_paths(every).replace(" | ", " "))]
    for each in every:
        here = f"complete -c vs-sr -n '__vs_sr_command {each.path}'"
        lines += [f"{here} -a {name} -d {_quoted(summary)}\n" for name, summary in each.inner]
        if each.value is not None:
            lines.append(f"{here}{_arguments(each.value)}\n")
        for option in each.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            takes = "" if option.value is None else f" -r{_arguments(option.value)}"
            lines.append(f"{here} {names}{takes} -d {_quoted(option.summary)}\n")
    return "".join(lines)


def _arguments(value: Value) -> str:
    """What fish offers: files where it is told so, since it is told otherwise for all of vs-sr."""
    words = " ".join(value.words)
    if value.folders and not value.files:
        return f" -a {_quoted(f'{words} (__fish_complete_directories)'.strip())}"
    return f" {'-F' if value.files else '-f'}" + (f" -a {_quoted(words)}" if words else "")


def _quoted(text: str) -> str:
    """As one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
