"""Packages that add to vs_sr: as their source is, or installed by pip."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from helpers.support import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def loaded(source: Path) -> Any:
    """The module of a package that is not installed."""
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_packages(folder: Path) -> Mapping[str, str]:
    """The environment in which the packages of a folder are found."""
    env = environment()
    return {**env, "PYTHONPATH": f"{folder}:{env['PYTHONPATH']}"}


def installed(package: Path, folder: Path) -> Mapping[str, str]:
    """The environment in which pip has installed a package, into ``folder``."""
    source, site = folder / "source", folder / "site"
    shutil.copytree(package, source, ignore=shutil.ignore_patterns("__pycache__"))  # building leaves files there
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", site, source], check=True)
    return with_packages(site)
