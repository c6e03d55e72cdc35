"""Go on with the next recipe on a card, for so many minutes: ``make train-card``; what comes back is in pieces."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.card import machine
from tools.card.kit import KitError
from tools.train import kit, pieces

BUILD = machine.ROOT / "build"
_AFTER = 10.0
"""Seconds for what follows the run: pieces are written."""
_BACK = 64 << 20
"""Bytes that may come back in all: a checkpoint that is larger stays behind, and averages go on without it."""


def main() -> int:
    """Run ``python -m tools.train``."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=(__doc__ or "").partition(":")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=9.0, help="of all of this")
    add("--device", default="cuda", help="cpu is a rehearsal")
    add("--kit", type=Path, default=kit.FOLDER, help="what `make train-kit` has made")
    add("--out", type=Path, default=Path(os.environ.get("OUT") or BUILD / "train-card"), help="for what comes back")
    add("--batches", type=int, help="of the recipe in a step, in place of the order's")
    add("--steps", default="auto", help="captured, compiled, eager; see `vs-sr train`")
    add("--stop-at", type=int, default=0, help="step after which it ends in any case")
    add("--held-out", type=int, default=4, help="scenes to measure on")
    options = parser.parse_args()
    python = machine.python_with_torch()
    if python is None or (options.device != "cpu" and not machine.has_card(python)):
        print("train-card: there is no NVIDIA card here; DEVICE=cpu shows that everything works", file=sys.stderr)
        return 2
    try:
        made = kit.check(options.kit)
    except KitError as error:
        print(f"train-card: {error}", file=sys.stderr)
        return 2
    return train(python, made, options, began)


def train(python: Path, made: dict[str, Any], options: argparse.Namespace, began: float) -> int:
    """The run, and its pieces; the trainer's exit status.

    Args:
        python: the interpreter with torch.
        made: the kit's manifest.
        options: of the command.
        began: ``time.monotonic()`` when the time began.
    """
    run, carried, out = BUILD / "train-card-run", options.kit.resolve(), options.out.resolve()
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    out.mkdir(parents=True, exist_ok=True)
    if kit.CHECKPOINT in made["files"]:
        shutil.copyfile(carried / kit.CHECKPOINT, run / kit.CHECKPOINT)
    minutes = options.minutes - (time.monotonic() - began + _AFTER) / 60
    command = [
        *(python, "-m", "vs_sr", "train", made["recipe"], "--out", run, "--clips", carried / kit.CLIPS),
        *("--fast", "--device", options.device, "--steps", options.steps, "--stop-after", f"{minutes:.3f}"),
        *(
            "--batches",
            options.batches or made["batches"],
            "--held-out",
            options.held_out,
            "--measure-every",
            1_000_000,
        ),
        *("--log-every", 100, "--save-every", 500, "--stop-at", options.stop_at),
    ]
    command += ["--start", carried / kit.START] if kit.START in made["files"] else []
    command += ["--go-on", carried / kit.AVERAGES] if kit.AVERAGES in made["files"] else []
    packages = os.pathsep.join(filter(None, [str(machine.ROOT), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, "PYTHONPATH": packages, "VS_SR_CACHE": str(BUILD / "train-card-kernels")}
    with (out / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=machine.ROOT, env=variables, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            log.write(line)
            log.flush()
            print(line, end="", file=sys.stderr, flush=True)
        code = process.wait()
    found = sorted(path for path in run.iterdir() if path.is_file())
    if sum(path.stat().st_size for path in found) > _BACK - pieces.PIECE:
        print("train-card: the checkpoint is too large to come back; the averages go on without it", file=sys.stderr)
        found = [path for path in found if path.name != kit.CHECKPOINT]
    if (run / "pace.json").exists():
        shutil.copyfile(run / "pace.json", out / "pace.json")
    for path in pieces.split(found, out):
        print(f"{path.stat().st_size:>12,}  {path.name}")
    return code


if __name__ == "__main__":
    sys.exit(main())
