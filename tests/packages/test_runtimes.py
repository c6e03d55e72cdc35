"""Backends that have a runtime compile image models, built in and from packages, against eager."""

from __future__ import annotations

import copy
import functools
import importlib
import re
import shutil
import sys
import textwrap
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import golden, image_networks
from helpers.clips import digest, moving, pixels, slow
from helpers.packages import installed, loaded
from helpers.support import ROOT, python, vspipe

from vs_sr import registry
from vs_sr.backends import export, inductor
from vs_sr.cli import doctor
from vs_sr.evaluation import measure
from vs_sr.evaluation.metrics import psnr
from vs_sr.spec import Request, Variant
from vs_sr.weights import store

if TYPE_CHECKING:
    from pathlib import Path

core = vs.core


class Runtime(NamedTuple):
    package: str
    """In ``plugins``; empty: built in."""
    needs: str
    """A module."""
    others: tuple[str, ...] = ()
    """Backends that the package gives as well: for devices that are not here."""


RUNTIMES = {
    "openvino": Runtime("vs_sr_openvino", "openvino", ("openvino_gpu", "openvino_npu")),
    "onnxruntime": Runtime(
        "vs_sr_onnxruntime",
        "onnxruntime",
        tuple(f"onnxruntime_{name}" for name in ("cuda", "tensorrt", "directml", "coreml")),
    ),
    "compile": Runtime("", "torch"),
}
PACKAGES = [name for name, runtime in RUNTIMES.items() if runtime.package]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in RUNTIMES]
REAL = {
    "A2N": "a2n_compact_x2",
    "EDSR": "edsr_compact_x2",
    "ESRGAN": "",
    "SRGAN": "srgan_leftthomas_netG_epoch_4_100_2018-01-17.pth",
    "VDSR": "vdsr_twtygqyy_model_epoch_50.pth",
}
"""Models that are tried on real frames, and with which weights: shipped, published, or (empty) random ones."""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every backend, as if its package were installed; and a cache that is empty."""
    for runtime in RUNTIMES.values():
        if runtime.package and find_spec(runtime.needs):
            for backend in module(runtime).vs_sr_backends():
                monkeypatch.setitem(registry._backends, backend.name, backend)
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@functools.cache
def module(runtime: Runtime) -> Any:
    return loaded(ROOT / "plugins" / runtime.package / f"{runtime.package}.py")


def filtered(name: str, clip: vs.VideoNode, backend: str, **arguments: Any) -> vs.VideoNode:
    if backend in RUNTIMES:
        pytest.importorskip(RUNTIMES[backend].needs)
    if backend == "compile" and (reason := inductor.obstacle("cpu")):
        pytest.skip(reason)
    more = {"scale": 2} if name in ("MDSR", *image_networks.LUMA) else {}
    arguments = {"weights": str(image_networks.weights(name)), "device_id": -1, **more, **arguments}
    return getattr(core.vs_sr, name)(clip, backend=backend, **arguments)  # type: ignore[no-any-return]


def difference(found: vs.VideoFrame, expected: vs.VideoFrame) -> float:
    a, b = np.stack(pixels(found)), np.stack(pixels(expected))
    assert a.any()
    return float(np.abs(a - b).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(name, backend, marks=() if name == "SRCNN" and backend in PACKAGES else pytest.mark.slow)
        for name in sorted(set(image_networks.CONFIGS) - set(REAL))
        for backend in RUNTIMES
    ],
)
def test_it_gives_what_eager_gives(name: str, backend: str) -> None:
    clip = moving(2, 38, 26)
    found, expected = filtered(name, clip, backend), filtered(name, clip, "eager")
    assert max(difference(a, b) for a, b in zip(found.frames(), expected.frames(), strict=True)) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("backend", RUNTIMES)
def test_in_tiles_and_side_by_side(backend: str, cache: Path) -> None:
    clip = moving(4, 70, 50, vs.YUV420P8)
    found = list(filtered("SRResNet", clip, backend, tilesize=40, num_streams=2).frames())
    assert list((cache / backend).glob("SRResNet-*"))
    again = filtered("SRResNet", clip, backend, tilesize=40, num_streams=2)
    assert [digest(again.get_frame(n)) for n in (3, 1, 0, 2)] == [digest(found[n]) for n in (3, 1, 0, 2)]
    expected = list(filtered("SRResNet", clip, "eager").frames())
    for a, b in zip(found, expected, strict=True):
        assert max(int(np.abs(p.astype(int) - q).max()) for p, q in zip(pixels(a), pixels(b), strict=True)) <= 1


@pytest.mark.parametrize("backend", SLOW)
def test_the_second_time_nothing_is_compiled(backend: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = moving(1, 34, 22)
    first = digest(filtered("SRCNN", clip, backend, scale=1).get_frame(0))
    (file,) = (cache / backend).glob("SRCNN-*")
    assert file.name.startswith("SRCNN-34x22-")

    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(torch.export, "export", fail)
    assert digest(filtered("SRCNN", clip, backend, scale=1).get_frame(0)) == first
    with pytest.raises(vs.Error, match=r"compiled again"):
        filtered("SRCNN", moving(1, 36, 22), backend, scale=1).get_frame(0)


@pytest.mark.parametrize("backend", SLOW)
def test_other_weights_are_another_file(backend: str, tmp_path: Path) -> None:
    """Of the same shapes: those that were compiled before are not theirs."""
    clip, net = moving(1, 34, 22), copy.deepcopy(image_networks.network("SRCNN"))
    for value in net.parameters():
        value.mul_(0.5)
    other = image_networks.save("SRCNN", net, tmp_path / "other.safetensors")
    filtered("SRCNN", clip, backend).get_frame(0)
    found, expected = (filtered("SRCNN", clip, each, weights=str(other)).get_frame(0) for each in (backend, "eager"))
    assert difference(found, expected) <= 1e-4


WITHOUT_TORCH = """
import importlib.util
import sys
import vapoursynth as vs
from vs_sr import registry

