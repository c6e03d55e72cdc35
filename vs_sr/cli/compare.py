"""Measure two films against each other, or both against the truth: frame by frame, and as a page to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.cli import _film, _targets
from vs_sr.errors import ArgumentError, VsSrError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vs_sr.cli._footage import Footage
    from vs_sr.color import Matrix
    from vs_sr.evaluation.measure import Clip
    from vs_sr.evaluation.page import Page
    from vs_sr.evaluation.protocols import Luma

_RESULTS = ("csv", "json", "plot", "html")
_ROWS = 24
"""Of the table at most; a longer film has those of its worst frames."""
_RATE = 25
"""Frames per second of images that are compared with images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The films, and where the figures go."""
    parser.add_argument("film", metavar="A", type=Path, help="a video file, or a folder of images")
    parser.add_argument("other", metavar="B", type=Path, help="another one, of the same size and number of frames")
    parser.add_argument("--truth", metavar="C", type=Path, help="measure both against this one, not A against B")
    _film.add_part(parser)
    _film.add_reading(parser)
    out = parser.add_argument_group("results", "beside the table")
    out.add_argument("--csv", type=Path, metavar="FILE", help="a line per frame")
    out.add_argument("--json", type=Path, metavar="FILE", help="everything")
    out.add_argument("--plot", type=Path, metavar="FILE", help="PSNR-Y over the frames as an image (needs pillow)")
    out.add_argument("--html", type=Path, metavar="FILE", help="a page with a slider between the films, and a player")


def run(options: argparse.Namespace) -> int:
    """Print the table, write the files that were asked for."""
    from vs_sr.cli import _footage
    from vs_sr.cli._progress import Progress
    from vs_sr.evaluation import comparison, report
    from vs_sr.evaluation.page import Page

    paths: dict[str, Path] = {comparison.FILM: options.film, comparison.OTHER: options.other}
    if options.truth:
        paths[comparison.TRUTH] = options.truth
    _check(options, paths)
    films = {name: _footage.open_footage(path, options) for name, path in paths.items()}
    reference = [*films][-1]
    _check_alike(films)
    y = comparison.luma(_matrix(films, reference))
    page = Page(len(films[reference])) if options.html else None
    with Progress() as progress:
        clip = comparison.compare(
            films, reference, y, first=films[reference].first, shown=page.add if page else None, progress=progress
        )
    for name, film in films.items():
        print(f"{name:{len(reference)}}  {_described(film)}")
        for number in sorted(film.repeated):
            print(f"{name}: frame {number} could not be decoded; the one before it stands for it", file=sys.stderr)
    print(f"\n{report.table([clip], _ROWS)}")
    if len(films[reference]) > _ROWS:
        print(f"\nThe {_ROWS} frames of {len(films[reference])} that have the lowest PSNR-Y; the means are over all.")
    try:
        _write(options, films, clip, y, page)
    except OSError as error:
        raise VsSrError(f"{error.filename or 'a result'} cannot be written: {files.reason(error)}") from None
    return 0


def _check(options: argparse.Namespace, paths: Mapping[str, Path]) -> None:
    """Refuse before anything is computed what would fail at the end."""
    from vs_sr.evaluation import pillow

    _targets.check(options, *_RESULTS)
    for name in _RESULTS:
        target: Path | None = getattr(options, name)
        for path in paths.values():
            if target and target.exists() and path.exists() and target.samefile(path):
                raise ArgumentError(f"--{name}: {target} is a film that is compared; give another name")
    if options.plot:
        pillow.require("--plot")
    if (options.start, options.end) != (None, None) and all(path.is_dir() for path in paths.values()):
        raise ArgumentError("--start and --end are times, which folders of images do not have")


def _check_alike(films: Mapping[str, Footage]) -> None:
    """Whether frames can be paired.

    Raises:
        ArgumentError: films differ in size or length.
    """
    (name, one), *others = films.items()
    for other, film in others:
        if film.size != one.size:
            (width, height), (w, h) = one.size, film.size
            raise ArgumentError(
                f"{name} is {width}x{height} and {other} {w}x{h}; films of one size are compared: "
                f"vs-sr render --resize {w}x{h}, or ffmpeg -i {one.path.name} -vf scale={w}:{h} OUT.mkv"
            )
        if len(film) != len(one):
            raise ArgumentError(
                f"{name} has {_counted(one)} and {other} {_counted(film)}; films of as many frames are compared: "
                "--start and --end take a part of each"
            )


def _counted(film: Footage) -> str:
    return f"{len(film)} frame{'s' * (len(film) != 1)}" + (f" at {float(film.rate):.5g} fps" if film.rate else "")


def _described(film: Footage) -> str:
    return f"{film.path}: {_counted(film)}, {film.size[0]}x{film.size[1]}"


def _matrix(films: Mapping[str, Footage], reference: str) -> Matrix:
    """That of the reference, else of a film that has one; BT.601, as papers do, where all are RGB."""
    from vs_sr.color import Matrix

    found = [films[reference].matrix, *(film.matrix for film in films.values())]
    return next((matrix for matrix in found if matrix != Matrix.RGB), Matrix.ST170_M)


def _times(films: Mapping[str, Footage], reference: str) -> Sequence[float]:
    """Seconds at which frames are shown: by the reference, else by a film that has times."""
    found = [films[reference].times, *(film.times for film in films.values())]
    return next((times for times in found if times), None) or [n / _RATE for n in range(len(films[reference]))]


def _write(options: argparse.Namespace, films: Mapping[str, Footage], clip: Clip, y: Luma, page: Page | None) -> None:
    """The files that were asked for."""
    from vs_sr.evaluation import figure, report

    film, times = films[clip.name], _times(films, clip.name)
    if options.csv:
        report.write_comparison_csv(options.csv, clip, times)
    if options.json:
        facts = {
            name: {"path": str(each.path), "first": each.first, "rate": str(each.rate) if each.rate else None}
            for name, each in films.items()
        }
        record = {"films": facts, "reference": clip.name, "y": y.summary, "times": list(times)}
        report.write_json(options.json, {**record, **report.clip_record(clip)})
    if options.plot:
        figure.plot([clip], options.plot)
    if page:
        names = {name: each.path.name for name, each in films.items()}
        with files.replacing(options.html) as file:
            page.write(file, clip, names, times, film.size, film.sar)
        if page.frames < len(film):
            print(
                f"{options.html} shows the first {page.frames} frames of {len(film)}; --start shows others",
                file=sys.stderr,
            )
