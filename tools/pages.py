"""Pages that hold generated lines, between a pair of markers."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder."""

COMMAND = "python -m tools.generate"
"""What writes all of them."""


def replaced(text: str, title: str, lines: str) -> str:
    """A page with what stands between the markers of ``title`` replaced.

    Raises:
        ValueError: it has no such markers.
    """
    begin, end = markers(title)
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise ValueError(f"the page needs the lines {begin} and {end}")
    return f"{before}{begin}\n{lines}\n{end}{after}"


def markers(title: str) -> tuple[str, str]:
    """The lines around what is generated."""
    return f"<!-- {title}: {COMMAND} -->", f"<!-- /{title} -->"
