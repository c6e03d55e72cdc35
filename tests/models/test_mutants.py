"""What counts as a fault that is seen: a finite output of the right shape with wrong values, nothing else."""

from __future__ import annotations

import pytest
import torch
from helpers.mutants import assert_seen, mutate

RIGHT = torch.linspace(0, 1, 12).view(3, 4)


def distance(output: torch.Tensor) -> float:
    return float((output - RIGHT).abs().max())


def test_wrong_values_are_seen() -> None:
    assert_seen(RIGHT + 0.011, (3, 4), distance, 1e-3)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (RIGHT + 0.009, "a difference of 9.0e-03"),
        (RIGHT, "a difference of 0.0e"),
        (RIGHT.T + 1, "keep the shape"),
        (RIGHT[:1] + 1, "keep the shape"),
        (RIGHT + torch.nan, "finite"),
        (RIGHT + torch.inf, "finite"),
    ],
    ids=["small", "none", "turned", "cut", "nan", "infinite"],
)
def test_nothing_else_is(output: torch.Tensor, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        assert_seen(output, (3, 4), distance, 1e-3)


def test_a_mutation_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(AssertionError, match="write the mutation again"):
        mutate("vs_sr.models.layers", "no such line", "")
