"""Conversion to safetensors, and the description of a file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from helpers import golden, support
from helpers.image_models import HINTS, models
from helpers.images import imresize, luma, psnr_y
from helpers.schemes import SCHEMES
from safetensors.torch import save_file

from vs_sr.engine import recurrence
from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.evaluation.metrics import psnr
from vs_sr.spec import Variant
from vs_sr.weights import checkpoint, convert, recognition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

ALL = tuple(models().values())

_TINY: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "SRCNN": ({"kernels": (9, 5, 5), "widths": (8, 4)}, {}),
    "VDSR": ({"depth": 2, "features": 4, "zero_mean": False}, {}),
    "SRResNet": ({"norm": False, "scale": 3, "features": 4, "blocks": 2}, {}),
    "SRGAN": ({"scale": 4, "features": 4, "blocks": 2, "trunk_norm": False}, {}),
    "EDSR": ({"scale": 2, "features": 4, "blocks": 2, "res_scale": 0.1}, {"res_scale": "0.1", "range": "255"}),
    "MDSR": ({"scale": 3, "features": 4, "blocks": 2}, {"scale": "3"}),
    "A2N": ({"scale": 3, "features": 8, "upsampled": 4, "blocks": 2, "reduced": 2}, {"scale": "3", "range": "1"}),
    "ESRGAN": ({"steps": (3,), "features": 4, "growth": 4, "blocks": 1}, {"scale": "3"}),
    "EDVR": ({"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1, "hr_channels": 4}, {}),
    "BasicVSR": ({"channels": 8, "blocks": 1, "hr_channels": 4}, {}),
}
_OTHER_FORM = ("zero-mean residual", "pytorch-SRResNet (instance normalization)")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with golden.one_thread():
        yield


def tiny(model: str) -> nn.Module:
    torch.manual_seed(3)
    network = models()[model].build(Variant(scale=1, config=_TINY[model][0])).eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.add_(0.1)  # statistics that make a difference
    return network


def image(model: str) -> Tensor:
    channels = 1 if model in ("SRCNN", "VDSR") else 3
    frames = (5,) if models()[model].kind != "image" else ()
    return golden.draw01("input", (1, *frames, channels, 12, 16))


@pytest.mark.parametrize(
    ("model", "scheme"),
    [(model, scheme) for model, schemes in SCHEMES.items() for scheme in schemes if scheme not in _OTHER_FORM],
)
def test_conversion_from_every_scheme(model: str, scheme: str, tmp_path: Path) -> None:
    """The converted file is recognized without a hint, and gives the same image bit for bit."""
    network = tiny(model)
    state = network.state_dict()
    named = dict(zip(SCHEMES[model][scheme](list(state)), state.values(), strict=True))
    torch.save({"params": {f"module.{name}": tensor for name, tensor in named.items()}}, tmp_path / "in.pth")
    found = convert.convert(tmp_path / "in.pth", tmp_path / "out.safetensors", _TINY[model][1], models=ALL)
    assert found.scheme.name == scheme

    file = checkpoint.read(tmp_path / "out.safetensors")
    again = recognition.recognize(file, models=ALL)
    assert (again.model.name, again.variant) == (model, found.variant)
    copy = recognition.network(file, again).eval()
    x = image(model)
    run = {"sequence": lambda net, x: recurrence.sequence(net, x, 1), "multi-frame": recurrence.multi_frame}.get(
        models()[model].kind, lambda net, x: net(x)
    )
    with torch.inference_mode():
        assert torch.equal(run(copy, x), run(network, x))


def test_metadata_says_what_the_file_is(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save(tiny("A2N").state_dict(), source)
    convert.convert(source, target, {"scale": "2", "range": "255"}, models=ALL, notes={"licence": "CC0"})
    assert checkpoint.read(target).metadata == {
        "format": "pt",
        "architecture": "A2N",
        "scale": "2",
        "range": "255",
        "source_names": "A2N",
        "source": "in.pth",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "licence": "CC0",
    }


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in tiny("VDSR").state_dict().items()}
    torch.save(state, tmp_path / "in.pth")
    convert.convert(tmp_path / "in.pth", tmp_path / "out.safetensors", models=ALL)
    assert checkpoint.read(tmp_path / "out.safetensors").dtypes == {"float32"}


def test_metadata_of_a_safetensors_source_is_kept(tmp_path: Path) -> None:
    save_file(tiny("A2N").state_dict(), tmp_path / "in.safetensors", {"scale": "3", "range": "1", "psnr": "30"})
    convert.convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", models=ALL)
    metadata = checkpoint.read(tmp_path / "out.safetensors").metadata
    assert (metadata["psnr"], metadata["scale"]) == ("30", "3")


@pytest.mark.parametrize(
    ("target", "hints", "error", "message"),
    [
        ("out.pth", {}, ArgumentError, r"must end in \.safetensors; got 'out.pth'"),
        ("in.safetensors", {}, ArgumentError, "the same file"),
        (
            "out.safetensors",
            {"flavour": "x"},
            ArgumentError,
            "flavour is no hint for VDSR; choices: ",
        ),
        ("missing/out.safetensors", {}, ArgumentError, "cannot be written: there is no such folder"),
        ("out.safetensors", {"architecture": "EDSR"}, WeightsError, "none of the known networks"),
    ],
)
def test_what_cannot_be_converted(
    target: str, hints: dict[str, str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    save_file(tiny("VDSR").state_dict(), tmp_path / "in.safetensors")
    with pytest.raises(error, match=message):
        convert.convert(tmp_path / "in.safetensors", tmp_path / target, hints, models=ALL)
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


def test_a_failure_leaves_the_old_target_alone(tmp_path: Path) -> None:
    state = tiny("VDSR").state_dict()
    state["residual_layer.1.conv.weight"] = torch.zeros(4, 5, 3, 3)
    torch.save(state, tmp_path / "in.pth")
    (tmp_path / "out.safetensors").write_bytes(b"old")
    with pytest.raises(WeightsError, match=r"residual_layer\.1\.conv.weight \(4, 5, 3, 3\) instead of \(4, 4, 3, 3\)"):
        convert.convert(tmp_path / "in.pth", tmp_path / "out.safetensors", models=ALL)
    assert (tmp_path / "out.safetensors").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(tiny("VDSR").state_dict(), tmp_path / "in.pth")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArgumentError, match=r"out\.safetensors cannot be written: No space left"):
        convert.convert(tmp_path / "in.pth", tmp_path / "out.safetensors", models=ALL)
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]


# Descriptions


def test_description(tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in tiny("VDSR").state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, path := tmp_path / "in.pth")
    assert convert.describe(path, models=ALL) == "\n".join(
        [
            "file      in.pth: PyTorch, 4 tensors, 360 numbers",
            "types     float32",
            "inside    state_dict",
            "network   VDSR: sharpens an upscaled clip; twenty layers, luma only",
            "names     pytorch-vdsr, with the prefix 'module.'",
            "scale     1, for a clip upscaled beforehand",
            "takes     luma",
            "config    zero_mean=False, depth=2, features=4, channels=1",
        ]
    )


def test_description_of_an_open_question_and_of_a_stranger(tmp_path: Path) -> None:
    save_file(tiny("A2N").state_dict(), path := tmp_path / "a.safetensors", {"licence": "MIT"})
    text = convert.describe(path, models=ALL)
    assert "network   not recognized: its tensors are those of A2N (A2N names), but the x2 and the x3 network" in text
    assert "metadata  licence: MIT" in text
    assert "scale     3" in convert.describe(path, {"scale": "3", "range": "1"}, models=ALL)
    save_file({"x": torch.zeros(2, 3)}, path)
    assert "          x [2, 3]" in convert.describe(path, models=ALL)


def test_description_needs_no_torch(tmp_path: Path) -> None:
    torch.save(tiny("EDVR"), path := tmp_path / "in.pth")
    program = (
        "import sys; from vs_sr.weights import convert; from helpers.image_models import models\n"
        "print(convert.describe(sys.argv[1], models=models().values()))\n"
        "print([name for name in ('torch', 'numpy', 'vapoursynth') if name in sys.modules])"
    )
    environment = support.environment(PYTHONPATH=os.pathsep.join([str(support.ROOT), str(support.ROOT / "tests")]))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    assert "network   EDVR" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# Published weights


def published(name: str, tmp_path: Path) -> nn.Module:
    """The network of a published file, by way of a converted one."""
    convert.convert(golden.test_data(f"weights/{name}.pth"), target := tmp_path / "out.safetensors", models=ALL)
    file = checkpoint.read(target)
    found = recognition.recognize(file, models=ALL)
    return recognition.network(file, found).eval()


def set5(name: str, scale: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image of Set5, cropped to a multiple of the scale: (H, W, 3)."""
    image = pytest.importorskip("PIL.Image").open(golden.test_data(f"footage/set5/{name}.png")).convert("RGB")
    array = np.asarray(image)
    return array[: array.shape[0] // scale * scale, : array.shape[1] // scale * scale]


def vdsr_psnr(network: nn.Module, name: str, scale: int) -> float:
    """PSNR-Y by the uint8 protocol: MATLAB's bicubic to 8 bit both ways, the border of ``scale`` left out."""
    truth = set5(name, scale)
    upscaled = imresize(imresize(truth, 1 / scale), scale)
    y = torch.from_numpy(luma(upscaled) / 255).float()[None, None]
    with torch.inference_mode():
        out = network(y)[0, 0].double().numpy() * 255
    return psnr(out.clip(0, 255), luma(truth), border=scale)


def srgan_psnr(network: nn.Module, name: str, scale: int) -> float:
    """PSNR-Y of the image in 8 bit, its LR made by MATLAB's bicubic, the border of ``scale`` left out."""
    truth = set5(name, scale)
    small = np.ascontiguousarray(imresize(truth, 1 / scale))
    with torch.inference_mode():
        out = network(torch.from_numpy(small).permute(2, 0, 1)[None] / 255)
    image = (out[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return psnr_y(image, truth, border=scale)


_SET5 = ("baby", "bird", "butterfly", "head", "woman")


def test_published_vdsr_beats_bicubic(tmp_path: Path) -> None:
    network = published("vdsr_twtygqyy_model_epoch_50", tmp_path)
    truth = set5("butterfly", 3)
    upscaled = imresize(imresize(truth, 1 / 3), 3)
    assert vdsr_psnr(network, "butterfly", 3) > psnr_y(upscaled, truth, border=3) + 5


@pytest.mark.slow
def test_published_vdsr_reaches_its_figures(tmp_path: Path) -> None:
    """At one scale; tests of ``evaluate`` have the others."""
    network = published("vdsr_twtygqyy_model_epoch_50", tmp_path)
    assert np.mean([vdsr_psnr(network, name, 3) for name in _SET5]) == pytest.approx(33.731, abs=0.002)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_published_srgan_runs(scale: int, tmp_path: Path) -> None:
    network = published(f"srgan_leftthomas_netG_epoch_{scale}_100_2018-01-17", tmp_path)
    truth = set5("butterfly", scale)
    upscaled = imresize(imresize(truth, 1 / scale), scale)
    assert srgan_psnr(network, "butterfly", scale) > psnr_y(upscaled, truth, border=scale)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "expected"), [(2, 35.47), (4, 30.654)])
def test_published_srgan_reaches_its_figures(scale: int, expected: float, tmp_path: Path) -> None:
    network = published(f"srgan_leftthomas_netG_epoch_{scale}_100_2018-01-17", tmp_path)
    assert np.mean([srgan_psnr(network, name, scale) for name in _SET5]) == pytest.approx(expected, abs=0.006)


def test_answers_of_the_vectors_are_asked_for() -> None:
    """What the tests tell is what the models say they may ask."""
    known = {key for model in ALL for key in model.hints}
    assert {key for hints in HINTS.values() for key in hints} <= known
