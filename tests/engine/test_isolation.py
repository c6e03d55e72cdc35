"""What the script, its other filters and the player have set decides nothing of ours, and is as it was afterwards."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers.networks import tiny_weights
from helpers.support import environment, python, vspipe
from torch import nn

from vs_sr import isolation, registry, threads
from vs_sr.engine import device, session
from vs_sr.engine.pipeline import Pipeline
from vs_sr.functions import register
from vs_sr.spec import Model, Variant
from vs_sr.windows import Grid


class Touchy(nn.Module):
    """A stranger's network, with everything in it that torch's settings change: none of it says a type or a device."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 48, 5, padding=2)
        self.norm = nn.InstanceNorm2d(48)
        self.linear = nn.Linear(48, 48)
        self.last = nn.Conv2d(48, 3, 3, padding=1)
        self.gain = torch.tensor([0.1, 0.2, 0.3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.conv(x)).permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, 48)
        features = nn.functional.scaled_dot_product_attention(features, self.linear(features), features)
        wave = torch.linspace(0, 1, features.shape[1])[:, None] * 0.3
        features = (features + wave) @ self.linear.weight * (torch.tensor(1) / 3)
        out = self.last(features.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2))
        return x + out * self.gain[:, None, None]


register(Model(name="Touchy", summary="", paper="", kind="image", build=lambda _: Touchy(), fixed=Variant(scale=1)))


def touchy() -> str:
    """Frames of :class:`Touchy`, built again each time: no session outlives its filter."""
    clip = vs.core.std.BlankClip(width=16, height=12, format=vs.RGBS, length=1, color=[0.2, 0.5, 0.7])
    clip = clip.std.AddBorders(left=8, top=4, color=[0.9, 0.1, 0.4])
    return digest(vs.core.vs_sr.Touchy(clip, device_id=-1))


def sequence() -> str:
    """Frames of a network of the house."""
    clip = vs.core.std.BlankClip(width=8, height=8, format=vs.RGBS, length=2, color=[0.2, 0.5, 0.7])
    clip = clip.std.AddBorders(right=4, bottom=2, color=[0.9, 0.1, 0.4])
    return digest(vs.core.vs_sr.ZoomingSlowMo(clip, weights=str(tiny_weights()), sc=0, device_id=-1))


