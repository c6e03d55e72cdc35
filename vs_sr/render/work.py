"""What a command line asks for, as plain data that can travel, and the graph that it comes to on one machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import arguments, cuts, files, frames, registry, scenes
from vs_sr.errors import ArgumentError
from vs_sr.render import decoding, encoding, graph, reading, rendering
from vs_sr.render.encoding import Encoding, Look, Wish
from vs_sr.render.joining import Cut
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import vapoursynth as vs

    from vs_sr.render.decoding import Damaged, Reader
    from vs_sr.render.graph import Step
    from vs_sr.render.reading import Film

FILES = ("weights", "state_in")
"""Arguments of filters that may name a file to read."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A graph of somebody's own."""

    path: Path
    """For messages, and where it lies here; elsewhere its text is what counts."""
    text: bytes

    @classmethod
    def read(cls, path: Path) -> Script:
        """A script's file.

        Raises:
            ArgumentError: it cannot be read.
        """
        try:
            return cls(path=path, text=path.read_bytes())
        except OSError as error:
            raise ArgumentError(f"--script {path} cannot be read: {files.reason(error)}") from None

    @property
    def sha256(self) -> str:
        """Of its text, in hexadecimal."""
        return hashlib.sha256(self.text).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Order:
    """A film, what is made of it, and its encoder: everything that decides the frames and packets of the result."""

    film: Path
    models: tuple[str, ...] = ("ZoomingSlowMo",)
    """``NAME:argument=value,...``; ignored where there is a script."""
    script: Script | None = None
    size: tuple[int, int] | None = None
    start: Fraction | None = None
    """Seconds after the film's beginning; None: that."""
    end: Fraction | None = None
    slow_motion: bool = False
    preview: int | None = None
    """Frames."""
    wish: Wish
    reader: Reader = "auto"
    damaged: Damaged = "fail"

    def steps(self) -> list[Step]:
        """The filters.

        Raises:
            ArgumentError: there is no such model or argument.
        """
        return [] if self.script else [graph.parse(text) for text in self.models]

    def files(self) -> dict[str, Path]:
        """The files that are read, by the names that the order has for them, besides those that come with vs_sr.

        Raises:
            ArgumentError: a file cannot have such a name.
        """
        named = [str(step.arguments[key]) for step in self.steps() for key in FILES if key in step.arguments]
        wanted = [str(self.film), *(name for name in named if name not in store.index())]
        return {name: files.resolve(name) for name in wanted}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an order comes to."""

    order: Order
    film: Film
    before: vs.VideoNode
    """The part of the film that is taken."""
    clip: vs.VideoNode
    """What is made of it, as the encoder takes it."""
    repeated: list[int]
    """Frames that could not be decoded; filled while the clip is read."""
    cut: Cut
    start: Fraction
    """Seconds at which the result's first frame is shown."""
    faster: Fraction
    """Frames of the result for one of the film."""
    shape: Fraction
    """What the shape of pixels is multiplied by."""
    facts: Mapping[str, Any]
    """Everything that decides the result, as JSON has it."""

    def look(self) -> Look:
        """What the result's frames say, by the first one.

        Raises:
            VsSrError: it cannot be made.
        """
        return encoding.reshaped(rendering.look(self.clip), self.shape)

    def encoding(self, look: Look) -> Encoding:
        """The encoder for frames that look so."""
        rate = Fraction(self.clip.fps or self.film.rate * Fraction(self.clip.num_frames, self.before.num_frames))
        rate /= self.cut.stretch
        return Encoding(
            codec=self.order.wish.codec,
            options=encoding.options_of(self.order.wish, self.film.light),
            pix_fmt=encoding.name_of(self.clip),
            size=(self.clip.width, self.clip.height),
            rate=rate,
            tick=encoding.tick(rate),
            look=look,
        )

    def clock(self, number: int) -> Fraction:
        """Seconds at which a frame of the result is shown, as far as the film tells it before it is made."""
        if self.clip.fps and self.film.even:
            return self.start + number / Fraction(self.clip.fps) * self.cut.stretch
        first, (frame, part) = self.facts["frames"][0], divmod(number / self.faster, 1)
        shown = self.film.time(first + frame)
        if part:
            shown += part * self.film.duration(first + frame)
        return self.cut.time(shown)

    def marks(self, number: int) -> Iterator[tuple[int, bool]]:
        """The frames of the result from one on that the film's own become, and whether a scene begins with each.

        It is the filters that decide; this is what the detector finds in the film, for half a millisecond a frame.
        """
        threshold = _threshold(self.order)
        if threshold is None:
            return
        found = cuts.found("render", frames.bare(self.before), threshold)
        first = int(number / self.faster)
        for n, frame in enumerate(rendering.frames_of(found[first:], rendering.ahead()), first):
            with frame:
                yield ceil(n * self.faster), bool(frame.props.get(scenes.PREVIOUS))


