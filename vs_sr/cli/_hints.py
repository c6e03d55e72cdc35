"""``--set KEY=VALUE``: hints for ambiguous weights, on the command line."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vs_sr.errors import AmbiguousError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator


def add_argument(parser: argparse._ActionsContainer) -> None:
    """``--set``, as ``options.hints``: pairs."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="hints",
        action="append",
        type=_pair,
        default=[],
        help="a hint where the tensors are ambiguous (scale=2, range=255, ...); may be given several times",
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, such as scale=2")
    return key, value


@contextmanager
def named() -> Iterator[None]:
    """What is ambiguous in a file ends in an error that names the option.

    Raises:
        WeightsError: something is.
    """
    try:
        yield
    except AmbiguousError as error:
        choices = " or ".join(f"--set {hint}" for hint in error.hints)
        raise WeightsError(f"{error.ambiguity}; say which with {choices}") from None
