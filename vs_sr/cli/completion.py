"""Print what makes a shell complete this command: for bash, zsh, fish or PowerShell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHELLS = ("bash", "zsh", "fish", "powershell")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=SHELLS, help="docs/installation.md says where the script goes")


def run(options: argparse.Namespace) -> int:
    """Print the script. It calls the command itself, which knows what is installed."""
    from argcomplete import shell_integration

    print(shell_integration.shellcode(["vs-sr"], shell=options.shell))
    return 0


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell a shell that asks what can come next, and end; do nothing where none asks."""
    import argcomplete

    _know(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _know(parser: argparse.ArgumentParser, path: str = "") -> None:
    """Give every argument of a command, and of those inside of it, what it may be."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                _know(each, f"{path} {name}".strip())
        elif action.choices is None and action.nargs != 0:
            action.completer = _completer(action, path)  # type: ignore[attr-defined]


def _completer(action: argparse.Action, path: str) -> Any:
    from argcomplete import completers

    name = NAMES.get((path, action.dest))
    if name is not None:
        files = completers.FilesCompleter() if action.dest in _ALSO_FILES else None

        def named(prefix: str, **facts: Any) -> Iterable[str]:
            return [*name(), *(files(prefix, **facts) if files else ())]

        return named
    if action.type is not Path:
        return lambda **facts: ()
    folder = action.metavar == "FOLDER" or action.dest == "folder"
    return completers.DirectoriesCompleter() if folder else completers.FilesCompleter()


def _models() -> Iterable[str]:
    from vs_sr import registry

    return [model.name for model in registry.models()]


def _published() -> Iterable[str]:
    from vs_sr import registry
    from vs_sr.weights import published

    every = [(model, published.of(model)) for model in registry.models()]
    return [
        name for model, files in every if files for name in (model.name, *(each.file for each in files if each.address))
    ]


def _shipped() -> Iterable[str]:
    from vs_sr.weights import store

    return store.index()


def _backends() -> Iterable[str]:
    from vs_sr import registry

    return ["auto", *(backend.name for backend in registry.backends())]


def _recipes() -> Iterable[str]:
    folder = Path(__file__).parents[1] / "training" / "recipes"  # whose package loads torch: seconds
    return sorted(path.stem for path in folder.glob("*.toml"))


NAMES: dict[tuple[str, str], Callable[[], Iterable[str]]] = {
    ("weights list", "models"): _models,
    ("weights get", "name"): _published,
    ("render", "model"): _models,
    ("evaluate", "model"): _models,
    ("evaluate", "weights"): _shipped,
    ("evaluate", "backend"): _backends,
    ("train", "recipe"): _recipes,
    ("train", "start"): _shipped,
}
"""What an argument that is no choice of argparse's may be called, by its command and destination."""
_ALSO_FILES = ("weights", "recipe", "start")
"""Of these, arguments that may be files, too."""
