"""`make card`: its parts in order and in time, whatever one of them does; its report; what is carried for it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bench import pipe
from helpers.support import ROOT, environment

from tools.card import __main__ as card
from tools.card import environment as made
from tools.card import kit, machine, report
from tools.card.goals import goals
from tools.card.parts import ENVIRONMENT, TOTAL, counted, gpu_files, parts
from tools.card.run import Outcome, Part, run

# The parts


def test_the_most_useful_part_is_first_and_all_fit_into_the_time(tmp_path: Path) -> None:
    chosen = parts(Path("python"), tmp_path, rehearsal=False)
    assert [part.name for part in chosen] == ["tests", "kernels", "stages", "pipe", "peers", "precision", "doctor"]
    assert ENVIRONMENT + sum(part.limit for part in chosen) < TOTAL == 300
    assert not any("--smoke" in part.command for part in chosen)
    for part in parts(Path("python"), tmp_path, rehearsal=True):
        assert ("--smoke" in part.command) == (part.figures is not None)


def test_only_modules_with_gpu_tests_are_imported() -> None:
    assert "tests/kernels/test_gpu.py" in gpu_files()
    assert all("mark.gpu" in (ROOT / name).read_text(encoding="utf-8") for name in gpu_files())


def test_every_benchmark_exists(tmp_path: Path) -> None:
    modules = [part.command[2] for part in parts(Path("python"), tmp_path, rehearsal=False) if part.figures]
    for module in modules:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def test_tests_are_counted_while_they_run() -> None:
    text = (
        "tests/a.py::test_one PASSED                                  [ 20%]\n"
        "tests/a.py::test_two[fp16 of a card] FAILED                  [ 40%]\n"
        "tests/a.py::test_three SKIPPED (needs two CUDA devices)      [ 60%]\n"
        "tests/a.py::test_four PASSED                                 [ 80%]\n"
        "tests/a.py::test_four ERROR                                  [ 80%]\n"
        "tests/a.py::test_five "
    )
    bad = ["tests/a.py::test_two[fp16 of a card]", "tests/a.py::test_four"]
    assert counted(text) == {"passed": 2, "failed": bad, "skipped": 1}


# Running them


def part(name: str, code: str, **facts: Any) -> Part:
    return Part(**{"name": name, "what": name, "limit": 20.0, "command": (sys.executable, "-c", code), **facts})


def outcomes(chosen: list[Part], **arguments: Any) -> tuple[list[Outcome], str]:
    log = io.StringIO()
    return list(run(chosen, environment(), log, card._load, cwd=ROOT, **arguments)), log.getvalue()


def test_no_part_stops_those_after_it(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    written = f"import time, pathlib; pathlib.Path({str(figures)!r}).write_text('{{\"rows\": 3}}'); time.sleep(60)"
    found, log = outcomes(
        [
            part("is late", written, limit=1.5, figures=figures),
            part("fails", "print('wrong'); raise SystemExit(3)"),
            Part(name="is missing", what="", limit=5, command=(str(tmp_path / "nothing"),)),
            part("garbles", "", figures=Path(__file__)),
            part("counts", "print(7)", read=lambda text: {"seen": int(text)}),
        ]
    )
    assert [each.status for each in found] == ["out of time", "failed", "failed", "failed", "done"]
    assert [each.code for each in found] == [None, 3, 127, 0, 0]
    assert found[0].figures == {"rows": 3}
    assert "wrong" in found[1].tail
    assert found[4].figures == {"seen": 7}
    assert not found[4].tail
    assert "=== is late" in log


def test_what_a_part_leaves_is_there_for_the_next() -> None:
    found, _ = outcomes([part("quick", "import time; time.sleep(0.2)", limit=30), part("next", "", limit=1)], ahead=2)
    assert found[0].limit == 32
    assert 20 < found[1].limit < 33


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
def test_a_late_part_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = (
        f"import time, pathlib\nwhile True: pathlib.Path({str(alive)!r}).write_text(str(time.time())); time.sleep(.02)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    [late], _ = outcomes([part("late", parent, limit=2)])
    assert late.status == "out of time"
    before = alive.read_text()
    time.sleep(0.2)
    assert alive.read_text() == before


# A film's rate


def played(code: str) -> pipe.Rate:
    said = f"import sys, time\ndef say(n): print(f'Frame: {{n}}/99', end='\\r', file=sys.stderr, flush=True)\n{code}"
    return pipe._rate("a film", "python", [sys.executable, "-c", said], 20.0)


def test_the_rate_is_that_of_the_steady_state() -> None:
    rate = played("say(1); time.sleep(.2); say(3)\nfor n in range(10, 60, 10): time.sleep(.1); say(n)")
    assert rate.frames <= 49
    assert 20 < rate.frames_per_second <= 110
    assert rate.first_frame_seconds > 0


@pytest.mark.parametrize(
    "code", ["say(1); say(9); sys.exit('out of memory')", "print('out of memory', file=sys.stderr)"]
)
def test_a_film_that_fails_has_no_rate(code: str) -> None:
    with pytest.raises(pipe.NoFrameError, match="out of memory"):
        played(code)


# The report


def row(case: str, contender: str, microseconds: float | None, floor: float, **facts: Any) -> dict[str, Any]:
    defaults = {
        "megabytes": 89.0,
        "error": 2.5e-4,
        "captured": True,
        "ratio_to_ours": None,
        "ours": False,
        "failure": "",
    }
    times = {"microseconds": microseconds, "floor_microseconds": floor}
    return {"case": case, "contender": contender, **times, **defaults, **facts}


FIRST = "dcn 480x270 L1, batch 1, sigma 0.5"
RECORD: dict[str, Any] = {
    "made": "2026-01-02",
    "rehearsal": False,
    "machine": {"device": "A card", "driver": "1.2", "versions": {"torch": "2.11.0"}},
    "prepared_seconds": 8.0,
    "seconds": 250.0,
    "parts": [
        {"name": name, "what": name, "status": status, "seconds": 9.0, "limit": 80.0, "code": 0, "figures": figures}
        for name, status, figures in (
            ("tests", "failed", {"passed": 70, "failed": ["tests/a.py::test_two"], "skipped": 1}),
            (
                "kernels",
                "done",
                {
                    "copy_bytes_per_second": 3e12,
                    "gemm_flops_per_second": 8e14,
                    "rows": [
                        row(FIRST, "dcn_fused", 50.0, 25.0, ours=True, ratio_to_ours=1.0),
                        row(FIRST, "torchvision fp16 (op alone)", 400.0, 25.0, ratio_to_ours=8.0),
                        row(FIRST, "deformops fp16 (op alone)", None, 25.0, failure="ImportError: no deformops"),
                        row("shuffle2 at 2x", "shuffle2", 130.0, 100.0, ours=True, ratio_to_ours=1.0),
                        row("up2_into", "up2_into", 30.0, 10.0, ours=True, megabytes=20.0, ratio_to_ours=1.0),
                    ],
                    "convolutions": {"64 to 64": 0.5},
                    "gather": {},
                    "left_out": {"dcn of other sizes": 12},
                },
            ),
            (
                "stages",
                "done",
                {
                    "rows": [
                        {
                            "network": "as published",
                            "backend": "eager",
                            "milliseconds": 20.0,
                            "graph_milliseconds": 8.0,
                            "floor_milliseconds": 4.0,
                            "stages": {"encode": {"milliseconds": 3.0, "calls": 1}},
                            "kernels": [{"name": "a_kernel", "milliseconds": 1.5, "calls": 4}],
                        },
                        {
                            "network": "as published",
                            "backend": "other",
                            "failure": "no such layer",
                            "floor_milliseconds": 4.0,
                        },
                    ]
                },
            ),
            ("pipe", "done", {"films": [{"film": "as published", "failure": "no frame came"}]}),
            ("peers", "out of time", {"network": {"torchvision fp16": 24.0}}),
            (
                "precision",
                "done",
                {"precision": "fp16", "psnr_lowest": 55.5, "psnr_mean": 56.0, "count": 13, "frames": "real"},
            ),
        )
    ],
}


def test_the_report_says_what_was_measured_and_what_was_not() -> None:
    table = report.table(json.loads(json.dumps(RECORD)))
    for words in (
        "A card, driver 1.2",
        "70 passed, 1 failed, 1 skipped\n    tests/a.py::test_two",
        "torchvision fp16 8.00, deformops fp16: ImportError: no deformops",
        "left out for time: 12 of dcn of other sizes",
        "a_kernel",
        "no such layer",
        "pipe, as published: no frame came",
        "fp16 against fp32: 55.5 dB at the lowest",
        "250 s in all",
    ):
        assert words in table
    assert len(table) < 12_000


def test_goals_are_held_against_the_figures_that_there_are() -> None:
    found = {goal.what: goal for goal in goals({part["name"]: part["figures"] for part in RECORD["parts"]})}
    short = "480x270 L1, sigma 0.5"
    assert {name: (goal.found, goal.met) for name, goal in found.items()} == {
        f"torchvision fp16 / dcn_fused, {short}": (8.0, True),
        f"dcn_fused / floor, {short}": (2.0, True),
        f"dcn_fused error, {short}": (2.5e-4, True),
        "shuffle2 at 2x / copy floor": (1.3, False),
        "network as published / arithmetic floor": (2.0, True),
        "network with torchvision fp16 / ours": (3.0, True),
        "fp16 against fp32, dB": (55.5, True),
    }
    assert "MISSED shuffle2 at 2x / copy floor: 1.3 (<= 1.25)" in report.table(RECORD)


def test_a_report_of_nothing() -> None:
    empty = {"made": "2026-01-02", "rehearsal": True, "machine": {}, "prepared_seconds": 0.0, "parts": []}
    assert "REHEARSAL" in report.table(empty)


# The machine


def test_without_a_card_it_says_so_at_once() -> None:
    if machine.has_card(Path(sys.executable)):
        pytest.skip("there is a card")
    command = [sys.executable, "-m", "tools.card"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "card: there is no NVIDIA card here; --rehearse shows that everything else works\n"


def test_with_nothing_to_run_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(kit.KitError, match="make card-kit"):
        card._prepared(tmp_path / "kit", tmp_path / "environment")


def test_nothing_but_the_standard_library_is_needed_before_the_environment_exists() -> None:
    code = "import sys; sys.path.insert(0, '.'); import tools.card.__main__"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, check=True)


def test_this_python_has_torch() -> None:
    assert machine.python_with_torch() == Path(sys.executable)


def test_the_packages_of_the_machine_come_after_those_of_the_kit() -> None:
    text = made.beneath(["", "/usr/lib/python3", "/a b/lib/site-packages", "/usr/lib/python3/dist-packages"])
    assert text.splitlines() == [
        str(ROOT),
        "import site; site.addsitedir('/a b/lib/site-packages')",
        "import site; site.addsitedir('/usr/lib/python3/dist-packages')",
    ]


def test_skipping_is_no_success_on_a_card(tmp_path: Path) -> None:
    assert made.variables(Path(sys.executable), tmp_path, rehearsal=False)["VS_SR_REQUIRE_CUDA"] == "1"


# The kit


def test_the_kit_has_the_versions_of_the_requirements() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted = kit.requirements(text)
    assert set(wanted) <= {*text.split(), *kit.PEERS}
    assert not {"torch", "numpy"} & {each.partition("==")[0] for each in wanted}
    lighter = kit.requirements(text, ["av", "deformops"])
    assert {each.partition("==")[0] for each in set(wanted) - set(lighter)} == {"av", "deformops"}
    with pytest.raises(kit.KitError, match=r"has no vapoursynth, av"):
        kit.requirements("pluggy==1\n")


def test_a_kit_is_small_enough_to_be_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.whl").write_bytes(bytes(100))
    monkeypatch.setattr(kit, "LIMIT", 100)
    found = kit.manifest(tmp_path, ["a==1"], "digest")
    assert (found["bytes"], list(found["files"])) == (100, ["a.whl"])
    (tmp_path / "b.whl").write_bytes(b"1")
    with pytest.raises(kit.KitError, match="101 bytes; 100 can be carried"):
        kit.manifest(tmp_path, ["a==1"], "digest")


def test_a_kit_that_is_not_whole_or_not_of_this_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kit.KitError, match="no kit, or not a whole one"):
        kit.check(tmp_path, "digest")
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"content")
    found = kit.manifest(tmp_path, ["a==1"], "digest")
    (tmp_path / kit.MANIFEST).write_text(json.dumps(found), encoding="utf-8")
    assert kit.check(tmp_path, "digest") == found
    assert list(kit.wheels(tmp_path)) == [wheel]
    with pytest.raises(kit.KitError, match="of other sources"):
        kit.check(tmp_path, "another")
    wheel.write_bytes(b"confent")
    with pytest.raises(kit.KitError, match=r"a\.whl: missing or damaged"):
        kit.check(tmp_path, "digest")


def test_the_plugin_is_known_by_its_sources(tmp_path: Path) -> None:
    for name in ("vs_sr/_names.py", "vs_sr/arguments.py", "plugins/vapoursynth/CMakeLists.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "plugins" / "vapoursynth" / "src").mkdir()
    for path in (ROOT / "plugins" / "vapoursynth" / "src").glob("*.*"):
        (tmp_path / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    assert kit.sources(tmp_path) == kit.sources(ROOT)
    (tmp_path / "plugins" / "vapoursynth" / "src" / "entry.cpp").write_text("// changed\n")
    assert kit.sources(tmp_path) != kit.sources(ROOT)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a card's machine is Linux")
def test_a_rehearsal_with_a_kit(tmp_path: Path) -> None:
    """The kit is fetched and installed without a registry, and parts run in what it makes."""
    try:
        found = kit.collect(tmp_path / "kit")
    except kit.KitError as error:
        if "registry" in str(error):
            pytest.skip(str(error))
        raise
    assert found["bytes"] < kit.LIMIT
    command = [
        sys.executable,
        "-m",
        "tools.card",
        "--rehearse",
        "--only",
        "tests",
        "stages",
        "pipe",
        "precision",
        "doctor",
    ]
    done = subprocess.run(
        [*command, "--kit", str(tmp_path / "kit")],
        cwd=ROOT,
        env=environment(OUT=str(tmp_path / "out"), OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "card.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert [(part["name"], part["status"]) for part in record["parts"]] == [
        ("tests", "done"),
        ("stages", "done"),
        ("pipe", "done"),
        ("precision", "done"),
        ("doctor", "done"),
    ]
    assert record["parts"][0]["figures"]["skipped"] + record["parts"][0]["figures"]["passed"] > 60
    assert record["machine"]["versions"]["deformops"] == kit.PEERS[0].partition("==")[2]
    assert str(ROOT) not in text
    assert "REHEARSAL" in done.stdout