def digest(clip: vs.VideoNode) -> str:
    found = hashlib.sha256()
    for frame in clip.frames(prefetch=2, close=True):
        for plane in frame:
            found.update(np.ascontiguousarray(plane).tobytes())
    return found.hexdigest()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No session is left of an earlier test: networks are built under the settings in question."""
    gc.collect()
    yield
    gc.collect()


@pytest.fixture(scope="module")
def clean() -> dict[Callable[[], str], str]:
    """The frames of a process that has set nothing."""
    found = {make: make() for make in (touchy, sequence)}
    assert found == {make: make() for make in found}, "the same numbers each time that the network is built"
    return found


precision_of, set_precision = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
PLACES = [(backend, op) for backend in ("cuda", "mkldnn") for op in ("all", "conv", "matmul", "rnn")]


def snapshot() -> dict[str, Any]:
    """Everything that a host can have set."""
    backends = torch.backends

    def legacy(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except RuntimeError:  # torch's old switches cannot be read beside its new ones
            return "mixed"

    umask = os.umask(0)
    os.umask(umask)
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "cudnn": (backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic),
        "tf32": [
            legacy(lambda: backends.cudnn.allow_tf32),
            legacy(lambda: backends.cuda.matmul.allow_tf32),
            legacy(torch.get_float32_matmul_precision),
        ],
        "half": (
            backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
            backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
            backends.cuda.matmul.allow_fp16_accumulation,
        ),
        "mkldnn": (torch._C._get_mkldnn_enabled(), torch._C._get_mkldnn_deterministic()),
        "nnpack": torch._C._get_nnpack_enabled(),
        "precision": {place: precision_of(*place) for place in [("generic", "all"), *PLACES]},
        "attention": [
            getattr(backends.cuda, f"{name}_sdp_enabled")() for name in ("flash", "math", "mem_efficient", "cudnn")
        ],
        "threads": (torch.get_num_threads(), on_a_new_thread(torch.get_num_threads)),
        "flush": flushes(),
        "random": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "folder": os.getcwd(),  # noqa: PTH109
        "umask": umask,
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "numpy": np.geterr(),
    }


def flushes() -> bool:
    """Whether this thread takes tiny numbers for zero."""
    return float(torch.tensor([1e-39], dtype=torch.float32, device="cpu") * 0.5) == 0


def on_a_new_thread[T](function: Callable[[], T]) -> T:
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def setting(write: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    write(value)
    try:
        yield
    finally:
        write(before)


def precision(backend: str, op: str, value: str) -> Callable[[], Any]:
    before = "tf32" if (backend, op) in (("cuda", "conv"), ("cuda", "rnn")) else "none"
    return lambda: setting(partial(set_precision, backend, op), value, before)


@contextmanager
def matmul_precision(value: str) -> Iterator[None]:
    torch.set_float32_matmul_precision(value)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend in ("cuda", "mkldnn"):
            set_precision(backend, "matmul", "none")


@contextmanager
def changed_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATEN_CPU_CAPABILITY", "default")
        patch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        patch.delenv("HOME", raising=False)
        yield


@contextmanager
def elsewhere() -> Iterator[None]:
    """In a folder that is gone."""
    before = Path.cwd()
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"vs_sr-test-gone-{os.getpid()}"
    folder.mkdir()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        folder.rmdir()


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        yield


HOSTILE: dict[str, Callable[[], Any]] = {
    "nothing": nullcontext,
    "default dtype": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype half": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: setting(torch._C._set_deterministic_algorithms, True, False),
    "cudnn": lambda: torch.backends.cudnn.flags(enabled=False, benchmark=True, deterministic=False, allow_tf32=True),
    "matmul medium": lambda: matmul_precision("medium"),
    "matmul high": lambda: matmul_precision("high"),
    "matmul of oneDNN": precision("mkldnn", "matmul", "bf16"),
    "convolutions of oneDNN": precision("mkldnn", "conv", "bf16"),
    "all of oneDNN": precision("mkldnn", "all", "bf16"),
    "all": precision("generic", "all", "tf32"),
    "no oneDNN": lambda: setting(torch._C._set_mkldnn_enabled, False, True),
    "oneDNN deterministic": lambda: setting(torch._C._set_mkldnn_deterministic, True, False),
    "no NNPACK": lambda: setting(torch._C._set_nnpack_enabled, False, True),
    "no flash attention": lambda: setting(torch.backends.cuda.enable_flash_sdp, False, True),
    "more threads": lambda: setting(torch.set_num_threads, threads.count() + 2, threads.count()),
    "no denormals": lambda: setting(torch.set_flush_denormal, True, False),
    "seed": seeded,
    "folder that is gone": elsewhere,
    "umask": lambda: setting(os.umask, 0o777, os.umask(os.umask(0o22))),
    "environment": changed_environment,
    "warnings": warnings_are_errors,
    "logging": silence,
    "numpy": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_results_are_those_of_a_clean_process(clean: dict[Callable[[], str], str], name: str) -> None:
    with HOSTILE[name]():
        before = snapshot()
        made = {make: make() for make in clean}
        after = snapshot()
    assert made == clean
    assert after == before


def test_the_settings_would_count(clean: dict[Callable[[], str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks above are no strangers to what is held: without that, their frames would be others."""
    monkeypatch.setattr(isolation.EVERYWHERE, "settings", ())
    for name, make in (("default dtype", touchy), ("matmul medium", touchy), ("no oneDNN", touchy)):
        with HOSTILE[name]():
            try:
                made = make()
            except vs.Error as error:
                made = str(error)
        assert made != clean[make], name


