"""Reading checkpoints: every format that people have, damaged ones, and hostile ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import golden, support
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from vs_sr.errors import WeightsError
from vs_sr.weights import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE = {
    "conv.weight": torch.arange(54, dtype=torch.float32).view(2, 3, 3, 3),
    "conv.bias": torch.tensor([0.5, -1.25]),
    "bn.num_batches_tracked": torch.tensor(7),
}


def write_safetensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, path, {"licence": "MIT"})


def write_zip(path: Path, content: object) -> None:
    torch.save(content, path)


def write_legacy(path: Path, content: object) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "safetensors": write_safetensors,
    "PyTorch": write_zip,
    "PyTorch, before 1.6": write_legacy,
}
PICKLED = {label: write for label, write in WRITERS.items() if label != "safetensors"}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[k], expected[k]) for k in expected)


# Formats


@pytest.mark.parametrize("label", WRITERS)
def test_formats(label: str, tmp_path: Path) -> None:
    WRITERS[label](path := tmp_path / "file", _STATE)
    file = checkpoint.read(path)
    assert file.format == label
    assert dict(file.shapes) == {name: tuple(tensor.shape) for name, tensor in _STATE.items()}
    assert file.dtypes == {"float32", "int64"}
    assert file.metadata == ({"licence": "MIT"} if label == "safetensors" else {})
    found = file.tensors()
    assert found.keys() == _STATE.keys()
    assert all(torch.equal(found[name], _STATE[name]) for name in _STATE)
    assert list(file.tensors(["conv.bias"])) == ["conv.bias"]
    assert file.values("conv.bias") == (0.5, -1.25)


@pytest.mark.parametrize("label", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(label: str, dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.tensor([1.5, -0.25, 3.0], dtype=dtype)
    WRITERS[label](path := tmp_path / "file", {"a": values, "half": torch.ones(2, dtype=torch.float16)})
    file = checkpoint.read(path)
    assert file.values("a") == (1.5, -0.25, 3.0)
    assert file.tensors()["a"].dtype == torch.float32
    assert file.tensors()["a"].tolist() == [1.5, -0.25, 3.0]


@pytest.mark.parametrize("label", WRITERS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.bool])
def test_integers_stay_what_they_are(label: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.tensor([1, 0, 1], dtype=dtype)
    WRITERS[label](path := tmp_path / "file", {"a": tensor})
    assert torch.equal(checkpoint.read(path).tensors()["a"], tensor)
    with pytest.raises(WeightsError, match="a is no small, dense tensor of floating-point numbers"):
        checkpoint.read(path).values("a")


@pytest.mark.parametrize("label", PICKLED)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(label: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    torch.save(_STATE, path, pickle_protocol=protocol, _use_new_zipfile_serialization=label == "PyTorch")
    assert same(checkpoint.read(path).tensors(), _STATE)


@pytest.mark.parametrize("label", PICKLED)
def test_views_and_shared_storages(label: str, tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "transposed": base.view(4, 6).t(),
        "tail": base[18:],
        "strided": base[::5],
        "again": base,
        "empty": torch.empty(0, 3),
    }
    PICKLED[label](path := tmp_path / "file", state)
    assert same(checkpoint.read(path).tensors(), state)


@pytest.mark.parametrize("label", PICKLED)
@pytest.mark.parametrize(
    ("content", "wrappers"),
    [
        ({"params_ema": _STATE, "params": {"other": torch.ones(1)}}, ("params_ema",)),
        ({"params": _STATE, "epoch": 3}, ("params",)),
        ({"meta": {"config": "text"}, "state_dict": OrderedDict(_STATE), "optimizer": {"lr": 1}}, ("state_dict",)),
        ({"epoch": 1, "model_state_dict": _STATE}, ("model_state_dict",)),
        ({"model": {"state_dict": _STATE}}, ("model", "state_dict")),
        ({"netG": _STATE, "netD": {"other": torch.ones(1)}}, ("netG",)),
        ({"something": _STATE, "epoch": 2}, ("something",)),
        ({**_STATE, "step": 5, "name": "text"}, ()),
        ({name: nn.Parameter(t) if t.is_floating_point() else t for name, t in _STATE.items()}, ()),
    ],
)
def test_wrappers(label: str, content: object, wrappers: tuple[str, ...], tmp_path: Path) -> None:
    PICKLED[label](path := tmp_path / "file", content)
    file = checkpoint.read(path)
    assert file.wrappers == wrappers
    assert same(file.tensors(), _STATE)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.conv(x))
        return out


@pytest.mark.parametrize("label", PICKLED)
@pytest.mark.parametrize("wrapped", [False, True])
def test_whole_pickled_modules(label: str, wrapped: bool, tmp_path: Path) -> None:
    module = nn.Sequential(Block(), nn.Sequential(Block(), nn.PReLU()))
    PICKLED[label](path := tmp_path / "file", {"epoch": 1, "model": module} if wrapped else module)
    file = checkpoint.read(path)
    assert file.wrappers == (("model",) if wrapped else ())
    expected = module.state_dict()
    assert file.shapes.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in file.tensors().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    scripted = torch.jit.script(nn.Sequential(Block(), nn.Sequential(Block(), nn.PReLU())).eval())
    scripted.save(str(path := tmp_path / "file.pt"))
    file = checkpoint.read(path)
    assert file.format == "TorchScript"
    expected = scripted.state_dict()
    assert file.shapes.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in file.tensors().items())


def test_published_files() -> None:
    """A module pickled by Python 2, its class's source text inside, and state dicts of CUDA tensors."""
    vdsr = checkpoint.read(golden.test_data("weights/vdsr_twtygqyy_model_epoch_50.pth"))
    assert (vdsr.format, vdsr.wrappers, len(vdsr.shapes)) == ("PyTorch, before 1.6", ("model",), 20)
    assert dict(vdsr.shapes) == golden.image_shapes("vdsr_twtygqyy")
    srgan = checkpoint.read(golden.test_data("weights/srgan_leftthomas_netG_epoch_4_100_2018-01-17.pth"))
    expected = golden.image_shapes("srgan_g_leftthomas2018_x4")
    assert dict(srgan.shapes) == {k: v for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    reference = torch.load(srgan.path, map_location="cpu", weights_only=True)
    assert same(srgan.tensors(), dict(reference))


def test_neither_torch_nor_numpy_is_imported_to_look(tmp_path: Path) -> None:
    paths = []
    for label, write in WRITERS.items():
        write(path := tmp_path / label[-3:], _STATE)
        paths.append(str(path))
    program = (
        "import sys; from pathlib import Path; from vs_sr.weights import checkpoint\n"
        "for path in sys.argv[1:]: checkpoint.read(Path(path)).values('conv.bias')\n"
        "print([name for name in ('torch', 'numpy', 'safetensors', 'vapoursynth') if name in sys.modules])"
    )
    environment = support.environment()
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


# Damage


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        checkpoint.read(tmp_path / "missing.pth")
    (tmp_path / "file").write_bytes(bytes(range(1, 255)))
    with pytest.raises(WeightsError, match=r"is no weights file; \.safetensors and PyTorch files"):
        checkpoint.read(tmp_path / "file")


def safetensors_bytes(entries: object, data: bytes = bytes(8), length: int | None = None) -> bytes:
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


_ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors_bytes({"a": _ENTRY}, bytes(7)), "7 bytes|broken download"),
        (safetensors_bytes({"a": _ENTRY}, bytes(9)), "broken download"),
        (safetensors_bytes({"a": _ENTRY}, length=1 << 40), "cut short"),
        (safetensors_bytes({"a": _ENTRY}, length=3), "header is damaged"),
        (safetensors_bytes(b'{"a": ' + b"[" * 20_000), "header is damaged"),
        (safetensors_bytes(b'{"a": 1, "a": 2}'), "a name occurs twice"),
        (safetensors_bytes({"a": 5}), "damaged: a has no type, shape and place"),
        (safetensors_bytes({"a": {**_ENTRY, "dtype": "F8_E4M3"}}), "a is of type F8_E4M3; known are F64"),
        (safetensors_bytes({"a": {**_ENTRY, "shape": [3]}}), "header is damaged: a has no type"),
        (safetensors_bytes({"a": {**_ENTRY, "shape": [-1, -2]}}), "header is damaged: a has no type"),
        (safetensors_bytes({"a": {**_ENTRY, "shape": [True, 2]}}), "header is damaged: a has no type"),
        (safetensors_bytes({"a": {**_ENTRY, "data_offsets": [8, 16]}}), "overlap, or leave gaps"),
        (safetensors_bytes({"a": _ENTRY, "b": _ENTRY}), "overlap, or leave gaps"),
        (safetensors_bytes({"__metadata__": {"a": 1}, "a": _ENTRY}), "metadata that is no text"),
        (safetensors_bytes({"__metadata__": {"a": "b"}}, b""), "holds no tensors"),
    ],
)
def test_damaged_safetensors(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        checkpoint.read(path)


@pytest.mark.parametrize("label", WRITERS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_surprises(label: str, data: st.DataObject, tmp_path: Path) -> None:
    """Bytes changed or cut off anywhere: tensors of the sizes announced, or a WeightsError."""
    WRITERS[label](path := tmp_path / "file", _STATE)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        file = checkpoint.read(path)
        tensors = file.tensors()
    except WeightsError:
        return
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == dict(file.shapes)


def test_a_file_cut_short_after_it_was_opened(tmp_path: Path) -> None:
    write_legacy(path := tmp_path / "file", _STATE)
    file = checkpoint.read(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match="has changed since the filter was made"):
        file.tensors()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.txt": b"text"}, "not one that PyTorch wrote"),
        ({"a/data.pkl": b"", "b/data.pkl": b""}, "not one that PyTorch wrote"),
        ({"a/data.pkl": pickle.dumps({}), "a/byteorder": b"big"}, "big-endian"),
        ({"a/data.pkl": pickle.dumps({})}, "no weights found: it holds nothing"),
        (
            {"a/data.pkl": pickle.dumps({"x": {}, "y": {1: 2}, "z": {3: 4}})},
            "no weights found: it holds x, y, z; a state dict",
        ),
        ({"a/data.pkl": pickle.dumps([1, 2])}, "no weights found"),
        ({"a/data.pkl": b"\x80\x02}"}, "its pickle cannot be read"),
    ],
)
def test_archives_of_something_else(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(WeightsError, match=message):
        checkpoint.read(path)


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    write_zip(path := tmp_path / "file.pth", _STATE)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match="a compressed zip archive"):
        checkpoint.read(packed)


