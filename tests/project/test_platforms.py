"""What is the same on every operating system, by rule: only ``vs_sr.system`` knows which one it is on."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from helpers.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "vs_sr"
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "system"]

ONE_SYSTEM = {
    "os": {"O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NOINHERIT", "O_NONBLOCK", "chown", "fork", "geteuid", "getuid",
           "killpg", "mkfifo", "name", "replace", "sysconf", "uname"},
    "sys": {"getwindowsversion", "platform"},
    "platform": {"system"},
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "alarm", "pthread_sigmask"},
}  # fmt: skip
"""Attributes that one system lacks, or that ask which one it is."""
MODULES_OF_ONE = {"fcntl", "grp", "msvcrt", "posix", "pwd", "resource", "winreg"}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def keywords(call: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in call.keywords}


def called(node: ast.AST, *names: str) -> bool:
    """Whether this is a call of a function or method of one of these names."""
    return isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) in names


def asks_for_a_system(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr in ONE_SYSTEM.get(node.value.id, ())
    if isinstance(node, ast.Import):
        return any(alias.name in MODULES_OF_ONE for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.module in MODULES_OF_ONE


def replaces_a_file(node: ast.AST) -> bool:
    """``path.replace(other)``, which Windows refuses while the other is open; a text's has two arguments."""
    return isinstance(node, ast.Call) and called(node, "replace") and len(node.args) == 1 and not node.keywords


def depends_on_the_code_page(node: ast.AST) -> bool:
    """Text that is read or written in whatever encoding the machine has."""
    if not isinstance(node, ast.Call) or "encoding" in keywords(node):
        return False
    if called(node, "read_text", "write_text"):
        return True
    if called(node, "run", "Popen", "check_output"):
        return bool({"text", "universal_newlines"} & keywords(node))
    if called(node, "open") and isinstance(node.func, ast.Attribute):
        receiver = ast.unparse(node.func.value)
        if (
            receiver in {"av", "backend", "opener", "os"} or receiver[0].isupper()
        ):  # modules and classes with an open() of their own
            return False
    binary = any(isinstance(each, ast.Constant) and "b" in str(each.value) for each in node.args)
    return called(node, "open", "fdopen") and not binary


def starts_processes_by_default(node: ast.AST) -> bool:
    """Workers that are forked on one system and spawned on others."""
    if called(node, "ProcessPoolExecutor"):
        return isinstance(node, ast.Call) and "mp_context" not in keywords(node)
    if called(node, "get_context"):
        return isinstance(node, ast.Call) and ast.unparse(node.args[0]) != "'spawn'"
    return isinstance(node, ast.Attribute) and ast.unparse(node) in {"multiprocessing.Pool", "multiprocessing.Process"}


RULES = (asks_for_a_system, replaces_a_file, depends_on_the_code_page, starts_processes_by_default)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_one_module_knows_the_system(path: Path) -> None:
    found = {
        f"{rule.__name__}: line {node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]
        for node in nodes(path)
        for rule in RULES
        if rule(node)
    }
    assert not found


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("os.sysconf('SC_PAGE_SIZE')", asks_for_a_system),
        ("sys.platform == 'win32'", asks_for_a_system),
        ("import fcntl", asks_for_a_system),
        ("path.replace(target)", replaces_a_file),
        ("path.read_text()", depends_on_the_code_page),
        ("open(path)", depends_on_the_code_page),
        ("path.open('w')", depends_on_the_code_page),
        ("os.fdopen(handle, 'w')", depends_on_the_code_page),
        ("subprocess.run(command, text=True)", depends_on_the_code_page),
        ("ProcessPoolExecutor(2)", starts_processes_by_default),
        ("get_context('fork')", starts_processes_by_default),
    ],
)
def test_the_rules_see(text: str, rule: object) -> None:
    assert callable(rule)
    assert any(rule(node) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["text.replace('a', 'b')", "path.open('rb')", "os.fdopen(handle, 'wb')", "av.open(path)", "Kept.open(path)"]
)
def test_the_rules_leave_alone(text: str) -> None:
    assert not [rule for rule in RULES for node in ast.walk(ast.parse(text)) if rule(node)]
