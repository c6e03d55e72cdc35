"""Sessions: shared by equal pipelines, freed with the last filter, one thread a device."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import vapoursynth as vs
from helpers import networks

from vs_sr import registry, windows
from vs_sr.arguments import Arguments
from vs_sr.engine import device, session
from vs_sr.engine.pipeline import Pipeline
from vs_sr.errors import DeviceError
from vs_sr.models import zooming_slow_mo
from vs_sr.weights import store


def pipeline(**changes: Any) -> Pipeline:
    shapes = {key: tuple(value.shape) for key, value in networks.tiny().state_dict().items()}
    variant = zooming_slow_mo.detect(shapes, {"base": "bicubic"})
    assert variant is not None
    model = registry.model("ZoomingSlowMo")
    values: dict[str, Any] = {
        "model": model,
        "variant": variant,
        "source": store.given(networks.tiny_weights()),
        "size": (8, 8),
        "grid": windows.grid(model, 4),
        "device": "cpu",
    }
    return Pipeline(**{**values, **changes})


def test_equal_pipelines_share_a_session_and_others_do_not() -> None:
    first = session.acquire(pipeline())
    assert session.acquire(pipeline()) is first
    assert session.acquire(pipeline(size=(30, 20), options=Arguments(sc=False))) is first
    assert session.acquire(pipeline(precision="bf16")) is not first
    assert session.acquire(pipeline(stream=1)) is not first
    assert session.acquire(pipeline(source=store.given(networks.null_weights()))) is not first


def test_a_session_and_its_thread_end_with_their_last_user() -> None:
    held = session.acquire(pipeline(stream=9))  # whose thread no other filter of this process has
    thread = held.call(lambda network: threading.current_thread())
    assert thread.name == "vs_sr cpu"
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None
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
    held = session.acquire(pipeline())
    names: set[str] = set()

    def call() -> None:
        names.add(held.call(lambda network: threading.current_thread().name))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 1


def test_devices_and_precisions() -> None:
    assert device.choose(-1) == "cpu"
    with pytest.raises(DeviceError, match=r"device_id=97: no such CUDA device; found: .*; device_id=-1"):
        device.choose(97)
    every = ("fp32", "fp16", "bf16")
    assert device.choose_precision("auto", "cpu", every, float_clip=False) == "fp32"
    assert device.choose_precision("auto", "cuda:0", every, float_clip=False) == "fp16"
    assert device.choose_precision("auto", "cuda:0", every, float_clip=True) == "fp32"
    assert device.choose_precision("bf16", "cpu", every, float_clip=False) == "bf16"
    assert device.choose_precision("auto", "cuda:0", ("fp32", "bf16"), float_clip=False) == "fp32"
