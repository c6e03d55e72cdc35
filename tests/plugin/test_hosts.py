"""The plugin in a program without Python: here, the Windows build under Wine, that for ARM under emulation.

The program is helpers/host.cpp; it opens VapourSynth's own library and does what a script would.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vapoursynth as vs
from helpers.support import ROOT, environment
from helpers.wheels import download, qemu, wheel, wine, zig

from vs_sr import _names, arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

HELPERS = ROOT / "tests" / "helpers"
STANDARD = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{vs.get_include()}"]


def build(
    compiler: list[str], folder: Path, program: str, python: str, *, options: Sequence[str] = ()
) -> tuple[Path, Path]:
    """The host, and the library that plays Python before it."""
    host, played = folder / program, folder / python
    subprocess.run([*compiler, *STANDARD, *options, str(HELPERS / "host.cpp"), "-o", str(host)], check=True)
    shared = ["-shared", "-fPIC", str(HELPERS / "played_python.cpp"), "-o", str(played)]
    subprocess.run([*compiler, *STANDARD, *shared], check=True)
    return host, played


def run(command: list[str], **variables: str) -> list[str]:
    """The lines that the host has printed, all of its checks well."""
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    return done.stdout.splitlines()


def check(lines: list[str]) -> None:
    """All functions with their arguments, and in both cores the frames of helpers and the error of a filter."""
    functions = dict(re.findall(r"^function (\w+)\((.*)\)$", "\n".join(lines), re.M))
    expected = {name: arguments.signature(entry.kind) for name, entry in _names.BUILTIN.items()}
    assert {name: functions.get(name) for name in expected} == expected
    assert functions.keys() == expected.keys() | _names.HELPERS
    assert not [line for line in lines if line.startswith("log ")]
    error = "ok ZoomingSlowMo: this host has no Python interpreter, and the filters of vs_sr run in Python"
    assert len([line for line in lines if line.startswith(error)]) == 2
    assert "ok XTemporal's frames: 0,1,10,11,20,21,30,31,40,41" in lines
    assert "ok XTemporal's frames: 41,40,31,30,21,20,11,10,1,0" in lines
    assert "ok XRoute's frames: 200,201,202,203,204" in lines
    assert "ok with Python: ZoomingSlowMo: PlayedError: vs_sr._entry.call(ZoomingSlowMo)" in lines
    assert "ok with Python: Installed: PlayedError: vs_sr._entry.call(Installed)" in lines
    assert lines[-1] == "ok all cores are freed"


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_a_host_without_python(tmp_path: Path) -> None:
    program, played = build(["c++"], tmp_path, "host", "libplayed_python.so")
    library = next(Path(vs.__file__).parent.glob("libvapoursynth.so*"))
    check(run([str(program), str(library), str(played)]))


def unpacked(tmp_path: Path, tag: str, platform: str) -> Path:
    """Our wheel unpacked over VapourSynth's own, in a folder whose name is not ASCII, as users have them."""
    site = tmp_path / "Größe"
    version = importlib.metadata.version("vapoursynth")
    for archive in (download(f"vapoursynth=={version}", tag, tmp_path), wheel(platform)):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(site)
    return site / "vapoursynth"


@pytest.mark.slow
def test_the_windows_wheel_under_wine(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, "win_amd64", "win_amd64")
    assert {path.name for path in (folder / "plugins" / "vs_sr").iterdir()} == {"libvs_sr.dll", "manifest.vs"}
    # -O3, as the plugin is built: zig's C++ library for it serves here, too.
    compiler = [*zig(), "-target", "x86_64-windows-gnu", "-O3", "-s"]
    program, played = build(compiler, tmp_path, "host.exe", "python3.dll")
    libraries = [f"Z:{path}".replace("/", "\\") for path in (folder / "libvapoursynth.dll", played)]
    check(run([wine(), str(program), *libraries], WINEPREFIX=str(tmp_path / "wine"), WINEDEBUG="-all", DISPLAY=""))


@pytest.mark.slow
def test_the_arm_wheel_under_emulation(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, "manylinux_2_28_aarch64", "manylinux_2_28_aarch64")
    compiler = [*zig(), "-target", "aarch64-linux-gnu.2.28", "-O3", "-s", "-fPIC"]
    program, played = build(compiler, tmp_path, "host", "libplayed_python.so", options=["-pie"])
    check(run([*qemu(), str(program), str(next(folder.glob("libvapoursynth.so*"))), str(played)]))
