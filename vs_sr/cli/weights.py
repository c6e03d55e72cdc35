"""Say what a weights file is, and convert one to safetensors that says it itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import QuestionError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``convert IN OUT [--set key=value ...]`` and ``show FILE [--set key=value ...]``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "recognise a checkpoint and write it as .safetensors, with all that a filter has to know"
    convert = actions.add_parser("convert", help=summary, description=summary)
    convert.add_argument("source", metavar="IN", type=Path, help="a .pth, .pt, .ckpt or .safetensors file")
    convert.add_argument("target", metavar="OUT", type=Path, help="the file to write, .safetensors")
    summary = "print what a weights file holds"
    show = actions.add_parser("show", help=summary, description=summary)
    show.add_argument("source", metavar="FILE", type=Path, help="a .pth, .pt, .ckpt or .safetensors file")
    for action in (convert, show):
        action.add_argument(
            "--set",
            metavar="KEY=VALUE",
            dest="answers",
            action="append",
            type=_answer,
            default=[],
            help="what no tensor tells (scale=2, range=255, ...); may be given several times",
        )


def _answer(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key, value


def run(options: argparse.Namespace) -> int:
    """Convert or describe."""
    from vs_sr.weights import convert

    answers: Mapping[str, str] = dict(options.answers)
    if options.action == "show":
        print(convert.describe(options.source, answers))
        return 0
    try:
        found = convert.convert(options.source, options.target, answers)
    except QuestionError as error:
        choices = " or ".join(f"--set {answer}" for answer in error.answers)
        raise WeightsError(f"{error.question}; say which with {choices}") from None
    scale = "for an upscaled clip" if found.variant.upscaled else f"x{found.variant.scale}"
    print(f"{options.target}: {found.model.name}, {scale}; core.vs_sr.{found.model.name}(clip, weights=...)")
    return 0
