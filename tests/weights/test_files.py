"""Names of files and what is behind them: found once, known by their contents, named for what they are."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers import image_models, image_networks, networks
from helpers.support import python
from safetensors.torch import save_file
from torch import nn

from vs_sr import cli, files
from vs_sr.errors import ArgumentError, VsSrError, WeightsError
from vs_sr.weights import checkpoint, convert, recognition

if TYPE_CHECKING:
    from collections.abc import Callable

core = vs.core


def clip(**more: Any) -> vs.VideoNode:
    return core.std.BlankClip(width=16, height=12, length=2, format=vs.RGBS, color=[0.3, 0.5, 0.7], **more)


def network(seed: int) -> dict[str, torch.Tensor]:
    """A small ESRGAN, another one for every seed, all of the same shapes."""
    generator = torch.Generator().manual_seed(seed)
    state = image_networks.network("ESRGAN").state_dict()
    return {name: torch.empty_like(tensor).uniform_(-0.2, 0.2, generator=generator) for name, tensor in state.items()}


def upscale(path: Path | str) -> vs.VideoNode:
    return core.vs_sr.ESRGAN(clip(), weights=str(path), device_id=-1)


def look(node: vs.VideoNode) -> bytes:
    with node.get_frame(0) as frame:
        return np.asarray(frame[0]).tobytes()


# Contents under a name


def test_what_a_file_holds_when_the_filter_is_made_is_what_runs(tmp_path: Path) -> None:
    """Two clips of an older and a newer content, alive at once; a link that is set again; a folder left."""
    path = tmp_path / "net.pth"
    expected = []
    for seed in (1, 2):
        torch.save(network(seed), tmp_path / f"{seed}.pth")
        expected.append(look(upscale(tmp_path / f"{seed}.pth")))
    assert expected[0] != expected[1]
    shutil.copy(tmp_path / "1.pth", path)
    first = upscale(path)
    assert look(first) == expected[0]
    shutil.copy(tmp_path / "2.pth", path)
    second = upscale(path)
    assert (look(first), look(second)) == (expected[0], expected[1])
    with first.get_frame(1) as a, second.get_frame(1) as b:
        assert (np.asarray(a[0]).tobytes(), np.asarray(b[0]).tobytes()) == (expected[0], expected[1])

    link = tmp_path / "latest.pth"
    link.symlink_to("1.pth")
    node = upscale(link)
    link.unlink()
    link.symlink_to("2.pth")
    assert look(node) == expected[0]


@pytest.mark.parametrize("change", ["other numbers", "same size and time", "appended", "another file", "gone"])
def test_a_file_that_changes_before_its_first_frame_is_an_error(change: str, tmp_path: Path) -> None:
    path, other = tmp_path / "net.pth", tmp_path / "other" / "net.pth"  # archives contain their names
    other.parent.mkdir()
    torch.save(network(3), path)
    torch.save(network(4), other)
    before = path.stat()
    node = upscale(path)
    if change == "gone":
        path.unlink()
    elif change == "another file":
        other.replace(path)
    elif change == "appended":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.write_bytes(other.read_bytes())
    if change == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
    with pytest.raises(vs.Error, match=r"ESRGAN: .*net\.pth (has changed since the filter was made|cannot be read)"):
        node.get_frame(0)


def test_a_relative_name_is_meant_where_the_script_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    torch.save(network(5), tmp_path / "here/net.pth")
    torch.save(network(6), tmp_path / "there/net.pth")
    right = look(upscale(tmp_path / "here/net.pth"))
    monkeypatch.chdir(tmp_path / "here")
    nodes = [upscale("net.pth"), upscale("../here/net.pth")]
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    nodes.append(upscale("~/net.pth"))
    monkeypatch.setenv("HOME", str(tmp_path / "there"))
    monkeypatch.chdir(tmp_path / "there")
    assert [look(node) for node in nodes] == [right] * 3


def test_a_large_file_is_told_apart_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with path.open("r+b") as file:
        file.truncate(8 << 30)  # sparse
    start = time.thread_time()
    with files.open_regular(path) as file:
        files.identify(file)
    assert time.thread_time() - start < 0.05


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.pth"
    with open(path, "wb") as file:
        torch.save(network(1), file)
    assert core.vs_sr.ESRGAN(clip(), weights=path).width == 32


# What a file is that holds no weights


def _tar(*names: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()


def _zip(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"text")
    return made.getvalue()


def _encrypted() -> bytes:
    data = bytearray(_zip("net.pth"))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _saved(content: object) -> bytes:
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


def _frozen() -> bytes:
    made = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3)).eval())), made)
    return made.getvalue()


def _optimizer(key: str | None) -> bytes:
    """As Adam's state_dict() is; torch.optim takes seconds to import."""
    moments = {n: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)} for n in range(4)}
    content = {"state": moments, "param_groups": [{"lr": 1e-4, "params": [*moments]}]}
    return _saved(content if key is None else {key: content, "epoch": 3})


CONTENTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty: a download that failed"),
    "zeros": (lambda: bytes(5000), "nothing but zeros"),
    "Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "is a pointer of Git LFS.*git lfs pull",
    ),
    "HTML": (lambda: b"\n<!DOCTYPE html><html><head><title>net.pth</title>", r"is a web page \(HTML\)"),
    "HTML without a type": (lambda: b"<html lang=en>" + bytes(100), r"is a web page \(HTML\)"),
    "JSON": (lambda: b'{"error": "not found"}', "is JSON text"),
    "text": (lambda: b"import torch\n" * 9, "is text, not weights"),
    "ONNX": (lambda: b"\x08\x07\x12\x07pytorch\x1a\x051.9.0" + bytes(range(200)), "is an ONNX model"),
    "old torch": (lambda: _tar("sys_info", "pickle", "storages"), r"archive \(tar\) of PyTorch before 0\.1\.10"),
    "tar": (lambda: _tar("net.pth"), "is a tar archive; unpack it"),
    "gzip": (lambda: b"\x1f\x8b\x08\0" + bytes(100), "is packed by gzip; unpack it"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(100), "is a 7z archive; unpack it"),
    "zip around a file": (lambda: _zip("folder/net.pth"), r"a zip archive around folder/net\.pth; unpack it"),
    "another zip": (lambda: _zip("word/document.xml"), "a zip archive, but not one that PyTorch wrote"),
    "encrypted": (_encrypted, "an encrypted zip archive; unpack it with its password"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), r"is an HDF5 file \(Keras"),
    "PNG": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), r"is an image \(PNG\)"),
    "frozen": (_frozen, "a frozen TorchScript archive.*save the state dict"),
    "optimizer": (lambda: _optimizer(None), "the state of an optimizer and no network"),
    "optimizer under a key": (lambda: _optimizer("optimizer"), "the state of an optimizer and no network"),
    "optimizers of BasicSR": (lambda: _saved({"iter": 5, "optimizers": [{}], "schedulers": []}), "of an optimizer"),
    "pickle": (lambda: b"\x80\x04\x95\x0a\0\0\0\0\0\0\0K\x01.", "a pickle, but not one that PyTorch wrote"),
}  # fmt: skip


def every_way(path: Path) -> list[str]:
    """What each way of giving a file says of it."""
    said = []
    for give in (
        lambda: core.vs_sr.ESRGAN(clip(), weights=str(path)),
        lambda: core.vs_sr.ZoomingSlowMo(clip(), carry=1, state_in=str(path)),
        lambda: convert.describe(path),
        lambda: convert.convert(path, path.with_name("out.safetensors")),
    ):
        with pytest.raises((vs.Error, VsSrError)) as caught:
            give()
        said.append(str(caught.value))
    assert not path.with_name("out.safetensors").exists()
    return said


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_is_named_for_what_it_is(what: str, tmp_path: Path) -> None:
    make, message = CONTENTS[what]
    path = tmp_path / "net.pth"
    path.write_bytes(make())
    for said in every_way(path):
        assert str(path) in said
        with pytest.raises(WeightsError, match=message):
            raise WeightsError(said)


