"""What a filter says to wrong arguments, clips, frames and files: the value, the choices, the way out."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import vapoursynth as vs
from helpers import networks
from safetensors.torch import save_file

from vs_sr.weights import store

if TYPE_CHECKING:
    from pathlib import Path

core = vs.core


def clip(**changes: Any) -> vs.VideoNode:
    return core.std.BlankClip(**{"width": 16, "height": 16, "format": vs.YUV420P8, "length": 3, **changes})


def message(node: vs.VideoNode | None = None, **arguments: Any) -> str:
    """The error of a call, or of the first frame that comes out of it."""
    with pytest.raises(vs.Error) as caught:
        core.vs_sr.ZoomingSlowMo(
            clip() if node is None else node, **{"weights": str(networks.tiny_weights()), **arguments}
        ).get_frame(0)
    text = str(caught.value)
    assert text.startswith("ZoomingSlowMo: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"window": 1}, ["window=1", "2 to 64", "default 4"]),
        ({"window": 65}, ["window=65", "2 to 64"]),
        ({"multi": 3}, ["multi=3", "choices: 1, 2, 4, 8"]),
        ({"precision": "fp8"}, ["precision='fp8'", "auto, fp32, fp16, bf16"]),
        ({"device_id": -2}, ["device_id=-2", "-1 is the CPU"]),
        ({"device_id": 99}, ["device_id=99", "no such CUDA device", "-1"]),
        ({"backend": "tensor"}, ["backend", "'tensor'", "eager"]),
        ({"matrix": 2}, ["matrix=2", "1 (BT709)"]),
        ({"matrix_in": 3}, ["matrix_in=3", "6 (ST170_M)"]),
        ({"range": 2}, ["range=2", "0 (limited), 1 (full)"]),
        ({"range_in": -1}, ["range_in=-1", "0 (limited), 1 (full)"]),
        ({"format": 12345}, ["format=12345", "vs.YUV420P8"]),
        ({"format": vs.GRAY32}, ["format", "Gray32", "8 to 16 bit integer"]),
        ({"weights": "zooming_slow_mo_compakt"}, ["zooming_slow_mo_compakt", "did you mean 'zooming_slow_mo_compact'"]),
        ({"weights": "nowhere/x.pth"}, ["no file 'nowhere/x.pth'", "zooming_slow_mo_compact", ".safetensors"]),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], parts: list[str]) -> None:
    text = message(**arguments)
    for part in parts:
        assert part in text, text


def test_unknown_arguments() -> None:
    with pytest.raises(vs.Error, match="ZoomingSlowMo: Function does not take argument"):
        core.vs_sr.ZoomingSlowMo(clip(), tiles=3)


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        (lambda: clip(format=vs.RGB24, width=7), ["7x16", "at least 8x8", "std.AddBorders"]),
        (lambda: clip(format=vs.GRAY32), ["Gray32", "resize.Bicubic(format=...)"]),
        (
            lambda: core.std.Splice([clip(), clip(format=vs.RGB24)], mismatch=True),
            ["constant format and size", "resize.Bicubic"],
        ),
        (
            lambda: core.std.Splice([clip(), clip(width=32)], mismatch=True),
            ["constant format and size", "resize.Bicubic"],
        ),
    ],
)
def test_wrong_clips(node: Any, parts: list[str]) -> None:
    text = message(node())
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(
    ("tags", "parts"),
    [
        ({"_FieldBased": 1}, ["interlaced", "_FieldBased=1", "bwdif", "std.SetFieldBased(0)"]),
        ({"_FieldBased": 2}, ["interlaced", "_FieldBased=2"]),
        ({"_Matrix": 0}, ["_Matrix=0", "matrix_in="]),
        ({"_Matrix": 14}, ["_Matrix=14", "_Primaries", "std.SetFrameProps"]),
    ],
)
def test_wrong_frames(tags: dict[str, int], parts: list[str]) -> None:
    text = message(clip().std.SetFrameProps(**tags))
    for part in parts:
        assert part in text, text


def test_one_bad_frame_does_not_spoil_the_others() -> None:
    good = clip(length=12)
    bad = core.std.Splice([good[:9], good[9].std.SetFrameProps(_FieldBased=1), good[10:]])
    out = core.vs_sr.ZoomingSlowMo(bad, weights=str(networks.tiny_weights()))
    assert out.get_frame(5).width == 64
    with pytest.raises(vs.Error, match="interlaced"):
        out.get_frame(18)
    assert out.get_frame(11).width == 64


# Weights


def test_a_file_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"body.0.weight": torch.zeros(3, 3)}, path)
    text = message(weights=str(path))
    assert "none of the known networks" in text
    assert "body.0.weight" in text


@pytest.mark.parametrize("damage", ["empty", "text", "cut header", "cut numbers"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    whole = networks.tiny_weights().read_bytes()
    content = {"empty": b"", "text": b"hello, world", "cut header": whole[:200], "cut numbers": whole[:-100]}[damage]
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    assert str(path) in message(weights=str(path))


def test_weights_with_a_tensor_too_few(tmp_path: Path) -> None:
    state = networks.state(networks.tiny())
    del state["upconv1.bias"]
    path = tmp_path / "incomplete.safetensors"
    save_file(state, path)
    text = message(weights=str(path))
    assert "does not fit" in text
    assert "upconv1.bias" in text


def test_a_wrong_checksum_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = networks.tiny_weights().read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content)
    (tmp_path / "index.json").write_text(
        json.dumps({"mine": {"file": "a.safetensors", "sha256": "0" * 64, "model": "ZoomingSlowMo"}})
    )
    monkeypatch.setattr(store, "_FOLDER", tmp_path)
    store.index.cache_clear()
    try:
        text = message(weights="mine")
    finally:
        store.index.cache_clear()
    assert "damaged" in text
    assert hashlib.sha256(content).hexdigest() in text
    assert "reinstall" in text


def test_weights_of_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"theirs": {"file": "a", "sha256": "", "model": "EDSR"}}))
    monkeypatch.setattr(store, "_FOLDER", tmp_path)
    store.index.cache_clear()
    try:
        assert "weights 'theirs' are for EDSR" in message(weights="theirs")
    finally:
        store.index.cache_clear()
