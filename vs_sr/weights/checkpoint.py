"""Reading checkpoints: names, shapes and metadata from the header alone; the numbers when they are wanted.

Formats: safetensors; PyTorch's zip format, TorchScript archives included; PyTorch's older format, in which
pickles and numbers follow each other. Nothing in a file is ever executed (see :mod:`vs_sr.weights.unpickle`).
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vs_sr.errors import WeightsError
from vs_sr.weights import unpickle
from vs_sr.weights.unpickle import Inert, StorageRef, TensorRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from vs_sr.spec import Metadata, Shapes

_MAX_HEADER = 64 << 20
_MAX_TENSORS = 100_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
_WRAPPERS = (
    "params_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "net_g",
    "netG",
    "generator",
    "weights",
)
"""Keys under which programs put a state dict among other things; of several the first is taken."""


@dataclass(frozen=True)
class _Place:
    """Where the numbers of a tensor lie in the file."""

    dtype: str
    start: int
    """Of its first number, in bytes."""
    end: int
    """Of the storage, in bytes."""
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None
    """In elements; None: dense, the last dimension running fastest."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a weights file holds, its numbers apart."""

    path: Path
    format: str
    """For listings: "safetensors", "PyTorch", ..."""
    shapes: Shapes
    metadata: Metadata = field(default_factory=dict)
    """Only safetensors files have any."""
    wrappers: tuple[str, ...] = ()
    """The keys that led to the tensors, in files that hold other things beside."""
    places: Mapping[str, _Place] = field(repr=False)

    @property
    def dtypes(self) -> frozenset[str]:
        """The types of number in the file."""
        return frozenset(place.dtype for place in self.places.values())

    def values(self, name: str) -> tuple[float, ...]:
        """The numbers of a small, dense tensor of floating-point numbers, without importing torch.

        Raises:
            WeightsError: it is large, or of another type.
        """
        place = self.places[name]
        count = math.prod(place.shape)
        dense = place.stride in (None, _dense(place.shape))
        if count > 64 or not dense or place.dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise WeightsError(f"{self.path.name}: {name} is no small, dense tensor of floating-point numbers")
        with self.path.open("rb") as file:
            file.seek(place.start)
            raw = file.read(count * _SIZES[place.dtype])
        if place.dtype == "bfloat16":  # the upper half of a float32
            raw = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2))
        letter = {"float16": "e", "float64": "d"}.get(place.dtype, "f")
        return struct.unpack(f"<{count}{letter}", raw)

    def tensors(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The tensors of the given names (all), on the CPU; floating-point numbers as float32.

        Raises:
            WeightsError: the file was cut short since it was opened.
        """
        import torch

        found: dict[str, Tensor] = {}
        with self.path.open("rb") as file:
            for name in self.places if names is None else names:
                place = self.places[name]
                dtype: torch.dtype = getattr(torch, place.dtype)
                if not math.prod(place.shape):
                    found[name] = torch.empty(place.shape, dtype=dtype)
                    continue
                stride = place.stride or _dense(place.shape)
                size = 1 + sum((n - 1) * step for n, step in zip(place.shape, stride, strict=True))
                file.seek(place.start)
                raw = bytearray(file.read(size * _SIZES[place.dtype]))
                if len(raw) != size * _SIZES[place.dtype]:
                    raise WeightsError(f"{self.path} is cut short")
                tensor = torch.frombuffer(raw, dtype=dtype).as_strided(place.shape, stride)
                found[name] = tensor.float() if tensor.is_floating_point() else tensor
                found[name] = found[name].contiguous()
        return found


def read(path: Path) -> Checkpoint:
    """Open a checkpoint of any known format; imports nothing heavy, executes nothing.

    Raises:
        WeightsError: it cannot be read; the message says why, and what to do.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            size = file.seek(0, 2)
            file.seek(0)
            if start[8:9] == b"{":
                return _read_safetensors(path, file, size)
            if start.startswith(b"PK\x03\x04"):
                return _read_zip(path, file)
            if start.startswith(b"\x80"):  # a pickle
                return _read_legacy(path, file, size)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    raise WeightsError(f"{path} is no weights file; .safetensors and PyTorch files (.pth, .pt, .ckpt) are")


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


# safetensors


def _read_safetensors(path: Path, file: BinaryIO, size: int) -> Checkpoint:
    (length,) = struct.unpack("<Q", file.read(8))
    if not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise WeightsError("the file is cut short, or no safetensors file")
    try:
        entries = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"its header is damaged: {error}") from None
    if not isinstance(entries, dict):
        raise WeightsError("its header is damaged: no list of tensors")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError("its header is damaged: metadata that is no text")
    places = {name: _safetensors_place(name, entry, 8 + length, size) for name, entry in entries.items()}
    covered = 8 + length
    for place in sorted(places.values(), key=lambda place: (place.start, place.end)):
        if place.start != covered:
            raise WeightsError("its header is damaged: tensors overlap, or leave gaps")
        covered = place.end
    if covered != size:
        raise WeightsError(f"it has {size} bytes instead of {covered}: a broken download?")
    return _checkpoint(path, "safetensors", places, metadata=metadata)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _safetensors_place(name: str, entry: Any, base: int, size: int) -> _Place:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if all(
            type(n) is int and n >= 0 for n in shape
        ):
            if dtype not in _SAFETENSORS:
                raise WeightsError(f"{name} is of type {dtype}; known are {', '.join(_SAFETENSORS)}")
            length = math.prod(shape) * _SIZES[_SAFETENSORS[dtype]]
            if 0 <= start <= end and end - start == length:
                return _Place(_SAFETENSORS[dtype], base + start, base + end, tuple(shape), None)
    raise WeightsError(f"its header is damaged: {name} is {entry!r}")


# PyTorch


def _read_zip(path: Path, file: BinaryIO) -> Checkpoint:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"the archive is damaged ({error}): a broken download?") from None
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("an archive, but not one that PyTorch wrote: there is no data.pkl in it")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in members:
        start, end = _member(file, members[f"{folder}byteorder"])
        file.seek(start)
        if file.read(min(end - start, 16)) != b"little":
            raise WeightsError("written on a big-endian machine, which is not supported")
    start, end = _member(file, members[pickles[0]])
    file.seek(start)
    found = unpickle.load(file, end)
    storages: dict[str, tuple[int, int]] = {}
    for key in found.storages:
        if f"{folder}data/{key}" not in members:
            raise WeightsError(f"the archive lacks the numbers of storage {key}")
        storages[key] = _member(file, members[f"{folder}data/{key}"])
    script = any(name.startswith(f"{folder}code/") for name in members)
    return _tree(path, "TorchScript" if script else "PyTorch", found, storages)


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of an archive's member begin and end: PyTorch never compresses."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise WeightsError(f"{info.filename} is compressed or encrypted; PyTorch files are neither")
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise WeightsError(f"the archive is damaged at {info.filename}")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    if file.seek(0, 2) < start + info.file_size:
        raise WeightsError(f"the archive is cut short at {info.filename}")
    return start, start + info.file_size