@pytest.mark.parametrize("what", ["a folder", "a named pipe", "a socket", "a device"])
def test_what_is_no_file_is_named_and_not_waited_for(what: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    if what == "a folder":
        path.mkdir()
    elif what == "a named pipe":
        os.mkfifo(path)
    elif what == "a socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    for said in every_way(path):
        assert f"is {what}" in said
    with pytest.raises(vs.Error, match=rf"state_out='.*net\.pth' is {what}"):
        core.vs_sr.ZoomingSlowMo(clip(), carry=1, state_out=str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is empty; give the name of a file"),
        ("~nobody-of-this-name/x.pth", "there is no such user"),
        ("x" * 300, "File name too long"),
        ("a\0b", "zero byte in its name"),
        ("missing/x.pth", "no such|No such|there is no"),
    ],
)
def test_names_that_no_file_can_have(name: str, message: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: core.vs_sr.ZoomingSlowMo(clip(), carry=1, state_in=name),
        lambda: core.vs_sr.ZoomingSlowMo(clip(), carry=1, state_out=name),
        lambda: convert.describe(name),
    ]
    if name:  # an empty one is none given
        asks.append(lambda: core.vs_sr.ESRGAN(clip(), weights=name))
    for ask in asks:
        with pytest.raises((vs.Error, VsSrError), match=message) as caught:
            ask()
        assert len(str(caught.value)) <= 500
        assert "Error:" not in str(caught.value)


def test_messages_are_bounded_and_printable() -> None:
    text = str(ArgumentError(f"clip {'x' * 5000}\x1b[31m\0 the way out"))
    assert len(text) <= 500
    assert text.isprintable()
    assert text.startswith("clip xxx")
    assert text.endswith("the way out")


def test_arguments_of_any_length_make_short_messages() -> None:
    path = str(networks.tiny_weights())
    for arguments in ({"tilesize": [1] * 100_000}, {"format": 1 << 40}, {"format": -1}, {"backend": "x" * 9999}):
        with pytest.raises(vs.Error, match=next(iter(arguments))) as caught:
            core.vs_sr.ZoomingSlowMo(clip(), weights=path, **arguments)
        assert len(str(caught.value)) <= 500
        assert "Error:" not in str(caught.value)


# Numbers that are none


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value: float, tmp_path: Path) -> None:
    state = network(1)
    state["conv_body.weight"][3, 2, 1, 0] = value
    torch.save(state, path := tmp_path / "net.pth")
    node = upscale(path)
    with pytest.raises(vs.Error, match=r"ESRGAN: net\.pth: conv_body\.weight holds NaN or infinity"):
        node.get_frame(0)
    with pytest.raises(WeightsError, match=r"conv_body\.weight holds NaN or infinity"):
        convert.convert(path, tmp_path / "out.safetensors")


# What a file says of itself


def test_an_architecture_that_the_tensors_do_not_have(tmp_path: Path) -> None:
    """The filter and ``convert`` take the same files."""
    path = tmp_path / "net.safetensors"
    state = {name: tensor.contiguous() for name, tensor in image_networks.network("VDSR").state_dict().items()}
    save_file(state, path, {"architecture": "ESRGAN"})
    with pytest.raises(vs.Error, match="architecture=ESRGAN is what it says of itself, not VDSR"):
        core.vs_sr.VDSR(clip(), weights=str(path))
    with pytest.raises(vs.Error, match="none of the known networks"):
        core.vs_sr.ESRGAN(clip(), weights=str(path))
    with pytest.raises(WeightsError, match="none of the known networks"):
        convert.convert(path, tmp_path / "out.safetensors")
    convert.convert(path, tmp_path / "out.safetensors", {"architecture": "VDSR"})
    assert core.vs_sr.VDSR(clip(), weights=str(tmp_path / "out.safetensors")).width == 32
    save_file(state, path, {"architecture": "a name of somebody's own"})
    assert core.vs_sr.VDSR(clip(), weights=str(path)).width == 32


