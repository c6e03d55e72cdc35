"""``plugins/vs_sr_openvino``: image models compiled by OpenVINO, against eager."""

from __future__ import annotations

import copy
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers import image_networks
from helpers.clips import digest, moving, pixels
from helpers.packages import installed, loaded
from helpers.support import ROOT, vspipe

from vs_sr import registry

openvino = pytest.importorskip("openvino", reason="pip install openvino")

if TYPE_CHECKING:
    from pathlib import Path

core = vs.core
PACKAGE = ROOT / "plugins" / "vs_sr_openvino"


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Its backend, as if the package were installed; and a cache that is empty."""
    module = loaded(PACKAGE / "vs_sr_openvino.py")
    (backend,) = module.vs_sr_backends()
    monkeypatch.setitem(registry._backends, backend.name, backend)
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path / "cache"))
    return module


def filtered(name: str, clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    more = {"scale": 2} if name in ("MDSR", *image_networks.LUMA) else {}
    filter = getattr(core.vs_sr, name)
    return filter(clip, weights=str(image_networks.weights(name)), device_id=-1, **more, **arguments)  # type: ignore[no-any-return]


QUICK = ("EDSR", "SRCNN")


@pytest.mark.parametrize(
    "name",
    [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in image_networks.CONFIGS if name not in QUICK)],
)
def test_it_gives_what_eager_gives(name: str) -> None:
    clip = moving(2, 38, 26)
    found, expected = (filtered(name, clip, backend=backend) for backend in ("openvino", "eager"))
    for a, b in zip(found.frames(), expected.frames(), strict=True):
        assert float(np.abs(np.stack(pixels(a)) - np.stack(pixels(b))).max()) <= 1e-4
        assert not np.array_equal(np.stack(pixels(a)), np.zeros_like(np.stack(pixels(a))))


@pytest.mark.slow
def test_auto_takes_it_in_tiles_and_side_by_side(tmp_path: Path) -> None:
    clip = moving(4, 70, 50, vs.YUV420P8)
    found = list(filtered("SRResNet", clip, tilesize=40, num_streams=2).frames())
    assert list((tmp_path / "cache" / "openvino").glob("SRResNet-*"))
    again = filtered("SRResNet", clip, tilesize=40, num_streams=2)
    assert [digest(again.get_frame(n)) for n in (3, 1, 0, 2)] == [digest(found[n]) for n in (3, 1, 0, 2)]
    expected = list(filtered("SRResNet", clip, backend="eager").frames())
    for a, b in zip(found, expected, strict=True):
        assert max(int(np.abs(p.astype(int) - q).max()) for p, q in zip(pixels(a), pixels(b), strict=True)) <= 1


def test_the_second_time_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clip = moving(1, 34, 22)
    first = digest(filtered("EDSR", clip, backend="openvino").get_frame(0))
    (blob,) = (tmp_path / "cache" / "openvino").iterdir()
    assert blob.name.startswith("EDSR-34x22-")

    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(openvino, "convert_model", fail)
    assert digest(filtered("EDSR", clip, backend="openvino").get_frame(0)) == first
    with pytest.raises(vs.Error, match=r"compiled again"):
        filtered("EDSR", moving(1, 36, 22), backend="openvino").get_frame(0)


def test_other_weights_are_another_blob(tmp_path: Path) -> None:
    """Of the same shapes: those that were compiled before are not theirs."""
    clip, net = moving(1, 34, 22), copy.deepcopy(image_networks.network("SRCNN"))
    for value in net.parameters():
        value.mul_(0.5)
    other = image_networks.save("SRCNN", net, tmp_path / "other.safetensors")
    filtered("SRCNN", clip, backend="openvino").get_frame(0)
    found, expected = (
        core.vs_sr.SRCNN(clip, scale=2, weights=str(other), device_id=-1, backend=backend).get_frame(0)
        for backend in ("openvino", "eager")
    )
    assert float(np.abs(np.stack(pixels(found)) - np.stack(pixels(expected))).max()) <= 1e-4


def test_what_it_does_not_run(package: Any) -> None:
    with pytest.raises(vs.Error, match=r'backend="openvino" cannot be used|does not run ZoomingSlowMo'):
        core.vs_sr.ZoomingSlowMo(moving(2, 32, 24), backend="openvino", device_id=-1).get_frame(0)
    assert "the CPU" in package.obstacle("cuda:0")
    assert package.obstacle("cpu") is None
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(vs.Error, match=r'no bf16.*precision="fp32"'):
            filtered("EDSR", moving(1, 34, 22), backend="openvino", precision="bf16").get_frame(0)


@pytest.mark.slow
def test_installed_by_pip_auto_takes_it(tmp_path: Path) -> None:
    with_it = installed(PACKAGE, tmp_path)
    script = textwrap.dedent(
        f"""
        import vapoursynth as vs
        clip = vs.core.std.BlankClip(width=24, height=20, format=vs.YUV420P8, length=2)
        vs.core.vs_sr.EDSR(clip, weights={str(image_networks.weights("EDSR"))!r}, device_id=-1).set_output()
        """
    )
    for env, taken in ((with_it, "openvino"), (None, "eager")):
        done = vspipe(script, "-c", "y4m", env=env)
        assert done.returncode == 0, done.stderr.decode()
        assert b" W48 H40 " in done.stdout[:80]
        assert f"run by the backend {taken}".encode() in done.stderr
