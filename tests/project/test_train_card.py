"""`make train-kit`, `make train-card` and `make train-back`: what is carried, the run, and what comes back whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.support import ROOT, environment
from safetensors.numpy import save_file

from tools.card.kit import KitError
from tools.train import kit, order, pieces
from vs_sr.training import recipe

TINY = ROOT / "tests" / "training" / "tiny.toml"


def weights(path: Path, **metadata: str) -> Path:
    save_file({"a": np.zeros(3, np.float32)}, path, metadata)
    return path


def ordered(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(f'[[run]]\nrecipe = "{name}"\nbatches = 2\n' for name in names)
    (folder / "order.toml").write_text(text)
    return folder


def test_the_first_that_has_not_ended_is_next(tmp_path: Path) -> None:
    folder = ordered(tmp_path / "order", "first", "second")
    assert order.following(folder) == order.Next(recipe="first", batches=2, kept=None)
    kept = weights(folder / "first.safetensors", progress="{}")
    assert order.following(folder).kept == kept
    weights(folder / "first.safetensors")
    assert order.following(folder).recipe == "second"
    weights(folder / "second.safetensors")
    with pytest.raises(KitError, match="all of its recipes have ended"):
        order.following(folder)
    (folder / "order.toml").write_text("[[run]]\nrecipe = 1")
    with pytest.raises(KitError, match=r"needs tables \[\[run\]\] with recipe and batches"):
        order.following(folder)


def test_the_order_names_recipes_that_are_there() -> None:
    """And what is kept of them is small."""
    names = [each["recipe"] for each in order.tomllib.loads((order.FOLDER / "order.toml").read_text())["run"]]
    assert names
    assert all(recipe.load(name) for name in names)
    for path in order.FOLDER.glob("*.safetensors"):
        assert path.stat().st_size <= order.LARGEST
        assert path.stem in {Path(name).stem for name in names}


def test_what_is_too_large_comes_back_in_pieces_that_are_checked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {name: rng.bytes(size) for name, size in (("checkpoint.safetensors", 250_000), ("losses.csv", 10))}
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    out.mkdir()
    for name, content in files.items():
        (run / name).write_bytes(content)
    made = pieces.split([run / name for name in files], out, 100_000)
    assert len(made) == 3
    assert all(path.stat().st_size <= 100_000 for path in made)
    found = pieces.join(out, tmp_path / "home")
    assert {path.name: path.read_bytes() for path in found} == files
    damaged = bytearray(made[1].read_bytes())
    damaged[5] ^= 1
    made[1].write_bytes(damaged)
    with pytest.raises(KitError, match=r"run\.01: missing or damaged; fetch it again"):
        pieces.join(out, tmp_path / "second")
    assert not (tmp_path / "second").exists()
    with pytest.raises(KitError, match="no pieces"):
        pieces.join(tmp_path / "home", tmp_path / "second")


def test_averages_are_kept_while_a_run_goes_on(tmp_path: Path) -> None:
    folder = ordered(tmp_path / "order", "first")
    path = weights(tmp_path / "made.safetensors", progress="{}")
    assert pieces.keep([tmp_path / "checkpoint.safetensors", path], folder) == folder / "first.safetensors"
    with pytest.raises(KitError, match="has ended or left no weights"):
        pieces.keep([weights(tmp_path / "made.safetensors")], folder)


def test_a_damaged_kit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="make train-kit, where the films are"):
        kit.check(tmp_path)
    (tmp_path / "clips.zip").write_bytes(b"1")
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"clips.zip": {"bytes": 2, "sha256": ""}}}))
    with pytest.raises(KitError, match=r"clips\.zip: missing or damaged; carry the kit again"):
        kit.check(tmp_path)


@pytest.mark.slow
def test_minutes_on_a_card_are_rehearsed_without_one(tmp_path: Path) -> None:
    """Kit, run, pieces and home, twice: the second goes on where the first ended. Without PyAV and VapourSynth."""
    folder = ordered(tmp_path / "order", "long.toml")
    (folder / "long.toml").write_text(TINY.read_text().replace("steps = 200", "steps = 1_000_000"))
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    for name in ("av", "vapoursynth"):
        (lacking / f"{name}.py").write_text("raise ImportError('a bare machine')")
    bare = {**environment(), "PYTHONPATH": str(lacking)}
    carried, out, home = (tmp_path / name for name in ("kit", "out", "home"))

    def tool(name: str, *arguments: str | Path, **facts: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", name, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **facts)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr
        return done  # type: ignore[no-any-return]

    steps = [0]
    for end, run in ((40, ()), (80, ("--run", home))):
        tool("tools.train.kit", "--out", carried, "--order", folder, "--limit", 2, *run)
        there = ("--kit", carried, "--out", out, "--device", "cpu", "--minutes", 5, "--stop-at", end, "--held-out", 1)
        done = tool("tools.train", *there, env=bare)
        assert f"from step {steps[-1]}\n" in done.stderr
        assert all(path.stat().st_size <= pieces.PIECE for path in out.iterdir())
        pace = json.loads((out / "pace.json").read_text())
        assert pace["batches"] == 2
        assert pace["steps_per_second"] > 0
        shutil.rmtree(home, ignore_errors=True)
        tool("tools.train.pieces", out, "--into", home)
        rows = (home / "losses.csv").read_text().splitlines()
        steps.append(int(rows[-1].partition(",")[0]))
    assert steps == [0, 40, 80]
    assert order.unfinished(home / "tiny.safetensors")