# Hostility. The payload makes a file; pickle.loads shows that it is alive.


class Payload:
    """Runs a shell command when it is unpickled by Python."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def pickles(command: str) -> dict[str, bytes]:
    """Ways to run a command from a pickle."""
    evil = f"__import__('os').system({command!r})"
    return {
        "reduce": pickle.dumps(Payload(command)),
        "reduce, protocol 0": pickle.dumps(Payload(command), 0),
        "in a state dict": pickle.dumps({"weight": Payload(command), "other": [Payload(command)]}),
        "eval": _global("builtins", "eval") + _text(evil) + b"\x85R.",
        "inst": b"(" + _text(evil) + b"ibuiltins\neval\n.",
        "obj": b"(" + _global("builtins", "eval") + _text(evil) + b"o.",
        "newobj": _global("subprocess", "Popen") + _text(command) + b"I01\n\x86\x81.",
        "stack_global": b"\x80\x04" + _text("builtins") + _text("eval") + b"\x93" + _text(evil) + b"\x85R.",
        "dotted": b"\x80\x04" + _text("os") + _text("system.__call__") + b"\x93" + _text(command) + b"\x85R.",
        "getattr": _global("builtins", "getattr")
        + _global("os", "path")
        + _text("os")
        + b"\x86R(dX\x01\x00\x00\x00a"
        + pickle.dumps(Payload(command), 2)[2:-1]
        + b"sb.",
        "build": _global("collections", "OrderedDict")
        + b")R}"
        + _text("__setstate__")
        + _global("os", "system")
        + b"sb"
        + _text(command)
        + b"b.",
        "the pickle's own helpers": _global("torch._utils", "_rebuild_parameter")
        + b"}"
        + _text("function")
        + _global("os", "system")
        + b"s\x86b"
        + _text(command)
        + b"\x85R.",
    }


_WAYS = list(pickles(""))


def wrap(kind: str, payload: bytes, path: Path) -> None:
    """A file of PyTorch's whose content is the payload."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
            archive.writestr("archive/version", "3")
    else:
        start = io.BytesIO()
        torch.save(0, start, _use_new_zipfile_serialization=False)
        parts = io.BytesIO(start.getvalue())
        for _ in range(3):  # magic number, protocol, machine
            pickle.Unpickler(parts).load()
        path.write_bytes(start.getvalue()[: parts.tell()] + payload + pickle.dumps([], 2))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("way", _WAYS)
