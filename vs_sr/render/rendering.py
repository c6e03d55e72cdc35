"""From one film to another: frames out of the graph, into segments, into the file."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import vapoursynth as vs

from vs_sr import __version__, files, scenes
from vs_sr.errors import VsSrError
from vs_sr.render import encoding
from vs_sr.render.encoding import Encoding, Look
from vs_sr.render.schedule import LEAST, MOST
from vs_sr.render.segments import Store, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from vs_sr.render.joining import Join
    from vs_sr.render.segments import Segment

_AT_ONCE = 16
"""Frames that are asked for at a time, at least: more than a step of the network has."""
_MEASURED = 30
"""Frames whose time says how fast it goes on."""
_PACKAGES = ("vapoursynth", "vapoursynth-bestsource", "torch", "av")


@dataclass(frozen=True, kw_only=True)
class State:
    """How far it is."""

    done: int
    frames: int
    fps: float
    """Of the last frames; 0: not known yet."""
    workers: int = 0
    """That are at work; 0: there are none, and this process does it."""
    memory: int = 0
    """Bytes that they have taken together; 0: as for workers."""

    @property
    def left(self) -> float:
        """Seconds that the rest is expected to take; 0: not known."""
        return (self.frames - self.done) / self.fps if self.fps else 0.0


@dataclass(kw_only=True)
class Rendering:
    """A clip on its way into segments."""

    clip: vs.VideoNode
    start: Fraction
    """Seconds at which its first frame is shown."""
    stretch: Fraction
    """Of its durations."""
    encoding: Encoding
    store: Store
    report: Callable[[State], None]
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_MEASURED))

    def run(self) -> list[Segment]:
        """Render what is not rendered yet.

        Returns:
            All segments.

        Raises:
            VsSrError: a frame cannot be made, or not be encoded.
            OSError: a segment cannot be written.
        """
        segments, total = self.store.segments(), self.clip.num_frames
        part, number = len(segments), (segments[-1].stop if segments else 0)
        at = segments[-1].time if segments else self.start
        # what workers have made beyond what was missing
        waiting = {found.start: found for found in self.store.waiting() if found.sure or found.stop == total}
        self._recent.clear()
        while number < total:
            found = waiting.pop(number, None)
            if found is not None and found.began == at:
                self.store.take(found, part)
                part, number, at = part + 1, found.stop, found.time
                continue
            frames = frames_of(self.clip[number:], ahead())
            frame = next(frames, None)
            if frame is None:
                break
            while frame is not None and number not in waiting:
                with self.store.writing(part) as writer:
                    made = Maker(self.encoding, self.stretch, self._count)
                    number, at, frame = made.segment(writer, number, at, frame, frames)
                part += 1
            if frame is not None:
                frame.close()
        segments = self.store.segments()
        if number != total or not segments or segments[-1].stop != total:
            raise VsSrError(f"{number} frames of {total} were made; go on with --resume")
        return segments

    def _count(self, done: int) -> None:
        self._recent.append(time.monotonic())
        self.report(State(done=done, frames=self.clip.num_frames, fps=self._fps()))

    def _fps(self) -> float:
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / max(self._recent[-1] - self._recent[0], 1e-9)


@dataclass
class Maker:
    """Frames on their way into one segment. It depends on them and on its beginning alone, not on those before it."""

    encoding: Encoding
    stretch: Fraction
    """Of durations."""
    count: Callable[[int], None]
    """Called with the number of the frame after each that is done."""

    def segment(
        self, writer: Writer, number: int, at: Fraction, frame: vs.VideoFrame, frames: Iterator[vs.VideoFrame]
    ) -> tuple[int, Fraction, vs.VideoFrame | None]:
        """Write it.

        Args:
            writer: of its file.
            number: of its first frame.
            at: seconds at which that is shown.
            frame: that.
            frames: those after it; where they end, the segment does.

        Returns:
            The number, the time and the frame that follow it.

        Raises:
            VsSrError: a frame cannot be made, or not be encoded.
            OSError: the file cannot be written.
        """
        start, began, encoder = number, at, self.encoding.encoder()
        fresh, usual = _begins(frame), 1 / self.encoding.rate
        following: vs.VideoFrame | None = frame
        while following is not None and not _ends(number - start, following):
            duration = _duration(following)
            usual = duration * self.stretch if duration else usual
            self._add(encoder, writer, following, at, at + usual)
            number, at = number + 1, at + usual
            self.count(number)
            following = next(frames, None)
        writer.add(encoder.encode(None))
        sure = following is not None or number - start >= MOST
        writer.close(
            {"start": start, "stop": number, "began": began, "fresh": fresh, "sure": sure, "time": at},
            encoder.extradata,
        )
        return number, at, following

    def _add(
        self, encoder: av.VideoCodecContext, writer: Writer, frame: vs.VideoFrame, at: Fraction, end: Fraction
    ) -> None:
        """Encode a frame that is shown from one time to another."""
        tick = self.encoding.tick
        pts = round(at / tick)
        writer.durations[pts] = round(end / tick) - pts
        try:
            writer.add(encoder.encode(self.encoding.frame(frame, pts)))
        except av.FFmpegError as error:
            raise VsSrError(f"{self.encoding.codec} fails: {error.strerror or error}") from None
        finally:
            frame.close()


def ahead() -> int:
    """Frames to ask for at a time."""
    return max(int(vs.core.num_threads), _AT_ONCE)


def frames_of(clip: vs.VideoNode, ahead: int) -> Iterator[vs.VideoFrame]:
    """The frames of a clip, so many of them asked for at a time.

    Raises:
        VsSrError: one cannot be made.
    """
    try:
        yield from clip.frames(prefetch=ahead)
    except vs.Error as error:  # of a filter in Python, with all that its interpreter has to say
        text = str(error).strip().splitlines()[-1]
        raise VsSrError(re.sub(r"^vs_sr\.errors\.\w+: ", "", text)) from None


def look(clip: vs.VideoNode) -> Look:
    """What the frames of a clip say, by the first one.

    Raises:
        VsSrError: it cannot be made.
    """
    with next(frames_of(clip[:1], 1)) as frame:
        return encoding.look_of(frame)


def _begins(frame: vs.VideoFrame) -> bool:
    """Whether a scene begins with a frame."""
    return bool(frame.props.get(scenes.PREVIOUS))


def _ends(length: int, following: vs.VideoFrame) -> bool:
    """Whether a segment ends before a frame: by the frames alone, so that a run that goes on cuts alike."""
    return length >= MOST or (length >= LEAST and _begins(following))


def _duration(frame: vs.VideoFrame) -> Fraction | None:
    number, by = int(frame.props.get("_DurationNum", 0)), int(frame.props.get("_DurationDen", 0))
    return Fraction(number, by) if number > 0 and by > 0 else None


def versions() -> dict[str, str]:
    """Of everything that decides the bits of a result."""
    found = {"vs-sr": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def identity(path: Path) -> str:
    """What tells a file's contents from those of another."""
    with files.open_regular(path) as file:
        found = files.identify(file)
    return f"{found.size} bytes, {found.sample.hex()}"


def different(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How two plans differ, in words; empty: they are the same."""
    keys = [key for key in now if key != "look" and kept.get(key) != now[key]]
    return "; ".join(f"{key} was {kept.get(key)}, is {now[key]}" for key in keys)


def as_plan(look: Look) -> dict[str, Any]:
    """What frames say, for the plan's file."""
    return {**asdict(look), "sar": str(look.sar)}


def from_plan(kept: Mapping[str, Any]) -> Look:
    """And back."""
    return Look(color=dict(kept["color"]), chroma=int(kept["chroma"]), sar=Fraction(kept["sar"]))


def finish(target: Path, join: Join, segments: list[Segment], store: Store) -> None:
    """Write the whole file under its name, and forget the segments.

    Raises:
        VsSrError: a segment is damaged.
        OSError: the file cannot be written.
    """
    try:
        with files.replacing(target) as file:
            join.write(file, segments)
    except av.FFmpegError as error:
        raise VsSrError(f"{target} cannot be written: {error.strerror or error}") from None
    store.clear()
