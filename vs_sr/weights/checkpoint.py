"""Reading checkpoints: names, shapes and metadata from the header alone; the numbers when they are wanted.

Formats: safetensors; PyTorch's zip format, TorchScript archives included; PyTorch's older format, in which
pickles and numbers follow each other. Nothing in a file is ever executed (see :mod:`vs_sr.weights.unpickle`), and none
makes more work than its size warrants (:mod:`vs_sr.weights.budget`).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vs_sr import files
from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.weights import archive, foreign, unpickle, wrappers
from vs_sr.weights.budget import Budget
from vs_sr.weights.unpickle import StorageRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

    from torch import Tensor

    from vs_sr.files import Identity
    from vs_sr.spec import Metadata, Shapes

_MAX_HEADER = 4 << 20
_MAX_TENSORS = 4096
_MAX_NAME = 500
_MAX_RANK = 8
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
SAFETENSORS = {
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
"""The types of number of safetensors, and torch's names of them."""
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


@dataclass(frozen=True)
class Place:
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
    identity: Identity
    """Of the contents: numbers are read from no others."""
    format: str
    """For listings: "safetensors", "PyTorch", ..."""
    shapes: Shapes
    metadata: Metadata = field(default_factory=dict)
    """Only safetensors files have any."""
    wrappers: tuple[str, ...] = ()
    """The keys that led to the tensors, in files that hold other things beside."""
    averaged: bool = False
    """Whether the keys are those of an averaged copy."""
    others: tuple[str, ...] = ()
    """The keys of other networks in the file, which are left out."""
    places: Mapping[str, Place] = field(repr=False)

    @property
    def dtypes(self) -> frozenset[str]:
        """The types of number in the file."""
        return frozenset(place.dtype for place in self.places.values())

    def values(self, name: str) -> tuple[float, ...]:
        """The numbers of a small, dense tensor of floating-point numbers, without importing torch.

        Raises:
            WeightsError: it is large, or of another type; or the file has changed.
        """
        place = self.places[name]
        count = math.prod(place.shape)
        dense = place.stride in (None, _dense(place.shape))
        if count > 64 or not dense or place.dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise WeightsError(f"{self.path.name}: {name} is no small, dense tensor of floating-point numbers")
        raw = self.raw(name)
        if place.dtype == "bfloat16":  # the upper half of a float32
            raw = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2))
        letter = {"float16": "e", "float64": "d"}.get(place.dtype, "f")
        return struct.unpack(f"<{count}{letter}", raw)

    def raw(self, name: str) -> bytes:
        """The bytes of a dense tensor; raises WeightsError where the file has changed."""
        place = self.places[name]
        with opened(self.path, self.identity) as file:
            file.seek(place.start)
            return file.read(math.prod(place.shape) * _SIZES[place.dtype])

    def digest(self) -> str:
        """The sha-256 of all the numbers, as they lie in a safetensors file; raises as :meth:`raw`."""
        with opened(self.path, self.identity) as file:
            file.seek(min(place.start for place in self.places.values()))
            return files.sha256(file)

    def tensors(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The tensors of the given names (all), on the CPU; floating-point numbers as float32.

        Raises:
            WeightsError: the file has changed since it was opened.
        """
        return dict(self.stream(self.places if names is None else names))

    def stream(self, names: Iterable[str], *, exact: bool = False) -> Iterator[tuple[str, Tensor]]:
        """As :meth:`tensors`, one at a time; ``exact``: of the type that they have in the file."""
        from vs_sr.runtime import torch

        with opened(self.path, self.identity) as file:
            for name in names:
                place = self.places[name]
                dtype: torch.dtype = getattr(torch, place.dtype)
                if not math.prod(place.shape):
                    yield name, torch.empty(place.shape, dtype=dtype)
                    continue
                stride = place.stride or _dense(place.shape)
                size = _span(place.shape, stride) * _SIZES[place.dtype]
                file.seek(place.start)
                raw = bytearray(file.read(size))
                if len(raw) != size:
                    raise _changed(self.path)
                tensor = torch.frombuffer(raw, dtype=dtype).as_strided(place.shape, stride)
                yield name, (tensor.float() if tensor.is_floating_point() and not exact else tensor).contiguous()
            if files.identify(file) != self.identity:
                raise _changed(self.path)


def read(path: Path, identity: Identity | None = None) -> Checkpoint:
    """Open a checkpoint of any known format; imports nothing heavy, executes nothing.

    Args:
        path: of the file.
        identity: that its contents must have.

    Raises:
        WeightsError: it cannot be read, or its contents are others; the message says why, and what to do.
    """
    with opened(path, identity) as file:
        found = files.identify(file)
        start = file.read(512)
        file.seek(0)
        try:
            if start[8:9] == b"{" and start[:1] != b"{":
                return _read_safetensors(path, found, file)
            if start.startswith(b"PK\x03\x04"):
                return _read_zip(path, found, file)
            if start.startswith(b"\x80"):  # a pickle
                return _read_legacy(path, found, file)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {files.reason(error)}") from None
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
        raise WeightsError(f"{path} {foreign.name(start, found.size)}")


def opened(path: Path, identity: Identity | None = None) -> BufferedReader:
    """A weights file, open for reading; raises as :func:`read`."""
    try:
        file = files.open_regular(path)
    except ArgumentError as error:
        raise WeightsError(f"{path} {error}") from None
    if identity is not None and files.identify(file) != identity:
        file.close()
        raise _changed(path)
    return file


def _changed(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} has changed since the filter was made; load the script again, and leave the file alone until the "
        "first frame is there"
    )


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _span(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Elements from a tensor's first number to its last; there is at least one."""
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))