def prepare(order: Order, *, places: Mapping[str, Path] | None = None, device: Sequence[str] | None = None) -> Work:
    """The film and the graph, without a frame of it.

    Args:
        order: what is wanted.
        places: where files lie here, by the names that the order has for them; those that are not in it lie there.
        device: what the networks run on, where it is known to be elsewhere; None: here, and torch is loaded to say it.

    Raises:
        VsSrError: something cannot be had, or not together.
    """
    places = places or {}
    encoding.check(order.wish)
    steps = order.steps()
    here = [_placed(step, places) for step in steps]
    film = reading.open_film(places.get(str(order.film), order.film))
    whole, repeated = decoding.open_clip(film, order.reader, order.damaged)
    first, stop = film.part(order.start, order.end)
    before = whole[first:stop]
    script = order.script
    clip = graph.run_script(script.path, script.text, before, film.path) if script else graph.chain(before, here)
    shape = Fraction(before.width * clip.height, before.height * clip.width)
    if order.size:
        clip = graph.resized(clip, order.size)
        shape = Fraction(before.width * clip.height, before.height * clip.width)
    faster = Fraction(
        clip.fps / before.fps if clip.fps and before.fps else Fraction(clip.num_frames, before.num_frames)
    )
    stretch = faster if order.slow_motion else Fraction(1)
    if order.preview:
        clip = graph.beside(before, clip, order.preview)
    clip = encoding.suitable(clip, order.wish)
    trimmed = order.start is not None
    end = film.time(stop) if order.end is not None else None
    if order.preview:
        end = film.time(first) + order.preview / (film.rate * faster)
    cut = Cut(begin=film.time(first) if trimmed else film.began, end=end, trimmed=trimmed, stretch=stretch)
    facts: dict[str, Any] = {
        "film": rendering.identity(film.path),
        "graph": script.sha256 if script else [f"{a}{_weights(b)}" for a, b in zip(steps, here, strict=True)],
        "device": _device(here) if device is None else list(device),
        "frames": [first, stop, clip.num_frames],
        "size": [clip.width, clip.height],
        "format": clip.format.name,
        "encoder": [order.wish.codec, *(f"{k}={v}" for k, v in encoding.options_of(order.wish, film.light).items())],
        "slow motion": order.slow_motion,
        "preview": order.preview,
        "reader": order.reader,
        "damaged": order.damaged,
        "versions": rendering.versions(),
    }
    return Work(
        order=order,
        film=film,
        before=before,
        clip=clip,
        repeated=repeated,
        cut=cut,
        start=cut.time(film.time(first)),
        faster=faster,
        shape=shape,
        facts=json.loads(json.dumps(facts)),
    )


def _threshold(order: Order) -> float | None:
    """Of the detector whose cuts segments are likely to end at; None: they end at none."""
    if order.script:
        return scenes.THRESHOLD
    for step in order.steps():
        known = {argument.name for argument in arguments.of(registry.model(step.name).kind)}
        if "sc" in known:
            return float(step.arguments.get("sc_threshold", scenes.THRESHOLD)) if step.arguments.get("sc", 1) else None
    return None


def _placed(step: Step, places: Mapping[str, Path]) -> Step:
    """A step whose files are those that lie here."""
    found = {key: str(places[value]) for key in FILES if (value := str(step.arguments.get(key))) in places}
    return replace(step, arguments={**step.arguments, **found})


def _weights(step: Step) -> str:
    """What tells a step's weights from others."""
    model = registry.model(step.name)
    name = step.arguments.get("weights") or store.default(model, step.arguments.get("scale"))
    return f" {store.digest(store.locate(name, model))}" if name else ""


def _device(steps: Sequence[Step]) -> list[str]:
    """What the networks run on."""
    if not steps:
        return []
    from vs_sr.engine import device
    from vs_sr.runtime import torch

    names = [device.choose(step.arguments.get("device_id")) for step in steps]
    return [name if name == "cpu" else torch.cuda.get_device_name(name) for name in names]