# Networks larger than their files


def _claims(features: int) -> dict[str, tuple[int, ...]]:
    return {
        "head.0.weight": (features, 3, 3, 3),
        "body.0.body.0.weight": (1,),
        "tail.0.0.weight": (4 * features, 1, 1),
        "tail.1.weight": (3, 1),
    }


def test_a_network_larger_than_its_file_is_not_built(tmp_path: Path) -> None:
    """The few tensors that recognition looks at are there, the rest would be gigabytes."""
    path = tmp_path / "net.safetensors"
    save_file(
        {name: torch.zeros(shape) for name, shape in _claims(20_000).items()},
        path,
        {"res_scale": "1", "range": "255", "mean": "div2k"},
    )
    node = core.vs_sr.EDSR(clip(), weights=str(path), device_id=-1)
    with pytest.raises(vs.Error, match="a network that is larger than all of the file"):
        node.get_frame(0)
    with pytest.raises(WeightsError, match="larger than all of the file"):
        convert.convert(path, tmp_path / "out.safetensors")


def test_a_tensor_without_numbers_is_refused_when_the_filter_is_made(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    shapes = {name: (*shape[:-1], 0) for name, shape in _claims(64).items()}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path, {"res_scale": "1", "range": "255"})
    with pytest.raises(vs.Error, match=r"\.weight holds no numbers"):
        core.vs_sr.EDSR(clip(), weights=str(path))


@pytest.mark.parametrize("shape", [(), (0,), (1 << 62,), (3,), (1, 2, 3, 4, 5, 6, 7, 8)], ids=str)
def test_shapes_that_no_network_has(shape: tuple[int, ...]) -> None:
    """Each is taken or refused by a WeightsError, nothing else."""
    for name in image_models.models():
        if name not in image_networks.CONFIGS:
            continue
        own = {key: tuple(tensor.shape) for key, tensor in image_networks.network(name).state_dict().items()}
        for changed in own:
            with suppress(WeightsError):
                recognition.detect({**own, changed: shape}, models=[image_models.models()[name]])


def test_a_tensor_is_taken_once_into_memory(tmp_path: Path) -> None:
    """Of tensors that share numbers, each would be a copy."""
    base = torch.zeros(250_000)
    torch.save({f"layer{n}.weight": base.view(500, 500) for n in range(400)}, path := tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="out of proportion to the file"):
        checkpoint.read(path)
    torch.save({"a": base, "tied": base}, path)
    assert set(checkpoint.read(path).tensors()) == {"a", "tied"}


# The command


def test_show_waits_for_nothing_and_shows_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(
        {"\x1b[2Jname": torch.zeros(2)}, path := tmp_path / "x.safetensors", {"note": "\x1b]0;title\a" + "y" * 9999}
    )
    assert cli.main(["weights", "show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 500


def test_creation_stays_light(tmp_path: Path) -> None:
    """No torch for any of the checks of a file."""
    torch.save(network(1), path := tmp_path / "net.pth")
    done = python(
        "import sys, vapoursynth as vs\n"
        "clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGBS)\n"
        "vs.core.vs_sr.ESRGAN(clip, weights=sys.argv[1])\n"
        "print('torch' in sys.modules)",
        str(path),
    )
    assert done.stdout.strip() == "False", done.stderr


def test_writing_keeps_the_umask_and_leaves_nothing(tmp_path: Path) -> None:
    """Permissions as the user wants them, without a change that other threads would see."""
    done = subprocess.run(
        ["sh", "-c", f"umask 027; exec {shutil.which('python3')} -c \"\n"
         f"import sys; sys.path.insert(0, '{Path(__file__).parent.parent.parent}')\n"
         f"from pathlib import Path; from vs_sr import files\n"
         f"with files.replacing(Path('{tmp_path}/x')) as file: file.write(b'abc')\""],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    with suppress(RuntimeError), files.replacing(tmp_path / "x") as file:
        file.write(b"half")
        raise RuntimeError
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("x", b"abc")]
