"""Options of the suite: ``--benchmark`` as a short form; garbage; GPU tests that cannot pass by skipping."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # a busy machine is no fault of a test
settings.load_profile("suite")


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


class _Collections:
    """Keeps full garbage collections short: ``clip.frames()`` of VapourSynth runs one at its end, 0.1 s each time
    beside torch and all that compilers leave."""

    SHORT = 0.02
    """Seconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._long = False

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Of ``gc.callbacks``."""
        if info["generation"] == 2 and phase == "start":
            self._began = time.perf_counter()
        elif info["generation"] == 2:
            self._long |= time.perf_counter() - self._began > self.SHORT

    def overlook(self) -> None:
        """Take what there is by now out of the collector's sight, where it took long to look at."""
        if self._long:
            gc.collect()
            gc.freeze()
            self._long = False


_collections = _Collections()


def pytest_collection_finish() -> None:
    gc.callbacks.append(_collections)
    gc.collect()
    _collections.overlook()


def pytest_runtest_logfinish() -> None:
    _collections.overlook()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        if os.environ.get("VS_SR_REQUIRE_CUDA") == "1":
            pytest.fail("VS_SR_REQUIRE_CUDA=1, and torch finds no CUDA device")
        pytest.skip("needs a CUDA device")