registry.backends()
spec = importlib.util.spec_from_file_location({package!r}, {path!r})
package = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
registry._backends.update((each.name, each) for each in package.vs_sr_backends())
clip = vs.core.std.BlankClip(width=34, height=26, format=vs.YUV420P8, length=2)
made = vs.core.vs_sr.EDSR(clip, scale=2, backend={backend!r}, tilesize=20)
made.get_frame(1)
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("backend", PACKAGES)
def test_what_is_compiled_needs_no_torch(backend: str) -> None:
    """Which takes seconds to load; in tiles, and on the device that a user gets who says nothing."""
    package = RUNTIMES[backend].package
    pytest.importorskip(RUNTIMES[backend].needs)
    path = str(ROOT / "plugins" / package / f"{package}.py")
    script = WITHOUT_TORCH.format(package=package, path=path, backend=backend)
    compiles, finds = (python(script) for _ in range(2))
    assert (compiles.returncode, compiles.stdout) == (0, "True\n"), compiles.stderr
    assert (finds.returncode, finds.stdout) == (0, "False\n"), finds.stderr


@pytest.mark.parametrize("backend", PACKAGES)
def test_damaged_weights_are_an_error_all_the_same(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what was compiled of them before they were damaged is in the cache."""
    clip, copy = moving(1, 34, 22), tmp_path / "copy.safetensors"  # in no session that is open
    shutil.copyfile(image_networks.weights("SRCNN"), copy)
    filtered("SRCNN", clip, backend).get_frame(0)
    monkeypatch.setattr(store, "damage", lambda source: f"{source.path.name} is damaged")
    with pytest.raises(vs.Error, match=r"copy\.safetensors is damaged"):
        filtered("SRCNN", clip, backend, weights=str(copy)).get_frame(0)


def test_other_code_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same name and the same weights, as after an update: what was compiled of the code before is not taken."""
    compiled: list[float] = []

    def compile(program: torch.export.ExportedProgram) -> bytes:
        compiled.append(float(program.module()(torch.ones(1, 3, 4, 4)).max()))
        return b"compiled"

    runtime = export.Runtime(
        name="none",
        suffix=".none",
        facts=(),
        versions=export.versions(),
        compile=compile,
        load=lambda path: lambda image: image,
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for factor in (2, 3, 3):
        (tmp_path / "updated.py").write_text(
            f"from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return {factor} * x\n"
        )
        monkeypatch.delitem(sys.modules, "updated", raising=False)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        asked: dict[str, Any] = {
            "device": "cpu",
            "precision": "fp32",
            "batch": 1,
            "sizes": ((4, 4),),
            "cache": tmp_path,
        }
        model, network = registry.model("EDSR"), importlib.import_module("updated").Net()
        export.network(
            Request(model=model, variant=Variant(scale=1), load=functools.partial(copy.copy, network), **asked), runtime
        )
    assert compiled == [2, 3]


def test_what_a_file_of_our_own_models_is_known_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the network: its weights, their type, and all code that networks are made of."""
    for folder in ("models", "weights"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("a = 1")
    monkeypatch.setattr(export, "_PACKAGE", tmp_path)
    asked: dict[str, Any] = {"device": "cpu", "precision": "fp32", "batch": 1, "sizes": (), "cache": tmp_path}

    def known(weights: str = "of a file", scale: int = 2, model: str = "EDSR", **more: Any) -> Any:
        request = Request(
            model=replace(registry.model(model), **more),
            variant=Variant(scale=scale),
            load=lambda: 1 / 0,
            identify=lambda: weights,
            **asked,
        )
        return export._known(request, "fp32"), export._known(request, "bf16")

    found = [*known(), *known("of another"), *known(scale=3), *known(model="MDSR")]
    for folder in ("models", "weights"):
        (tmp_path / folder / "code.py").write_text("a = 2")
        found += known()
    assert len(set(found)) == len(found)
    assert known() == known()
    assert known("") == (None, None), "random numbers"
    assert known(build=lambda variant: 1 / 0) == (None, None), "a model of others"


def real(folder: str, count: int) -> vs.VideoNode:
    """Parts of 64x48 of the real frames of a folder, RGBS."""
    files = sorted(golden.test_data(f"footage/{folder}").glob("*.png"))[:count]
    frames = torch.from_numpy(np.stack([measure.read(file)[100:148, 100:164] for file in files]))
    like = core.std.BlankClip(width=64, height=48, format=vs.RGBS, length=count)
    return image_networks.clip_of(frames.permute(0, 3, 1, 2) / 255, like)


def lowest_psnr(found: vs.VideoNode, expected: vs.VideoNode) -> float:
    pairs = zip(found.frames(), expected.frames(), strict=True)
    return min(psnr(255 * np.stack(pixels(a)), 255 * np.stack(pixels(b))) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("backend", ["eager", *RUNTIMES])
def test_real_frames_are_those_of_eager_in_float(backend: str, name: str) -> None:
    clip = real("set5", 3)
    of = {}
    if file := REAL[name]:
        of["weights"] = str(golden.test_data(f"weights/{file}")) if file.endswith(".pth") else file
    exact = filtered(name, clip, "eager", precision="fp32", **of)
    found = filtered(name, clip, backend, precision="fp32", **of)
    assert max(difference(a, b) for a, b in zip(found.frames(), exact.frames(), strict=True)) <= 1e-3
    model, variant = registry.model(name), Variant(scale=2)
    for precision in ("fp16", "bf16"):
        if not registry.backend(backend).supports(model, variant, precision):
            continue
        half = filtered(name, clip, backend, precision=precision, **of)
        if backend == "openvino" and not torch.cpu._is_avx512_bf16_supported():
            with pytest.raises(vs.Error, match=r'no bf16.*precision="fp32"'):
                half.get_frame(0)
        else:
            assert 50 <= lowest_psnr(half, exact) < 140, precision  # and it is not float in disguise


@pytest.mark.slow
def test_half_precision_of_the_shipped_recurrence_is_what_the_page_says() -> None:
    """At least so many dB, on real frames; docs/backends.md."""
    clip = real("vid4/calendar", 4)
    exact, bf16, fp16 = (
        core.vs_sr.ZoomingSlowMo(clip, device_id=-1, backend="eager", precision=precision)
        for precision in ("fp32", "bf16", "fp16")
    )
    assert lowest_psnr(bf16, exact) >= 60
    assert lowest_psnr(fp16, exact) >= 75


def test_what_they_do_not_run() -> None:
    for backend in RUNTIMES:
        pytest.importorskip(RUNTIMES[backend].needs)
        why = f"backend='{backend}' cannot be used: it does not run ZoomingSlowMo in fp32"
        with pytest.raises(vs.Error, match=why):
            slow(moving(2, 32, 24), backend=backend, device_id=-1).get_frame(0)
        reason = registry.backend(backend).obstacle("cuda:0")
        assert reason
        assert "cuda:0 is asked for" in reason
    with pytest.raises(vs.Error, match=r"does not run EDSR in bf16"):
        filtered("EDSR", moving(1, 34, 22), "onnxruntime", precision="bf16").get_frame(0)


def test_devices_that_are_not_here_are_named() -> None:
    openvino, runtime = pytest.importorskip("openvino"), pytest.importorskip("onnxruntime")
    here = {
        "openvino_gpu": any(name.startswith("GPU") for name in openvino.Core().available_devices),
        "openvino_npu": "NPU" in openvino.Core().available_devices,
        "onnxruntime_cuda": "CUDAExecutionProvider" in runtime.get_available_providers(),
        "onnxruntime_tensorrt": find_spec("onnxruntime_ep_nv_tensorrt_rtx") is not None,
        "onnxruntime_directml": "DmlExecutionProvider" in runtime.get_available_providers(),
        "onnxruntime_coreml": "CoreMLExecutionProvider" in runtime.get_available_providers(),
    }
    assert sorted(here) == sorted(name for runtime in RUNTIMES.values() for name in runtime.others)
    for name, found in here.items():
        backend = registry.backend(name)
        assert backend.priority < 0  # until somebody has measured it
        device = "cuda:0" if name in ("onnxruntime_cuda", "onnxruntime_tensorrt") else "cpu"
        reason = backend.obstacle(device)
        assert (reason is None) == found
        way_out = "OpenVINO finds no [GN]PU and its driver" if "openvino" in name else "pip install onnxruntime"
        assert found or re.search(way_out, reason or "")
        assert device == "cuda:0" or "use device_id=-1" in str(backend.obstacle("cuda:0"))
    if not here["openvino_npu"]:
        with pytest.raises(vs.Error, match=r"backend='openvino_npu' cannot be used: OpenVINO finds no NPU"):
            filtered("EDSR", moving(1, 34, 22), "openvino_npu", precision="fp16").get_frame(0)


def test_the_doctor_compiles_nothing_that_nobody_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compile = registry.backend("compile")
    assert compile.priority < 0  # "auto" does not take it
    monkeypatch.setattr(inductor, "_compiled", None)
    if inductor.obstacle("cpu") is None:
        well, said = doctor._trial(compile, "cpu")
        assert well
        assert "is not tried" in said
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert doctor._trial(compile, "cpu")[1].startswith("no, it needs a C++ compiler")


def test_without_a_compiler_it_is_said_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(vs.Error, match=r"needs a C\+\+ compiler, and there is no no-such-compiler on the PATH"):
        core.vs_sr.EDSR(
            moving(1, 34, 22), weights=str(image_networks.weights("EDSR")), backend="compile", device_id=-1
        ).get_frame(0)


@pytest.mark.slow
@pytest.mark.parametrize("backend", PACKAGES)
def test_installed_by_pip_and_gone_afterwards(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[backend].needs)
    with_it = installed(ROOT / "plugins" / RUNTIMES[backend].package, tmp_path)
    script = textwrap.dedent(
        f"""
        import vapoursynth as vs
        clip = vs.core.std.BlankClip(width=24, height=20, format=vs.YUV420P8, length=2)
        weights = {str(image_networks.weights("EDSR"))!r}
        vs.core.vs_sr.EDSR(clip, weights=weights, device_id=-1, backend={backend!r}).set_output()
        """
    )
    done = vspipe(
        script, "-c", "y4m", env=with_it, timeout=600
    )  # it exports and compiles, on a machine that may be busy
    assert done.returncode == 0, done.stderr.decode()
    assert b" W48 H40 " in done.stdout[:80]
    assert len(done.stdout) == done.stdout.index(b"\n") + 1 + 2 * (6 + 48 * 40 * 3 // 2)
    assert f"run by the backend {backend}".encode() in done.stderr
    done = vspipe(script, "-c", "y4m")
    assert done.returncode != 0
    assert f"no backend is called '{backend}'".encode() in done.stderr
