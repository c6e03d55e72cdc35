"""``vs-sr weights``: what a file is, and the way to a file that says it itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from helpers import image_networks as networks
from helpers.support import vs_sr
from safetensors import safe_open

from vs_sr import cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A2N as its authors' files are: nothing but tensors, in a wrapper."""
    path = tmp_path / "aan_x2.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in networks.network("A2N").state_dict().items()}}, path)
    return path


def test_convert(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = checkpoint.with_suffix(".safetensors")
    assert cli.main(["weights", "convert", str(checkpoint), str(target), "--set", "scale=2", "--set", "range=255"]) == 0
    assert capsys.readouterr().out == f"{target}: A2N, x2; core.vs_sr.A2N(clip, weights=...)\n"
    with safe_open(target, "pt") as file:
        metadata = file.metadata()
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {key: metadata[key] for key in ("architecture", "scale", "range", "source")} == {
        "architecture": "A2N",
        "scale": "2",
        "range": "255",
        "source": "aan_x2.pt",
    }
    original = networks.network("A2N").state_dict()
    assert kept.keys() == original.keys()
    assert all(torch.equal(kept[name], original[name]) for name in kept)
    # the file has become one that needs no hint
    assert cli.main(["weights", "convert", str(target), str(target.with_stem("again"))]) == 0


def test_what_is_ambiguous_names_the_option(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = checkpoint.with_suffix(".safetensors")
    assert cli.main(["weights", "convert", str(checkpoint), str(target)]) == 1
    text = capsys.readouterr().err
    assert text.startswith(f"vs-sr weights: {checkpoint}: its tensors are those of A2N")
    assert text.endswith("; say which with --set scale=2 or --set scale=3\n")
    assert not target.exists()


def test_show(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "show", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    assert "not recognized: its tensors are those of A2N" in text
    assert cli.main(["weights", "show", str(checkpoint), "--set", "scale=2", "--set", "range=1"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith(" "))
    assert lines["network"].startswith("A2N: ")
    assert (lines["scale"], lines["takes"], lines["inside"]) == ("2", "RGB", "state_dict")


@pytest.mark.parametrize("hint", ["scale", "=2", "scale="])
def test_hints_have_a_key_and_a_value(hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["weights", "show", "x.pth", "--set", hint])
    assert caught.value.code == 2
    assert f"{hint!r} is not of the form KEY=VALUE" in capsys.readouterr().err


def test_failures_are_messages(tmp_path: Path, checkpoint: Path) -> None:
    done = vs_sr("weights", "show", str(tmp_path / "none.pth"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vs-sr weights: ")
    assert "none.pth" in done.stderr
    done = vs_sr(
        "weights", "convert", str(checkpoint), str(tmp_path / "out.pth"), "--set", "scale=2", "--set", "range=1"
    )
    assert done.returncode == 1
    assert done.stderr == "vs-sr weights: the target must end in .safetensors; got 'out.pth'\n"
    assert vs_sr("weights").returncode == 2


def between(tmp_path: Path, *extra: str) -> int:
    a, b, out = (str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "out"))
    return cli.main(["weights", "interpolate", a, b, out, *extra])


def test_interpolate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of different naming schemes too; what was known of both files is known of the result."""
    net = networks.network("EDSR")
    networks.save("EDSR", net, tmp_path / "a.safetensors")
    other = {name: 3 * tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in other.items()}}, tmp_path / "b.safetensors")
    assert between(tmp_path, "--alpha", "0.25") == 0
    assert "EDSR, x2; core.vs_sr.EDSR" in capsys.readouterr().out
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        metadata = file.metadata()
        for name, tensor in net.state_dict().items():
            assert torch.allclose(file.get_tensor(name), 1.5 * tensor), name
    assert metadata["interpolated"] == "0.75 of a.safetensors, 0.25 of b.safetensors"
    assert metadata["res_scale"] == "1"
    assert between(tmp_path) == 0
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert torch.allclose(file.get_tensor("head.0.weight"), 2 * net.state_dict()["head.0.weight"])


def test_only_weights_of_one_network_can_be_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks.save("EDSR", networks.network("EDSR"), tmp_path / "a.safetensors")
    networks.save("SRCNN", networks.network("SRCNN"), tmp_path / "b.safetensors")
    assert between(tmp_path) == 1
    text = capsys.readouterr().err
    assert "a.safetensors is of EDSR (scale=2" in text
    assert "give two files of one network" in text
    assert not (tmp_path / "out.safetensors").exists()
