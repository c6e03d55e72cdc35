"""How torch's threads wait: OpenMP's runtime says itself what it has read when it was loaded."""

from __future__ import annotations

import pytest
from helpers.networks import tiny_weights
from helpers.support import environment, python, vspipe

from vs_sr import threads

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
REPORT = "import os; from vs_sr import threads; print(threads.describe()); print('GOMP_SPINCOUNT' in os.environ)"


def clean(**extra: str) -> dict[str, str]:
    """The environment of a user who has said nothing; the runtime reports on stderr."""
    plain = {key: value for key, value in environment().items() if key not in WAITING}
    return {**plain, "OMP_NUM_THREADS": "2", "OMP_DISPLAY_ENV": "VERBOSE", **extra}


def test_threads_sleep_and_doctor_says_so() -> None:
    done = python("from vs_sr.cli import main; raise SystemExit(main(['doctor']))", env=clean())
    assert f"GOMP_SPINCOUNT = '{threads.SPINS}'" in done.stderr
    assert f"sleep while they wait (GOMP_SPINCOUNT={threads.SPINS}" in done.stdout


@pytest.mark.slow
def test_what_the_user_says_wins() -> None:
    done = python(f"import vs_sr.runtime; {REPORT}", env=clean(OMP_WAIT_POLICY="ACTIVE"))
    assert f"GOMP_SPINCOUNT = '{threads.SPINS}'" not in done.stderr
    assert done.stdout == "wait for each other as OMP_WAIT_POLICY=ACTIVE says\nFalse\n"


SCRIPT = """
import vapoursynth as vs
{first}
clip = vs.core.std.BlankClip(width=8, height=8, format=vs.RGBS, length=2)
vs.core.vs_sr.ZoomingSlowMo(clip, weights={weights!r}, device_id=-1).set_output()
"""


@pytest.mark.slow  # two processes more
@pytest.mark.parametrize("first", ["", "import torch"])
def test_a_film_says_so_where_it_was_too_late(first: str) -> None:
    done = vspipe(SCRIPT.format(first=first, weights=str(tiny_weights())), output="--", env=clean())
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert (f"GOMP_SPINCOUNT = '{threads.SPINS}'" in said) == (not first)
    assert said.count("torch was loaded before vs_sr") == bool(first)
    assert (f"set GOMP_SPINCOUNT={threads.SPINS} in the environment" in said) == bool(first)
