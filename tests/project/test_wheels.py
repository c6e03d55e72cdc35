"""What `make wheels` builds: what it refuses, and its wheels used."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.support import ROOT, environment
from helpers.wheels import DIST, missing, wheel, zig

import vs_sr
from tools.wheels import build
from tools.wheels.binaries import ENTRY, Library, problems
from tools.wheels.targets import TARGETS, Target

BY_FORMAT = {target.format: target for target in reversed(TARGETS)}


def library(target: Target, **changes: object) -> Library:
    """A library that is as it should be, but for the changes."""
    good = Library(
        format=target.format,
        processor=target.processor,
        needs=frozenset({name.replace("*", "any") for name in target.libraries}),
        exports=frozenset({ENTRY}),
        minimum=target.minimum,
        stripped=True,
    )
    return replace(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.platform)
def test_a_library_as_it_should_be(target: Target) -> None:
    assert list(problems(library(target), target)) == []


@pytest.mark.parametrize(
    ("format", "changes", "part"),
    [
        ("ELF", {"needs": frozenset({"libstdc++.so.6"})}, "needs libstdc++.so.6"),
        ("ELF", {"needs": frozenset({"libpython3.12.so.1.0"})}, "needs libpython3.12.so.1.0"),
        ("ELF", {"minimum": "2.34"}, "needs version 2.34"),
        ("ELF", {"processor": "aarch64"}, "ELF for aarch64"),
        ("ELF", {"exports": frozenset({ENTRY, "_Znwm"})}, "exports VapourSynthPluginInit2, _Znwm"),
        ("ELF", {"exports": frozenset()}, "exports nothing"),
        ("ELF", {"stripped": False}, "not stripped"),
        ("PE", {"needs": frozenset({"MSVCP140.dll"})}, "needs MSVCP140.dll"),
        ("PE", {"needs": frozenset({"libvapoursynth.dll"})}, "needs libvapoursynth.dll"),
        ("PE", {"needs": frozenset({"KERNEL32.dll", "python3.dll"})}, "needs python3.dll"),
        ("MACHO", {"needs": frozenset({"/usr/lib/libc++.1.dylib"})}, "needs /usr/lib/libc++.1.dylib"),
        ("MACHO", {"minimum": "14.0"}, "needs version 14.0"),
        ("MACHO", {"minimum": ""}, "does not say that it runs on 11.0"),
        ("MACHO", {"format": "ELF"}, "ELF for arm64, not MACHO"),
    ],
)
def test_what_a_library_may_not_ask_for(format: str, changes: dict[str, object], part: str) -> None:
    target = BY_FORMAT[format]  # type: ignore[index]
    [problem] = problems(library(target, **changes), target)
    assert part in problem


def test_the_version_has_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["scikit-build"]["metadata"]["version"]["input"] == "vs_sr/__init__.py"
    [archive] = [path.name for path in DIST.glob("*.tar.gz")] or [f"vs_sr-{vs_sr.__version__}.tar.gz"]
    assert archive == f"vs_sr-{vs_sr.__version__}.tar.gz"


FILM = """\
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=32, height=24, length=3, format=vs.YUV420P8, color=[90, 128, 128])
vs.core.vs_sr.ZoomingSlowMo(clip).set_output()
"""


@pytest.mark.slow
def test_the_linux_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    """Installed with its dependencies, and a film made by vspipe; nothing of this checkout is in sight."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        missing("uv is not installed: make install")
    built = wheel("manylinux_2_28_x86_64")
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    subprocess.run([*command, "-c", str(ROOT / "requirements.txt"), str(built)], check=True, timeout=600)
    script = tmp_path / "film.vpy"
    script.write_text(FILM, encoding="utf-8")
    clean = {**environment(PATH=f"{folder / 'bin'}:/usr/bin:/bin", OMP_NUM_THREADS="1"), "PYTHONPATH": ""}
    done = subprocess.run(
        [str(folder / "bin" / "vspipe"), "-c", "y4m", str(script), "-"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"YUV4MPEG2 C420 W128 H96 F48:1 ")
    assert done.stdout.count(b"FRAME\n") == 6
    assert len(done.stdout) > 6 * 128 * 96 * 3 // 2


@pytest.mark.slow
def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """The wheel from the source archive, in another folder, under another umask; the archive from the checkout."""
    built = wheel("manylinux_2_28_x86_64")
    zig()
    [archive] = DIST.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    [tree] = tmp_path.glob("vs_sr-*")
    command = [sys.executable, "-m", "tools.wheels", "--platform", "manylinux_2_28_x86_64", "--out", str(tmp_path)]
    subprocess.run(command, cwd=tree, env={**environment(), "PYTHONPATH": ""}, check=True, umask=0o077)
    assert (tmp_path / built.name).read_bytes() == built.read_bytes()
    assert build.sdist(tmp_path / "again").read_bytes() == archive.read_bytes()
