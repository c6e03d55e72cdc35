"""What is read of the environment, and what is lent to it for a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vs_sr import settings, threads

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 4,2"}, 4),
        ({"MKL_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": "-1", "MKL_NUM_THREADS": "2"}, 2),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int | None) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings.threads() == expected
    assert threads.count() == (expected or threads.count()) >= 1


def test_a_lent_variable_is_gone_afterwards() -> None:
    with settings.lent("GOMP_SPINCOUNT", "7"):
        assert os.environ["GOMP_SPINCOUNT"] == "7"
        assert settings.waiting() is None, "it is ours, not the user's"
        with settings.lent("GOMP_SPINCOUNT", "8"):
            assert os.environ["GOMP_SPINCOUNT"] == "7"
        assert os.environ["GOMP_SPINCOUNT"] == "7", "the first one is still within"
    assert "GOMP_SPINCOUNT" not in os.environ
    with pytest.raises(ZeroDivisionError), settings.lent("GOMP_SPINCOUNT", "7"):
        raise ZeroDivisionError
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "ACTIVE")
    assert settings.waiting() == f"{name}=ACTIVE"
    with settings.lent("GOMP_SPINCOUNT", "7"):
        assert os.environ[name] == "ACTIVE"
        assert settings.waiting() == f"{name}=ACTIVE"
    assert os.environ[name] == "ACTIVE"
    assert threads.describe() == f"wait for each other as {name}=ACTIVE says"
    assert threads.restless() is None


def test_child_processes_find_our_programs_first() -> None:
    made = settings.with_programs(Path("/somewhere/bin"))
    assert made["PATH"] == f"/somewhere/bin{os.pathsep}{os.environ['PATH']}"
    assert {key: value for key, value in made.items() if key != "PATH"} == {
        key: value for key, value in os.environ.items() if key != "PATH"
    }
