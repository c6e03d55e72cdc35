"""Building and checking: a wheel for a platform, the source archive."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tools.wheels import binaries

if TYPE_CHECKING:
    from tools.wheels.targets import Target

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "vapoursynth/plugins/vs_sr"
"""Where VapourSynth looks for the library, in a wheel."""
SDIST_LIMIT = 500_000
"""Bytes that the source archive may have beside the shipped weights, which nothing compresses."""


class BuildError(Exception):
    """What was built is not what is promised."""


def wheel(target: Target, folder: Path, root: Path = ROOT) -> Path:
    """Build a wheel, and check it.

    Args:
        target: the platform.
        folder: where it is put.
        root: of the sources.

    Raises:
        BuildError: it cannot be built, asks for more than the platform has, or lacks a part.
    """
    shutil.rmtree(root / "build" / target.platform, ignore_errors=True)
    settings = {
        "wheel.tags": target.tag,
        "build-dir": f"build/{target.platform}",
        "cmake.define.CMAKE_TOOLCHAIN_FILE": str(ROOT / "tools" / "wheels" / "zig.cmake"),
        "cmake.define.VS_SR_WERROR": "ON",
        "wheel.reproducible": "true",
        "install.strip": "false",  # the linker has done so, for every platform
    }
    environment = {
        "VS_SR_SYSTEM": target.system,
        "VS_SR_PROCESSOR": target.processor,
        "VS_SR_TARGET": target.zig,
        "VS_SR_ZIG": str(_zig()),
    }
    built = folder / _backend("build_wheel", folder, root, settings, environment)
    check_wheel(built, target, root)
    return built


def sdist(folder: Path, root: Path = ROOT) -> Path:
    """Build the source archive, and check it.

    Raises:
        BuildError: it is too large, or lacks a source.
    """
    built = folder / _backend("build_sdist", folder, root, {}, {})
    limit = SDIST_LIMIT + sum(path.stat().st_size for path in _weights(root))
    if built.stat().st_size > limit:
        raise BuildError(f"{built.name} has {built.stat().st_size:,} bytes; {limit:,} are promised")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    _check_parts(built, names, {f"plugins/vapoursynth/src/{path.name}" for path in _sources(root)})
    return built


def check_wheel(path: Path, target: Target, root: Path = ROOT) -> None:
    """Check a wheel's name, its parts and its library.

    Raises:
        BuildError: something is not as promised; all of it is named.
    """
    if not re.fullmatch(rf"vs_sr-[\w.]+-{target.tag}\.whl", path.name):
        raise BuildError(f"{path.name} does not end in {target.tag}.whl")
    library = f"{PLUGIN}/{target.library}"
    kernels = {f"vs_sr/kernels/{kernel.name}" for kernel in (root / "kernels").glob("*.cu*")}
    weights = {path.relative_to(root).as_posix() for path in _weights(root)}
    with TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        _check_parts(path, set(archive.namelist()), {library, f"{PLUGIN}/manifest.vs"} | kernels | weights)
        found = binaries.read(Path(archive.extract(library, folder)))
    if problems := list(binaries.problems(found, target)):
        raise BuildError(f"{path.name}: {target.library}: {'; '.join(problems)}")
    if target.format == "ELF":
        _audit(path, target)


def _audit(path: Path, target: Target) -> None:
    """What the tool says that the field trusts in this."""
    command = [sys.executable, "-m", "auditwheel", "show", str(path)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r'"manylinux_(\d+)_(\d+)_(\w+)"', text)
    promised = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", target.platform)
    assert promised is not None
    if not found or found[3] != promised[3] or (int(found[1]), int(found[2])) > (int(promised[1]), int(promised[2])):
        raise BuildError(f"{path.name}: auditwheel does not find it to be {target.platform}:\n{text}")


def _check_parts(path: Path, names: set[str], wanted: set[str]) -> None:
    if missing := sorted(wanted - names):
        raise BuildError(f"{path.name} lacks {', '.join(missing)}")
    if stray := sorted(name for name in names if name.endswith((".pyc", ".o", ".obj", ".pdb", ".lib"))):
        raise BuildError(f"{path.name} has {', '.join(stray)} in it")


def _sources(root: Path) -> list[Path]:
    return [path for path in (root / "plugins" / "vapoursynth" / "src").iterdir() if path.is_file()]


def _weights(root: Path) -> list[Path]:
    return list((root / "vs_sr" / "weights").glob("*.safetensors"))


def _backend(hook: str, folder: Path, root: Path, settings: dict[str, str], environment: dict[str, str]) -> str:
    """Call a hook of the build backend in a process of its own; the name of what it has made."""
    code = f"import scikit_build_core.build as b; print(b.{hook}({str(folder)!r}, config_settings={settings!r}))"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=_surroundings() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{hook} failed:\n{done.stdout}")
    return done.stdout.split()[-1]


def _surroundings() -> dict[str, str]:
    """The environment without what would change the bytes of a build."""
    decided = (
        "CC",
        "CXX",
        "CFLAGS",
        "CXXFLAGS",
        "CPPFLAGS",
        "LDFLAGS",
        "SOURCE_DATE_EPOCH",
        "MACOSX_DEPLOYMENT_TARGET",
    )
    return {
        name: value
        for name, value in os.environ.items()
        if name not in decided and not name.startswith(("CMAKE_", "SKBUILD_"))
    }


def _zig() -> Path:
    """The compiler of the package ``ziglang``.

    Raises:
        BuildError: it is not installed.
    """
    try:
        files = importlib.metadata.distribution("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "ziglang is not installed; `make wheels` installs tools/wheels/requirements.txt first"
        ) from None
    return Path(str(files.locate_file("ziglang"))) / ("zig.exe" if os.name == "nt" else "zig")
