"""``examples/model``: FSRCNN as a package, against its network called by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_networks
from helpers.clips import pixels
from helpers.packages import installed, loaded
from helpers.support import ROOT, vspipe
from safetensors.torch import save_file

import vs_sr

if TYPE_CHECKING:
    from pathlib import Path

core = vs.core
PACKAGE = ROOT / "examples" / "model"
CONFIG = {"channels": 1, "features": 12, "shrunk": 6, "mappings": 2}


@pytest.fixture(scope="module")
def model() -> vs_sr.Model:
    """As if the package were installed."""
    (found,) = loaded(PACKAGE / "vs_sr_fsrcnn.py").vs_sr_models()
    vs_sr.register(found)
    return found  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def networks(model: vs_sr.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Any, Path]]:
    """A network of random weights for each scale, and its file, which does not say the scale."""
    made = {}
    for scale in (2, 3):
        torch.manual_seed(scale)
        net = model.build(vs_sr.Variant(scale=scale, config={**CONFIG, "scale": scale})).eval().requires_grad_(False)
        path = tmp_path_factory.mktemp("fsrcnn") / f"x{scale}.safetensors"
        save_file(net.state_dict(), path)
        made[scale] = net, path
    return made


@pytest.mark.parametrize("scale", [2, 3])
def test_it_gives_what_its_network_gives(scale: int, networks: dict[int, tuple[Any, Path]]) -> None:
    net, path = networks[scale]
    clip = image_networks.moving(1, 30, 22).resize.Bicubic(format=vs.GRAYS)
    found = core.vs_sr.FSRCNN(clip, weights=str(path), scale=scale, device_id=-1).get_frame(0)
    luma = torch.from_numpy(np.asarray(clip.get_frame(0)[0]).copy())[None, None]
    expected = (net((luma * 219 + 16) / 255) * 255 - 16) / 219
    assert (found.width, found.height) == (30 * scale, 22 * scale)
    assert float((torch.from_numpy(pixels(found)[0].copy()) - expected[0, 0]).abs().max()) <= 1e-5


def test_tiles_show_no_seam(networks: dict[int, tuple[Any, Path]]) -> None:
    clip = image_networks.moving(1, 62, 46)
    arguments = {"weights": str(networks[2][1]), "scale": 2, "device_id": -1}
    whole, tiled = (core.vs_sr.FSRCNN(clip, **arguments, tilesize=size, num_streams=2).get_frame(0) for size in (0, 24))
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(pixels(whole), pixels(tiled), strict=True))


def test_what_no_tensor_tells_is_asked_for(networks: dict[int, tuple[Any, Path]]) -> None:
    clip = image_networks.moving(1, 30, 22)
    with pytest.raises(vs.Error, match=r"networks of all scales have the same tensors.*scale=2 or scale=3 or scale=4"):
        core.vs_sr.FSRCNN(clip, weights=str(networks[2][1]))
    with pytest.raises(vs.Error, match=r"FSRCNN: weights must be given.*fsrcnn_x2.pth of the repository yjn870"):
        core.vs_sr.FSRCNN(clip)


@pytest.mark.slow
def test_installed_by_pip(networks: dict[int, tuple[Any, Path]], tmp_path: Path) -> None:
    script = f"""
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=24, height=20, format=vs.YUV420P8, length=2)
vs.core.vs_sr.FSRCNN(clip, weights={str(networks[3][1])!r}, scale=3, device_id=-1).set_output()
"""
    done = vspipe(script, "-c", "y4m", env=installed(PACKAGE, tmp_path))
    assert done.returncode == 0, done.stderr.decode()
    assert b" W72 H60 " in done.stdout[:80]
