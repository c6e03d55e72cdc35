"""Every kernel compiled for every architecture, which needs NVRTC but no GPU, and the cache of the results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from helpers.support import environment

from vs_sr.ops import _nvrtc, fused, shuffle
from vs_sr.ops._launch import architecture
from vs_sr.ops._nvrtc import CompileError, Kernel
from vs_sr.ops.status import KERNELS

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("cupy", reason="NVRTC is reached through CuPy: pip install 'vs-sr[cuda]'")

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
SMALL = (86, 89, 120)
"""100 KB of shared memory per multiprocessor: one block of dcn_fused, which may have all registers."""

REGISTERS = {  # most that a thread may use, and bytes that it may spill and reload
    "dcn_fused(CHANNELS=32, WARPS=8, ROWS=2)": (128, 0),
    "dcn_fused(CHANNELS=32, WARPS=8, ROWS=1)": (96, 0),
    "dcn_fused(CHANNELS=32, WARPS=4, ROWS=1)": (96, 0),
    "dcn_fused(CHANNELS=64, WARPS=8, ROWS=2)": (128, 72),
    "dcn_fused(CHANNELS=64, WARPS=8, ROWS=1)": (124, 0),
    "dcn_fused(CHANNELS=64, WARPS=4, ROWS=1)": (124, 0),
    "dcn_sample(FLOAT32=0, VECTOR=1)": (48, 0),
    "dcn_sample(FLOAT32=0, VECTOR=0)": (40, 0),
    "dcn_sample(FLOAT32=1, VECTOR=1)": (40, 0),
    "dcn_sample(FLOAT32=1, VECTOR=0)": (40, 0),
    "lstm_gates()": (64, 0),
    "up2_into()": (40, 0),
    "bias_act_res()": (32, 0),
    "shuffle2()": (32, 0),
    "rgb_to_yuv(WORDS=0)": (56, 0),
    "rgb_to_yuv(WORDS=1)": (56, 0),
    "yuv_to_rgb(WORDS=0)": (48, 0),
    "yuv_to_rgb(WORDS=1)": (48, 0),
}


def budget(kernel: Kernel, arch: int) -> tuple[int, int]:
    if kernel in [tiles[8, 2] for tiles in fused.FUSED.values()] and arch in SMALL:
        return 208, 0
    return REGISTERS[kernel.label]


@pytest.mark.parametrize(
    "arch", [arch if arch == 90 else pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHITECTURES]
)
def test_every_kernel_compiles_within_its_registers(arch: int) -> None:
    assert arch in _nvrtc.architectures()
    for kernel in KERNELS:
        if arch < kernel.minimum:
            continue
        binary = _nvrtc.compile_kernel(kernel, arch)
        registers = re.search(r"Used (\d+) registers", binary.log)
        assert registers, binary.log
        spilled = sum(int(count) for count in re.findall(r"(\d+) bytes spill", binary.log))
        most, spill = budget(kernel, arch)
        assert int(registers[1]) <= most, f"{kernel.label}, sm_{arch}: {registers[1]} registers"
        assert spilled <= spill, f"{kernel.label}, sm_{arch}: {spilled} bytes spilled and reloaded"
        assert "warning" not in binary.log, binary.log
        assert _nvrtc._length(binary.cubin) == len(binary.cubin) > 0


def test_every_file_has_a_kernel_and_a_row_in_the_readme() -> None:
    files = {path.name for path in _nvrtc.source_folder().glob("*.cu")}
    assert files == {kernel.path for kernel in KERNELS}
    assert set(REGISTERS) == {kernel.label for kernel in KERNELS}
    readme = (_nvrtc.source_folder() / "README.md").read_text(encoding="utf-8")
    for name in files:
        assert f"`{name}`" in readme


def test_tensor_cores_are_refused_before_sm_80() -> None:
    with pytest.raises(CompileError, match="sm_80 or higher"):
        _nvrtc.compile_kernel(fused.FUSED[64][8, 2], 75)


def test_an_error_names_the_file_and_the_line() -> None:
    text = _nvrtc.source(shuffle.SHUFFLE2).replace("int width,", "int breadth,")
    with pytest.raises(CompileError, match=r'(?s)shuffle2\(\) for sm_90.*kernels/shuffle2\.cu\(\d+\).*"width"'):
        _nvrtc.compile_kernel(shuffle.SHUFFLE2, 90, text)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [(90, 90), (87, 86), (80, 80), (75, 75), (121, 120), (103, 100), (70, None), (130, None)],
)
def test_machine_code_is_chosen_within_a_generation(capability: int, expected: int | None) -> None:
    assert architecture(capability, ARCHITECTURES) == expected


# The cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_kernel(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(_nvrtc, "compile_kernel", compile_kernel)


def test_a_kernel_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _nvrtc.cubin_file(shuffle.SHUFFLE2, 80)
    assert path.parent == cache
    assert path.read_bytes() == _nvrtc.compile_kernel(shuffle.SHUFFLE2, 80).cubin
    forbid_compiling(monkeypatch)
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80) == path


def test_whatever_goes_into_a_kernel_changes_its_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        _nvrtc.cubin_file(shuffle.SHUFFLE2, 80).name,
        _nvrtc.cubin_file(shuffle.SHUFFLE2, 86).name,
        _nvrtc.cubin_file(Kernel(name="shuffle2", macros=(("UNUSED", 1),)), 80).name,
    }
    header = dict(_nvrtc.headers())
    monkeypatch.setattr(_nvrtc, "headers", lambda: {name: f"// changed\n{text}" for name, text in header.items()})
    names.add(_nvrtc.cubin_file(shuffle.SHUFFLE2, 80).name)
    assert len(names) == len(list(cache.iterdir())) == 4


def test_a_damaged_file_is_made_again(cache: Path) -> None:
    path = _nvrtc.cubin_file(shuffle.SHUFFLE2, 80)
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80) == path
    assert path.read_bytes() == content


def test_code_that_somebody_else_may_have_written_is_not_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = _nvrtc.cubin_file(shuffle.SHUFFLE2, 80)
    right = path.read_bytes()
    other = _nvrtc.compile_kernel(shuffle.SHUFFLE2, 86).cubin
    assert (path.stat().st_mode & 0o077, cache.stat().st_mode & 0o077) == (0, 0)

    path.write_bytes(other)  # as it would look after damage: whole, and of another kernel
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80) == path
    assert path.read_bytes() == right
    path.chmod(0o666)
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80).stat().st_mode & 0o077 == 0, "written again"

    for mode in (0o777, 0o775, 0o707):
        cache.chmod(mode)
        assert cache not in _nvrtc.cubin_file(shuffle.SHUFFLE2, 80).parents
    assert "others can write to it" in caplog.text
    cache.chmod(0o755)
    forbid_compiling(monkeypatch)
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80) == path
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # the folder becomes somebody else's
    assert cache not in _nvrtc._private_folder().parents
    assert _nvrtc._shared_folder() is None


def test_folders_of_the_cache_are_the_users_own_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        folder = _nvrtc._shared_folder()
        assert folder is not None
        path = _nvrtc._write(folder, "kernel", b"code")
    finally:
        os.umask(before)
    made = (path, folder, folder.parent, folder.parent.parent)
    assert [each.stat().st_mode & 0o777 for each in made] == [0o600, 0o700, 0o700, 0o700]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path / "file"))  # no folder can be made there, not even by root
    path = _nvrtc.cubin_file(shuffle.SHUFFLE2, 80)
    assert path.read_bytes().startswith(b"\x7fELF")
    assert tmp_path not in path.parents
    forbid_compiling(monkeypatch)
    assert _nvrtc.cubin_file(shuffle.SHUFFLE2, 80) == path  # in this process at least


@pytest.mark.slow
def test_processes_may_compile_at_the_same_time(cache: Path) -> None:
    code = "from vs_sr.ops import _nvrtc, shuffle; print(_nvrtc.cubin_file(shuffle.SHUFFLE2, 80))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(VS_SR_CACHE=str(cache.parent)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=120)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert outputs == {str(path) for path in cache.iterdir()}  # one file, and no temporary ones
    assert len(outputs) == 1
