"""Wheels that `make wheels` has built, and what they are tried with. CI may not pass by skipping them."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from helpers.support import ROOT

DIST = ROOT / "dist"


def missing(reason: str) -> NoReturn:
    """Skip a test, or fail it where ``VS_SR_REQUIRE_WHEELS=1`` says that everything must be there."""
    if os.environ.get("VS_SR_REQUIRE_WHEELS") == "1":
        pytest.fail(f"VS_SR_REQUIRE_WHEELS=1, and {reason}")
    pytest.skip(reason)


def wheel(platform: str) -> Path:
    """The wheel of a platform, as young as its sources."""
    version = importlib.metadata.version("vs-sr")
    path = DIST / f"vs_sr-{version}-py3-none-{platform}.whl"
    if not path.exists():
        missing(f"there is no {path.name} in dist/: make wheels PLATFORM={platform}")
    sources = [*(ROOT / "plugins" / "vapoursynth").rglob("*.?pp"), *(ROOT / "vs_sr").glob("*.py")]
    if any(source.stat().st_mtime > path.stat().st_mtime for source in sources):
        missing(f"{path.name} is older than its sources: make wheels PLATFORM={platform}")
    return path


def zig() -> list[str]:
    """The C++ compiler that `make wheels` installs."""
    try:
        importlib.metadata.distribution("ziglang")
    except importlib.metadata.PackageNotFoundError:
        missing("ziglang is not installed: make wheels")
    return [sys.executable, "-m", "ziglang", "c++"]


def wine() -> str:
    """A program that runs Windows' programs."""
    folders = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/lib/wine"  # Debian's wine64 is not on PATH
    found = shutil.which("wine64", path=folders) or shutil.which("wine", path=folders)
    return found or missing("there is no Wine here: apt-get install wine64")


def qemu() -> list[str]:
    """What runs programs for Linux on ARM, with the libraries that they need."""
    found, libraries = shutil.which("qemu-aarch64"), Path("/usr/aarch64-linux-gnu")
    if found is None or not (libraries / "lib" / "libstdc++.so.6").exists():
        missing("there is no emulator of ARM here: apt-get install qemu-user libstdc++6-arm64-cross")
    return [found, "-L", str(libraries)]


def download(requirement: str, platform: str, folder: Path) -> Path:
    """The wheel of a package for another platform."""
    options = ["--platform", platform, "--only-binary", ":all:", "--no-deps", "-d", str(folder)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        missing(f"{requirement} for {platform} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    [found] = folder.glob("*.whl")
    return found
