"""What a machine with a card, and without films and a network, needs to train: ``make train-kit``.

Clips of the next recipe, packed as small as they have to be, the weights that it begins with, and where it stands. All
else is in the checkout: no wheel is carried, since packed clips want nothing but Pillow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.card.kit import LIMIT, MANIFEST, KitError, described
from tools.card.machine import ROOT
from tools.train import order
from vs_sr.errors import VsSrError

FOLDER = ROOT / "build" / "train-kit"
CLIPS, START, CHECKPOINT, AVERAGES = "clips.zip", "start.safetensors", "checkpoint.safetensors", "averages.safetensors"


def collect(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make the kit; what was in the folder is gone.

    Raises:
        KitError: it does not fit into the limit, or nothing is left to train.
        VsSrError: the recipe lacks files, or they cannot be read.
    """
    from vs_sr.cli._progress import Progress
    from vs_sr.runtime import torch  # noqa: F401 - its threads sleep where they wait
    from vs_sr.training import packed, pool
    from vs_sr.training.recipe import Place, load

    upcoming = order.following(options.order)
    recipe = load(upcoming.recipe)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if options.start:
        shutil.copyfile(options.start, folder / START)
    stands = options.run / CHECKPOINT if options.run else None
    if stands and stands.exists():
        shutil.copyfile(stands, folder / CHECKPOINT)
    elif upcoming.kept:
        shutil.copyfile(upcoming.kept, folder / AVERAGES)
    taken = sum(path.stat().st_size for path in folder.iterdir())
    limit = int(options.limit * (1 << 20)) - taken
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(
            out=options.run or Path(scratch),
            video=tuple(options.video),
            images=tuple(options.images),
            photos=tuple(options.photos),
            attribution=options.attribution,
            workers=options.workers,
        )
        with Progress() as progress:
            clips = pool.load(recipe.data, place, progress)
        about = pool.described(recipe.data, place), pool.given(place)
        psnr = packed.pack(folder / CLIPS, clips, recipe.data, about[1], about[0], limit)
        del clips
    files = {path.name: described(path) for path in sorted(folder.iterdir())}
    size = sum(entry["bytes"] for entry in files.values())
    if size > options.limit * (1 << 20):
        raise KitError(f"the kit has {size:,} bytes; {options.limit:g} MiB can be carried")
    name = str(Path(upcoming.recipe).resolve()) if Path(upcoming.recipe).is_file() else upcoming.recipe
    made = {
        "recipe": os.path.relpath(name, ROOT) if name.startswith("/") else name,
        "batches": upcoming.batches,
        "clips_psnr": round(psnr, 2),
        "bytes": size,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a kit that is whole.

    Raises:
        KitError: it is not, or is none.
    """
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(f"{folder}: no kit, or not a whole one ({error}); make train-kit, where the films are") from None
    for name, entry in found["files"].items():
        if not (folder / name).is_file() or described(folder / name) != entry:
            raise KitError(f"{folder / name}: missing or damaged; carry the kit again")
    return found


def main() -> int:
    """Run ``python -m tools.train.kit``."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.kit", description=(__doc__ or "").partition(":")[0])
    add = parser.add_argument
    add("--out", type=Path, default=FOLDER, help="folder for the kit, emptied first")
    add("--order", type=Path, default=order.FOLDER, help="folder of order.toml")
    add("--run", type=Path, help="folder of a run that goes on with its checkpoint; its clips are taken, too")
    add("--limit", type=float, default=LIMIT / (1 << 20), help="MiB of all; clips are as good as that leaves room for")
    add("--workers", type=int, default=1, help="processes that make clips")
    for name, what in (("video", "films"), ("images", "folders of images"), ("photos", "folders of photographs")):
        add(f"--{name}", type=Path, nargs="+", default=[], help=f"{what}, as `vs-sr train` takes them")
    add("--start", type=Path, help="weights to begin with")
    add("--attribution", default="", help="whose they are")
    options = parser.parse_args()
    try:
        made = collect(options.out.resolve(), options)
    except (KitError, VsSrError) as error:
        print(f"train-kit: {error}", file=sys.stderr)
        return 1
    for name, entry in made["files"].items():
        print(f"{entry['bytes']:>12,}  {name}")
    print(f"{made['bytes']:>12,}  for {made['recipe']}; clips have {made['clips_psnr']} dB against what they were")
    return 0


if __name__ == "__main__":
    sys.exit(main())