SCRIPT = """
import vapoursynth as vs
{before}
core = vs.core
clip = core.std.BlankClip(width=16, height=12, format=vs.YUV420P8, length=4, color=[90, 110, 140])
{other}
clip = core.vs_sr.ZoomingSlowMo(clip, weights={weights!r}, device_id=-1, carry=1)
clip = core.vs_sr.ZoomingSlowMo(clip, weights={weights!r}, device_id=-1, multi=1, sc=0)
clip.set_output()
"""
HOSTILE_SCRIPT = """
import logging, os, sys, warnings
import numpy as np
import torch
os.chdir("/")
os.umask(0o777)
warnings.simplefilter("error")
logging.disable()
np.seterr(all="raise")
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.set_float32_matmul_precision("medium")
torch._C._set_deterministic_algorithms(True)
torch.set_num_threads(3)
torch.set_flush_denormal(True)
torch._C._set_mkldnn_enabled(False)
torch.backends.fp32_precision = "bf16"
torch.autocast("cpu", torch.bfloat16).__enter__()
torch.inference_mode().__enter__()
"""
HOSTILE_FILTER = """
def other(n, f):
    # on VapourSynth's own threads, which call us as well; what belongs to a thread stays behind there
    torch.set_default_device("meta")
    torch.set_flush_denormal(True)
    torch.autocast("cpu", torch.bfloat16).__enter__()
    torch.inference_mode().__enter__()
    torch.set_num_threads(1 + n)
    np.seterr(all="raise")
    return f.copy()
clip = clip.std.ModifyFrame(clip, other)
"""


@pytest.mark.slow
def test_a_whole_script_that_sets_everything() -> None:
    """In the script itself, and in another filter's callback on the threads of VapourSynth."""
    made = []
    for before, other in (("", ""), (HOSTILE_SCRIPT, HOSTILE_FILTER)):
        script = SCRIPT.format(before=before, other=other, weights=str(tiny_weights()))
        done = vspipe(script, "-c", "y4m", env=environment(OMP_NUM_THREADS="2", GOMP_SPINCOUNT="0"))
        assert done.returncode == 0, done.stderr.decode()
        made.append(done.stdout)
    assert len(made[0]) > 8 * 16 * 16 * 16 * 12  # every frame
    assert made[0] == made[1]


class Box:
    """A setting of a pretended process."""

    def __init__(self, value: object) -> None:
        self.value = value

    def setting(self, name: str, *ours: object) -> isolation.Setting:
        return isolation.Setting(name, lambda: self.value, lambda value: setattr(self, "value", value), ours)


def test_the_last_one_who_leaves_sets_the_hosts_values_back() -> None:
    box, kept = Box("theirs"), Box("good")
    policy = isolation.Policy((box.setting("a", "ours"), kept.setting("b", "best", "good")))
    with policy:
        assert (box.value, kept.value) == ("ours", "good")
        with policy:
            assert box.value == "ours"
        assert box.value == "ours", "one is still within"
    assert (box.value, kept.value) == ("theirs", "good")


def test_what_the_host_sets_in_the_meantime_stays() -> None:
    box = Box("theirs")
    policy = isolation.Policy((box.setting("a", "ours"),))
    with policy:
        box.value = "new"
        with policy:
            assert box.value == "ours", "the next call has our values again"
    assert box.value == "new"
    with policy:
        box.value = "newer"
    assert box.value == "newer", "not taken back"


