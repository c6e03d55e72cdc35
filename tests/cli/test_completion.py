"""``vs-sr completion``: what can come next, and that a shell is told."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from helpers.support import BIN, environment, python

from vs_sr import cli, registry
from vs_sr.cli import completion

CASES = [
    ("vs-sr ", [*cli.COMMANDS]),
    ("vs-sr re", ["render"]),
    ("vs-sr weights ", ["convert", "get", "interpolate", "list", "show"]),
    ("vs-sr weights g", ["get"]),
    ("vs-sr weights get Ba", ["BasicVSR"]),
    ("vs-sr weights get --to here edsr_x4", ["edsr_x4-4f62e9ef.pt"]),
    ("vs-sr weights get RRDB", []),  # by hand alone
    ("vs-sr weights list EDSR VD", ["VDSR"]),
    ("vs-sr render --re", ["--reader", "--resize", "--restart", "--resume"]),
    ("vs-sr render --reader b", ["bestsource"]),
    ("vs-sr render in.mp4 out.mp4 --model Zoo", ["ZoomingSlowMo"]),
    ("vs-sr render --crf ", []),
    ("vs-sr render --script ", ["a film.mkv", "b.pth", "clips/"]),
    ("vs-sr weights get --to ", ["clips/"]),
    ("vs-sr weights show b", ["b.pth"]),
    ("vs-sr train cl", ["clips/"]),
    ("vs-sr evaluate --no-r", ["--no-round-y"]),
    ("vs-sr evaluate --weights edsr_compact_x4", ["edsr_compact_x4"]),
    ("vs-sr train vdsr_", ["vdsr_sgd"]),
    ("vs-sr completion ", ["bash", "fish", "powershell", "zsh"]),
    ("vs-sr models ", []),
    ("vs-sr rendr ", [*cli.COMMANDS]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What can be named."""
    for name in ("a film.mkv", "b.pth"):
        (tmp_path / name).touch()
    (tmp_path / "clips").mkdir()
    return tmp_path


ASK = """
import io, json, os, sys
from functools import partial
import argcomplete
from vs_sr import cli

def end(code):
    raise SystemExit(code)

answers = []
for line in json.loads(sys.argv[1]):
    os.environ |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    said = io.StringIO()
    argcomplete.autocomplete = partial(argcomplete.CompletionFinder(), exit_method=end, output_stream=said)
    try:
        cli.main([])
    except SystemExit as ended:
        assert ended.code == 0
    answers.append([word.rstrip().replace("\\\\ ", " ") for word in said.getvalue().split("\\n") if word])
print(json.dumps(answers))
"""


def test_what_can_come_next(folder: Path) -> None:
    """In a process of its own: argcomplete takes the file descriptor 9, whoever has it."""
    done = python(ASK, json.dumps([line for line, _ in CASES]), cwd=folder)
    assert done.returncode == 0, done.stderr
    for (line, expected), found in zip(CASES, json.loads(done.stdout), strict=True):
        assert sorted(found) == sorted(expected), line


def test_every_name_has_its_argument() -> None:
    actions = {("", action.dest) for action in cli.parser()._actions}
    for path, dest in completion.NAMES:
        parser = cli.parser()
        for word in path.split():
            (inner,) = (each for each in parser._actions if each.choices and word in each.choices)
            parser = inner.choices[word]  # type: ignore[index, call-overload, assignment]
        assert dest in {action.dest for action in parser._actions} - {dest for _, dest in actions}
    assert set(completion._models()) == {model.name for model in registry.models()}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "vs-sr" in capsys.readouterr().out


def typed(folder: Path, keys: str) -> str:
    """The words that bash on a terminal makes of keys, each after ``=``."""
    terminal, there = pty.openpty()
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=folder,
        env={**environment(), "PATH": path, "PS1": "$ ", "TERM": "dumb", "INPUTRC": "/dev/null"},
        stdin=there,
        stdout=there,
        stderr=there,
        start_new_session=True,
    )
    os.close(there)
    said = ""

    def until(mark: str) -> None:
        nonlocal said
        deadline = time.monotonic() + 20
        while mark not in said:
            assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], said
            said += os.read(terminal, 4096).decode(errors="replace")

    try:
        os.write(terminal, b"eval \"$(vs-sr completion bash)\"; echo rea''dy\n")
        until("ready")
        said = ""
        begin, end = b"\x01", b"\x05"  # of the line
        os.write(terminal, keys.encode() + begin + b"printf '=%s' " + end + b"; echo '=%%'\n")
        until("\n=")
        until("=%%\r\n")
        return said[said.rindex("\n=") + 1 :].partition("=%%")[0]
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
def test_bash_on_a_terminal(folder: Path) -> None:
    found = typed(folder, "vs-sr wei\tge\t--to cl\t Bas\t")
    assert found == "=vs-sr=weights=get=--to=clips/=BasicVSR"
