"""What is said of NVIDIA's cards where torch does not use them: asked of a driver that the test makes."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from vs_sr import messages, nvidia
from vs_sr.cli import doctor
from vs_sr.engine import device
from vs_sr.errors import DeviceError
from vs_sr.nvidia import Driver

if TYPE_CHECKING:
    from pathlib import Path

DRIVER = r"""
#include <stdio.h>
#ifndef CARDS
#define CARDS 2
#endif
#ifndef INIT
#define INIT 0
#endif
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = CARDS; return 0; }
#ifndef OLD
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
#endif
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "550.54.14"); return 0; }
static const char handles[2];  /* addresses that need all 64 bits */
int nvmlDeviceGetHandleByIndex_v2(unsigned index, const void **device) { *device = handles + index; return 0; }
int nvmlDeviceGetName(const void *device, char *name, unsigned size) {
    if (device != handles) return 3;
    snprintf(name, size, "NVIDIA GeForce RTX 4090");
    return 0;
}
"""

FOUND = Driver("550.54.14", (12, 4), ("NVIDIA GeForce RTX 4090",))
NEW = Driver("580.65.06", (13, 0), ("NVIDIA GeForce RTX 4090",))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("defined", "expected"),
    [
        ([], Driver("550.54.14", (12, 4), ("NVIDIA GeForce RTX 4090", "a card"))),
        (["-DCARDS=1"], FOUND),
        (["-DCARDS=0"], None),
        (["-DINIT=9"], None),
        (["-DOLD"], None),
    ],
    ids=["two", "one", "no-card", "not-loaded", "old"],
)
def test_the_driver_is_asked(tmp_path: Path, defined: list[str], expected: Driver | None) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(DRIVER)
    subprocess.run(["cc", "-shared", "-fPIC", *defined, str(source), "-o", str(library)], check=True)
    assert nvidia.driver(str(library)) == expected


def test_there_is_no_driver(tmp_path: Path) -> None:
    assert nvidia.driver(str(tmp_path / "libnvidia-ml.so.1")) is None


@pytest.mark.parametrize(
    ("driver", "built", "parts"),
    [
        (FOUND, None, ["RTX 4090", "550.54.14", "without CUDA", "--torch-backend auto", '--python "PY"']),
        (FOUND, "13.0", ["built for CUDA 13.0", "driver 580 or newer", "--torch-backend auto"]),
        (FOUND, "12.8", ["CUDA_VISIBLE_DEVICES"]),
        (NEW, "13.2", ["CUDA_VISIBLE_DEVICES"]),
        (NEW, "14.0", ["a newer driver"]),
    ],
)
def test_why_a_card_is_not_used(driver: Driver, built: str | None, parts: list[str]) -> None:
    text = nvidia.idle(driver, "PY", built)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("driver", "built", "installed", "expected"),
    [
        (NEW, "13.0", "cupy-cuda13x", None),
        (FOUND, "12.8", "cupy-cuda12x", None),
        (NEW, "13.0", None, "pip install cupy-cuda13x"),
        (FOUND, "12.8", None, "pip install cupy-cuda12x"),
        (NEW, "12.8", "cupy-cuda13x", "pip uninstall -y cupy-cuda13x && pip install cupy-cuda12x"),
        (FOUND, "13.0", None, None),
        (FOUND, "11.8", None, None),
        (NEW, None, None, None),
    ],
)
def test_which_cupy_fits(driver: Driver, built: str | None, installed: str | None, expected: str | None) -> None:
    text = nvidia.cupy(driver, built, installed)
    assert text is None if expected is None else text is not None and text.endswith(expected)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A torch that finds no CUDA device, in a process that has said nothing yet."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(nvidia, "driver", lambda: None)
    monkeypatch.setattr(messages, "_logged", set())
    return monkeypatch


def _doctor(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = doctor.run(None)  # type: ignore[arg-type]
    [line] = [line for line in capsys.readouterr().out.splitlines() if " gpu " in line]
    return code, line


def test_doctor_and_filters_say_that_torch_lacks_cuda(
    no_cuda: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    no_cuda.setattr(nvidia, "driver", lambda: FOUND)
    no_cuda.setattr(torch.version, "cuda", None)
    code, line = _doctor(capsys)
    assert code == 1
    assert line.startswith("BROKEN  gpu")
    assert "--torch-backend auto" in line
    with caplog.at_level("INFO", "vs_sr"):
        assert device.choose(None) == "cpu"
    assert "RTX 4090" in caplog.text
    assert "vs-sr doctor" in caplog.text
    with pytest.raises(DeviceError, match=r"device_id=0: no such CUDA device.*RTX 4090.*doctor"):
        device.choose(0)


def test_apples_gpus_are_refused_by_name(
    no_cuda: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    no_cuda.setattr(torch.backends.mps, "is_available", lambda: True)
    code, line = _doctor(capsys)
    assert code == 0
    assert "Apple's (MPS) is not supported" in line
    with caplog.at_level("INFO", "vs_sr"):
        assert device.choose(None) == "cpu"
    assert "MPS" in caplog.text
    with pytest.raises(DeviceError, match=r"device_id=0: no such CUDA device.*\(MPS\).*device_id=-1 runs on the CPU"):
        device.choose(0)


def test_a_machine_without_gpus_is_well(no_cuda: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = _doctor(capsys)
    assert code == 0
    assert "none found" in line
