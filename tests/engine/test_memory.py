"""Memory: what is planned, and what is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import memory, networks
from helpers.scheduling import pipeline
from helpers.support import ROOT, environment, python

from vs_sr import tiles
from vs_sr.engine import budget
from vs_sr.engine.scheduler.stream import Stream
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo
from vs_sr.windows import Grid, runs

WIDTH, HEIGHT = 32, 24


@pytest.mark.parametrize(("channels", "window"), [(64, 2), pytest.param(32, 4, marks=pytest.mark.slow)])
def test_a_window_takes_what_is_planned(channels: int, window: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the published (64) and the shipped (32) network: between half of it and all. How many blocks there are
    does not count: one runs at a time. Measured at 48x32, bytes a pixel, float32: 18820 (64 channels, window of 4),
    8076, 9780 and 13188 (32 channels, 2, 4 and 8), 3192 (8 channels, 4).
    """
    network = ZoomingSlowMo(
        channels=channels, groups=2, front_blocks=1, back_blocks=1, hr_channels=channels, base="bicubic"
    )
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    grid = Grid(frames=window, window=window, multi=2, density=2, carry=True)
    stream = Stream(tiles.whole((WIDTH, HEIGHT)), pipeline(grid, (WIDTH, HEIGHT), scale=4))
    frames = torch.rand(window, 3, HEIGHT, WIDTH)
    with torch.inference_mode():
        taken = memory.peak(lambda: stream.window(network, runs(grid, 0, ()), None, frames.__getitem__))
    planned = tiles.estimate(scale=4, channels=channels, bytes_per_value=4, timesteps=2 * window - 1) * WIDTH * HEIGHT
    with capsys.disabled():
        print(f"\n{channels} channels, window {window}: {taken / planned:.2f} of the planned {planned >> 10} KiB")
    assert planned / 2 < taken <= planned


FILM = """
import random, sys, threading
import torch, vapoursynth as vs
import vs_sr
from helpers import memory
core = vs.core
order, length, weights = sys.argv[1], int(sys.argv[2]), sys.argv[3]
core.max_cache_size = 32

def film():
    blank = core.std.BlankClip(width=96, height=64, format=vs.RGBS, length=length // 2, keep=True)
    def draw(n, f):
        frame = f.copy()
        frame.props["_AbsoluteTime"] = n / 24
        return frame
    clip = blank.std.ModifyFrame(blank, draw)
    segment = 0 if order == "in order" else 4
    return core.vs_sr.ZoomingSlowMo(clip, weights=weights, carry=True, segment=segment, state_memory=4, device_id=-1)

first = film()
first.get_frame(0)  # torch, the network and what they keep for good
del first
clip = film()
core.clear_cache()
before = most = memory.live()
done = threading.Event()

def watch():
    global most
    while not done.wait(0.005):
        most = max(most, memory.allocated())

threading.Thread(target=watch, daemon=True).start()
if order == "in order":
    numbers = list(range(length))
else:  # a dozen frames in any order, from anywhere
    choose = random.Random(1)
    numbers = []
    while len(numbers) < length:
        start = choose.randrange(length - 12)
        numbers += choose.sample(range(start, start + 12), 12)
    numbers = numbers[:length]
marks, flying = [], []
for i, n in enumerate(numbers):
    flying.append(clip.get_frame_async(n))
    if len(flying) == 12 or i == length - 1:
        for future in flying:
            future.result(120).close()
        flying.clear()
    if (i + 1) % (length // 4) == 0:
        core.clear_cache()  # VapourSynth's own come and go
        marks.append(memory.live() - before)
done.set()
print(most - before, *marks)
"""


