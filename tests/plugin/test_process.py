"""What the plugin does to a process: its exit, its output, its memory."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.support import environment, python, vspipe, vspipe_program

TOY = """\
import sys, time
import numpy as np
import vapoursynth as vs
from vs_sr._bridge import temporal
from vs_sr.windows import Grid

def toy(length, delay=0.0, width=64, height=48):
    source = vs.core.std.BlankClip(length=length, width=width, height=height, format=vs.YUV420P8, keep=True)

    def callback(g, want, numbers, frames):
        time.sleep(delay)
        made = [vs.core.create_video_frame(vs.YUV420P8, 2 * width, 2 * height) for _ in range(want)]
        for k, frame in enumerate(made):
            for plane in range(3):
                np.asarray(frame[plane])[:] = (6 * g + k) % 256
        return made

    return temporal("Toy", source, callback, width=2 * width, height=2 * height, format=vs.YUV420P8,
                    step=3, multi=2, groups=Grid(frames=source.num_frames, window=4).groups, before=1, after=1)
"""


def run(code: str, *arguments: str, timeout: float = 60) -> tuple[subprocess.CompletedProcess[str], float]:
    start = time.perf_counter()
    done = python(TOY + code, *arguments, timeout=timeout)
    return done, time.perf_counter() - start


@pytest.mark.parametrize(
    ("end", "status"),
    [("sys.exit(3)", 3), ("raise ValueError('end')", 1), ("pass", 0), ("import os; os._exit(4)", 4)],
)
def test_exit_with_frames_outstanding(end: str, status: int) -> None:
    """100 groups of 0.1 s are outstanding; Python waits for the one that runs and for no other."""
    done, seconds = run(f"clip = toy(300, 0.1)\nfutures = [clip.get_frame_async(n) for n in range(600)]\n{end}\n")
    assert done.returncode == status
    assert seconds < 5.0
    assert done.stdout == ""
    assert ("ValueError: end" in done.stderr) == (status == 1)
    assert "Fatal" not in done.stderr


def test_exit_with_frames_and_views_held() -> None:
    code = (
        "clip = toy(30)\n"
        "held = [clip.get_frame(n) for n in range(9)]\n"
        "views = [np.asarray(f[0]) for f in held]\n"
        "cycle = [clip, views]; cycle.append(cycle)\n"
        "sys.modules['held'] = cycle\n"
    )
    done, _ = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def interrupted(command: list[str], ready: bytes) -> tuple[int, float]:
    """Start, wait for the line ``ready`` on stderr, send SIGINT; the exit status and the seconds it took."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), start_new_session=True
    )
    try:
        assert process.stderr is not None
        while (line := process.stderr.readline()) and ready not in line:
            pass
        assert ready in line
        time.sleep(0.3)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        return process.returncode, time.perf_counter() - start
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


ENDLESS = TOY + "clip = toy(100000, 0.02)\nprint('ready', file=sys.stderr, flush=True)\n"


@pytest.mark.parametrize(
    "loop", ["for frame in clip.frames(close=True): pass", "for n in range(100000): clip.get_frame(n)"]
)
def test_ctrl_c_in_python(loop: str) -> None:
    status, seconds = interrupted([sys.executable, "-c", ENDLESS + loop + "\n"], b"ready")
    assert status == -signal.SIGINT
    assert seconds < 5.0


def test_ctrl_c_in_vspipe(tmp_path: Path) -> None:
    script = tmp_path / "endless.vpy"
    script.write_text(ENDLESS + "clip.set_output()\n")
    status, seconds = interrupted([str(vspipe_program()), "-c", "y4m", str(script), "-"], b"ready")
    assert status == 1
    assert seconds < 5.0


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """``vspipe ... | head -c``: vspipe ends with the pipe."""
    script = tmp_path / "endless.vpy"
    script.write_text(ENDLESS + "clip.set_output()\n")
    command = f"'{vspipe_program()}' -c y4m '{script}' - | head -c 100000 | wc -c; echo ${{PIPESTATUS[0]}}"
    start = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", command], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    count, status = done.stdout.split()
    assert int(count) == 100000
    assert int(status) != 0
    assert time.perf_counter() - start < 20.0


