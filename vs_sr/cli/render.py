"""Make a film of a film: larger, smoother, with its sound, subtitles and chapters; an interrupted run goes on."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import files, system
from vs_sr.cli import _film
from vs_sr.errors import ArgumentError, VsSrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vs_sr.cli._bar import Bar
    from vs_sr.cli._progress import Progress
    from vs_sr.render.crew import Crew
    from vs_sr.render.encoding import Encoding
    from vs_sr.render.joining import Join, Kind
    from vs_sr.render.rendering import State
    from vs_sr.render.segments import Segment, Store
    from vs_sr.render.work import Order, Work

_DROPPED = ("audio", "subtitles", "attachments", "chapters", "metadata")
_PYAV = 19
"""Its first version that does all that is needed."""
_PROBE = 48
"""Frames that are timed by --dry-run, after one that is not."""
_PATIENCE = 20.0
"""Seconds after which it stops."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The film, what is made of it, and how that is encoded."""
    parser.add_argument("source", metavar="IN", type=Path, help="a video file")
    parser.add_argument("target", metavar="OUT", type=Path, help="the file to write: .mkv, .mp4, .mov or .webm")
    what = parser.add_argument_group("what is made of it")
    what.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME[:ARGUMENT=VALUE,...]",
        help="a filter of `vs-sr models`, with its arguments: ZoomingSlowMo:carry=1,window=5; several are a chain; "
        "default: ZoomingSlowMo",
    )
    what.add_argument(
        "--script", type=Path, metavar="FILE", help="output 0 of a .vpy, which has `clip`, in place of models"
    )
    what.add_argument("--resize", type=_size, metavar="WxH", help="bring the result to this size")
    _film.add_part(what)
    what.add_argument("--slow-motion", action="store_true", help="keep the rate and stretch time; without sound")
    what.add_argument(
        "--stretch-sound", action="store_true", help="with --slow-motion: keep the sound, stretched as well"
    )
    what.add_argument("--preview", type=_count, metavar="N", help="N frames of the result beside the film, upscaled")
    what.add_argument("--dry-run", action="store_true", help="say what would be done and how long it takes, and stop")
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument("--codec", default="libx264", metavar="NAME", help="of FFmpeg's encoders; default: libx264")
    quality = encoder.add_mutually_exclusive_group()
    quality.add_argument("--crf", type=float, help="quality; default: 16 for libx264, 18 for libx265, else the codec's")
    quality.add_argument("--bitrate", type=_bits, metavar="RATE", help="bits per second: 8M, 800k")
    encoder.add_argument("--preset", help="as the encoder names them")
    encoder.add_argument("--pixel-format", metavar="NAME", help="as FFmpeg names it; default: the film's")
    encoder.add_argument(
        "--encoder-option", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="any other option"
    )
    rest = parser.add_argument_group("the rest of the file")
    rest.add_argument("--drop", action="append", default=[], choices=_DROPPED, help="leave this out")
    _film.add_reading(rest)
    how = parser.add_argument_group("run")
    begin = how.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="go on with what an interrupted run has left")
    begin.add_argument("--restart", action="store_true", help="delete what an interrupted run has left")
    how.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="so many processes render at once, through Ray; default: one, without",
    )
    how.add_argument(
        "--ray", metavar="ADDRESS", help="workers on a cluster of Ray's: auto, or HOST:PORT; by default one a card"
    )
    how.add_argument("--worker-threads", type=_count, metavar="N", help="cores of each worker; default: divided evenly")
    how.add_argument("--force", action="store_true", help="replace OUT where it exists, once the new file is whole")
    how.add_argument("--quiet", action="store_true", help="nothing but errors")
    how.add_argument("--json", action="store_true", help="objects of JSON on stdout: plan, progress, done, error")


