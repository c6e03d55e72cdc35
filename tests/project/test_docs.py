"""What the documentation says is what there is: figures, commands, files, arguments."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from typing import TYPE_CHECKING

import pytest
from helpers.support import ROOT

from tools import cuts_table, drift_table, generate, models_table, quality_table, repeats_table
from tools.pages import COMMAND
from vs_sr import cli, registry, scenes, spec
from vs_sr.cli import compare, evaluate, render
from vs_sr.weights import store

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"),
                                 *ROOT.glob("examples/**/*.md"), *ROOT.glob("plugins/**/*.md")])  # fmt: skip


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    up_to_date = path.is_file() and path.read_text(encoding="utf-8") == generate.files()[path]
    assert up_to_date, f"{path.relative_to(ROOT)}: {COMMAND} brings it up to date"


def test_the_recorded_detector_meets_its_goal() -> None:
    record = json.loads(cuts_table.RECORD.read_text(encoding="utf-8"))
    assert record["threshold"] == scenes.THRESHOLD
    found, false, there = cuts_table.total(cuts_table.hard(record), scenes.THRESHOLD)
    assert found / there >= 0.95
    assert found / (found + false) >= 0.98


def test_the_recommended_threshold_of_repeats_is_the_highest_that_is_safe() -> None:
    """For coded films, of what is found, 99 of 100 are repeats; and the page says so."""
    record = json.loads(repeats_table.RECORD.read_text(encoding="utf-8"))
    coded = {(row["kind"], row["crf"]) for row in record["rows"] if row["crf"] != "none"}

    def precision(threshold: float) -> float:
        totals = [repeats_table.total(record, *which, threshold) for which in coded]
        return min(found / (found + false) for found, false, _ in totals)

    safe = [threshold for threshold in record["thresholds"] if precision(threshold) >= 0.99]
    assert max(safe) == record["recommended"]
    assert f"`repeats_threshold={record['recommended']:g}`" in (ROOT / "docs" / "rates.md").read_text(encoding="utf-8")


def test_the_pages_of_models_have_what_readers_look_for() -> None:
    for model in models_table.house():
        text = models_table.page_of(model).read_text(encoding="utf-8")
        assert text.startswith(f"# {model.name}\n")
        assert "\n## Weights\n" in text or "\nWeights: " in text


def test_the_speeds_are_those_of_models_that_there_are() -> None:
    record = json.loads(models_table.RECORD.read_text(encoding="utf-8"))
    assert {row["model"] for row in record["rows"]} <= {model.name for model in models_table.house()}


def test_the_defaults_are_those_that_the_drift_advises() -> None:
    record = json.loads(drift_table.RECORD.read_text(encoding="utf-8"))
    name = record["upscaler"]["upscaler"]
    again = "measure again: docs/drift.md has the command"
    assert drift_table.defaults(name) == record["advice"], again
    shipped = store.index()[registry.model(name).weights]
    assert record["upscaler"]["sha256"] == shipped.sha256, again


def test_the_quality_is_that_of_the_shipped_weights() -> None:
    record = json.loads(quality_table.RECORD.read_text(encoding="utf-8"))["weights"]
    digests = {name: entry.sha256 for name, entry in store.index().items()}
    again = "measure again: python -m tests.bench.quality"
    assert {name: entry["sha256"] for name, entry in record.items()} == digests, again


def test_protocols_and_flags_are_documented() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    undocumented = {"--help", "--list-protocols", "--weights", "--no-baseline", "--scale", "--device-id", "--precision"}
    undocumented |= {"--set", "--crop", "--frames"}  # in --help and on the models' pages
    for action in parser._actions:
        for flag in action.option_strings:
            if flag.startswith("--") and not flag.startswith("--no-") and flag not in undocumented:
                assert flag in text, flag


@pytest.mark.parametrize("command", [render, compare], ids=["render", "compare"])
def test_the_flags_of_films_are_documented(command: ModuleType) -> None:
    text = (ROOT / "docs" / f"{command.__name__.rpartition('.')[2]}.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for action in parser._actions:
        for flag in {*action.option_strings} - {"-h", "--help"}:
            assert f"{flag} " in text or f"{flag}`" in text, flag


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:  # type: ignore[no-untyped-def]
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_are_documented() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in cli.COMMANDS:
        assert f"`vs-sr {command}`" in text


def test_the_script_in_the_readme_is_the_one_that_is_tested() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = (ROOT / "examples" / "slowmo.vpy").read_text(encoding="utf-8")
    for line in ("core = vs.core", "clip = core.vs_sr.ZoomingSlowMo(clip)", "clip.set_output()"):
        assert line in text
        assert line in example


def test_the_contract_of_a_backend_is_documented() -> None:
    """Each field and method, the version, and the example as it is."""
    page = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    assert f"This page is the contract, number {spec.CONTRACT}: " in page
    for part in (spec.Backend, spec.Request, spec.Runner):
        table = page.split(f"\n| `{part.__name__}", 1)[1].split("\n\n")[0]
        documented = re.findall(r"^\| `(\w+)` \|", table, re.M)
        assert documented == [field.name for field in dataclasses.fields(part)]
    for kind, methods in spec.METHODS.items():
        (row,) = re.findall(rf"^\| `{kind}` \| (.*) \|$", page, re.M)
        assert re.findall(r"`(\w+)\(", row) == [name.replace("__call__", "network") for name in methods]
    for file in ("pyproject.toml", "vs_sr_counting.py"):
        assert f"\n{(ROOT / 'examples' / 'backend' / file).read_text(encoding='utf-8')}```\n" in page, file


def test_how_to_write_a_model_is_documented() -> None:
    """Each field, and the example as it is."""
    page = (ROOT / "docs" / "writing_models.md").read_text(encoding="utf-8")
    for part in (spec.Model, spec.Variant):
        table = page.split(f"\n| `{part.__name__}(...)", 1)[1].split("\n\n")[0]
        assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [field.name for field in dataclasses.fields(part)]
    for file in ("pyproject.toml", "vs_sr_fsrcnn.py"):
        assert f"\n{(ROOT / 'examples' / 'model' / file).read_text(encoding='utf-8')}```\n" in page, file


def test_nothing_tells_of_a_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(/root/|/home/|/work/|/tmp/)", page.read_text(encoding="utf-8")), page
