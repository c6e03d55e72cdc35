"""What several test files need: vspipe and Python as users run them, clips whose pixels tell their number."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import vapoursynth as vs

BIN = Path(sys.executable).parent
"""The virtual environment's folder of programs; not resolved, since its links lead out of the environment."""

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""


@functools.cache
def _configuration() -> str:
    """A folder for VapourSynth's settings file, so that tests leave the user's own alone."""
    folder = tempfile.mkdtemp(prefix="vs_sr-test-config-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment(**extra: str) -> dict[str, str]:
    """The environment of a process that finds the programs of this virtual environment and vs_sr itself."""
    changed = {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "XDG_CONFIG_HOME": _configuration(),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }
    return {**os.environ, **changed, **extra}


def vspipe_program() -> Path:
    """The vspipe that does the work; the one on PATH is a Python script that starts it."""
    return Path(vs.__file__).with_name("vspipe")


def vspipe(
    script: Path | str,
    *arguments: str,
    output: str = "-",
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """``vspipe arguments... script output``, as typed into a shell.

    Args:
        script: A .vpy file, or the text of one (recognized by a line break).
        *arguments: Options, ``"-c", "y4m"`` for example.
        output: ``"-"`` for stdout, as bytes; ``"--"`` for none.
        env: Environment, :func:`environment` by default.
        timeout: In seconds, after which the test fails.
        cwd: Folder to run in; by default not the project's, as a user's would not be.
    """
    with tempfile.TemporaryDirectory(prefix="vs_sr-test-") as folder:
        path = script
        if isinstance(script, str) and "\n" in script:
            path = Path(folder) / "script.vpy"
            path.write_text(script, encoding="utf-8")
        return subprocess.run(
            [str(BIN / "vspipe"), *arguments, str(path), output],
            env=env or environment(),
            capture_output=True,
            timeout=timeout,
            cwd=cwd or folder,
            check=False,
        )


def python(
    code: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """``python -c code arguments...`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd or tempfile.gettempdir(),
        check=False,
    )


def vs_sr(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """``vs-sr arguments...``, as typed into a shell."""
    return subprocess.run(
        [BIN / "vs-sr", *arguments], capture_output=True, text=True, env=environment(), timeout=timeout, check=False
    )


def numbered(length: int, width: int = 8, height: int = 8, **blank: int) -> vs.VideoNode:
    """A GRAY16 clip; every pixel of frame n is n mod 65536. ``blank`` goes to std.BlankClip."""
    source = vs.core.std.BlankClip(length=length, width=width, height=height, format=vs.GRAY16, keep=True, **blank)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[:] = n % 65536
        return frame

    return source.std.ModifyFrame(source, write)


def pixel(frame: vs.VideoFrame) -> int:
    """The top left sample of plane 0."""
    return int(np.asarray(frame[0])[0, 0])