def run(options: argparse.Namespace) -> int:
    """Render, and say in a line what came of it."""
    say = _Speaker(quiet=options.quiet, lines=options.json)
    try:
        return _run(options, say)
    except VsSrError as error:
        say("error", message=str(error))
        raise
    except KeyboardInterrupt:
        say("error", message="interrupted")
        _hint(options)
        raise
    except OSError as error:
        where = error.filename or options.target
        say("error", message=f"{where}: {files.reason(error)}")
        _hint(options)
        way = "; --resume goes on" if _store(options.target).folder.is_dir() else ""
        raise VsSrError(f"{where} cannot be written: {files.reason(error)}{way}") from None


class _Speaker:
    """What is said to people, or to a script."""

    def __init__(self, *, quiet: bool, lines: bool) -> None:
        self._quiet, self._lines, self._out = quiet, lines, sys.stdout

    def __call__(self, event: str, text: str = "", **facts: Any) -> None:
        """Say something: a text for people on stderr, facts for scripts on stdout."""
        if self._lines:
            print(json.dumps({"event": event, **facts}), file=self._out, flush=True)
        elif text and not self._quiet:
            print(text, file=sys.stderr)

    def done(self, text: str, **facts: Any) -> None:
        """Say in the end, on stdout, what came of it."""
        if self._lines:
            self("done", **facts)
        elif not self._quiet:
            print(text, file=self._out)


def _hint(options: argparse.Namespace) -> None:
    if _store(options.target).folder.is_dir() and not options.quiet:
        print(f"what is done is kept in {_store(options.target).folder}; --resume goes on with it", file=sys.stderr)


def _store(target: Path) -> Store:
    from vs_sr.render.segments import Store

    return Store(target.with_name(f"{target.name}.segments"))


def _run(options: argparse.Namespace, say: _Speaker) -> int:
    if int(version("av").partition(".")[0]) < _PYAV:
        raise VsSrError(f"needs PyAV {_PYAV} or later, not {version('av')}: pip install 'vs-sr[render]'")
    from vs_sr.render.work import prepare

    began = time.monotonic()
    _check_target(options)
    order = _order(options)
    with ExitStack() as stack:
        if not options.dry_run:
            stack.enter_context(_store(options.target).held())
        if not _several(options):
            return _make(options, say, prepare(order), None, began)
        work = prepare(order, device=())  # which one, the workers say
        crew = stack.enter_context(_crew(options, order))
        return _make(options, say, work, crew, began)


def _several(options: argparse.Namespace) -> bool:
    return bool(options.workers or options.ray)


@contextmanager
def _crew(options: argparse.Namespace, order: Order) -> Iterator[Crew]:
    """The workers that are asked for."""
    from vs_sr.render import cluster, crew, worker

    task = worker.task_of(order, _store(options.target))
    with (
        redirect_stdout(sys.stderr),  # Ray says there what has died
        cluster.connected(options.ray, options.workers, options.worker_threads, cards=task.cards) as team,
        crew.Crew(team=team, task=task) as found,
    ):
        yield found


def _make(options: argparse.Namespace, say: _Speaker, work: Work, crew: Crew | None, began: float) -> int:
    """From the graph to the film."""
    from vs_sr.render import joining, rendering

    store, look = _store(options.target), work.look
    if crew is not None:
        work, look = crew.check(work)
    kept = None if options.dry_run else _kept(options, store, work.facts)
    seen = look() if kept is None else rendering.from_plan(kept["look"])
    made = work.encoding(seen)
    silent = options.slow_motion and not options.stretch_sound
    drop: frozenset[Kind] = frozenset(options.drop + ["audio"] * silent)
    join = joining.Join(
        film=work.film,
        container=joining.container_of(options.target),
        encoding=made,
        cut=work.cut,
        drop=drop,
    )
    copied = join.check()
    _say_plan(say, options, work, join, copied)
    if options.dry_run:
        _probe(say, work)
        return 0
    if kept is None:
        store.begin({**work.facts, "look": rendering.as_plan(seen)})
    segments = _render(say, options, work, made, store, crew)
    rendering.finish(options.target, join, segments, store)
    for number in work.repeated:
        say("repeated", f"frame {number} could not be decoded; the one before it is shown again", frame=number)
    frames = work.clip.num_frames
    seconds = time.monotonic() - began
    length = float(segments[-1].time - work.start)
    text = (
        f"{frames} frames, {made.size[0]}x{made.size[1]}, {float(made.rate):.5g} fps, {length:.3f} s "
        f"in {_clock(seconds)}: {options.target}"
    )
    facts = {"frames": frames, "duration": length, "seconds": round(seconds, 3), "path": str(options.target)}
    say.done(text, **facts, repeated=sorted(work.repeated))
    return 0