def test_the_stream_is_nothing_but_frames() -> None:
    """A y4m stream breaks with the first stray byte on stdout."""
    done = vspipe(TOY + "toy(10).set_output()\n", "-c", "y4m")
    assert done.returncode == 0
    header, _, rest = done.stdout.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 C420 W128 H96 F48:1 ")
    size = len(b"FRAME\n") + 128 * 96 * 3 // 2
    assert len(rest) == 20 * size
    for n in range(20):
        frame = rest[n * size : (n + 1) * size]
        assert frame[:6] == b"FRAME\n"
        assert set(frame[6:]) == {n}


def test_python_prints_nothing() -> None:
    done, _ = run("for frame in toy(10).frames(): pass\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


RESIDENT = """\
import ctypes
libc = ctypes.CDLL(None)

def resident():
    # What malloc has taken back but not handed on to the system is no leak: any filter's
    # frames leave hundreds of MiB of it.
    libc.malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
"""


def growth(frames: int) -> float:
    """MiB by which the process grows over the second half of a film."""
    code = RESIDENT + (
        f"clip = toy({frames} // 2, width=320, height=240)\n"
        "sizes = []\n"
        "for n, frame in enumerate(clip.frames(close=True)):\n"
        "    if n % 250 == 249: sizes.append(resident())\n"
        "half = len(sizes) // 2\n"
        "print(max(sizes[half:]) - max(sizes[:half]))\n"
    )
    done, _ = run(code, timeout=240)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_memory_stays_flat() -> None:
    """Output frames have 0.44 MiB: one frame lost in a hundred would add 6 MiB to 3000 frames' worth."""
    assert growth(3000) < 6.0


@pytest.mark.slow
def test_memory_stays_flat_over_a_longer_film() -> None:
    assert growth(10000) < 6.0


ENVIRONMENTS = """\
import gc, weakref

class Policy(vs.EnvironmentPolicy):
    current = None
    def on_policy_registered(self, api): self.api = api
    def on_policy_cleared(self): pass
    def get_current_environment(self): return self.current
    def set_environment(self, environment):
        before, self.current = self.current, environment
        return before

class Token: pass

policy = Policy()
vs.register_policy(policy)
tokens, sizes = [], []
for round in range(40):
    environment = policy.api.create_environment()
    with policy.api.wrap_environment(environment).use():
        source = vs.core.std.BlankClip(length=50, width=320, height=240, format=vs.GRAY8, keep=True)
        token = Token()
        token.source = source
        def callback(g, want, numbers, frames, token=token):
            return [frames[0].copy() for _ in range(want)]
        clip = temporal("Toy", source, callback, width=320, height=240, format=vs.GRAY8,
                        step=3, multi=2, groups=17, before=1, after=1)
        for frame in clip.frames(): pass
        if round % 2:
            futures = [clip.get_frame_async(n) for n in range(50)]
            for future in futures: future.result()
            del futures, future
        tokens.append(weakref.ref(token))
        del source, token, callback, clip, frame
    policy.api.destroy_environment(environment)
    del environment
    gc.collect()
    sizes.append(resident())
print(sum(token() is not None for token in tokens), max(sizes[20:]) - max(sizes[:20]))
"""


@pytest.mark.slow
def test_environments_come_and_go() -> None:
    """Previews make a core per reload: none of them, nor a callback, may outlive its turn."""
    done, _ = run(RESIDENT + ENVIRONMENTS, timeout=240)
    assert done.returncode == 0, done.stderr
    alive, more = done.stdout.split()
    assert int(alive) == 0
    assert float(more) < 15.0
    assert "bytes" not in done.stderr, "VapourSynth warns of memory that a dead core still holds"
