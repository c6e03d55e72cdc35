"""The whole file: video from segments, and from the film everything else that the container can hold."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import av

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.render.reading import fraction, is_cover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from av.container import InputContainer, OutputContainer

    from vs_sr.render.encoding import Encoding
    from vs_sr.render.reading import Film
    from vs_sr.render.segments import Segment

type Kind = Literal["audio", "subtitles", "attachments", "chapters", "metadata"]

CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
"""What a file's ending means."""
_TEXT = {"matroska": "subrip", "mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
"""What subtitles become that are text and that the container has in another form alone."""
_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
_SOUND = {"webm": "libopus"}
"""What stretched sound is encoded with, where that is not AAC."""
_SLOWEST = Fraction(1, 2)
"""Tempo of one atempo."""
_PLURAL: dict[str, Kind] = {"audio": "audio", "subtitle": "subtitles", "attachment": "attachments"}
_OF_FILES = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time")
"""Metadata that is the file's own affair."""
STYLES = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    b"MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""What encoders of text subtitles have to know of styles: the usual ones."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of a film that is taken, and how its time becomes the result's."""

    begin: Fraction
    """Seconds on the film's clock that become 0."""
    end: Fraction | None = None
    """None: the film's end."""
    trimmed: bool = False
    """Whether what lies before the beginning is left out."""
    stretch: Fraction = Fraction(1)
    """Of slow motion."""

    def keeps(self, start: Fraction, stop: Fraction) -> bool:
        """Whether something that is there from one time to another is in the part."""
        return not (self.trimmed and stop <= self.begin) and (self.end is None or start < self.end)

    def time(self, seconds: Fraction) -> Fraction:
        """A time of the film in the result."""
        return (seconds - self.begin) * self.stretch

    def clipped(self, start: Fraction, stop: Fraction) -> tuple[Fraction, Fraction]:
        """From when to when something is there, in the result."""
        start = max(start, self.begin) if self.trimmed else start
        stop = stop if self.end is None else min(stop, self.end)
        return self.time(start), self.time(stop)


@dataclass(frozen=True)
class Copied:
    """A stream of the film that goes into the result."""

    source: Any
    target: Any
    write: Callable[[Any], Iterator[av.Packet[Any]]]
    """The packets of the result for one of the film's; for None, those that are left at the end."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """How the whole file is put together."""

    film: Film
    container: str
    """As FFmpeg names it."""
    encoding: Encoding
    cut: Cut
    drop: frozenset[Kind] = frozenset()
    """What is left out on purpose."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What else is left out, or becomes something else; filled by :meth:`check`."""

    def check(self) -> list[str]:
        """Try the container's header, before there is anything to write.

        Returns:
            What goes into the file besides the video.

        Raises:
            ArgumentError: the container cannot hold the video or one of the film's streams.
        """
        self.notes.clear()
        with av.open(io.BytesIO(), "w", format=self.container) as target:
            self._video(target)
            try:
                target.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                raise self.encoding.refused(error) from None
        with av.open(str(self.film.path)) as source, av.open(io.BytesIO(), "w", format=self.container) as target:
            self._video(target)
            copied = self._copied(source, target)
            kept = [f"{item.source.type} {_name(item.source)}" for item in copied]
            try:
                target.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                raise ArgumentError(f"a {self.container} file of this cannot be begun: {error}") from None
            attachments = sum(stream.type == "attachment" for stream in target.streams)
            chapters = self._chapters(source)
        return [*kept, *([f"attachments ({attachments})"] * bool(attachments)), *(["chapters"] * bool(chapters))]

    def write(self, file: BinaryIO, segments: Sequence[Segment]) -> None:
        """Write the file.

        Raises:
            VsSrError: a segment is damaged, or of another encoder.
            OSError: the file cannot be written.
        """
        with ExitStack() as stack:
            source = stack.enter_context(av.open(str(self.film.path)))
            target = stack.enter_context(av.open(file, "w", format=self.container))
            video = self._video(target)
            copied = {item.source.index: item for item in self._copied(source, target)}
            target.metadata.update(self._metadata(source))
            target.set_chapters(self._chapters(source))
            target.start_encoding()
            extradata = bytes(video.codec_context.extradata or b"").hex()
            for segment in segments:
                if segment.extradata != extradata:
                    raise VsSrError(f"{segment.path} is of another encoder; --restart begins again")
            frames = self._frames(video, segments)
            packet, time = next(frames, (None, Fraction(0)))
            for other in self._others(source, copied):
                at = fraction(other.time_base) * (other.dts if other.dts is not None else other.pts or 0)
                while packet is not None and time <= at:
                    target.mux(packet)
                    packet, time = next(frames, (None, Fraction(0)))
                target.mux(other)
            while packet is not None:
                target.mux(packet)
                packet, time = next(frames, (None, Fraction(0)))

    def _video(self, target: OutputContainer) -> av.VideoStream:
        if self.encoding.codec and av.Codec(self.encoding.codec, "w").canonical_name not in target.supported_codecs:
            raise ArgumentError(f"a {self.container} file cannot hold what {self.encoding.codec} makes; use .mkv")
        stream = target.add_stream(self.encoding.codec, rate=self.encoding.rate)
        assert isinstance(stream, av.VideoStream)
        self.encoding.set_up(stream.codec_context)
        stream.time_base = self.encoding.tick
        return stream

    def _frames(self, stream: av.VideoStream, segments: Sequence[Segment]) -> Iterator[tuple[av.Packet[Any], Fraction]]:
        """Packets of all segments. Each encoder has begun its decoding times for itself; here they go on."""
        tick, delay = self.encoding.tick, max((segment.delay for segment in segments), default=0)
        order = [pts for segment in segments for pts in sorted(pts for _, pts, _, _ in segment.packets)]
        step = order[1] - order[0] if len(order) > 1 else 1
        before = [order[0] - step * (delay - number) for number in range(delay)]
        times = chain(before, order)
        for segment in segments:
            for data, pts, duration, key in segment.read():
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, tick
                packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, next(times), duration, key
                yield packet, packet.dts * tick

    def _copied(self, source: InputContainer, target: OutputContainer) -> list[Copied]:
        """Give the result a stream for each of the film's that it keeps."""
        found: list[Copied] = []
        for stream in source.streams:
            cover = is_cover(stream)
            kind = "attachments" if cover else _PLURAL.get(stream.type)
            if stream.index == self.film.stream or kind in self.drop:
                continue
            if cover and self.container == "matroska":
                self._attach_cover(stream, target)
                continue
            if stream.type == "data" and source.chapters():
                continue  # MP4 has their names in one, which the result gets by itself
            if isinstance(stream, av.stream.AttachmentStream):
                self._refuse_unless(_holds(self.container, stream), stream, "attachments")
                name = stream.metadata.get("filename", f"attachment {stream.index}")
                target.add_attachment(name, stream.metadata.get("mimetype", "application/octet-stream"), stream.data)
            elif kind is None:
                self.notes.append(f"{stream.type} stream {stream.index} is left out")
            elif stream.type == "audio" and self.cut.stretch != 1:
                found.append(self._stretched(stream, target))
            elif _holds(self.container, stream):
                found.append(self._as_it_is(stream, target))
            else:
                text = stream.type == "subtitle" and stream.codec_context.codec.text_sub
                self._refuse_unless(text, stream, kind)
                found.append(self._as_text(stream, target))
        return found

    def _attach_cover(self, stream: Any, target: OutputContainer) -> None:
        """Matroska has covers as attachments."""
        ending, form = _COVERS.get(_name(stream), (_name(stream), "application/octet-stream"))
        with av.open(str(self.film.path)) as again:
            image = next(packet for packet in again.demux(again.streams[stream.index]) if packet.size)
            target.add_attachment(f"cover.{ending}", form, bytes(image))

    def _refuse_unless(self, possible: bool, stream: Any, kind: Kind) -> None:
        if not possible:
            raise ArgumentError(
                f"a {self.container} file cannot hold {stream.type} stream {stream.index} ({_name(stream)}); use .mkv, "
                f"or leave such streams out with --drop {kind}"
            )

    def _as_it_is(self, stream: Any, target: OutputContainer) -> Copied:
        made = target.add_stream_from_template(stream, opaque=True)
        _describe(stream, made)

        def write(packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
            if packet is None:
                return
            tick = fraction(packet.time_base)
            at = packet.pts if packet.pts is not None else packet.dts
            assert at is not None
            start, stop = at * tick, (at + (packet.duration or 0)) * tick
            if is_cover(stream):
                pass  # at no time of the film
            elif stream.type == "audio":
                if self.cut.trimmed and start < self.cut.begin:
                    return
                later = round(self.cut.begin / tick)
                packet.pts = None if packet.pts is None else packet.pts - later
                packet.dts = None if packet.dts is None else packet.dts - later
            else:
                first, last = self.cut.clipped(start, stop)
                packet.pts = packet.dts = round(first / tick)
                packet.duration = round((last - first) / tick)
            packet.stream = made
            yield packet

        return Copied(stream, made, write)

    def _stretched(self, stream: Any, target: OutputContainer) -> Copied:
        """Sound as long as the frames, at its own pitch."""
        codec = _SOUND.get(self.container, "aac")
        made: Any = target.add_stream(codec, rate=48_000 if codec == "libopus" else stream.rate, layout=stream.layout)
        _describe(stream, made)
        self.notes.append(f"audio stream {stream.index} is stretched, as {codec}")
        graph, tick = av.filter.Graph(), Fraction(1, made.rate)
        nodes = [graph.add_abuffer(template=stream), *(graph.add("atempo", f"{tempo:.9f}") for tempo in self._tempos())]
        form = f"sample_rates={made.rate}:sample_fmts={made.format.name}:channel_layouts={made.layout.name}"
        graph.link_nodes(*nodes, graph.add("aformat", form), graph.add("abuffersink")).configure()
        shown: int | None = None  # samples

        def stretched() -> Iterator[av.Packet[Any]]:
            nonlocal shown
            while True:
                try:
                    frame = graph.pull()
                except (av.BlockingIOError, av.EOFError):
                    return
                assert isinstance(frame, av.AudioFrame)
                frame.pts, frame.time_base = shown, tick
                shown = (shown or 0) + frame.samples
                yield from made.encode(frame)

        def write(packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
            nonlocal shown
            for frame in stream.decode(packet):
                start = frame.pts * fraction(frame.time_base)
                if self.cut.trimmed and start < self.cut.begin:
                    continue
                if shown is None:
                    shown = round(self.cut.time(start) / tick)
                graph.push(frame)
                yield from stretched()
            if packet is None and shown is not None:
                graph.push(None)
                yield from stretched()
                yield from made.encode(None)

        return Copied(stream, made, write)

    def _tempos(self) -> Iterator[Fraction]:
        """Factors of a tempo, each of which the filter can do."""
        tempo = 1 / self.cut.stretch
        while tempo < _SLOWEST:
            yield _SLOWEST
            tempo /= _SLOWEST
        yield tempo

    def _as_text(self, stream: Any, target: OutputContainer) -> Copied:
        """Subtitles in the form that the container has."""
        from av.subtitles.subtitle import AssSubtitle, SubtitleSet

        made: Any = target.add_stream(_TEXT[self.container])
        made.codec_context.subtitle_header = bytes(stream.codec_context.subtitle_header or b"") or STYLES
        made.time_base = Fraction(1, 1000)
        _describe(stream, made)
        self.notes.append(f"subtitle stream {stream.index} becomes {_TEXT[self.container]}")

        def write(packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
            decoded = stream.decode2(packet) if packet is not None else None
            if packet is None or decoded is None:
                return
            tick = fraction(packet.time_base)
            start = (packet.pts or 0) * tick
            first, last = self.cut.clipped(start, start + (packet.duration or 0) * tick)
            length = round(1000 * (last - first))
            for rect in decoded:
                if isinstance(rect, AssSubtitle) and rect.ass:
                    text = SubtitleSet.create(rect.ass, 0, length)
                    encoded = made.codec_context.encode_subtitle(text)
                    encoded.stream, encoded.time_base = made, Fraction(1, 1000)
                    encoded.pts = encoded.dts = round(1000 * first)
                    encoded.duration = length
                    yield encoded

        return Copied(stream, made, write)

    def _others(self, source: InputContainer, copied: dict[int, Copied]) -> Iterator[av.Packet[Any]]:
        """Packets of everything but the video, in the order of the film's file."""
        if not copied:
            return
        for packet in source.demux([item.source for item in copied.values()]):
            at = packet.pts if packet.pts is not None else packet.dts
            if packet.size and is_cover(packet.stream):
                packet.pts = packet.dts = 0
                yield from copied[packet.stream.index].write(packet)
            if at is None or not packet.size or is_cover(packet.stream):
                continue
            tick = fraction(packet.time_base)
            if self.cut.keeps(at * tick, (at + (packet.duration or 0)) * tick):
                yield from copied[packet.stream.index].write(packet)
        for item in copied.values():
            yield from item.write(None)

    def _metadata(self, source: InputContainer) -> dict[str, str]:
        if "metadata" in self.drop:
            return {}
        return {key: value for key, value in source.metadata.items() if key.lower() not in _OF_FILES}

    def _chapters(self, source: InputContainer) -> list[Any]:
        if "chapters" in self.drop:
            return []
        found = []
        for chapter in source.chapters():
            tick = fraction(chapter["time_base"])
            start, stop = chapter["start"] * tick, chapter["end"] * tick
            if self.cut.keeps(start, stop):
                first, last = self.cut.clipped(start, stop)
                times = {"start": round(1000 * first), "end": round(1000 * last), "time_base": Fraction(1, 1000)}
                found.append({**chapter, **times})
        return found


def container_of(path: Path) -> str:
    """What a file's ending says.

    Raises:
        ArgumentError: it says nothing.
    """
    found = CONTAINERS.get(path.suffix.lower())
    if found is None:
        raise ArgumentError(f"{path}: no container is known for {path.suffix!r}; choices: {', '.join(CONTAINERS)}")
    return found


def _holds(container: str, stream: Any) -> bool:
    """Whether a container takes a stream, by its header."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as target:
            target.add_stream_from_template(stream, opaque=True)
            target.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _name(stream: Any) -> str:
    context = stream.codec_context
    return str(context.codec.canonical_name if context is not None else stream.metadata.get("filename", "unknown"))


def _describe(source: Any, target: Any) -> None:
    """Language, title, and what a player takes by itself."""
    target.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in ("encoder", "duration")})
    target.disposition = source.disposition