# safetensors


def _read_safetensors(path: Path, identity: Identity, file: BufferedReader) -> Checkpoint:
    size = identity.size
    (length,) = struct.unpack("<Q", file.read(8))
    if not 2 <= length <= size - 8:
        raise WeightsError("the file is cut short, or no safetensors file: a broken download?")
    if length > _MAX_HEADER:
        raise WeightsError(f"its header has {length} bytes; {_MAX_HEADER} at most are read")
    header = file.read(length)
    Budget(size).spend(2 * sum(map(header.count, (b",", b"[", b"{"))), "header")
    try:
        entries = json.loads(header, object_pairs_hook=_unique)
    except WeightsError:
        raise
    except (ValueError, RecursionError):
        raise WeightsError("its header is damaged: a broken download?") from None
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
    return _checkpoint(path, identity, "safetensors", places, metadata=metadata)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WeightsError("its header is damaged: a name occurs twice")
    return found


def _safetensors_place(name: str, entry: Any, base: int, size: int) -> Place:
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]} if len(
            shape
        ) <= _MAX_RANK and all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
            if dtype not in SAFETENSORS:
                raise WeightsError(f"{shown} is of type {dtype[:20]}; known are {', '.join(SAFETENSORS)}")
            length = math.prod(shape) * _SIZES[SAFETENSORS[dtype]]
            if 0 <= start <= end <= size and end - start == length:
                return Place(SAFETENSORS[dtype], base + start, base + end, tuple(shape), None)
    raise WeightsError(f"its header is damaged: {shown} has no type, shape and place that fit each other")


# PyTorch


def _read_zip(path: Path, identity: Identity, file: BufferedReader) -> Checkpoint:
    budget = Budget(identity.size)
    members = archive.directory(file, identity.size, budget)
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(_other_archive(members))
    folder = pickles[0].removesuffix("data.pkl")

    def locate(name: str) -> tuple[int, int]:
        return archive.locate(file, identity.size, name, members[name], budget)

    if f"{folder}byteorder" in members:
        start, end = locate(f"{folder}byteorder")
        file.seek(start)
        if file.read(min(end - start, 16)) != b"little":
            raise WeightsError("written on a big-endian machine, which is not supported")
    start, end = locate(pickles[0])
    file.seek(start)
    found = unpickle.load(file, end, budget)
    script = any(name.startswith(f"{folder}code/") for name in members)

    def place(storage: StorageRef) -> tuple[int, int]:
        if f"{folder}data/{storage.key}" not in members:
            raise WeightsError(f"the archive lacks the numbers of storage {storage.key[:40]}: a broken download?")
        return locate(f"{folder}data/{storage.key}")

    if script and not found.storages:
        raise WeightsError(
            "it is a frozen TorchScript archive: freezing took the names off its tensors; save the state dict of the "
            "module that it was made from"
        )
    return _tree(path, identity, "TorchScript" if script else "PyTorch", found, place, budget)


