"""Sessions: shared by equal plans, freed with the last filter, one thread a device."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import vapoursynth as vs
from helpers import networks

from vs_sr import registry
from vs_sr.engine import session
from vs_sr.errors import DeviceError
from vs_sr.models import zooming_slow_mo
from vs_sr.weights import store


def plan(**changes: object) -> session.Plan:
    shapes = {key: tuple(value.shape) for key, value in networks.tiny().state_dict().items()}
    variant = zooming_slow_mo.detect(shapes, {"base": "bicubic"})
    values = {
        "model": registry.model("ZoomingSlowMo"),
        "variant": variant,
        "source": store.given(networks.tiny_weights()),
        "device": "cpu",
        "precision": "fp32",
        "backend": "eager",
    }
    return session.Plan(**{**values, **changes})  # type: ignore[arg-type]


def test_equal_plans_share_a_session_and_others_do_not() -> None:
    first = session.acquire(plan())
    assert session.acquire(plan()) is first
    assert session.acquire(plan(precision="bf16")) is not first
    assert session.acquire(plan(source=store.given(networks.null_weights()))) is not first


def test_a_session_and_its_thread_end_with_their_last_user() -> None:
    held = session.acquire(plan())
    held.run(torch.rand(2, 3, 8, 8), 2)
    gone = weakref.ref(held)
    assert any(thread.name.startswith("vs_sr cpu") for thread in threading.enumerate())
    del held
    gc.collect()
    assert gone() is None
    for thread in threading.enumerate():
        if thread.name.startswith("vs_sr cpu"):
            thread.join(10)
            assert not thread.is_alive()


def test_filters_free_their_session() -> None:
    clip = vs.core.std.BlankClip(width=8, height=8, format=vs.RGBS, length=2)
    before = set(session._sessions.keys())
    out = vs.core.vs_sr.ZoomingSlowMo(clip, weights=str(networks.tiny_weights()), precision="bf16")
    again = vs.core.vs_sr.ZoomingSlowMo(clip, weights=str(networks.tiny_weights()), precision="bf16")
    out.get_frame(0)
    again.get_frame(0)
    assert len(set(session._sessions.keys()) - before) == 1
    del out, again
    gc.collect()
    vs.core.clear_cache()
    assert set(session._sessions.keys()) <= before


def test_the_network_runs_on_one_thread_whoever_calls() -> None:
    held = session.acquire(plan())
    names: set[str] = set()
    original = held._call

    def spy(function: Callable[[Any], Any]) -> Any:
        names.add(threading.current_thread().name)
        return original(function)

    held._call = spy  # type: ignore[method-assign, assignment]
    threads = [threading.Thread(target=held.run, args=(torch.rand(2, 3, 8, 8), 2)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 1


def test_devices_and_precisions() -> None:
    assert session.choose_device(-1) == "cpu"
    with pytest.raises(DeviceError, match=r"device_id=97: no such CUDA device; found: .*; device_id=-1"):
        session.choose_device(97)
    assert session.choose_precision("auto", "cpu", float_clip=False) == "fp32"
    assert session.choose_precision("auto", "cuda:0", float_clip=False) == "fp16"
    assert session.choose_precision("auto", "cuda:0", float_clip=True) == "fp32"
    assert session.choose_precision("bf16", "cpu", float_clip=False) == "bf16"


def test_running_out_of_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    held = session.acquire(plan(precision="fp16"))

    def fail(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 40 GiB")

    monkeypatch.setattr(held, "_network", fail)
    with pytest.raises(session.OutOfMemoryError, match=r"out of memory on cpu \(tried to allocate 40 GiB\)"):
        held.run(torch.rand(4, 3, 8, 16), 2)
