"""Films with everything that a file can hold, and what is in a file, for tests of ``vs-sr render``."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

from helpers.films import film
from vs_sr.render.decoding import planes_of
from vs_sr.render.joining import STYLES
from vs_sr.render.reading import is_cover

if TYPE_CHECKING:
    from pathlib import Path

CHAPTERS = [(0, 400, "One"), (400, 800, "Two"), (800, 1000, "Three")]
"""Milliseconds and names."""
LINES = [(200, 500, "Hello"), (600, 900, "again")]
RATE = 48_000


def everything(
    path: Path, picture: Path | None = None, *, subtitles: str = "subrip", font: bool = False, seconds: int = 1
) -> Path:
    """A film with sound, subtitles, chapters, a title, and perhaps a font.

    Args:
        path: of the file.
        picture: whose video it gets; default: 25 frames of :func:`helpers.films.film`.
        subtitles: the codec; empty: none.
        font: whether it gets an attachment.
        seconds: of sound.
    """
    if picture is None:
        picture = film(path.with_name(f"video of {path.stem}.mp4"), 25)
    with av.open(str(picture)) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        audio = target.add_stream("aac", rate=RATE, layout="mono")
        audio.metadata["language"] = "deu"
        text: Any = target.add_stream(subtitles) if subtitles else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
            text.codec_context.subtitle_header = STYLES
        if font:
            target.add_attachment("font.ttf", "font/ttf", b"letters")
        target.metadata["title"] = "A film"
        target.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                for n, (a, b, name) in enumerate(CHAPTERS)
            ]
        )
        target.start_encoding()
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
        for line in LINES if text is not None else ():
            target.mux(subtitle(text, *line))
        for packet in tone(audio, seconds):
            target.mux(packet)
    return path


def subtitle(stream: Any, start: int, stop: int, text: str) -> av.Packet[Any]:
    from av.subtitles.subtitle import SubtitleSet

    shown = SubtitleSet.create(f"0,0,Default,,0,0,0,,{text}".encode(), 0, stop - start)
    packet = stream.codec_context.encode_subtitle(shown)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start
    packet.duration = stop - start
    return packet


def tone(stream: Any, seconds: int) -> list[av.Packet[Any]]:
    """Seconds that are silent but for a beep of 0.1 s in the middle of the last one."""
    sound = np.zeros((1, RATE * seconds), np.float32)
    begin = RATE * (seconds - 1) + RATE // 2
    sound[0, begin : begin + RATE // 10] = 0.5 * np.sin(np.arange(RATE // 10) / 8)
    packets: list[av.Packet[Any]] = []
    for at in range(0, RATE * seconds, 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, at : at + 1024]), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def bitmaps(path: Path, film: Path) -> Path:
    """A film with subtitles that are images (PGS); they are empty ones."""

    def segment(at: int, kind: int, data: bytes) -> bytes:
        return b"PG" + struct.pack(">IIBH", 90 * at, 0, kind, len(data)) + data

    shown = b""
    for number, at in enumerate((100, 400, 700)):
        shown += segment(at, 0x16, struct.pack(">HHBHBBBB", 64, 48, 0x10, number, 0x80, 0, 0, 0))
        shown += segment(at, 0x17, b"\0") + segment(at, 0x80, b"")
    with (
        av.open(str(film)) as source,
        av.open(io.BytesIO(shown), format="sup") as images,
        av.open(str(path), "w") as target,
    ):
        streams = [target.add_stream_from_template(item.streams[0], opaque=True) for item in (source, images)]
        for item, stream in zip((source, images), streams, strict=True):
            for packet in item.demux():
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    return path


def with_cover(path: Path, film: Path) -> Path:
    """A film with a cover, an image of one color."""
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        cover: Any = target.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 8, 8, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        (image,) = cover.encode(av.VideoFrame.from_ndarray(np.full((8, 8, 3), 200, np.uint8), format="rgb24"))
        target.start_encoding()
        target.mux(image)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    return path


def copied(path: Path, kind: str) -> list[bytes]:
    """The packets of all streams of a kind, or of covers."""
    with av.open(str(path)) as container:
        chosen = [s for s in container.streams if s.type == kind or (kind == "cover" and is_cover(s))]
        return [bytes(packet) for packet in container.demux(chosen) if packet.size] if chosen else []


@dataclass(frozen=True)
class Found:
    """What a file holds; times in seconds."""

    kinds: list[str]
    times: list[float]
    end: float
    """At which the last frame ends, by its packet."""
    beep: float | None
    """When the sound begins to be loud."""
    heard: float
    """When it ends, by its packets; 0: there is none."""
    lines: list[tuple[float, float, str]]
    chapters: list[tuple[float, float, str]]
    title: str | None
    languages: list[str | None]
    attachments: list[bytes]
    pix_fmt: str
    size: tuple[int, int]
    sar: Fraction
    color: tuple[int, int, int, int]
    keys: list[float]


def look(path: Path) -> Found:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        kinds = [f"{s.type} {s.codec_context.codec.canonical_name}" for s in container.streams if s.codec_context]
        languages = [stream.metadata.get("language") for stream in container.streams.audio]
        files = [bytes(s.data) for s in container.streams if isinstance(s, av.stream.AttachmentStream)]
        chapters = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"].get("title", ""))
            for c in container.chapters()
        ]
        sar = video.sample_aspect_ratio
        facts = {
            "pix_fmt": str(context.pix_fmt),
            "size": (video.width, video.height),
            "sar": Fraction(sar.numerator, sar.denominator) if sar else Fraction(1),
            "color": (context.color_primaries, context.color_trc, context.colorspace, context.color_range),
            "title": container.metadata.get("title"),
        }
        times, end, heard, keys, lines, beep = [], 0.0, 0.0, [], [], None
        for packet in container.demux():
            if packet.stream.type == "subtitle" and packet.size > 2:
                decoded = packet.stream.decode2(packet)
                start = float(packet.pts * packet.time_base)
                for rect in decoded or ():
                    words = rect.ass.decode().rpartition(",,")[2]
                    lines.append((start, start + float(packet.duration * packet.time_base), words))
            elif packet.stream is video:
                if packet.size:
                    end = max(end, float((packet.pts + packet.duration) * packet.time_base))
                    keys += [float(packet.pts * packet.time_base)] if packet.is_keyframe else []
                times += [float(frame.time) for frame in packet.decode()]
            elif packet.stream.type == "audio" and packet.stream.index == container.streams.audio[0].index:
                if packet.size:
                    heard = max(heard, float((packet.pts + packet.duration) * packet.time_base))
                for frame in packet.decode():
                    loud = np.nonzero(np.abs(frame.to_ndarray()[0]) > 0.1)[0]
                    if beep is None and len(loud):
                        beep = float(frame.time) + int(loud[0]) / frame.sample_rate
    return Found(
        kinds, times, end, beep, heard, lines, chapters, facts.pop("title"), languages, files, **facts, keys=keys
    )  # type: ignore[arg-type]


def pixels(path: Path) -> list[list[npt.NDArray[Any]]]:
    """The planes of every frame, as they are stored."""
    with av.open(str(path)) as container:
        return [[plane.copy() for plane in planes_of(frame)] for frame in container.decode(video=0)]


def same(first: list[list[npt.NDArray[Any]]], second: list[list[npt.NDArray[Any]]]) -> bool:
    """Whether frames are the same bit for bit."""
    if len(first) != len(second):
        return False
    return all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )
