"""The operating systems' differences: POSIX for real, Windows as far as it can be played here."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from helpers.support import ROOT, environment

from vs_sr import system

if TYPE_CHECKING:
    from types import ModuleType

posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``vs_sr.system.windows`` as Windows imports it, under a name of its own."""
    for name, value in {"O_BINARY": 1 << 28, "O_NOINHERIT": 1 << 29}.items():
        monkeypatch.setattr(os, name, value, raising=False)
    path = ROOT / "vs_sr" / "system" / "windows.py"
    spec = importlib.util.spec_from_file_location("played_windows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module


def test_both_have_the_same_names(windows: ModuleType) -> None:
    for name in system.__all__:
        assert hasattr(windows, name), name
        assert hasattr(system, name), name


def test_memory() -> None:
    found = system.physical_memory()
    assert 1 << 28 < found < 1 << 45
    if (meminfo := Path("/proc/meminfo")).exists():
        kib = int(meminfo.read_text().split()[1])
        assert found == pytest.approx(kib * 1024, rel=0.01)


def test_memory_that_was_taken() -> None:
    before = system.peak_memory()
    block = bytearray(200 << 20)
    block[:: 1 << 12] = bytes(len(block) >> 12 or 1)
    assert 16 << 20 < before < 1 << 45
    assert system.peak_memory() >= max(before, 200 << 20)


def test_memory_that_was_taken_on_windows(windows: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(process: Any, reference: Any, length: int) -> int:
        assert process.value == ctypes.c_void_p(-1).value
        assert (
            reference._obj.length == length == ctypes.sizeof(reference._obj) == 8 + 8 * ctypes.sizeof(ctypes.c_size_t)
        )
        reference._obj.peak = 3 << 30
        return 1

    kernel = SimpleNamespace(K32GetProcessMemoryInfo=fill)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **_: {"kernel32": kernel}[name], raising=False)
    assert windows.peak_memory() == 3 << 30


def test_memory_on_windows(windows: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(reference: Any) -> int:
        status = reference._obj
        assert status.length == ctypes.sizeof(status) == 64
        status.physical = 48 << 30
        return 1

    kernel = SimpleNamespace(GlobalMemoryStatusEx=fill)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **_: {"kernel32": kernel}[name], raising=False)
    assert windows.physical_memory() == 48 << 30


@pytest.mark.parametrize(
    ("text", "everywhere", "there"),
    [
        ("zooming_slow_mo_compact", False, False),
        ("esrgan.v2", False, False),
        ("folder/net", True, True),
        ("folder\\net", False, True),
        ("C:net", False, True),
        ("C:\\nets\\net", False, True),
        ("\\\\server\\share\\net", False, True),
        ("/nets/net", True, True),
    ],
)
def test_what_is_a_path(windows: ModuleType, text: str, everywhere: bool, there: bool) -> None:
    assert windows.named(text) is there
    if sys.platform != "win32":
        assert system.named(text) is everywhere


@pytest.mark.parametrize(
    ("path", "opened"),
    [
        ("C:\\nets\\net.pth", "C:\\nets\\net.pth"),
        ("C:\\" + "n" * 250, "\\\\?\\C:\\" + "n" * 250),
        ("C:/" + "n" * 250, "\\\\?\\C:\\" + "n" * 250),
        ("C:\\a\\..\\" + "n" * 250, "\\\\?\\C:\\" + "n" * 250),
        ("\\\\server\\share\\" + "n" * 250, "\\\\?\\UNC\\server\\share\\" + "n" * 250),
        ("\\\\?\\C:\\" + "n" * 250, "\\\\?\\C:\\" + "n" * 250),
    ],
)
def test_long_names_on_windows(windows: ModuleType, monkeypatch: pytest.MonkeyPatch, path: str, opened: str) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "open", lambda *arguments: calls.append(arguments) or 7)  # type: ignore[func-returns-value]
    monkeypatch.setattr(os, "replace", lambda *arguments: calls.append(arguments))
    assert windows.open_read(path) == windows.open_new(path) == 7
    windows.replace(path, path)
    monkeypatch.undo()
    (read, reading), (written, writing, mode), moved = calls
    assert read == written == opened
    assert moved == (opened, opened)
    binary, private = 1 << 28, 1 << 29
    assert reading & binary
    assert reading & private
    assert writing & binary
    assert writing & os.O_EXCL
    assert mode == 0o666