def _other_archive(members: Mapping[str, archive.Member]) -> str:
    """What a zip archive is that PyTorch did not write."""
    inside = [name for name in members if name.endswith((".safetensors", ".pth", ".pt", ".ckpt"))]
    if any(member.encrypted for member in members.values()):
        return "it is an encrypted zip archive; unpack it with its password, and give the file inside"
    if inside:
        return f"it is a zip archive around {wrappers.listed(inside, 3)}; unpack it, and give the file inside"
    return "it is a zip archive, but not one that PyTorch wrote: there is no data.pkl in it"


def _read_legacy(path: Path, identity: Identity, file: BufferedReader) -> Checkpoint:
    size, budget = identity.size, Budget(identity.size)
    magic = unpickle.load(file, size, budget).root
    if type(magic) is not int or magic != _LEGACY_MAGIC:
        raise WeightsError(
            "it is a pickle, but not one that PyTorch wrote; its author can save the state dict by torch.save"
        )
    protocol, system = (unpickle.load(file, size, budget).root for _ in range(2))
    if type(protocol) is not int or protocol != _LEGACY_PROTOCOL:
        raise WeightsError("written by a version of PyTorch that is not known")
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise WeightsError("written on a big-endian machine, which is not supported")
    found = unpickle.load(file, size, budget)
    keys = unpickle.load(file, size, budget).root
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise WeightsError("its list of storages is damaged: a broken download?")
    storages: dict[str, tuple[int, int]] = {}
    for key in keys:
        budget.spend(12)
        storage = found.storages.get(key)
        header = file.read(8)
        if storage is None or len(header) != 8 or struct.unpack("<q", header)[0] != storage.count:
            raise WeightsError(f"storage {key[:40]} is damaged: a broken download?")
        start = file.tell()
        storages[key] = (start, start + storage.count * _SIZES[storage.dtype])
        if storages[key][1] > size:
            raise WeightsError(f"the file is cut short at storage {key[:40]}: a broken download?")
        file.seek(storages[key][1])

    def place(storage: StorageRef) -> tuple[int, int]:
        if storage.key not in storages:
            raise WeightsError(f"the file lacks the numbers of storage {storage.key[:40]}: a broken download?")
        return storages[storage.key]

    return _tree(path, identity, "PyTorch, before 1.6", found, place, budget)


def _tree(
    path: Path,
    identity: Identity,
    label: str,
    found: unpickle.Pickle,
    locate: Callable[[StorageRef], tuple[int, int]],
    budget: Budget,
) -> Checkpoint:
    taken = wrappers.choose(found.root, budget)
    storages: dict[str, tuple[int, int]] = {}
    places: dict[str, Place] = {}
    read = 0
    for name, tensor in taken.tensors.items():
        storage = tensor.storage
        if storage.key not in storages:
            storages[storage.key] = locate(storage)
        start, end = storages[storage.key]
        size = _SIZES[storage.dtype]
        start += storage.offset * size
        if start + storage.count * size > end:
            raise WeightsError(f"storage {storage.key[:40]} holds fewer numbers than its tensors need")
        places[name] = Place(
            storage.dtype, start + tensor.offset * size, start + storage.count * size, tensor.shape, tensor.stride
        )
        read += _span(tensor.shape, tensor.stride) * size if math.prod(tensor.shape) else 0
    if read > 2 * identity.size + 65536:
        raise WeightsError("its tensors share numbers so often that they are out of proportion to the file")
    others = tuple(" / ".join(each) for each in taken.others if each)
    return _checkpoint(
        path, identity, label, places, wrappers=taken.path, averaged=taken.averaged and bool(taken.path), others=others
    )


def _checkpoint(path: Path, identity: Identity, label: str, places: Mapping[str, Place], **more: Any) -> Checkpoint:
    if not places:
        raise WeightsError("it holds no tensors")
    if len(places) > _MAX_TENSORS:
        raise WeightsError(f"it holds {len(places)} tensors; {_MAX_TENSORS} at most are read")
    if any(len(name) > _MAX_NAME for name in places):
        raise WeightsError(f"a tensor has a name of more than {_MAX_NAME} characters")
    shapes = {name: place.shape for name, place in places.items()}
    return Checkpoint(path=path, identity=identity, format=label, shapes=shapes, places=places, **more)