def test_calls_that_overlap_anyhow() -> None:
    """A leaves before B, and B before A: the process's settings hold for both, and are the host's afterwards."""
    with setting(torch.set_default_dtype, torch.float64, torch.float32), matmul_precision("medium"):
        before, seen = snapshot(), []
        for first in (0, 1):
            running = [session.acquire(pipeline(stream)) for stream in (0, 1)]
            inside = threading.Barrier(2)
            left = threading.Event()

            def call(number: int, first: int = first, inside: Any = inside, left: threading.Event = left) -> None:
                def work(_: object) -> None:
                    inside.wait(30)
                    if number != first:
                        assert left.wait(30)
                    seen.append((torch.get_default_dtype(), precision_of("mkldnn", "matmul")))

                running[number].call(work)  # noqa: B023
                if number == first:
                    left.set()

            both = [threading.Thread(target=call, args=(number,)) for number in (0, 1)]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join(60)
        assert seen == [(torch.float32, "ieee")] * 4
        assert snapshot() == before


def pipeline(stream: int = 0) -> Pipeline:
    return Pipeline(
        model=registry.model("Touchy"),
        variant=Variant(scale=1),
        source=None,
        size=(8, 8),
        grid=Grid(frames=1, window=1),
        device="cpu",
        stream=stream,
    )


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("inference mode", "default device")])
def test_a_gpus_settings_are_set_back(name: str) -> None:
    """torch has these switches without a GPU, too."""
    with HOSTILE[name]():
        before = snapshot()
        with isolation.EVERYWHERE, isolation.CUDA, isolation.CUDA:
            cudnn = torch.backends.cudnn
            assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, False, True)
            assert all(precision_of(*place) in ("ieee", "none") for place in PLACES if place[1] != "all")
        assert snapshot() == before


def test_a_networks_thread_has_its_own_threads_and_numbers() -> None:
    def look(_: object) -> tuple[int, bool]:
        return torch.get_num_threads(), flushes()

    with HOSTILE["more threads"](), HOSTILE["no denormals"]():
        assert session.acquire(pipeline()).call(look) == (threads.count(), False)
        assert device.describe("cpu").endswith(f" {threads.count()} threads")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: nn.Conv2d(3, 4, 3).weight,
        lambda: nn.LSTM(3, 4).weight_hh_l0,
        lambda: nn.init.trunc_normal_(torch.empty(9)),
        lambda: nn.init.orthogonal_(torch.empty(3, 3)),
        lambda: nn.init.sparse_(torch.empty(4, 4), 0.5),
        lambda: nn.Linear(3, 4, device="meta").weight.new_zeros(1, device="cpu"),
        lambda: torch.rand(3),
        lambda: torch.randn(3, device="cpu"),
        lambda: torch.randint(100, (3,)),
        lambda: torch.randint(3, 100, (3,)),
        lambda: torch.randperm(9),
        lambda: torch.rand_like(torch.ones(3)),
        lambda: torch.normal(torch.zeros(3), 1.0),
        lambda: torch.bernoulli(torch.full((9,), 0.5)),
        lambda: torch.multinomial(torch.ones(9), 3),
    ],
)
def test_networks_are_made_of_random_numbers_of_our_own(draw: Callable[[], torch.Tensor]) -> None:
    before = torch.get_rng_state()
    made = []
    for _ in range(2):
        with torch.inference_mode(), isolation.OwnRandomNumbers():
            made.append(draw())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*made), "the same network each time"


@pytest.mark.slow
def test_torch_stays_as_it_is_set_up_in_a_new_process() -> None:
    """What can be set once only can still be set after our frames, and the environment is as it was."""
    code = f"""
import os, sys, warnings
import torch  # brings filters of its own
before, filters = dict(os.environ), list(warnings.filters)
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=8, height=8, format=vs.RGBS, length=2)
vs.core.vs_sr.ZoomingSlowMo(clip, weights={str(tiny_weights())!r}, device_id=-1).get_frame(1)
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert not {{"torch._dynamo", "sympy"}} & set(sys.modules), "the compiler takes seconds to load, and sets variables"
assert warnings.filters == filters
import torch
torch.set_num_interop_threads(3)
assert torch.get_num_interop_threads() == 3
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
