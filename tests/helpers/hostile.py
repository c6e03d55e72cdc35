"""Files that are damaged or made to hurt, by rule and seed, and what reading one costs."""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
import random
import struct
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EXTREMES = (0, 1, 2, 3, 127, 255, 256, 65535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 63)


# Bytes


def flip(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        made[_at(made, rng)] = rng.choice((rng.randrange(256), 0, 255, made[_at(made, rng)] ^ 1 << rng.randrange(8)))
    return bytes(made)


def cut(data: bytes, rng: random.Random) -> bytes:
    """An end, a beginning or a middle missing."""
    first, last = sorted((_at(data, rng), _at(data, rng)))
    return rng.choice((data[:first], data[last:], data[:first] + data[last:]))


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A piece put elsewhere, once or many times."""
    start = _at(data, rng)
    piece = data[start : start + rng.choice((1, 2, 4, 8, 40, 400))]
    at = _at(data, rng)
    return data[:at] + piece * rng.choice((1, 2, 50, 1000)) + data[at:]


def number(data: bytes, rng: random.Random) -> bytes:
    """A number of one to eight bytes replaced by an extreme one."""
    made = bytearray(data)
    size = rng.choice((1, 2, 4, 8))
    at = min(_at(made, rng), max(0, len(made) - size))
    made[at : at + size] = (rng.choice(_EXTREMES) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(made)


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, cut, repeat, number)


def _at(data: bytes | bytearray, rng: random.Random) -> int:
    """A place, more often in the first or the last kilobyte, where headers and directories are."""
    size = max(1, len(data))
    near = rng.randrange(min(size, 1024))
    return rng.choice((near, size - 1 - near, rng.randrange(size)))


# safetensors


def header(data: bytes, rng: random.Random) -> bytes:
    """A value of the header replaced, its length put right."""
    (length,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    name = rng.choice([*entries])
    key = rng.choice([*entries[name]])
    change = rng.randrange(4)
    if change == 0:
        entries[name][key] = _value(rng)
    elif change == 1 and isinstance(entries[name][key], list):
        entries[name][key] = [rng.choice(_EXTREMES) for _ in range(rng.choice((0, 1, 4, 9, 5000)))]
    elif change == 2:
        entries[rng.choice((name + "x", "a" * 3000, "\0", "module." + name))] = entries.pop(name)
    else:
        for extra in range(rng.choice((1, 100, 20_000))):
            entries[f"{name}{extra}"] = {"dtype": "F32", "shape": [0, rng.choice(_EXTREMES)], "data_offsets": [0, 0]}
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + body


def _value(rng: random.Random) -> object:
    nested: object = []
    for _ in range(rng.choice((1, 10, 900))):
        nested = [nested]
    return rng.choice(
        (nested, "x" * rng.choice((0, 10, 200_000)), -1, 1.5, None, True, {}, rng.choice(_EXTREMES), [[]] * 100_000)
    )


# Pickles

_PIECES = (
    b"(", b"0", b"1", b"2", b")", b"t", b"\x85", b"\x86", b"\x87", b"]", b"l", b"a", b"e", b"}", b"d", b"s", b"u",
    b"\x8f", b"\x90", b"\x91", b"N", b"\x88", b"K\x01", b"K\x00", b"M\xff\xff", b"J\xff\xff\xff\xff",
    b"\x8a\x09" + b"\x7f" * 9, b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096, b"G" + b"\x7f" * 8, b"I1\n",
    b"I" + b"9" * 4000 + b"\n", b"L5L\n", b"F1e999\n", b"F1\n", b"Sx\n", b"Vx\n", b"X\x04\x00\x00\x00name",
    b"X\x07\x00\x00\x00storage", b"\x8c\x01w", b"U\x01x", b"C\x02ab", b"B\x01\x00\x00\x00a",
    b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00a", b"X\x00\x10\x00\x00" + b"y" * 4096, b"q\x00", b"q\x01", b"h\x00",
    b"h\x01", b"p2\n", b"g2\n", b"\x94", b"r\xff\xff\xff\xff", b"j\x00\x00\x00\x00", b"Q", b"P1\n", b"R", b"\x81",
    b"\x92", b"o", b"ia\nb\n", b"b", b"\x93", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n", b"cos\nsystem\n", b"cbuiltins\neval\n", b"ccopyreg\n_reconstructor\n",
    b"\x95\x00\x00\x00\x00\x00\x00\x00\x00", b"\x82\x01", b"\x97", b"\x98", b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a",
)  # fmt: skip


def opcodes(rng: random.Random) -> bytes:
    """A pickle of chance: some opcodes, some of them many thousands of times."""
    made = b"\x80\x02"
    for _ in range(rng.randint(1, 40)):
        few = b"".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 4)))
        made += few * rng.choice((1, 1, 1, 2, 40, 20_000 // len(few) + 1 if len(few) < 40 else 1))
    return made + b"."


def million(rng: random.Random) -> bytes:
    """A megabyte and more of a few opcodes."""
    few = b"".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 3)))
    return b"\x80\x02" + rng.choice((b"", b"}", b"(", b"]q\x00")) + few * ((2 << 20) // len(few)) + b"."


def bomb(rng: random.Random) -> bytes:
    """Small objects that are huge when they are hashed, printed or compared."""
    tree = rng.choice((b")", b"]", b"N", b"K\x05")) + rng.choice((b"2\x86", b"2\x86\x85", b"22\x87")) * rng.randint(
        20, 4000
    )
    return b"\x80\x02" + rng.choice(
        (
            b"}" + tree + b"K\x01s.",
            tree + b"Q.",
            b"\x8f(" + tree + b"\x90.",
            b"(" + tree + b"\x91.",
            b"}(X\x01\x00\x00\x00a" + tree + b"u.",
            b"ctorch._utils\n_rebuild_tensor_v2\n(" + tree + b"K\x00" + tree + tree + b"tR.",
            b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + tree + b"X\x03\x00\x00\x00cpuK\x04tQ.",
            b"cos\nsystem\n" + tree + b"R.",
            b"ccollections\nOrderedDict\n(" + tree + b"tR.",
        )
    )


PICKLES: tuple[Callable[[random.Random], bytes], ...] = (opcodes, bomb, opcodes, bomb, million)


def in_zip(pickled: bytes) -> bytes:
    """As torch.save wraps a pickle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(64))
    return made.getvalue()


