"""Which backend ``"auto"`` takes: by priority, then by what is measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tools import backends_table
from vs_sr import registry
from vs_sr.backends import measured
from vs_sr.engine import choice
from vs_sr.spec import Backend, Model, Precision, Runner, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = Model(name="Some", summary="", paper="", kind="image", build=lambda variant: None)  # type: ignore[arg-type, return-value]


def backend(name: str, priority: int = 0) -> Backend:
    return Backend(
        name=name, summary="", contract=1, priority=priority, open=lambda request: Runner(network=print, identity="")
    )


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    names: Mapping[str, int] = {"asked": -1, "eager": 0, "quick": 0, "quicker": 0, "slower": 0}
    monkeypatch.setattr(registry, "backends", lambda: [backend(*each) for each in names.items()])
    monkeypatch.setattr(registry, "problems", lambda kind: [])
    shares = {"asked": 0.1, "quick": 0.8, "quicker": 0.5}
    monkeypatch.setattr(measured, "SHARES", {("Some", "fp32", name): share for name, share in shares.items()})


@pytest.mark.parametrize(
    ("device", "precision", "order"),
    [
        ("cpu", "fp32", ["quicker", "quick", "eager", "slower"]),
        ("cpu", "bf16", ["eager", "quick", "quicker", "slower"]),
        ("cuda:0", "fp32", ["eager", "quick", "quicker", "slower"]),
    ],
)
def test_the_quickest_that_is_measured_comes_first(device: str, precision: Precision, order: list[str]) -> None:
    found, refused = choice.candidates("auto", MODEL, Variant(scale=2), device, precision)
    assert ([each.name for each in found], refused) == (order, {})


def test_a_priority_counts_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [*registry.backends(), backend("chosen", 1)]
    monkeypatch.setattr(registry, "backends", lambda: own)
    found, _ = choice.candidates("auto", MODEL, Variant(scale=2), "cpu", "fp32")
    assert [each.name for each in found][:2] == ["chosen", "quicker"]


def test_what_is_measured_is_summed_up_by_the_smallest_gain() -> None:
    def row(configuration: str, **ratios: float) -> dict[str, object]:
        own = {name: [ratio, ratio, ratio] for name, ratio in {"eager": 1.0, **ratios}.items()}
        return {"model": "Some", "configuration": configuration, "precision": "fp32", "ratios": own}

    record = {"rows": [row("small", even=0.7, failing=0.5, little=0.97), row("large", even=0.9, little=0.6)]}
    assert backends_table.shares(record) == {("Some", "fp32", "even"): 0.9}


def test_the_record_is_of_backends_that_are_right() -> None:
    record = json.loads(backends_table.RECORD.read_text(encoding="utf-8"))
    for row in record["rows"]:
        least = {"fp32": 60, "bf16": 50}[row["precision"]]
        assert all(row["psnr"][name] >= least for name in row["ratios"] if name != "eager"), row
        assert not set(row["left_out"]) & set(row["ratios"]) - {"eager"}
