"""``vs-sr evaluate --drift``: the age of a state, what each mode costs, the rule of choice, and the command."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from helpers import image_networks
from helpers.images import psnr_y, scene, write
from helpers.networks import tiny, tiny_weights
from helpers.recurrence import DENSITY, Clip, Recurrence
from helpers.scheduling import clips as any_clips
from helpers.scheduling import grid, pipeline
from hypothesis import given, settings

from vs_sr import cli
from vs_sr.cli import evaluate
from vs_sr.engine.scheduler import Held, Recurrent, finish
from vs_sr.evaluation import drift, measure, metrics, protocols, upscalers
from vs_sr.evaluation.drift import Age, Drift, Mode, Row
from vs_sr.evaluation.sharing import Remembering
from vs_sr.windows import Grid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = Grid(frames=10, window=4, multi=2, density=DENSITY)  # windows from 0, 3, 6; the last keeps its last frame


# The age of a state


def test_windows_begin_anew() -> None:
    assert [age.frames for age in drift.ages(PLAIN)] == [0, 0, 1, 1, 2, 2] * 3 + [3, 3]
    assert {age.windows for age in drift.ages(PLAIN)} == {0}


def test_a_carried_state_grows_older_until_its_segment_ends() -> None:
    two = drift.ages(Mode(carry=True, segment=2, lookahead=2).on(PLAIN))
    assert two[::2] == [Age(n, n // 3) for n in range(6)] + [Age(n, 0) for n in range(4)]
    endless = drift.ages(Mode(carry=True).on(PLAIN))
    assert endless[1::2] == [Age(n, min(n // 3, 2)) for n in range(10)]


@settings(max_examples=60)
@given(clip=any_clips)
def test_the_age_is_what_the_scheduler_does(clip: Clip) -> None:
    """The toy's hidden state, computed from the frame that the age names, is the one that the scheduler has."""
    clip = replace(clip, cuts=set(), repeats=0)
    for output, age in enumerate(drift.ages(grid(clip))):
        first = clip.place(output)[0] - age.frames
        shorter = replace(clip, window=64, lookahead=0, carry=False, segment=0, cuts={first - 1})
        assert shorter.expected(output)[0] == clip.expected(output)[0]


# Cost


class Steps(Recurrence):
    """Counts both directions' steps."""

    steps = 0

    def backward_step(self, position: Any, state: Any) -> Any:
        self.steps += 1
        return super().backward_step(position, state)  # which is the forward one, too


@pytest.mark.parametrize("mode", drift.modes(3))
def test_the_cost_is_the_steps_that_are_taken(mode: Mode) -> None:
    network = Steps()
    scheduler = Recurrent(pipeline(mode.on(PLAIN)), every=3, memory=1 << 20)
    held = Held(frozenset(range(10)), frozenset(), lambda n: torch.full((3, 1, 2), float(n)))
    for group in range(PLAIN.groups):
        finish(scheduler.render(network, group, held))
    assert drift.cost(mode.on(PLAIN)) == network.steps / 19


def test_modes_are_those_that_differ() -> None:
    assert drift.modes(1) == [Mode(), Mode(lookahead=1), Mode(lookahead=2)]
    plain = [mode for mode in drift.modes(5) if mode.lookahead == 0]
    assert list(map(str, plain)) == ["windows", "carry, segment 2", "carry, segment 4", "carry"]
    assert len(drift.modes(5)) == 12
    assert drift.modes(17) == sorted(drift.modes(17), key=lambda mode: mode.simplicity)


# The rule


def row(psnr: float, near: float | None = None, far: float | None = None, **how: Any) -> Row:
    same = {"input_time": psnr, "interpolated": psnr, "last_quarter": psnr, "gain": 0.0, "cost": 2.0}
    return Row(mode=Mode(**how), psnr_y=psnr, near=near, far=far, **same)


def chosen(*rows: Row) -> str:
    return str(drift.advise(rows).mode)


def test_the_best_that_does_not_fall() -> None:
    windows = row(30.0)
    short, middle = row(30.2, carry=True, segment=2), row(30.4, 0.4, 0.395, carry=True, segment=4)
    falling = row(30.5, 0.6, 0.57, carry=True)
    assert chosen(windows, short, middle, falling) == "carry, segment 4"
    assert chosen(falling, middle, short, windows) == "carry, segment 4", "in any order"
    assert chosen(windows, short, falling) == "carry, segment 2"
    assert chosen(windows, falling) == "windows"


