"""``plugins/vs_sr_spandrel``: networks of spandrel's as filters, against spandrel's own call."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_networks
from helpers.clips import digest, moving, pixels
from helpers.packages import installed, loaded
from helpers.support import ROOT, vspipe
from safetensors.torch import load_file, save_file

import vs_sr
from vs_sr import registry

spandrel = pytest.importorskip("spandrel", reason="pip install spandrel")

from spandrel.architectures import (  # noqa: E402 - after the skip
    DAT,
    ESRGAN,
    HAT,
    PLKSR,
    SAFMN,
    SPAN,
    Compact,
    DnCNN,
    LaMa,
    MoSR,
    NAFNet,
    OmniSR,
    SwinIR,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

core = vs.core
PACKAGE = ROOT / "plugins" / "vs_sr_spandrel"

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "Compact": lambda: Compact.Compact(num_feat=16, num_conv=2, upscale=2),
    "ESRGAN": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=1),
    "SPAN": lambda: SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=4),
    "RealPLKSR": lambda: PLKSR.RealPLKSR(dim=16, n_blocks=1, upscaling_factor=4),
    "PLKSR": lambda: PLKSR.PLKSR(dim=16, n_blocks=1, upscaling_factor=2),
    "DAT": lambda: DAT.DAT(embed_dim=64, depth=[1], num_heads=[2], split_size=[8, 16], expansion_factor=2.0),
    "OmniSR": lambda: OmniSR.OmniSR(num_feat=16, block_num=1, res_num=1, up_scale=4),
    "SwinIR": lambda: SwinIR.SwinIR(
        embed_dim=12, depths=[2], num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffle"
    ),
    "HAT": lambda: HAT.HAT(
        embed_dim=12, depths=(2,), num_heads=(2,), window_size=16, upscale=2, upsampler="pixelshuffle",
        squeeze_factor=6,
    ),
    "SAFMN": lambda: SAFMN.SAFMN(dim=16, n_blocks=1, upscaling_factor=2),
    "MoSR": lambda: MoSR.MoSR(upscale=2, n_block=1, dim=16),
    "NAFNet": lambda: NAFNet.NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]),
    "DnCNN": lambda: DnCNN.DnCNN(nb=4, nc=8),
}  # fmt: skip
"""Small ones of random weights: upscalers, restorers, and one of gray images."""


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    """Its model, as if the package were installed."""
    module = loaded(PACKAGE / "vs_sr_spandrel.py")
    (model,) = module.vs_sr_models()
    vs_sr.register(model)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The weights of a network, by name."""
    folder = tmp_path_factory.mktemp("spandrel")

    def write(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(sum(map(ord, name)))
            state = NETWORKS[name]().state_dict()
            save_file({key: value.contiguous() for key, value in state.items()}, path)
        return path

    return write


def expected(path: Path, clip: vs.VideoNode) -> torch.Tensor:
    """What spandrel itself makes of the first frame of an RGBS clip."""
    descriptor = spandrel.ModelLoader("cpu").load_from_file(path).eval()
    image = torch.from_numpy(np.stack(pixels(clip.get_frame(0))))
    image = image[:, None] if descriptor.input_channels == 1 else image[None]
    with torch.inference_mode():
        made: torch.Tensor = descriptor(image)
    return made[:, 0] if descriptor.input_channels == 1 else made[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_spandrels_own_call(name: str, file: Callable[[str], Path]) -> None:
    clip = moving(1, 36, 28)  # of no multiple that networks want
    found = core.vs_sr.Spandrel(clip, weights=str(file(name))).get_frame(0)
    wanted = expected(file(name), clip)
    assert (found.width, found.height) == (wanted.shape[2], wanted.shape[1])
    assert float(np.abs(np.stack(pixels(found)) - wanted.numpy()).max()) <= 2e-5


def test_formats_properties_and_tiles(file: Callable[[str], Path]) -> None:
    path = str(file("Compact"))
    clip = moving(3, 160, 120, vs.YUV420P10).std.SetFrameProps(word=7)
    whole = core.vs_sr.Spandrel(clip, weights=path)
    assert (whole.format.id, whole.width, whole.height) == (vs.YUV420P10, 320, 240)
    tiled = core.vs_sr.Spandrel(clip, weights=path, tilesize=96, num_streams=2)
    for n in (2, 0, 1):
        a, b = whole.get_frame(n), tiled.get_frame(n)
        assert a.props["word"] == 7
        pairs = zip(pixels(a), pixels(b), strict=True)
        assert all(np.abs(p.astype(int) - q).max() <= 1 for p, q in pairs)


def test_a_pickle_is_read_and_not_executed(
    file: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return print, ("executed",)

    clip = moving(1, 24, 20)
    path = tmp_path / "span.pth"
    torch.save({"params_ema": load_file(file("SPAN")), "more": Bomb()}, path)
    frames = [core.vs_sr.Spandrel(clip, weights=str(p)).get_frame(0) for p in (path, file("SPAN"))]
    assert digest(frames[0]) == digest(frames[1])
    assert "executed" not in "".join(capfd.readouterr())


def test_other_filters_know_whose_file_it_is(file: Callable[[str], Path]) -> None:
    clip = moving(1, 24, 20)
    with pytest.raises(vs.Error, match=r"SPAN.safetensors holds weights of Spandrel; use core.vs_sr.Spandrel"):
        core.vs_sr.ESRGAN(clip, weights=str(file("SPAN")))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        pytest.param(
            lambda: LaMa.LaMa(in_nc=4, out_nc=3),
            r"LaMa fills masked parts of an image.*cannot be a filter",
            marks=pytest.mark.slow,
        ),
        (lambda: Compact.Compact(num_in_ch=4, num_out_ch=4, num_feat=8, num_conv=1), r"takes 4 channels"),
        (lambda: torch.nn.Linear(3, 4), r"it has 2 tensors: bias, weight"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(network: Any, message: str, tmp_path: Path) -> None:
    made = network()
    state = made.generator.state_dict(prefix="model.") if hasattr(made, "generator") else made.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "other.safetensors")
    with pytest.raises(vs.Error, match=message):
        core.vs_sr.Spandrel(moving(1, 24, 20), weights=str(tmp_path / "other.safetensors"))


def test_arguments(file: Callable[[str], Path]) -> None:
    clip = moving(1, 24, 20)
    with pytest.raises(
        vs.Error, match=r'precision="fp16" is not possible with this network; choices: auto, fp32, bf16'
    ):
        core.vs_sr.Spandrel(clip, weights=str(file("DAT")), precision="fp16")
    with pytest.raises(vs.Error, match=r"scale=3"):
        core.vs_sr.Spandrel(clip, weights=str(file("SPAN")), scale=3)
    with pytest.raises(vs.Error, match=r"weights must be given"):
        core.vs_sr.Spandrel(clip)
    half = core.vs_sr.Spandrel(clip, weights=str(file("Compact")), precision="bf16").get_frame(0)
    full = core.vs_sr.Spandrel(clip, weights=str(file("Compact"))).get_frame(0)
    assert 0 < np.abs(pixels(half)[0] - pixels(full)[0]).max() < 0.02


def test_what_has_a_model_of_ours_stays_with_it(file: Callable[[str], Path]) -> None:
    assert registry.model("Spandrel").last
    clip = moving(1, 24, 20)
    path = str(file("ESRGAN"))
    ours, theirs = (name(clip, weights=path).get_frame(0) for name in (core.vs_sr.ESRGAN, core.vs_sr.Spandrel))
    assert float(np.abs(np.stack(pixels(ours)).clip(0, 1) - np.stack(pixels(theirs))).max()) <= 2e-5
    with pytest.raises(vs.Error, match=r"use core.vs_sr.EDSR"):  # of which spandrel knows nothing
        core.vs_sr.Spandrel(clip, weights=str(image_networks.weights("EDSR")))


@pytest.mark.slow
def test_installed_by_pip_it_is_there_and_uninstalled_it_is_gone(file: Callable[[str], Path], tmp_path: Path) -> None:
    with_it = installed(PACKAGE, tmp_path)
    script = textwrap.dedent(
        f"""
        import vapoursynth as vs
        clip = vs.core.std.BlankClip(width=24, height=20, format=vs.YUV420P8, length=2)
        vs.core.vs_sr.Spandrel(clip, weights={str(file("SPAN"))!r}).set_output()
        """
    )
    done = vspipe(script, "-c", "y4m", env=with_it)
    assert done.returncode == 0, done.stderr.decode()
    assert b" W96 H80 " in done.stdout[:80]
    done = vspipe(script, "-c", "y4m")
    assert done.returncode != 0
    assert b"Spandrel" in done.stderr
