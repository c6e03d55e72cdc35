"""What part of a film is taken and how it is read, on the command line."""

from __future__ import annotations

import argparse
from fractions import Fraction


def add_part(parser: argparse._ActionsContainer) -> None:
    """``--start`` and ``--end``: seconds after the file's beginning, or None."""
    parser.add_argument("--start", type=_seconds, metavar="TIME", help="begin here: seconds, or h:mm:ss.s")
    parser.add_argument("--end", type=_seconds, metavar="TIME", help="end here")


def add_reading(parser: argparse._ActionsContainer) -> None:
    """``--reader`` and ``--damaged``, as :func:`vs_sr.render.decoding.open_clip` takes them."""
    parser.add_argument("--reader", choices=("auto", "bestsource", "av"), default="auto", help="what decodes the film")
    parser.add_argument(
        "--damaged", choices=("fail", "repeat"), default="fail", help="frames that cannot be decoded; default: fail"
    )


def _seconds(text: str) -> Fraction:
    try:
        parts = [Fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not 1 <= len(parts) <= 3 or any(part < 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; seconds, or h:mm:ss.s")
    return sum((part * 60**place for place, part in enumerate(reversed(parts))), Fraction(0))