def test_what_makes_no_difference_is_not_chosen() -> None:
    rows = [row(30.0), row(30.019, 0.02, 0.02, carry=True), row(30.015, lookahead=1)]
    assert chosen(*rows) == "windows"
    assert chosen(*rows, row(30.034, lookahead=2)) == "carry", "cheaper than lookahead"
    assert chosen(*rows, row(30.05, 0, -0.019, lookahead=2, carry=True)) == "carry, lookahead 2"
    assert chosen(row(30.0), row(29.9, 0.0, -0.019, carry=True)) == "windows"


def made_up(gain: Callable[[Age], float], **how: Any) -> Drift:
    """Two clips whose PSNR rises by the output, and by ``gain`` in one mode."""
    long = Grid(frames=37, window=4, multi=2, density=DENSITY)
    grids, base = (PLAIN, long), [np.arange(drift.outputs(each)) / 10 for each in (PLAIN, long)]
    modes = {Mode(): base, Mode(lookahead=1): [each + 0.5 for each in base]}
    mode = Mode(**how)
    modes[mode] = [
        modes[Mode(lookahead=mode.lookahead)][n] + [gain(age) for age in drift.ages(mode.on(each))[: len(base[n])]]
        for n, each in enumerate(grids)
    ]
    return Drift(name="made up", clips=("a", "b"), grids=grids, psnr=modes, facts={})


def test_the_table() -> None:
    drifts = made_up(lambda age: 0.3 - 0.01 * age.windows if age.windows else 0.0, carry=True, lookahead=1)
    plain, ahead, carried = drifts.rows
    assert (plain.psnr_y, plain.input_time, plain.interpolated) == pytest.approx(((0.9 + 3.6) / 2,) * 3)
    assert plain.last_quarter == pytest.approx((np.mean([1.5, 1.6, 1.7, 1.8]) + np.mean(np.arange(55, 73)) / 10) / 2)
    assert (plain.gain, ahead.gain) == pytest.approx((0, 0.5))
    assert (plain.near, plain.falls, ahead.near, ahead.falls) == (None, False, None, False)
    near = [1, 2, 3, 4, 5] * 6 + [1] * 6 + [2] * 7  # the long clip's, the short one's; its last window has one more
    far = [7, 8, 9, 10, 11] * 6 + [11]
    assert carried.near == pytest.approx(0.3 - 0.01 * np.mean(near))
    assert carried.far == pytest.approx(0.3 - 0.01 * np.mean(far))
    assert carried.falls


@pytest.mark.parametrize(("slope", "falls"), [(0.0, False), (0.01, False), (-0.002, False), (-0.01, True)])
def test_what_falls(slope: float, falls: bool) -> None:
    drifts = made_up(lambda age: 0.2 + slope * age.windows if age.windows else 0.0, carry=True)
    assert drifts.rows[1].mode == Mode(carry=True)
    assert drifts.rows[1].falls is falls


def test_two_windows_have_nothing_to_fall_from() -> None:
    drifts = made_up(lambda age: -0.5 if age.windows else 0.0, carry=True, segment=2)
    assert (drifts.rows[1].near, drifts.rows[1].falls) == (None, False)
    assert chosen(*(each for each in drifts.rows if not each.mode.lookahead)) == "windows"


def test_the_curve() -> None:
    drifts = made_up(lambda age: age.frames / 100, carry=True)
    curve = drifts.curve(Mode(carry=True))
    assert [point.frames for point in curve] == list(range(37))
    assert [point.gain for point in curve] == pytest.approx([n / 100 for n in range(37)])
    assert curve[5].input_time == pytest.approx(1.0 + 0.05)
    assert curve[5].interpolated == pytest.approx(1.1 + 0.05)
    assert curve[5].psnr_y == pytest.approx(1.05 + 0.05)
    assert np.isnan(curve[36].interpolated), "the last frame has no frame after it"
    assert [point.frames for point in drifts.curve(Mode())] == [0, 1, 2, 3]


# Sharing work