def _read_legacy(path: Path, file: BinaryIO, size: int) -> Checkpoint:
    magic, protocol, system = (unpickle.load(file, size).root for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise WeightsError("a pickle, but not one that PyTorch wrote")
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise WeightsError("written on a big-endian machine, which is not supported")
    found = unpickle.load(file, size)
    keys = unpickle.load(file, size).root
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise WeightsError("its list of storages is damaged")
    storages: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = found.storages.get(key)
        header = file.read(8)
        if storage is None or len(header) != 8 or struct.unpack("<q", header)[0] != storage.count:
            raise WeightsError(f"storage {key} is damaged: a broken download?")
        start = file.tell()
        storages[key] = (start, start + storage.count * _SIZES[storage.dtype])
        if storages[key][1] > size:
            raise WeightsError(f"the file is cut short at storage {key}: a broken download?")
        file.seek(storages[key][1])
    return _tree(path, "PyTorch, before 1.6", found, storages)


def _tree(path: Path, label: str, found: unpickle.Pickle, storages: Mapping[str, tuple[int, int]]) -> Checkpoint:
    tensors, wrappers = _unwrap(found.root)
    places: dict[str, _Place] = {}
    for name, tensor in tensors.items():
        start, end = _span(tensor.storage, storages)
        first = start + tensor.offset * _SIZES[tensor.storage.dtype]
        places[name] = _Place(tensor.storage.dtype, first, end, tensor.shape, tensor.stride)
    return _checkpoint(path, label, places, wrappers=wrappers)


def _span(storage: StorageRef, storages: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    if storage.key not in storages:
        raise WeightsError(f"the file lacks the numbers of storage {storage.key}")
    start, end = storages[storage.key]
    width = _SIZES[storage.dtype]
    start += storage.offset * width
    if start + storage.count * width > end:
        raise WeightsError(f"storage {storage.key} holds fewer numbers than its tensors need")
    return start, start + storage.count * width


def _unwrap(root: object) -> tuple[dict[str, TensorRef], tuple[str, ...]]:
    """The state dict in what a file holds, and the keys that lead to it."""
    wrappers: list[str] = []
    for _ in range(6):
        if isinstance(root, Inert):
            tensors = _module(root)
            if tensors:
                return tensors, tuple(wrappers)
        if not isinstance(root, dict):
            break
        nested = {str(key): value for key, value in root.items() if isinstance(value, dict | Inert) and value}
        key = next((key for key in _WRAPPERS if key in nested), None)
        if key is None:
            tensors = {str(key): value for key, value in root.items() if isinstance(value, TensorRef)}
            if tensors:
                return tensors, tuple(wrappers)
            if len(nested) != 1:
                seen = ", ".join(sorted(nested)) or "nothing"
                raise WeightsError(f"no weights found: it holds {seen}; known names are {', '.join(_WRAPPERS)}")
            (key,) = nested
        wrappers.append(key)
        root = nested[key]
    raise WeightsError("no weights found: it holds no tensors")


def _module(root: Inert) -> dict[str, TensorRef]:
    """The tensors of a pickled module (or of a TorchScript one), named by the path that leads to them."""
    tensors: dict[str, TensorRef] = {}
    waiting: list[tuple[str, Inert]] = [("", root)]
    seen: set[int] = set()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen or not isinstance(module.state, dict) or len(seen) > _MAX_TENSORS:
            continue
        seen.add(id(module))
        state = module.state
        groups = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
        if not any(isinstance(group, dict) for group in groups):
            groups = [state]  # TorchScript: its tensors and modules are attributes
        children: list[tuple[str, Inert]] = []
        for group in groups:
            for name, value in group.items() if isinstance(group, dict) else ():
                if isinstance(value, TensorRef):
                    tensors[f"{prefix}{name}"] = value
                elif isinstance(value, Inert):
                    children.append((f"{prefix}{name}.", value))
        waiting += reversed(children)
    return tensors


def _checkpoint(
    path: Path,
    label: str,
    places: Mapping[str, _Place],
    *,
    metadata: Metadata | None = None,
    wrappers: tuple[str, ...] = (),
) -> Checkpoint:
    if not places:
        raise WeightsError("it holds no tensors")
    if len(places) > _MAX_TENSORS:
        raise WeightsError(f"it holds {len(places)} tensors, more than any network has")
    return Checkpoint(
        path=path,
        format=label,
        shapes={name: place.shape for name, place in places.items()},
        metadata=metadata or {},
        wrappers=wrappers,
        places=places,
    )
