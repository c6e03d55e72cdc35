"""What a bare machine lacks, in one folder that is carried there: ``make card-kit``.

Wheels at the versions of requirements.txt, a peer to compare with, and the plugin in a wheel of its own: the package
itself is run from the checkout, so that a kernel can be changed there. torch, CuPy, numpy and torchvision are the
machine's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.card.machine import ROOT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

FOLDER = ROOT / "build" / "card-kit"
MANIFEST = "manifest.json"
FRAMES = "frames.npy"
"""Real frames, small: where VS_SR_TEST_DATA has footage. They are measured with, and are no part of the project."""
LIMIT = 60 << 20
"""Bytes of all files together."""

CARRIED = (
    *("vapoursynth", "av", "pluggy", "safetensors"),
    *("pytest", "iniconfig", "packaging", "pygments", "pytest-benchmark", "py-cpuinfo2", "hypothesis"),
    "sortedcontainers",
)
"""What vs_sr and its tests import, and what that needs; requirements.txt has the versions."""

PEERS = ("deformops==3.0.1",)
"""Compared with; no part of the project's own environment. Pure Python: its kernels are Triton's."""


class KitError(Exception):
    """There is no kit that can be used; says what to do."""


def requirements(text: str, without: Collection[str] = ()) -> list[str]:
    """What is carried, with versions.

    Args:
        text: of requirements.txt.
        without: names that stay behind.

    Raises:
        KitError: it lacks one.
    """
    pinned = {line.partition("==")[0]: line for line in text.split()}
    if missing := [name for name in CARRIED if name not in pinned]:
        raise KitError(f"requirements.txt has no {', '.join(missing)}")
    return [each for each in (*(pinned[name] for name in CARRIED), *PEERS) if each.partition("==")[0] not in without]


def sources(root: Path = ROOT) -> str:
    """A digest of what the plugin is built from: a kit with another one is of another checkout."""
    names = ("vs_sr/_names.py", "vs_sr/arguments.py", "plugins/vapoursynth/CMakeLists.txt")
    digest = hashlib.sha256()
    for path in sorted([*(root / name for name in names), *(root / "plugins" / "vapoursynth" / "src").glob("*.*")]):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def manifest(folder: Path, wanted: list[str], digest: str) -> dict[str, Any]:
    """What a folder holds.

    Raises:
        KitError: more than may be carried.
    """
    files = {path.name: described(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    size = sum(entry["bytes"] for entry in files.values())
    if size > LIMIT:
        raise KitError(f"the kit has {size:,} bytes; {LIMIT:,} can be carried")
    return {"bytes": size, "requirements": wanted, "plugin": digest, "files": files}


def check(folder: Path, digest: str) -> dict[str, Any]:
    """The manifest of a kit that is whole, and fits the checkout.

    Args:
        folder: of the kit.
        digest: of the checkout: :func:`sources`.

    Raises:
        KitError: it does not.
    """
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(f"{folder}: no kit, or not a whole one ({error}); make card-kit, where a registry is") from None
    for name, entry in found["files"].items():
        if not (folder / name).is_file() or described(folder / name) != entry:
            raise KitError(f"{folder / name}: missing or damaged; carry the kit again")
    if found["plugin"] != digest:
        raise KitError(f"{folder}: the plugin in it is of other sources; make card-kit again")
    return found


def wheels(folder: Path) -> Iterator[Path]:
    """Those of a kit."""
    yield from sorted(folder.glob("*.whl"))


def collect(folder: Path, without: Collection[str] = ()) -> dict[str, Any]:
    """Make the kit; what was in the folder is gone.

    Args:
        folder: of the kit.
        without: names that stay behind, for a lighter one.

    Raises:
        KitError: it cannot be made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"), without)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*command, "--only-binary=:all:", "--dest", folder, *wanted], check=False).returncode:
        raise KitError("pip could not fetch the wheels; is a registry in reach?")
    _plugin(folder)
    _frames(folder)
    made = manifest(folder, wanted, sources())
    (folder / MANIFEST).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


def _plugin(folder: Path) -> None:
    """A wheel of the plugin and vs-sr's name alone; it asks for the C library and nothing else."""
    settings = {
        "wheel.exclude": "vs_sr/**",
        "build-dir": "build/card-plugin",
        "cmake.define.CMAKE_MODULE_LINKER_FLAGS": "-static-libstdc++ -static-libgcc",
    }
    code = f"import scikit_build_core.build as b; b.build_wheel({str(folder)!r}, config_settings={settings!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KitError(f"the plugin cannot be built:\n{done.stdout}{done.stderr}")


def _frames(folder: Path) -> None:
    """Every other frame of a clip, at a quarter of its size."""
    footage = Path(os.environ.get("VS_SR_TEST_DATA", "-")) / "footage" / "vid4" / "calendar"
    if not footage.is_dir():
        return
    import numpy as np

    from vs_sr.evaluation import measure

    frames = np.stack([measure.read(path) for path in measure.images(footage)[::2]])
    count, height, width, channels = frames.shape
    blocks = frames.reshape(count, height // 4, 4, width // 4, 4, channels)
    np.save(folder / FRAMES, blocks.mean(axis=(2, 4)).round().astype(np.uint8))


def described(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def main() -> int:
    """Run ``python -m tools.card.kit``."""
    parser = argparse.ArgumentParser(prog="python -m tools.card.kit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the kit, emptied first")
    names = [*CARRIED, *(each.partition("==")[0] for each in PEERS)]
    parser.add_argument("--without", nargs="+", choices=names, default=(), metavar="NAME", help="stays behind")
    options = parser.parse_args()
    try:
        made = collect(options.out.resolve(), options.without)
    except KitError as error:
        print(f"card-kit: {error}", file=sys.stderr)
        return 1
    for name, entry in made["files"].items():
        print(f"{entry['bytes']:>12,}  {name}")
    print(f"{made['bytes']:>12,}  in {options.out}, of {LIMIT:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
