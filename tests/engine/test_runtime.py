"""How torch is loaded: on no thread that lives on."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from helpers.support import ROOT, environment, python, vspipe

CODE = """
import sys, threading
sys.path.insert(0, sys.argv[1])
failed = []
def first():
    try:
        import vs_sr.runtime
    except ImportError as error:
        failed.append(str(error))
thread = threading.Thread(target=first, name="a host's")
thread.start()
thread.join()
loaded = sys.modules.get("torch")
print(failed or (loaded.THREAD, loaded.THREAD in [each.name for each in threading.enumerate()]))
"""


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        ("import threading\nTHREAD = threading.current_thread().name\n", "('vs_sr loads torch', False)"),
        ("raise ImportError('no such library')\n", "['no such library']"),
    ],
)
def test_torch_is_loaded_on_a_thread_that_ends(tmp_path: Path, torch: str, said: str) -> None:
    (tmp_path / "torch.py").write_text(torch, encoding="utf-8")
    done = python(CODE, str(tmp_path), env=environment(), cwd=ROOT)
    assert done.stdout.strip() == said, done.stderr


@pytest.mark.slow
def test_a_thread_of_vapoursynths_may_be_the_first_to_need_it() -> None:
    """Several frames, so that threads which have loaded it and gone back to VapourSynth are used again."""
    script = textwrap.dedent(
        """
        import vapoursynth as vs
        vs.core.num_threads = 2
        clip = vs.core.std.BlankClip(width=16, height=16, format=vs.YUV420P8, length=8)
        vs.core.vs_sr.ZoomingSlowMo(clip, device_id=-1).set_output()
        """
    )
    done = vspipe(script, "-c", "y4m", env=environment(OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"FRAME\n") == 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", ["vs_sr.training.clips", "vs_sr.training.demo", "vs_sr.ops", "vs_sr.evaluation.drift"]
)
def test_its_threads_are_told_to_sleep_whoever_is_first(first: str) -> None:
    done = python(
        f"import {first}; from vs_sr.runtime import torch; from vs_sr import threads; print(threads.restless())",
        env=environment(OMP_NUM_THREADS="2"),
    )
    assert done.stdout.strip() == "None", done.stderr