def _check_target(options: argparse.Namespace) -> None:
    """Refuse at once what would fail at the end.

    Raises:
        ArgumentError: the result cannot be written, or would replace something.
    """
    target: Path = options.target
    if target.exists() and options.source.exists() and target.samefile(options.source):
        raise ArgumentError(f"{target} is the film itself; give another OUT")
    try:
        files.check_target(target)
        files.check_target(_store(target).folder / "render.json") if _store(target).folder.exists() else None
    except ArgumentError as error:
        raise ArgumentError(f"{target} {error}") from None
    if target.exists() and not options.force and not options.dry_run:
        raise ArgumentError(f"{target} exists; --force replaces it once the new one is whole")
    if options.stretch_sound and not options.slow_motion:
        raise ArgumentError("--stretch-sound is for --slow-motion")
    if options.script and options.model:
        raise ArgumentError("--script and --model are two graphs; give one")
    if options.dry_run and _several(options):
        raise ArgumentError("--dry-run measures this process; leave out --workers and --ray")
    if options.worker_threads and not _several(options):
        raise ArgumentError("--worker-threads is for --workers or --ray")


def _order(options: argparse.Namespace) -> Order:
    """What is wanted, as plain data."""
    from vs_sr.render.encoding import Wish
    from vs_sr.render.work import Order, Script

    return Order(
        film=options.source,
        models=tuple(options.model) or ("ZoomingSlowMo",),
        script=Script.read(options.script) if options.script else None,
        size=options.resize,
        start=options.start,
        end=options.end,
        slow_motion=options.slow_motion,
        preview=options.preview,
        wish=Wish(
            codec=options.codec,
            crf=options.crf,
            bitrate=options.bitrate,
            preset=options.preset,
            pixel_format=options.pixel_format,
            options=dict(options.encoder_option),
        ),
        reader=options.reader,
        damaged=options.damaged,
    )