def grown(order: str, length: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes allocated while a film of 96x64 is made, against what is planned for."""
    path = environment()["PYTHONPATH"]
    env = environment(PYTHONPATH=f"{ROOT / 'tests'}:{path}", OMP_NUM_THREADS="1")
    done = python(FILM, order, str(length), str(networks.tiny_weights(4)), env=env, timeout=1800)
    assert done.returncode == 0, done.stderr
    most, *marks = map(int, done.stdout.split())
    planned = {
        "features": tiles.estimate(scale=4, channels=4, bytes_per_value=4, timesteps=7) * 96 * 64,
        "states": 4 << 20,
        "groups": (budget.MOST + 1) * 6 * 3 * 4 * 16 * 96 * 64,  # those that are kept, and one in the making
        "VapourSynth's frames": 32 << 20,
    }
    total = sum(planned.values())
    parts = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in planned.items())
    with capsys.disabled():
        print(
            f"\n{length} frames {order}: {most / 2**20:.1f} MiB at most; "
            f"planned {total / 2**20:.1f} MiB ({parts}); "
            f"at the quarters {', '.join(f'{mark / 2**20:.1f}' for mark in marks)}"
        )
    assert most <= total
    assert marks[-1] - marks[0] < 4 << 20, "it grows, by more than the checkpoints that come and go"


@pytest.mark.slow
@pytest.mark.parametrize(("order", "length"), [("in order", 200), ("with seeks", 72)])
def test_memory_stays_flat(order: str, length: int, capsys: pytest.CaptureFixture[str]) -> None:
    grown(order, length, capsys)


TOYS = """
import sys
import torch, vapoursynth as vs
import vs_sr
core = vs.core

def larger(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

class Image(torch.nn.Module):
    def forward(self, x):
        return larger(x)

class Sequence(torch.nn.Module):
    def encode(self, frame):
        return frame
    def between(self, before, after):
        return [(before + after) / 2]
    def forward_step(self, timestep, state):
        return (timestep if state is None else (state[0] + timestep) / 2,)
    backward_step = forward_step
    def reconstruct(self, timestep, past, future):
        return larger((past + future) / 2)

def register(name, kind):
    sequence = kind == "sequence"
    variant = vs_sr.Variant(scale=2, channels=3, color="y" if kind == "luma" else "rgb")
    more = dict(multi=(2, 1), window=4) if sequence else {}
    vs_sr.register(vs_sr.Model(name=name, summary="", paper="", kind="sequence" if sequence else "image",
                               build=lambda variant: Sequence() if sequence else Image(), fixed=variant, **more))
"""

LONG = (
    TOYS
    + """
core.num_threads, core.max_cache_size = 2, 32
kind, format, width, height, length = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
sequence = kind == "sequence"
register("Film", kind)
clip = core.std.BlankClip(width=width, height=height, format=getattr(vs, format), keep=True,
                          length=length // 2 if sequence else length)
clip = core.vs_sr.Film(clip, device_id=-1, **(dict(carry=1, state_memory=1) if sequence else {}))
marks = []
for n, frame in enumerate(clip.frames(close=True)):
    if (n + 1) % (length // 10) == 0:
        with open("/proc/self/statm") as file:
            marks.append(int(file.read().split()[1]))
import resource
print(*(mark * resource.getpagesize() for mark in marks))
"""
)

READERS = (
    TOYS
    + """
import resource, threading
from vs_sr import machine
from vs_sr.engine import budget
limit = int(sys.argv[1]) << 20
machine.memory = lambda: limit
core.num_threads, core.max_cache_size = 4, 32
register("Still", "image")
register("Film", "sequence")

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def clip(length):
    return core.std.BlankClip(width=480, height=270, format=vs.YUV420P8, length=length, keep=True)

core.vs_sr.Film(clip(2), device_id=-1).get_frame(0)  # torch and its threads are not in the plan
before = most = resident()
films = [core.vs_sr.Film(clip(240), device_id=-1, carry=1), core.vs_sr.Still(clip(240), device_id=-1)]
errors = []

def read(film, start):
    global most
    try:
        for n in range(start, start + 48):
            film.get_frame(n).close()
            most = max(most, resident())
    except vs.Error as error:
        errors.append(error)

readers = [threading.Thread(target=read, args=(film, start)) for film in films for start in (0, 60, 120, 180)]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
assert not errors, errors
shares = budget.of("cpu")
pools = shares.features, shares.kept, shares.checkpoints
assert sum(pool.taken for pool in pools) <= limit and all(pool.left >= 0 for pool in pools)
print(most - before, core.max_cache_size << 20, *(pool.taken for pool in pools))
"""
)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system counts memory elsewhere")
def test_two_filters_and_four_readers_stay_inside_their_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a machine of 1 GiB, as the system counts what is held: with glibc's allocator giving back what is freed. By
    itself it keeps a part of it for each of twelve threads, here up to four times as much."""
    env = environment(OMP_NUM_THREADS="1", MALLOC_MMAP_THRESHOLD_="65536")
    done = python(READERS, "1024", env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    most, caches, features, kept, checkpoints = (int(word) >> 20 for word in done.stdout.split())
    planned = features + kept + checkpoints + caches
    with capsys.disabled():
        print(
            f"\ntwo filters, eight readers: {most} MiB at most; planned {planned} MiB (features {features}, groups "
            f"{kept}, checkpoints {checkpoints}, VapourSynth's caches {caches})"
        )
    assert planned // 4 < most <= planned


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system counts memory elsewhere")
@pytest.mark.parametrize(
    ("kind", "format", "width", "height", "length"),
    [
        ("image", "RGB24", 64, 48, 10_000),
        ("luma", "YUV420P8", 64, 48, 3_000),
        ("sequence", "YUV420P8", 64, 48, 10_000),
        ("image", "YUV420P8", 320, 180, 1_500),
    ],
)
def test_resident_memory_stays_flat_over_a_film(
    kind: str, format: str, width: int, height: int, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the system counts it: also what the allocator has and cannot use. A record of each frame that has left a
    cache, between planes that come and go, made it grow by 46 KB a frame of 64x48."""
    env = environment(OMP_NUM_THREADS="1")
    done = python(LONG, kind, format, *map(str, (width, height, length)), env=env, timeout=1800)
    assert done.returncode == 0, done.stderr
    marks = [int(mark) / 2**20 for mark in done.stdout.split()]
    with capsys.disabled():
        print(f"\n{kind}, {width}x{height} {format}, {length} frames: {', '.join(f'{mark:.0f}' for mark in marks)} MiB")
    assert len(marks) == 10
    assert max(marks[-2:]) - min(marks[1:3]) < (16 if width < 100 else 48)
