"""Files that are too large to come back whole: one archive, cut into pieces, and joined where each of them is right.

``python -m tools.train.pieces FOLDER --into RUN`` brings what `make train-card` left in FOLDER to the folder of a run;
``--keep`` puts its averages where an unfinished recipe goes on from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools.card.kit import KitError
from tools.train import order

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE = 16 << 20
"""Bytes of a piece, at most."""
MANIFEST = "pieces.json"
_BLOCK = 1 << 20


def split(paths: Sequence[Path], folder: Path, piece: int = PIECE) -> list[Path]:
    """Write files to pieces of an archive in ``folder``, and a manifest of them; the pieces' paths."""
    found: list[Path] = []
    with tempfile.TemporaryFile() as whole:
        with tarfile.open(fileobj=whole, mode="w") as archive:
            for path in paths:
                archive.add(path, path.name)
        whole.seek(0)
        digests: dict[str, str] = {}
        while part := whole.read(piece):
            path = folder / f"run.{len(found):02}"
            path.write_bytes(part)
            digests[path.name] = hashlib.sha256(part).hexdigest()
            found.append(path)
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return found


def join(folder: Path, into: Path) -> list[Path]:
    """Bring the files back; nothing is written where a piece is missing or damaged.

    Raises:
        KitError: one is.
    """
    try:
        digests: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(f"{folder}: no pieces ({error})") from None
    with tempfile.TemporaryFile() as whole:
        for name, digest in digests.items():
            path = folder / name
            part = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(part).hexdigest() != digest:
                raise KitError(f"{path}: missing or damaged; fetch it again")
            whole.write(part)
        whole.seek(0)
        into.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=whole) as archive:
            archive.extractall(into, filter="data")
            return [into / name for name in archive.getnames()]


def keep(paths: Sequence[Path], folder: Path = order.FOLDER) -> Path:
    """Put an unfinished run's averages beside the order; where to.

    Raises:
        KitError: it has ended, has left none, or they are too large.
    """
    recipe = order.following(folder)
    weights = [path for path in paths if path.suffix == ".safetensors" and path.name != "checkpoint.safetensors"]
    if not weights or not order.unfinished(weights[0]):
        raise KitError("the run has ended or left no weights: ship them, and take its recipe off the order")
    if weights[0].stat().st_size > order.LARGEST:
        raise KitError(f"{weights[0].name} has {weights[0].stat().st_size:,} bytes; {order.LARGEST:,} are kept")
    target = folder / f"{Path(recipe.recipe).stem}.safetensors"
    shutil.copyfile(weights[0], target)
    return target


def main() -> int:
    """Run ``python -m tools.train.pieces``."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train.pieces", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="with the pieces")
    parser.add_argument("--into", type=Path, required=True, help="folder of a run")
    parser.add_argument("--keep", action="store_true", help="averages, too, beside the order of recipes")
    options = parser.parse_args()
    try:
        found = join(options.folder, options.into)
        print(*found, *([keep(found)] if options.keep else []), sep="\n")
    except KitError as error:
        print(f"train-back: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