def test_no_code_of_a_file_runs(kind: str, way: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    wrap(kind, pickles(f"touch {marker}")[way], path := tmp_path / "file.pth")
    with pytest.raises(WeightsError):
        checkpoint.read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "way", ["reduce", "reduce, protocol 0", "in a state dict", "eval", "inst", "obj", "stack_global"]
)
def test_the_payloads_are_alive(way: str, tmp_path: Path) -> None:
    """What the test above would not notice: payloads that do nothing anyway."""
    marker = tmp_path / "marker"
    pickle.loads(pickles(f"touch {marker}")[way])
    assert marker.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_weights_beside_a_payload_are_read(kind: str, tmp_path: Path) -> None:
    """A state dict with something odd beside it is still a state dict; the odd thing stays inert."""
    marker = tmp_path / "marker"
    content = {"state_dict": _STATE, "hook": Payload(f"touch {marker}")}
    PICKLED["PyTorch" if kind == "zip" else "PyTorch, before 1.6"](path := tmp_path / "file.pth", content)
    assert same(checkpoint.read(path).tensors(), _STATE)
    assert not marker.exists()


def _storage(key: str, count: int) -> bytes:
    return b"(" + _text("storage") + _global("torch", "FloatStorage") + _text(key) + _text("cpu") + _int(count) + b"tQ"


