"""The command ``vs-sr``: one file a command, errors and exit codes here.

Exit codes: 0 done; 1 the work failed; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from vs_sr import __version__, settings, system
from vs_sr.cli import completion
from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("models", "doctor", "demo", "render", "weights", "train", "evaluate", "completion")
"""Each is a module of this package with ``add_arguments(parser)`` and ``run(options) -> int``; its docstring's
first line is the help. Only the one that is called is run, and heavy imports are made inside ``run``."""


def parser() -> argparse.ArgumentParser:
    """What the command line is read with: every command, its arguments, and as ``options.run`` what runs it."""
    made = argparse.ArgumentParser(prog="vs-sr", description="Space-time video super-resolution for VapourSynth.")
    made.add_argument("--version", action="version", version=f"vs-sr {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"vs_sr.cli.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``vs-sr`` with these arguments (the process's by default) and give its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a code page may lack letters of a file's name
    made = parser()
    if settings.completing():
        completion.answer(made)
    options = made.parse_args(arguments)
    try:
        return int(options.run(options))
    except VsSrError as error:
        print(f"vs-sr {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nvs-sr {options.command}: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if not system.nobody_reads(error):
            raise
        # `vs-sr models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
