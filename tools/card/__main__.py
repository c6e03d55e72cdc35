"""Run everything that needs a card: ``make card``; exit status 0, 1 where a part failed, 2 where there is no card."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.card import environment, kit, machine, report, run
from tools.card.parts import ENVIRONMENT, parts

BUILD = machine.ROOT / "build"
PIECE = 16 << 20
"""Bytes that a file of the output may have."""


def main() -> int:
    """Run ``python -m tools.card``."""
    parser = argparse.ArgumentParser(prog="python -m tools.card", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--rehearse", action="store_true", help="tiny inputs, on the CPU where there is no card")
    names = [part.name for part in parts(Path(), Path(), rehearsal=False)]
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", help=f"some of {', '.join(names)}")
    parser.add_argument("--kit", type=Path, default=kit.FOLDER, help="what `make card-kit` has made")
    out = Path(os.environ.get("OUT") or BUILD / "card")
    parser.add_argument("--out", type=Path, default=out, help="folder for the report ($OUT, or build/card)")
    options = parser.parse_args()

    python = machine.python_with_torch()
    if not options.rehearse and not machine.has_card(python):
        print("card: there is no NVIDIA card here; --rehearse shows that everything else works", file=sys.stderr)
        return 2
    if python is None:
        print("card: no Python 3.12 with torch is here; `make install` makes one", file=sys.stderr)
        return 2
    if Path(sys.executable).absolute() != python.absolute():  # the environment is made over the one that has torch
        os.execv(python, [str(python), "-m", "tools.card", *sys.argv[1:]])
    return card(options.kit.resolve(), options.out.resolve(), options.only, rehearsal=options.rehearse)


def card(carried: Path, out: Path, only: list[str] | None, *, rehearsal: bool) -> int:
    """All parts, on this machine.

    Args:
        carried: the kit; where there is none, the interpreter that this runs in has to have everything.
        out: where the report goes.
        only: names of parts; None: all.
        rehearsal: whether there may be no card.
    """
    begin = time.monotonic()
    scratch = BUILD / "card-environment"
    out.mkdir(parents=True, exist_ok=True)
    try:
        python = _prepared(carried, scratch)
    except (kit.KitError, subprocess.CalledProcessError) as error:
        print(f"card: {error}", file=sys.stderr)
        return 2
    figures = scratch / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for path in figures.iterdir():
        path.unlink()
    variables = environment.variables(python, figures.parent, rehearsal=rehearsal)
    record: dict[str, Any] = {
        "made": datetime.now(UTC).date().isoformat(),
        "rehearsal": rehearsal,
        "machine": _facts(python, variables),
        "parts": [],
    }
    prepared = time.monotonic() - begin
    record["prepared_seconds"] = round(prepared, 1)
    print(f"environment: {prepared:.1f} s, {ENVIRONMENT:.0f} expected", flush=True)

    chosen = [part for part in parts(python, figures, rehearsal=rehearsal) if only is None or part.name in only]
    tails: list[str] = []
    with (out / "log.txt").open("w", encoding="utf-8") as log:
        for outcome in run.run(chosen, variables, log, _load, cwd=machine.ROOT, ahead=ENVIRONMENT - prepared):
            found = asdict(outcome)
            if tail := found.pop("tail"):
                tails.append(f"--- the end of {outcome.name}\n{tail.strip()}")
            record["parts"].append(found)
            record["seconds"] = round(time.monotonic() - begin, 1)
            _write(out, record)  # each time: whatever ends this leaves what was measured
        table = report.table(record)
        log.write(f"\n{table}\n")
    _cut(out / "log.txt")
    print("\n".join(["", *tails, "", table, "", str(out / "card.json")]))
    return int(any(part["status"] != "done" for part in record["parts"]))


def _prepared(carried: Path, scratch: Path) -> Path:
    """The interpreter that the parts are run by.

    Raises:
        kit.KitError: the kit cannot be used, or there is none and nothing is installed.
        subprocess.CalledProcessError: pip could not install it.
    """
    if carried.is_dir():
        kit.check(carried, kit.sources())
        return environment.make(scratch, carried)
    missing = [name for name in ("vapoursynth", "pluggy", "pytest_benchmark") if not importlib.util.find_spec(name)]
    if missing or carried != kit.FOLDER:
        raise kit.KitError(f"{carried} does not exist: carry what `make card-kit` makes, or `make install` here")
    return Path(sys.executable)


def _facts(python: Path, variables: dict[str, str]) -> dict[str, Any]:
    """Of the machine; none where torch cannot even say what it runs on."""
    command = [str(python), "-m", "tools.card.facts"]
    try:
        printed = subprocess.run(
            command, env=variables, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=ENVIRONMENT
        )
        found: dict[str, Any] = json.loads(printed.stdout)
    except (subprocess.SubprocessError, ValueError):
        return {}
    return found


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(out: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=1).replace(str(machine.ROOT), ".") + "\n"  # it goes into the repository
    if len(text) > PIECE:
        raise ValueError(f"the report has {len(text):,} bytes; {PIECE:,} can be brought back")
    (out / "card.json").write_text(text, encoding="utf-8")


def _cut(log: Path) -> None:
    """Keep the end of a log that is too long."""
    if log.stat().st_size > PIECE:
        text = log.read_bytes()
        log.write_bytes(text[-PIECE:])


if __name__ == "__main__":
    sys.exit(main())