def _int(value: int) -> bytes:
    return f"I{value}\n".encode()


def _tensor(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    tuples = [b"(" + b"".join(map(_int, values)) + b"t" for values in (shape, stride)]
    arguments = b"(" + _storage("0", count) + _int(offset) + tuples[0] + tuples[1] + b"I00\nNt"
    return b"}" + _text("w") + _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"Rs."


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (_tensor(4, 0, (2, 2), (2, 1)), None),
        (_tensor(4, 1, (2, 2), (2, 1)), "does not fit its storage of 4"),
        (_tensor(4, 0, (5,), (1,)), "does not fit its storage"),
        (_tensor(4, 0, (1 << 40,), (0,)), "does not fit its storage"),
        (_tensor(4, 0, (1 << 40, 1 << 40), (0, 0)), "does not fit its storage"),
        (_tensor(4, -1, (2,), (1,)), "offset -1"),
        (_tensor(4, 0, (2, 2), (1,)), "shape .2, 2. and stride .1,."),
        (_tensor(4, 0, (2,), (-1,)), "shape or stride is"),
        (_tensor(5, 0, (5,), (1,)), "holds fewer numbers than its tensors need"),
        (_tensor(-4, 0, (2,), (1,)), "outside the pickle"),
        (b"\x80\x02r\xff\xff\xff\xff.", "numbers its objects beyond their count"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "numbers its objects beyond their count"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.", "its pickle cannot be read"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "its pickle cannot be read"),
        (b"(" * 20_000 + b".", "its pickle cannot be read"),
        (b"(" * 200_000 + b".", "its pickle is out of proportion"),
    ],
)
def test_announcements_are_checked_against_the_file(payload: bytes, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", payload)
        archive.writestr("a/data/0", struct.pack("<4f", 1, 2, 3, 4))
    if message is None:
        assert checkpoint.read(path).tensors()["w"].tolist() == [[1, 2], [3, 4]]
    else:
        with pytest.raises(WeightsError, match=message):
            checkpoint.read(path)


def test_a_module_that_holds_itself(tmp_path: Path) -> None:
    module = Block()
    module.__dict__["_modules"]["self"] = module
    write_zip(path := tmp_path / "file.pth", module)
    assert set(checkpoint.read(path).shapes) == set(Block().state_dict())
