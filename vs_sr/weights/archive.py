"""The directory of a zip archive, which PyTorch files are: where its members lie. Nothing is unpacked."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from vs_sr.errors import WeightsError

if TYPE_CHECKING:
    from vs_sr.weights.budget import Budget

_MAX_DIRECTORY = 4 << 20
_END = struct.Struct("<4s4H2LH")
_END_64_AT = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _STORED = 1, 0


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    header: int
    """Where its local header begins."""
    size: int
    packed: bool
    encrypted: bool


def directory(file: BinaryIO, size: int, budget: Budget) -> dict[str, Member]:
    """The members of an archive, by name.

    Raises:
        WeightsError: it is damaged, or out of proportion.
    """
    start, length = _find(file, size)
    if start + length > size or length > _MAX_DIRECTORY:
        raise WeightsError("the archive is damaged: a broken download?")
    file.seek(start)
    raw = file.read(length)
    members: dict[str, Member] = {}
    at = 0
    while at + _ENTRY.size <= len(raw):
        budget.spend(8, "archive")
        entry = _ENTRY.unpack_from(raw, at)
        if entry[0] != b"PK\x01\x02":
            raise WeightsError("the archive is damaged: a broken download?")
        flags, method, plain, name_length, extra, comment, header = (entry[i] for i in (5, 6, 11, 12, 13, 14, 18))
        at += _ENTRY.size
        name = raw[at : at + name_length].decode("utf-8", "replace")
        if 0xFFFFFFFF in (plain, header, entry[10]):
            plain, header = _large(raw[at + name_length : at + name_length + extra], plain, entry[10], header)
        at += name_length + extra + comment
        members[name] = Member(header, plain, method != _STORED, bool(flags & _ENCRYPTED))
    return members


def locate(file: BinaryIO, size: int, name: str, member: Member, budget: Budget) -> tuple[int, int]:
    """Where the bytes of a member begin and end: PyTorch never compresses.

    Raises:
        WeightsError: it is compressed, encrypted, or not there.
    """
    budget.spend(12, "archive")
    if member.encrypted:
        raise WeightsError("it is an encrypted zip archive; unpack it with its password, and give the file inside")
    if member.packed:
        raise WeightsError("it is a compressed zip archive; PyTorch files are not: unpack it, and give the file inside")
    file.seek(member.header)
    raw = file.read(_LOCAL.size)
    if len(raw) != _LOCAL.size or raw[:4] != b"PK\x03\x04":
        raise WeightsError(f"the archive is damaged at {name}: a broken download?")
    name_length, extra = _LOCAL.unpack(raw)[-2:]
    start = member.header + _LOCAL.size + name_length + extra
    if start + member.size > size:
        raise WeightsError(f"the archive is cut short at {name}: a broken download?")
    return start, start + member.size


def _find(file: BinaryIO, size: int) -> tuple[int, int]:
    """Where the directory begins, and its length."""
    tail_at = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_at)
    tail = file.read(_END.size + 0xFFFF)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise WeightsError("the archive is damaged, its end is missing: a broken download?")
    _, _, _, _, _, length, start, _ = _END.unpack_from(tail, at)
    if at >= _END_64_AT.size:
        mark, _, end_64, _ = _END_64_AT.unpack_from(tail, at - _END_64_AT.size)
        if mark == b"PK\x06\x07" and end_64 < size:
            file.seek(end_64)
            raw = file.read(_END_64.size)
            if len(raw) == _END_64.size and raw[:4] == b"PK\x06\x06":
                length, start = _END_64.unpack(raw)[-2:]
    return start, length


def _large(extra: bytes, plain: int, packed: int, header: int) -> tuple[int, int]:
    """Size and place of a member beyond 4 GiB, which stand in an extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            given = iter(struct.unpack_from(f"<{length // 8}Q", extra[at + 4 : at + 4 + length]))
            try:
                plain = next(given) if plain == 0xFFFFFFFF else plain
                packed = next(given) if packed == 0xFFFFFFFF else packed
                header = next(given) if header == 0xFFFFFFFF else header
            except StopIteration:
                break
            return plain, header
        at += 4 + length
    raise WeightsError("the archive is damaged: a broken download?")
