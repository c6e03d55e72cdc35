"""What the ``detect`` functions have in common: reading tensor names and shapes, and hints for the rest."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from vs_sr.errors import AmbiguousError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vs_sr.spec import Metadata, Shapes


def rules(*pairs: tuple[str, str | None]) -> Callable[[Shapes], Mapping[str, str]]:
    """A ``Scheme.rename`` out of regular expressions and what replaces them (None: the tensor is not used).

    The first expression that matches the beginning of a name, up to a dot or the end, is applied; a name that
    none matches stays as it is.
    """
    compiled = [(re.compile(rf"{pattern}(?=\.|$)"), replacement) for pattern, replacement in pairs]

    def rename(shapes: Shapes) -> dict[str, str]:
        names: dict[str, str] = {}
        for name in shapes:
            for pattern, replacement in compiled:
                if match := pattern.match(name):
                    if replacement is not None:
                        names[name] = match.expand(replacement) + name[match.end() :]
                    break
            else:
                names[name] = name
        return names

    return rename


def count(shapes: Shapes, pattern: str) -> int:
    """How many tensors have names that match ``pattern`` as a whole."""
    compiled = re.compile(pattern)
    return sum(compiled.fullmatch(name) is not None for name in shapes)


def reach(*steps: tuple[float, int]) -> int:
    """Receptive-field radius in input pixels, of steps of (radius in their own pixels, their scale)."""
    return math.ceil(sum(radius / scale for radius, scale in steps) - 1e-9)


def choose(metadata: Metadata, key: str, choices: Sequence[str], ambiguity: str) -> str:
    """The hint about what the tensors leave open.

    Raises:
        AmbiguousError: it is not in the metadata.
        WeightsError: it is none of ``choices``.
    """
    hint = metadata.get(key)
    if hint is None:
        raise AmbiguousError(ambiguity, key, tuple(choices))
    if hint not in choices:
        raise WeightsError(f"{key}={hint}: {ambiguity}; choices: {', '.join(choices)}")
    return hint


def number(metadata: Metadata, key: str, ambiguity: str) -> float:
    """As :func:`choose`, for any positive number."""
    hint = metadata.get(key)
    if hint is None:
        raise AmbiguousError(ambiguity, key)
    try:
        value = float(hint)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise WeightsError(f"{key}={hint}: needs a number above 0")
    return value


def check_scale(metadata: Metadata, found: int) -> int:
    """``found``, the scale that the tensors tell.

    Raises:
        WeightsError: the user or the file's metadata says otherwise.
    """
    hint = metadata.get("scale")
    if hint is not None and hint != str(found):
        raise WeightsError(f"scale={hint}: the tensors are those of a x{found} network; leave scale out")
    return found
