"""The command ``vs-sr``: exit codes, messages, ``models`` and ``doctor``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from helpers.support import BIN, environment, vs_sr

from vs_sr import cli
from vs_sr.cli import demo, doctor
from vs_sr.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path


def test_models() -> None:
    done = vs_sr("models")
    assert done.returncode == 0, done.stderr
    assert "ZoomingSlowMo: 4x the resolution and 2x the frame rate" in done.stdout
    assert "weights: zooming_slow_mo_compact (default)" in done.stdout


def test_doctor_on_a_healthy_installation() -> None:
    done = vs_sr("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.split(maxsplit=2)[1:] for line in done.stdout.splitlines() if line.startswith("ok "))
    assert {"python", "vs-sr", "torch", "vapoursynth", "core.vs_sr", "weights", "cpu", "model", "backend"} <= set(lines)
    assert "ZoomingSlowMo" in lines["core.vs_sr"]


def test_doctor_says_why_the_plugin_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vapoursynth as vs

    real = vs.core.core

    class Core:
        std, core_version, num_threads = real.std, real.core_version, real.num_threads

    monkeypatch.setattr(vs, "get_plugin_dir", lambda: tmp_path)
    monkeypatch.setattr(vs, "core", Core())
    assert doctor.run(None) == 1  # type: ignore[arg-type]
    assert f"there is no plugin in {tmp_path / 'vs_sr'}: pip install" in capsys.readouterr().out
    (tmp_path / "vs_sr").mkdir()
    (tmp_path / "vs_sr" / "libvs_sr.so").write_bytes(b"not a library")
    assert doctor.run(None) == 1  # type: ignore[arg-type]
    assert "libvs_sr.so was not loaded: " in capsys.readouterr().out


def test_wrong_usage() -> None:
    done = vs_sr("modles")
    assert done.returncode == 2
    assert "invalid choice: 'modles'" in done.stderr
    assert vs_sr().returncode == 2


def test_failures_become_messages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> int:
        raise WeightsError("the file x is damaged")

    monkeypatch.setattr("vs_sr.cli.models.run", fail)
    assert cli.main(["models"]) == 1
    assert capsys.readouterr().err == "vs-sr models: the file x is damaged\n"


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("vs_sr.cli.models.run", interrupt)
    assert cli.main(["models"]) == 130


def test_a_reader_that_leaves_is_no_traceback() -> None:
    done = subprocess.run(
        f"{BIN}/vs-sr models | true", shell=True, capture_output=True, text=True, env=environment(), check=False
    )
    assert "Traceback" not in done.stderr


def test_demo_of_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    done = vs_sr("demo", "--clip", str(tmp_path / "none.mp4"), "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no file {tmp_path / 'none.mp4'}" in done.stderr
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    done = vs_sr("demo", "--clip", str(bad), "--out", str(tmp_path))
    assert done.returncode == 1
    assert f"{bad} cannot be read as a video" in done.stderr


def test_demo_without_its_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def version(name: str) -> str:
        raise demo.PackageNotFoundError(name)

    monkeypatch.setattr(demo, "version", version)
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "vs-sr demo: needs pillow; install it with: pip install 'vs-sr[demo]'\n"
