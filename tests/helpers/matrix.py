"""Matrices of tests, of which the fast suite runs a part."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


def in_turn(*axes: Sequence[Any], every: int = 2) -> list[Any]:
    """All combinations of the axes' values, for ``parametrize``; all but each ``every``-th are slow.

    Every value comes with the values of the other axes in turn, so none is left out of the fast suite, as long as an
    axis has at least ``every`` of them.
    """
    cells = itertools.product(*(enumerate(axis) for axis in axes))
    return [
        pytest.param(
            *(value for _, value in cell),
            marks=() if sum(number for number, _ in cell) % every == 0 else pytest.mark.slow,
        )
        for cell in cells
    ]