@pytest.mark.slow
def test_shared_work_has_the_bits_of_work_done_alone() -> None:
    images = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    held = Held(frozenset(range(10)), frozenset(), lambda n: images[n])
    alone = tiny()
    shared = Remembering(alone)
    wanted = [Mode(), Mode(carry=True, segment=2), Mode(carry=True), Mode(carry=True, lookahead=2)]
    both = [
        {mode: Recurrent(pipeline(mode.on(PLAIN), (8, 8), scale=4), every=3, memory=1 << 20) for mode in wanted}
        for _ in range(2)
    ]
    different = 0
    for group in range(PLAIN.groups):
        made = [
            {mode: finish(each[mode].render(network, group, held)).images for mode in wanted}
            for each, network in zip(both, (alone, shared), strict=True)
        ]
        shared.forget()
        for mode in wanted:
            apart, together = made[0][mode], made[1][mode]
            assert apart.keys() == together.keys()
            for n in apart:
                assert torch.equal(apart[n], together[n])
                different += not torch.equal(apart[n], made[0][Mode()][n])
    assert different, "modes differ"


def test_nothing_is_computed_twice() -> None:
    network = Recurrence()
    shared = Remembering(network)
    held = Held(frozenset(range(10)), frozenset(), lambda n: torch.full((3, 1, 2), float(n)))
    schedulers = [Recurrent(pipeline(mode.on(PLAIN)), every=3, memory=1 << 20) for mode in drift.modes(PLAIN.groups)]
    for group in range(PLAIN.groups):
        for scheduler in schedulers:
            finish(scheduler.render(shared, group, held))
        shared.forget()
    assert sorted(network.calls["encode"]) == list(range(10))
    assert len(network.calls["between"]) == 9
    # in the first window all states are the same one, later they are zero or carried
    assert len(network.calls["forward"]) == 6 + 2 * 6 + 2 * 7


# The command


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generated clips of a few frames."""
    pytest.importorskip("PIL")
    monkeypatch.setattr(drift, "FRAMES", 16)
    monkeypatch.setattr(drift, "SIZE", 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "waves"
    made.mkdir()
    for number, frame in enumerate(scene(9, 36, 40)):
        write(made / f"{number:03}.png", frame)
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["evaluate", "--drift", *map(str, arguments)])
    return (code, *capsys.readouterr())


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"drift.{name}" for name in ("csv", "json", "plot.png")}
    options = [part for name, path in files.items() for part in (f"--{name.removesuffix('.png')}", path)]
    given = (folder, "--clips", 1, "--weights", tiny_weights(), "--device-id", -1)
    code, out, err = run(capsys, *given, *options)
    assert code == 0, err
    record = json.loads(files["json"].read_text())
    assert record["upscaler"]["weights"] == "tiny8.safetensors"
    assert (record["window"], record["multi"]) == (4, 2)
    generated, footage = record["sets"]
    assert [(clip["clip"], clip["outputs"]) for clip in generated["clips"]] == [
        ("scene 900000000, forwards", 15), ("scene 900000000, backwards", 15),
    ]  # fmt: skip
    assert [(clip["clip"], clip["outputs"]) for clip in footage["clips"]] == [
        ("waves, forwards", 9), ("waves, backwards", 9),
    ]  # fmt: skip
    assert [row["mode"] for row in generated["modes"][:4]] == [
        "windows",
        "carry, segment 2",
        "carry",
        "windows, lookahead 1",
    ]
    assert generated["advice"] in out
    assert f"advice: carry={int(record['advice']['carry'])}, " in out
    with files["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 15 * 9 + 2 * 9 * 6
    for each, name in ((generated, "generated"), (footage, "footage")):
        for row in each["modes"]:
            told = (str(int(row["carry"])), str(row["segment"]), str(row["lookahead"]))
            mine = [
                line for line in lines
                if (line["set"], line["carry"], line["segment"], line["lookahead"]) == (name, *told)
            ]  # fmt: skip
            assert row["psnr_y"] == pytest.approx(np.mean([float(line["psnr_y"]) for line in mine]), abs=1e-4)
            for frames, psnr in zip(row["curve"]["frames"], row["curve"]["psnr_y"], strict=True):
                there = [float(line["psnr_y"]) for line in mine if line["since_reset"] == str(frames)]
                assert psnr == pytest.approx(np.mean(there), abs=1e-4)
    assert measure.read(files["plot.png"]).shape == (2 * 340, 2 * 600 + 210, 3)
    again = run(capsys, *given[1:])[1]
    assert out.startswith(again), "the same figures again"


def test_windows_are_what_is_measured_without_drift(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two ways to the same figure: a scheduler that shares its work with those of other modes, and the filter's."""
    given = [folder, "--weights", tiny_weights(), "--device-id", -1]
    code, out, _ = run(capsys, *given, "--clips", 0, "--multi", 2)
    assert code == 0
    windows = next(line.split() for line in out.splitlines() if line.startswith("windows "))
    model, variant, source = upscalers.find(None, str(tiny_weights()))
    network = upscalers.Network(model, variant, source, scale=4, multi=2)
    frames = measure.ground_truth(map(measure.read, measure.images(folder)), 4, protocols.preset("vid4"), "waves")
    means = []
    for truth in (frames, frames[::-1]):
        low = [protocols.reduce(frame, 4, protocols.preset("vid4")) for frame in truth[::2]]
        made = [
            protocols.code_values(each.rgb, protocols.preset("vid4")) for each in network(low, protocols.preset("vid4"))
        ]
        means.append(np.mean([psnr_y(a, b) for a, b in zip(made, truth, strict=True)]))
    assert float(windows[1]) == pytest.approx(np.mean(means), abs=2e-3)


