"""``vs-sr completion``: what shells offer, asked of the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from helpers.support import environment

from vs_sr import cli, registry
from vs_sr.cli import completion

if TYPE_CHECKING:
    from pathlib import Path

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
    ("vs-sr evaluate --no-r", ["--no-round-y"]),
    ("vs-sr evaluate --weights edsr_compact_x4", ["edsr_compact_x4"]),
    ("vs-sr train vdsr_", ["vdsr_sgd"]),
    ("vs-sr completion ", ["bash", "fish", "zsh"]),
    ("vs-sr models ", []),
    ("vs-sr rendr ", [*cli.COMMANDS]),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each shell's script, and in it what files and folders can be named."""
    folder = tmp_path_factory.mktemp("completion")
    every = tuple(completion.commands(cli.parser()))
    for shell in completion.SHELLS:
        (folder / f"vs-sr.{shell}").write_text(completion.script(shell, every), encoding="utf-8")
    for name in ("a film.mkv", "b.pth"):
        (folder / name).touch()
    (folder / "clips").mkdir()
    return folder


def run(shell: str, folder: Path, text: str) -> list[list[str]]:
    """The blocks of lines that a script of a shell prints, in ``folder``."""
    done = subprocess.run(
        [shell], input=text, capture_output=True, text=True, cwd=folder, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [block.split("\n")[:-1] for block in done.stdout.split("%%\n")[:-1]]


def test_the_command_prints_the_script(scripts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shell in completion.SHELLS:
        assert cli.main(["completion", shell]) == 0
        assert capsys.readouterr().out == (scripts / f"vs-sr.{shell}").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(["completion", "cmd"])
    assert "choose from" in capsys.readouterr().err


def test_what_has_names_is_there() -> None:
    """And every option and action of every command is known."""
    every = {each.path: each for each in completion.commands(cli.parser())}
    assert {path for path, _ in completion.NAMES} <= {*every}
    for (path, dest), names in completion.NAMES.items():
        found = [option.value for option in every[path].options if f"--{dest}" in option.names] or [every[path].value]
        assert found[0] is not None
        assert found[0].words == names() != ()
    assert {f"weights {name}" for name, _ in every["weights"].inner} <= {*every}
    assert set(completion._models()) == {model.name for model in registry.models()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
def test_bash(scripts: Path) -> None:
    ask = "\n".join(
        f"COMP_WORDS=({text}{' ""' if text.endswith(' ') else ''}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_vs_sr; printf "%s\\n" "${COMPREPLY[@]}"; echo %%'
        for text, _ in CASES
    )
    found = run("bash", scripts, f"source ./vs-sr.bash\n{ask}\n")
    for (text, expected), block in zip(CASES, found, strict=True):
        assert sorted(filter(None, block)) == sorted(expected), text


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not there")
def test_fish(scripts: Path) -> None:
    ask = "\n".join(f"complete -C '{text}'; echo %%" for text, _ in CASES)
    found = run("fish", scripts, f"source vs-sr.fish\n{ask}\n")
    for (text, expected), block in zip(CASES, found, strict=True):
        assert sorted(line.split("\t")[0] for line in block) == sorted(expected), text


def typed(scripts: Path, command: list[str], begin: str, keys: str) -> str:
    """The line that a shell on a terminal has made of keys: the text after ``=`` that it prints."""
    process, terminal = pty.fork()
    if not process:
        os.chdir(scripts)
        os.execvpe(command[0], command, {**environment(), "PS1": "$ ", "TERM": "dumb", "INPUTRC": "/dev/null"})
    said = ""

    def until(mark: str) -> None:
        nonlocal said
        deadline = time.monotonic() + 20
        while mark not in said:
            assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], said
            said += os.read(terminal, 4096).decode(errors="replace")

    try:
        os.write(terminal, f"{begin}; vs-sr() {{ printf '=%s' \"$@\"; echo '=\"'; }}; echo rea''dy\n".encode())
        until("ready")
        said = ""
        os.write(terminal, keys.encode() + b"\n")
        until('="')
        return said[said.rindex("\n=") + 1 if "\n=" in said else 0 :].partition('="')[0]
    finally:
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(process, 0)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("vs-sr wei\tge\t--to cl\t Bas\t", ["weights", "get", "--to", "clips/", "BasicVSR"]),
        ("vs-sr render a\tout.mkv --reader=b\t", ["render", "a film.mkv", "out.mkv", "--reader=bestsource"]),
        ("vs-sr weights show b\t", ["weights", "show", "b.pth"]),
        ("vs-sr train cl\t", ["train", "clips/"]),
    ],
)
def test_bash_on_a_terminal(scripts: Path, keys: str, words: list[str]) -> None:
    """With files, which readline finds itself, and spaces after what is complete."""
    found = typed(scripts, ["bash", "--norc", "--noprofile", "-i"], "source ./vs-sr.bash", keys)
    assert found.strip().removeprefix("=").split("=") == "=".join(words).split("="), found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not there")
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("vs-sr wei\tge\t--to cl\t Bas\t", ["weights", "get", "--to", "clips", "BasicVSR"]),
        ("vs-sr render a\tout.mkv --reader=b\t", ["render", "a film.mkv", "out.mkv", "--reader=bestsource"]),
        ("vs-sr weights show b\t", ["weights", "show", "b.pth"]),
    ],
)
def test_zsh_on_a_terminal(scripts: Path, keys: str, words: list[str]) -> None:
    begin = "autoload -Uz compinit; compinit -u -D; source ./vs-sr.zsh"
    found = typed(scripts, ["zsh", "-f", "-i"], begin, keys)
    assert found.strip().removeprefix("=").split("=") == "=".join(words).split("="), found
