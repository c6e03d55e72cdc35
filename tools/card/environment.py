"""An environment made of the kit, over the packages that the machine has; no registry is asked."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tools.card import kit
from tools.card.machine import ROOT


def make(folder: Path, carried: Path) -> Path:
    """Make it from nothing, for the interpreter that this runs in, which is the one with torch.

    Args:
        folder: of the environment.
        carried: the kit.

    Returns:
        Its interpreter.

    Raises:
        subprocess.CalledProcessError: pip could not install the kit.
    """
    # The machine's pip serves, where it has one: that saves seconds.
    foreign = importlib.util.find_spec("pip") is not None
    venv.create(folder, clear=True, symlinks=True, with_pip=not foreign)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)] if foreign else [str(python), "-m", "pip"]
    offline = ["install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, *offline, *map(str, kit.wheels(carried))], check=True)
    packages = sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)})
    (Path(packages) / "card.pth").write_text(beneath(sys.path), encoding="utf-8")
    return python


def beneath(path: list[str]) -> str:
    """The .pth file that puts the checkout, and then the machine's own packages, after those of the kit.

    ``--system-site-packages`` would miss them where the interpreter with torch is one of a virtual environment.
    """
    folders = [each for each in path if Path(each).name in ("site-packages", "dist-packages")]
    return "".join([f"{ROOT}\n", *(f"import site; site.addsitedir({each!r})\n" for each in folders)])


def variables(python: Path, scratch: Path, *, rehearsal: bool) -> dict[str, str]:
    """The environment's variables for programs of it.

    Args:
        python: its interpreter.
        scratch: a folder for what programs keep between runs: the user's own caches and settings stay as they are.
        rehearsal: whether there may be no card.
    """
    changed = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the machine's may not fit the kit's pytest
        "VS_SR_CACHE": str(scratch / "kernels"),
        "XDG_CONFIG_HOME": str(scratch),  # where VapourSynth notes which Python it uses
        "TRITON_CACHE_DIR": str(scratch / "triton"),
    }
    if not rehearsal:
        changed["VS_SR_REQUIRE_CUDA"] = "1"
    return {**os.environ, **changed}