def _kept(options: argparse.Namespace, store: Store, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The plan of the run that is gone on with; None: this one begins.

    Raises:
        ArgumentError: an earlier run has left something, and it is not said what is to become of it, or it does not
            fit.
    """
    from vs_sr.render import rendering

    if options.restart:
        store.clear()
    plan = store.plan()
    if plan is None:
        return None
    if not options.resume:
        raise ArgumentError(
            f"{store.folder} has what an interrupted run has left; --resume goes on with it, --restart deletes it"
        )
    if difference := rendering.different(plan, facts):
        raise ArgumentError(f"{store.folder} is of another run: {difference}; --restart begins again")
    return plan


def _render(
    say: _Speaker, options: argparse.Namespace, work: Work, encoding: Encoding, store: Store, crew: Crew | None
) -> list[Segment]:
    from vs_sr.render.rendering import Rendering

    with ExitStack() as stack:
        report: Callable[[State], None]
        if options.json:
            report = _Reporter(say)
        elif options.quiet:
            report = _silent
        else:
            progress = _progress()
            stack.enter_context(progress)

            def report(state: State) -> None:
                more = f", {state.fps:.3g} fps, {_clock(state.left)} left" if state.fps else ""
                more += f", {state.workers} worker{'s' * (state.workers != 1)}" if state.workers else ""
                more += f", {(state.memory or system.peak_memory()) >> 20} MiB"
                progress("Frame", state.done, state.frames, more)

        if crew is not None:
            return crew.render(work, encoding, store, report)
        return Rendering(
            clip=work.clip,
            start=work.start,
            stretch=work.cut.stretch,
            encoding=encoding,
            store=store,
            report=report,
        ).run()


def _progress() -> Bar | Progress:
    """A bar on a terminal where rich is installed, else lines."""
    if sys.stderr.isatty() and find_spec("rich"):
        from vs_sr.cli._bar import Bar

        return Bar()
    from vs_sr.cli._progress import Progress

    return Progress()


def _silent(state: State) -> None:
    pass


class _Reporter:
    """Progress for scripts, a line a second."""

    def __init__(self, say: _Speaker) -> None:
        self._say, self._next = say, 0.0

    def __call__(self, state: State) -> None:
        """Say it, if it is time to; the last frame always."""
        now = time.monotonic()
        if now >= self._next or state.done == state.frames:
            self._next = now + 1
            facts: dict[str, Any] = {
                "frame": state.done,
                "frames": state.frames,
                "fps": round(state.fps, 3),
                "left": round(state.left),
            }
            facts |= {"workers": state.workers} if state.workers else {}
            self._say("progress", **facts, memory=state.memory or system.peak_memory())


def _say_plan(say: _Speaker, options: argparse.Namespace, work: Work, join: Join, copied: list[str]) -> None:
    """What is going to be done."""
    film, made = work.film, join.encoding
    varying = "" if film.even else " (varying)"
    notes = list(join.notes)
    if options.slow_motion and not options.stretch_sound and "audio" not in options.drop:
        notes.append("sound is left out: time is stretched; --stretch-sound keeps it")
    from vs_sr.render import encoding

    if (film.light.mastering or film.light.content) and not encoding.carries(work.order.wish.codec):
        notes.append(
            f"HDR side data is left out: {work.order.wish.codec} cannot be told of it; libx264 and libx265 can"
        )
    lines = [
        f"film      {work.before.num_frames} frames, {work.before.width}x{work.before.height}, "
        f"{float(film.rate):.5g} fps{varying}, {work.before.format.name}",
        f"graph     {options.script or ', '.join(options.model) or 'ZoomingSlowMo'}",
        f"result    {work.clip.num_frames} frames, {made.size[0]}x{made.size[1]}, {float(made.rate):.5g} fps{varying}, "
        f"{made.pix_fmt}",
        f"encoder   {', '.join([work.order.wish.codec, *encoding.described(made.options)])}",
        f"besides   {', '.join(copied) or 'nothing'}",
        *(f"note      {note}" for note in notes),
    ]
    say(
        "plan",
        "\n".join(lines if options.dry_run else lines[5:]),
        film={"frames": work.before.num_frames, "width": work.before.width, "height": work.before.height},
        result={
            "frames": work.clip.num_frames,
            "width": made.size[0],
            "height": made.size[1],
            "rate": str(made.rate),
            "format": made.pix_fmt,
        },
        encoder={"codec": work.order.wish.codec, **made.options},
        copied=copied,
        notes=notes,
    )


def _probe(say: _Speaker, work: Work) -> None:
    """Time some frames, and say how long all of them take."""
    from vs_sr import machine
    from vs_sr.render import rendering

    begin, done = time.monotonic(), -1
    for frame in rendering.frames_of(work.clip, 1):
        frame.close()
        done += 1
        if not done:  # the network is loaded
            begin = time.monotonic()
        elif done == _PROBE or time.monotonic() - begin > _PATIENCE:
            break
    per = (time.monotonic() - begin) / done if done else 0.0
    seconds = per * work.clip.num_frames
    text = f"time      about {_clock(seconds)}, {1 / per:.3g} fps" if per else "time      too short to be measured"
    memory = f"memory    {machine.memory() >> 20} MiB in all"
    say("probe", f"{text}\n{memory}", seconds=round(seconds, 1), memory=machine.memory())


def _clock(seconds: float) -> str:
    """2:03:04, or 3:04."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; WIDTHxHEIGHT, such as 1920x1080")
    return int(width), int(height)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames; 1 or more")
    return int(text)


def _bits(text: str) -> int:
    number, factor = text, 1
    if text[-1:] in ("k", "M"):
        number, factor = text[:-1], 1000 if text[-1] == "k" else 1_000_000
    try:
        found = int(float(number) * factor)
    except ValueError:
        found = 0
    if found <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no bit rate; such as 8M or 800k")
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, such as tune=grain")
    return key, value
