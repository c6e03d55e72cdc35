"""Options of the suite: ``--benchmark`` as a short form; garbage; GPU tests that cannot pass by skipping."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--benchmark",
        action="store_true",
        help="run the benchmarks of tests/bench alone (short for tests/bench --benchmark-only)",
    )
    parser.addoption("--record", type=Path, help="write the benchmarks' comparisons to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background job; programs inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A core repeats to the logger "vapoursynth" what it is told; caplog listens where it is said.
    logging.getLogger("vs_sr").propagate = False
    logging.getLogger("vapoursynth").setLevel(logging.CRITICAL + 1)
    if config.getoption("--benchmark"):
        config.option.benchmark_only = True
        config.args[:] = [str(config.rootpath / "tests" / "bench")]
    elif not config.option.benchmark_only:
        config.option.benchmark_skip = True  # minutes, and a busy machine would fail their goals
        # Torch's own threads wait for each other longer than tiny networks run, beside those of VapourSynth.
        os.environ.setdefault("OMP_NUM_THREADS", "1")


_frozen = 0
"""Modules that were imported when the garbage collector was last told to overlook them."""


def pytest_collection_finish() -> None:
    _overlook_imports()


def pytest_runtest_logfinish() -> None:
    _overlook_imports()


def _overlook_imports() -> None:
    """Take what is imported by now out of the garbage collector's sight, where that has become much more.

    ``clip.frames()`` of VapourSynth runs a full collection at its end: 0.1 s each time beside torch.
    """
    global _frozen
    if len(sys.modules) > _frozen + 50:
        _frozen = len(sys.modules)
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        if os.environ.get("VS_SR_REQUIRE_CUDA") == "1":
            pytest.fail("VS_SR_REQUIRE_CUDA=1, and torch finds no CUDA device")
        pytest.skip("needs a CUDA device")
