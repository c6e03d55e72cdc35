"""The first losses of recipes, again: ``python -m tests.bench.losses --video bbb.mp4 --photos photos [RECIPE ...]``.

Runs 100 steps of each on the CPU and compares them with ``benchmarks/training/losses``, which ``--write`` makes. The
same kind of device has to give the same losses within 2 %; exit status 1 where it does not. Recipes that begin with
weights begin with shipped ones here, those for x4 with x2's; ``--start FOLDER`` has others by these names.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from vs_sr.training import recipe as recipes

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "training" / "losses"
STEPS = 100
LIMIT = 0.02


def first(name: str, out: Path, options: argparse.Namespace) -> list[float]:
    """The losses of the first steps of a recipe; its run is in ``out``."""
    facts = recipes.load(name)
    command = [sys.executable, "-m", "vs_sr", "train", name, "--out", out, "--device", "cpu", "--threads", "1"]
    command += ["--stop-at", STEPS, "--held-out", "1"]
    command += ["--video", options.video] if facts.data.video else []
    command += ["--photos", options.photos] if any(each.photos for each in facts.data.scenes) else []
    command += ["--start", options.start / f"{_start(name)}.safetensors"] if facts.network.start == "?" else []
    (out / "pool").parent.mkdir(parents=True, exist_ok=True)
    if options.pool and not (out / "pool").exists():
        (out / "pool").symlink_to(options.pool.resolve())
    subprocess.run(list(map(str, command)), check=True)
    with (out / "losses.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)][:STEPS]


def _start(name: str) -> str:
    """The weights that a recipe begins with: those for x2 where it is for x4, or its model's."""
    return name.replace("_x4", "_x2") if name.endswith("_x4") else recipes.load(name).name


def main() -> int:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=ROOT / "vs_sr" / "weights")
    parser.add_argument("--pool", type=Path, help="folder of clips that runs share")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    names = options.recipes or sorted(path.stem for path in recipes.FOLDER.glob("*.toml"))
    worst = 0.0
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            found = first(name, Path(scratch) / name, options)
        path = FOLDER / f"{name}.csv"
        if options.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("loss\n" + "".join(f"{loss:.6g}\n" for loss in found), encoding="utf-8")
            print(f"{name}: {found[0]:.4g} to {found[-1]:.4g}")
            continue
        with path.open(encoding="utf-8") as file:
            known = [float(row["loss"]) for row in csv.DictReader(file)]
        apart = max(abs(a / b - 1) for a, b in zip(found, known, strict=True))
        worst = max(worst, apart)
        print(f"{name}: at most {apart:.2%} apart")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
