"""``vs-sr weights list`` and ``get``: what there is, and the way from a name to a filter."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
import vapoursynth as vs
from helpers import golden
from helpers import image_networks as networks
from helpers.web import Site, serving

from vs_sr import cli, registry
from vs_sr.cli import _progress
from vs_sr.spec import Published
from vs_sr.weights import download, published, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vs_sr.spec import Model


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Weights of two networks, as they are published; one needs hints."""
    folder = tmp_path_factory.mktemp("published")
    networks.save("EDSR", networks.network("EDSR"), folder / "edsr.safetensors")
    torch.save(networks.network("A2N").state_dict(), folder / "aan_x2.pt")
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def site(contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A publisher's, of whom the registry knows; the cache is empty."""
    monkeypatch.setattr(download, "_SCHEMES", ("http",))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VS_SR_CACHE", str(tmp_path / "cache"))
    with serving(Site(files=dict(contents))) as site:
        digest = hashlib.sha256(site.files["/edsr.safetensors"]).hexdigest()
        site.files[f"/edsr-{digest[:8]}.safetensors"] = site.files["/edsr.safetensors"]
        monkeypatch.setattr(registry, "models", lambda real=registry.models: [told(site, model) for model in real()])
        yield site


def told(site: Site, model: Model) -> Model:
    def at(file: str, **more: object) -> Published:
        return Published(file=file, repository="some/one", address=f"{site.url}/{file}", **more)  # type: ignore[arg-type]

    if model.name == "EDSR":
        names = [name[1:] for name in site.files if name.startswith("/edsr-")]
        by_hand = Published(file="edsr_x8.pth", repository="some/one", place="linked in its README")
        return replace(model, published=at(names[0]), more=(at("edsr.safetensors"), at("gone.pth"), by_hand))
    if model.name == "A2N":
        return replace(model, published=at("aan_x2.pt", hints={"scale": "2", "range": "255"}), more=())
    return replace(model, published=None, more=())


def get(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["weights", "get", *arguments])
    return (code, *capsys.readouterr())


def test_get(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the model's name, into the cache; what it says then is a filter. A second time nothing is asked for."""
    body = site.files["/edsr.safetensors"]
    digest = hashlib.sha256(body).hexdigest()
    path = tmp_path / "cache" / "weights" / f"edsr-{digest[:8]}.safetensors"
    code, out, err = get(capsys, "EDSR")
    assert (code, err) == (0, f"getting {site.url}/{path.name}\n")
    assert (
        out
        == f"{path}: EDSR, x2; sha-256 {digest} (begins as published)\ncore.vs_sr.EDSR(clip, weights={str(path)!r})\n"
    )
    assert path.read_bytes() == body
    clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGB24)
    made = eval(out.splitlines()[-1], {"core": vs.core, "clip": clip})
    assert (made.width, made.height) == (32, 32)
    asked = len(site.asked)
    assert get(capsys, path.name) == (0, out, f"{path.name} is there already; nothing is downloaded\n")
    assert len(site.asked) == asked
    assert cli.main(["weights", "list", "EDSR"]) == 0
    listed = capsys.readouterr().out
    assert re.search(rf"^    {path.name} +here$", listed, re.M)
    assert re.search(r"^    edsr.safetensors +get: some/one$", listed, re.M)
    assert re.search(r"^    edsr_x8.pth +by hand: some/one, linked in its README$", listed, re.M)
    assert re.search(r"^    edsr_compact_x4 +shipped \(default for scale=4\)$", listed, re.M)
    assert listed.endswith(f"downloads one to {path.parent}\n")
    assert "A2N" not in listed


def test_how_far_it_is_is_told(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a download that takes its time; on a terminal in place, elsewhere in lines."""
    monkeypatch.setattr(_progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(_progress, "_FILE", 0.0)
    site.files["/edsr.safetensors"] = bytes(3 << 20)
    code, _, err = get(capsys, "edsr.safetensors", "--to", str(tmp_path))
    assert code == 1
    assert re.search(r"^edsr.safetensors: 1 of 3 MiB, [\d.]+ MiB/s$", err, re.M)
    assert re.search(r"^edsr.safetensors: 3 of 3 MiB, [\d.]+ MiB/s$", err, re.M)
    assert "edsr.safetensors: it holds nothing but zeros" in err


def test_hints_come_with_the_command_that_writes_them_down(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my weights"
    code, out, _ = get(capsys, "aan_x2.pt", "--to", str(folder))
    assert code == 0
    what, convert, use = out.splitlines()
    digest = hashlib.sha256(site.files["/aan_x2.pt"]).hexdigest()
    assert what == f"{folder / 'aan_x2.pt'}: A2N, x2; sha-256 {digest} (to compare: its publisher states none)"
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(convert)
    assert program == "vs-sr"
    assert cli.main(arguments) == 0
    clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGB24)
    use = use.replace("aan_x2.safetensors", str(tmp_path / "aan_x2.safetensors"))
    assert eval(use, {"core": vs.core, "clip": clip}).width == 32


def test_what_is_not_the_file_is_not_kept(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page in its place, and another network's weights: where no checksum tells, the model does."""
    site.files["/edsr.safetensors"] = b"<!doctype html><title>Sign in</title>"
    code, out, err = get(capsys, "edsr.safetensors")
    assert (code, out) == (1, "")
    assert f"what came from {site.url}/edsr.safetensors is not edsr.safetensors: it is a web page (HTML)" in err
    site.files["/edsr.safetensors"] = site.files["/aan_x2.pt"]
    code, _, err = get(capsys, "edsr.safetensors")
    assert code == 1
    assert "it holds weights of A2N; use core.vs_sr.A2N" in err
    (named,) = (name for name in site.files if name.startswith("/edsr-"))
    site.files[named] = site.files["/aan_x2.pt"]
    code, _, err = get(capsys, "EDSR")
    assert code == 1
    assert f"should begin with {named[6:14]}; nothing of it is kept" in err
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_a_file_of_the_same_name_is_left_alone(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (named,) = (name[1:] for name in site.files if name.startswith("/edsr-"))
    (tmp_path / named).write_bytes(b"mine")
    code, _, err = get(capsys, named, "--to", str(tmp_path))
    assert code == 1
    assert f"{tmp_path / named} is there and is another file" in err
    assert (tmp_path / named).read_bytes() == b"mine"
    assert not site.asked


def test_an_interrupted_one_says_how_to_go_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take = download._read
    monkeypatch.setattr(download, "_PIECE", 1000)

    def stop(answer: object) -> bytes:
        if len(site.asked) == 1 and next(left) is None:
            raise KeyboardInterrupt
        return take(answer)  # type: ignore[arg-type]

    left = iter([1, 1, *[None] * 9])
    monkeypatch.setattr(download, "_read", stop)
    code, out, err = get(capsys, "EDSR", "--to", str(tmp_path))
    assert (code, out) == (130, "")
    assert f"{download.KEPT}\n" in err
    assert err.endswith("vs-sr weights: interrupted\n")
    code, _, err = get(capsys, "EDSR", "--to", str(tmp_path))
    assert code == 0
    assert "going on after 0 MiB" in err
    assert site.asked[-1][1] == "bytes=2000-"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["edsr"], "no published weights are called 'edsr'; `vs-sr weights list`"),
        (["ESRGNA"], "did you mean 'ESRGAN'? `vs-sr weights list` has all of them"),
        (["edsr_compact_x2"], "comes with vs-sr: core.vs_sr.EDSR(clip, weights='edsr_compact_x2')"),
        (["VDSR"], "nobody is known to publish weights of VDSR"),
        (["https://127.0.0.1/edsr.pth"], "is an address; get takes the names"),
        (["edsr_x8.pth"], "edsr_x8.pth of the repository some/one (linked in its README) has no address"),
        (["edsr_x8.pth"], "; of EDSR, get can fetch edsr-"),
        (["gone.pth"], "gone.pth: 127.0.0.1 says 404 Not Found: it is no longer at"),
        (["EDSR", "--to", "/dev/null/weights"], "/dev/null/weights cannot be made: "),
        (["EDSR", "--to", "~nobody here/x"], "begins with ~nobody here, and there is no such user"),
    ],
)
def test_failures_are_messages(site: Site, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    code, out, err = get(capsys, *arguments)
    assert (code, out) == (1, "")
    assert text in err


def test_what_is_published_can_be_got_or_looked_for() -> None:
    """A file name of its own each, https, checksums in hexadecimal, hints that the model takes."""
    every = [(model, each) for model in registry.models() for each in published.of(model)]
    names = [each.file for _, each in every]
    assert len(set(names)) == len(names)
    assert not set(names) & {*store.index(), *(model.name for model, _ in every)}
    for model, each in every:
        assert re.fullmatch(r"[\w.-]+\.(pth|pt|safetensors)", each.file)
        assert each.address or each.place
        assert not each.address or re.fullmatch(r"https://[\w.-]+/[\w./?=-]+", each.address)
        assert not each.address or each.file in each.address
        assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{64})?", each.checksum), each.checksum
        assert {*each.hints} <= {*model.hints, "scale"}
    (model, first), *_ = ((model, each) for model, each in every if model.name == "BasicVSR")
    assert published.find("BasicVSR") == (model, first)
    assert first.checksum == "0e599677"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("model_epoch_50.pth", "vdsr_twtygqyy_model_epoch_50.pth"),
        *(
            (f"netG_epoch_{scale}_100.pth", f"srgan_leftthomas_netG_epoch_{scale}_100_2018-01-17.pth")
            for scale in (2, 4, 8)
        ),
    ],
)
def test_published_files_are_what_is_said_of_them(name: str, file: str) -> None:
    path = golden.test_data(f"weights/{file}")
    model, wanted = published.find(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted.checksum
    assert published.recognized(model, wanted, path).model.name == model.name