class DeniedError(PermissionError):
    """What Windows raises; on other systems the number has no place."""

    def __init__(self, winerror: int) -> None:
        super().__init__(13, "Access is denied")
        self.winerror = winerror


@pytest.mark.parametrize("winerror", [5, 32, 33, 1224])
def test_a_file_that_is_open_is_replaced_when_it_is_closed(
    windows: ModuleType, monkeypatch: pytest.MonkeyPatch, winerror: int
) -> None:
    failures = [DeniedError(winerror)] * 3
    waited: list[float] = []

    def replace(*_: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", waited.append)
    windows.replace(Path("new"), Path("state"))
    assert len(waited) == 3
    assert sum(waited) < 0.2


def test_a_file_that_stays_open_is_an_error_that_says_so(windows: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def replace(*_: object) -> None:
        raise DeniedError(32)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with pytest.raises(PermissionError, match="open in another program") as caught:
        windows.replace(Path("new"), Path("state"))
    assert caught.value.filename == "state"
    assert 2 < clock[0] < 3


def test_what_is_forbidden_for_another_reason_is_not_waited_for(
    windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: object) -> None:
        raise DeniedError(1314)  # a privilege is not held

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(DeniedError):
        windows.replace(Path("new"), Path("state"))


def test_readers_that_are_gone(windows: ModuleType) -> None:
    assert system.nobody_reads(BrokenPipeError())
    assert windows.nobody_reads(BrokenPipeError())
    assert windows.nobody_reads(OSError(22, "Invalid argument"))
    assert not windows.nobody_reads(OSError(22, "Invalid argument", "what?.pth"))
    assert not windows.nobody_reads(OSError(28, "No space left on device"))
    assert not system.nobody_reads(OSError(28, "No space left on device"))


def test_ending_a_program_on_windows(windows: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its children too; and it shares the console, so that Ctrl-C reaches it."""
    assert windows.together() == {}
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    running = SimpleNamespace(pid=1234, poll=lambda: None, wait=lambda: 0)
    windows.end(running)
    windows.end(SimpleNamespace(pid=1235, poll=lambda: 0, wait=lambda: 0))
    assert commands == [["taskkill", "/T", "/F", "/PID", "1234"]]


@posix
def test_ending_a_program_ends_what_it_has_started() -> None:
    inner = "import time; print('ready', flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, **system.together())
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    begin = time.monotonic()
    system.end(process)
    with process.stdout:
        assert process.stdout.read() == b""  # its end: nobody holds the pipe open any more
    assert time.monotonic() - begin < 30


@posix
def test_opening_waits_for_nothing_and_overwrites_nothing(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    opened: list[int] = []
    thread = threading.Thread(target=lambda: opened.append(system.open_read(pipe)), daemon=True)
    thread.start()
    thread.join(5)
    assert opened
    os.close(opened[0])
    os.close(system.open_new(file))
    with pytest.raises(FileExistsError):
        system.open_new(file)


@posix
@pytest.mark.parametrize(("mode", "private"), [(0o700, True), (0o755, True), (0o775, False), (0o777, False)])
def test_what_is_private(tmp_path: Path, mode: int, private: bool) -> None:
    tmp_path.chmod(mode)
    assert system.is_private(tmp_path.stat()) is private
    if Path("/proc/1").stat().st_uid != os.geteuid():
        assert not system.is_private(Path("/proc/1").stat())


@posix
def test_who_reads_a_replaced_file_goes_on_reading(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"then")
    new.write_bytes(b"now")
    with old.open("rb") as file:
        system.replace(new, old)
        assert file.read() == b"then"
    assert old.read_bytes() == b"now"
    assert not new.exists()


@pytest.mark.parametrize("page", ["ascii", "cp1252", "cp932", "cp437"])
def test_code_pages_that_lack_a_letter(tmp_path: Path, page: str) -> None:
    """A file with any name is told of, whatever the console can show."""
    file = tmp_path / "映画ёжик\N{GRINNING FACE}.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    done = subprocess.run(
        [sys.executable, "-m", "vs_sr", "weights", "show", str(file)],
        env=environment(PYTHONIOENCODING=page, PYTHONUTF8="0"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\U0001f600.safetensors: " in done.stdout