def in_legacy(pickled: bytes) -> bytes:
    """As torch.save did before PyTorch 1.6."""
    start = io.BytesIO()
    torch.save(0, start, _use_new_zipfile_serialization=False)
    parts = io.BytesIO(start.getvalue())
    for _ in range(3):  # magic number, protocol, machine
        pickle.Unpickler(parts).load()
    return start.getvalue()[: parts.tell()] + pickled + pickle.dumps([], 2)


# Archives


def many_members(rng: random.Random) -> bytes:
    """An archive of nothing but a directory."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    data = made.getvalue()
    at = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entries = data[at:end] * rng.choice((2, 1000, 60_000))
    closing = bytearray(data[end:])
    struct.pack_into("<L", closing, 12, len(entries))
    return data[:at] + entries + bytes(closing)


# What it costs

_trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)


@dataclass
class Cost:
    """Of a piece of work."""

    seconds: float = 0
    """Of this thread's processor time."""
    bytes: int = 0
    """By which the most memory at a time was more than before, as the system counts it."""


@contextmanager
def measured() -> Iterator[Cost]:
    """What the block costs."""
    cost = Cost()
    before = _reset_peak()
    start = time.thread_time()
    try:
        yield cost
    finally:
        cost.seconds = time.thread_time() - start
        cost.bytes = _status("VmHWM") - before


def _reset_peak() -> int:
    _trim(0)  # or memory that was freed before would be taken for nothing
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(key))


def can_measure() -> bool:
    """Whether this system counts a process's peak of memory again when asked to."""
    return os.access("/proc/self/clear_refs", os.W_OK)