@pytest.mark.slow
def test_super_resolution_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, folder, "--clips", 0, "--multi", 1, "--window", 3, "--weights", tiny_weights(), "--device-id", -1
    )
    assert code == 0, err
    assert "carry, segment 2, lookahead 2" in out, "nine frames are four windows of three"
    assert out.splitlines()[2].split()[3] == "nan", "nothing is in between"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--clips -1", "--clips -1 is out of range; 1 or more, 0 beside folders"),
        ("--clips 0", "--clips 0 is out of range"),
        ("--window 1", "--window 1 is out of range; 2 to 64"),
        ("--multi 3", "ZoomingSlowMo cannot do --multi 3; choices: 2, 1"),
        ("--bicubic", "--bicubic has no meaning with --drift"),
        ("--tail drop", "--tail has no meaning with --drift"),
        ("--figure x.png", "--figure has no meaning with --drift"),
        ("--csv nowhere/x.csv", "--csv: nowhere/x.csv cannot be written: there is no such folder"),
        ("--model MDSR", "MDSR comes without weights"),
        ("--model EDVR", "EDVR comes without weights"),
        ("--weights none.pth", "neither a name nor a file"),
        ("none --clips 0", "there is no folder none"),
        ("SHORT --clips 0", "short is too short: at least two of its frames must be given"),
        ("TINY --clips 0", "tiny of 24x28 is too small for the model"),
    ],
)
def test_errors(arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count, height, width in (("short", 2, 48, 64), ("tiny", 5, 28, 24)):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(scene(count, height, width)):
            write(tmp_path / name / f"{number}.png", frame)
    given = arguments.replace("SHORT", str(tmp_path / "short")).replace("TINY", str(tmp_path / "tiny")).split()
    code, out, err = run(capsys, *given)
    assert (code, out) == (1, "")
    assert err.startswith("vs-sr evaluate: ")
    assert message in err


def test_models_of_pictures_do_not_drift(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--weights", image_networks.weights("SRCNN"))
    assert code == 1
    assert "--drift is for filters of sequences, not SRCNN; choices: " in err


def test_clips_are_for_drift(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "--clips", "3"]) == 1
    assert "--clips is for --drift" in capsys.readouterr().err


# What it is measured on


@pytest.mark.slow
@pytest.mark.parametrize("number", range(evaluate._CLIPS))
def test_generated_clips_move_to_the_end(number: int) -> None:
    pytest.importorskip("PIL")
    _, frames = drift.generated(number)
    assert len(frames) == drift.FRAMES
    change = [float(np.mean(np.abs(b.astype(float) - a))) for a, b in pairwise(frames)]
    detail = [metrics.sharpness(frame.mean(axis=2)) for frame in frames]
    for quarter in range(4):
        part = slice(quarter * len(change) // 4, (quarter + 1) * len(change) // 4)
        assert np.mean(change[part]) > 1.5, "code values from frame to frame"
        assert np.mean(detail[part]) > 2
