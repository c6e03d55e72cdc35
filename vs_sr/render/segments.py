"""What is encoded so far, in a folder: a file for each segment, whole or not there, and what they are of."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict

from filelock import FileLock, Timeout

from vs_sr import files, system
from vs_sr.errors import VsSrError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import av

_MAGIC = b"vs_srseg"
_PLAN = "render.json"
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Consecutive frames of a film, encoded for themselves."""

    path: Path
    start: int
    """The first frame."""
    stop: int
    """The one after the last."""
    began: Fraction
    """Seconds at which the first frame is shown."""
    fresh: bool
    """Whether that begins a scene."""
    sure: bool
    """Whether it is known to end where a run in order ends it; if not, the segment that follows has to be fresh."""
    time: Fraction
    """Seconds at which the frame after the last is shown."""
    packets: tuple[tuple[int, int, int, bool], ...]
    """Bytes, pts and duration in ticks, whether it is a keyframe; in the order of decoding."""
    extradata: str
    """The codec's, in hexadecimal."""
    sha256: str
    """Of all packets."""

    def read(self) -> Iterator[tuple[bytes, int, int, bool]]:
        """The packets themselves.

        Raises:
            VsSrError: the file is damaged.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for size, pts, duration, key in self.packets:
                data = file.read(size)
                digest.update(data)
                yield data, pts, duration, key
        if digest.hexdigest() != self.sha256:
            raise VsSrError(f"{self.path} is damaged; delete it, and go on with --resume")

    @property
    def delay(self) -> int:
        """Packets that a decoder has to wait for, so that it can show frames in order."""
        order = sorted(pts for _, pts, _, _ in self.packets)
        place = {pts: number for number, pts in enumerate(order)}
        return max((number - place[pts] for number, (_, pts, _, _) in enumerate(self.packets)), default=0)


class Facts(TypedDict):
    """Of a segment, before it is read again: as :class:`Segment` has them."""

    start: int
    stop: int
    began: Fraction
    fresh: bool
    sure: bool
    time: Fraction


class Writer:
    """Packets of one segment on their way into its file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._packets: list[tuple[int, int, int, bool]] = []
        self.durations: dict[int, int] = {}
        """By pts, in ticks."""

    def add(self, packets: list[av.Packet[Any]]) -> None:
        """Write what an encoder gives."""
        for packet in packets:
            data = bytes(packet)
            assert packet.pts is not None
            self._file.write(data)
            self._digest.update(data)
            self._packets.append((len(data), packet.pts, self.durations[packet.pts], packet.is_keyframe))

    def close(self, facts: Facts, extradata: bytes | None) -> None:
        """Write what the packets are, after them.

        Raises:
            VsSrError: the encoder has lost frames.
        """
        start, stop = facts["start"], facts["stop"]
        if len(self._packets) != stop - start:
            raise VsSrError(f"the encoder gave {len(self._packets)} packets for frames {start} to {stop - 1}")
        table = {
            **facts,
            "began": str(facts["began"]),
            "time": str(facts["time"]),
            "packets": self._packets,
            "extradata": (extradata or b"").hex(),
            "sha256": self._digest.hexdigest(),
        }
        footer = json.dumps(table).encode()
        self._file.write(footer + len(footer).to_bytes(8, "little") + _MAGIC)


@dataclass(frozen=True)
class Store:
    """The folder beside the film that is being made."""

    folder: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only run that writes here, until the block is left or the process ends, however it does.

        Raises:
            VsSrError: another run is at it.
        """
        self.folder.mkdir(exist_ok=True)
        path = self.folder / _LOCK
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise VsSrError(f"another run is writing to {self.folder}; wait for its end, or give another OUT") from None
        try:
            yield
        finally:
            lock.release()
            if {*self.folder.iterdir()} <= {path}:  # the film is whole, or nothing was begun
                path.unlink(missing_ok=True)
                self.folder.rmdir()

    def plan(self) -> dict[str, Any] | None:
        """What the segments are of; None: there is nothing.

        Raises:
            VsSrError: it cannot be read.
        """
        path = self.folder / _PLAN
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise VsSrError(f"{path} cannot be read: {error}; --restart begins again") from None
        return dict(found)

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Say what the segments will be of. What an interrupted run has left half is taken away."""
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.glob(".*"):
            path.unlink()
        with files.replacing(self.folder / _PLAN) as file:
            file.write(json.dumps(plan, indent=1).encode())

    def clear(self) -> None:
        """Delete what is ours."""
        if self.folder.is_dir():
            for pattern in ("*.segment", _PLAN, ".*"):
                for path in self.folder.glob(pattern):
                    path.unlink()
            with suppress(OSError):  # somebody else has put something there
                self.folder.rmdir()

    def segments(self) -> list[Segment]:
        """Those that are whole, from the beginning on without a gap."""
        found: list[Segment] = []
        while (segment := read(self._path(len(found)))) is not None and segment.start == (
            found[-1].stop if found else 0
        ):
            found.append(segment)
        return found

    @contextmanager
    def writing(self, number: int) -> Iterator[Writer]:
        """A new segment, which is there once the block is left without an error."""
        with writing(self._path(number)) as writer:
            yield writer

    def ahead(self, start: int) -> Path:
        """Where a segment is kept whose number is not known yet, since those before it are not there."""
        return self.folder / f"from-{start:09}.segment"

    def waiting(self) -> list[Segment]:
        """Those that are kept so."""
        return [found for path in sorted(self.folder.glob("from-*.segment")) if (found := read(path)) is not None]

    def take(self, segment: Segment, number: int) -> None:
        """Give one of them its number."""
        system.replace(segment.path, self._path(number))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.segment"


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A new file of a segment, which is there once the block is left without an error."""
    with files.replacing(path) as file:
        yield Writer(file)


def read(path: Path) -> Segment | None:
    """The segment in a file, without its packets; None: there is none, or not the whole of it."""
    try:
        with path.open("rb") as file:
            end = file.seek(-len(_MAGIC) - 8, 2)
            length, magic = int.from_bytes(file.read(8), "little"), file.read()
            if magic != _MAGIC or length > end:
                return None
            file.seek(end - length)
            table = json.loads(file.read(length))
    except (OSError, ValueError):
        return None
    packets = tuple((size, pts, duration, bool(key)) for size, pts, duration, key in table.pop("packets"))
    if sum(size for size, _, _, _ in packets) != end - length:
        return None
    began, time = Fraction(table.pop("began")), Fraction(table.pop("time"))
    return Segment(path=path, packets=packets, began=began, time=time, **table)
