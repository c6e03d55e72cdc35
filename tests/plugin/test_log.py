"""What is logged reaches people in every host, each line once, and none of it is on stdout."""

from __future__ import annotations

import re

import pytest
from helpers import networks
from helpers.support import python, vspipe

LINES = (
    "no matrix is given: 16x16 is taken for ST170_M",
    "running on ",
    "ZoomingSlowMo: frames of 16x16 are run whole",
)
"""Of one filter: when it looks at a frame, when it chooses a device, when it plans."""

FILTER = """
import vapoursynth as vs
core = vs.core
def clip(core=core):
    made = core.std.BlankClip(width=16, height=16, format=vs.YUV420P8, length=4)
    return core.vs_sr.ZoomingSlowMo(made, weights={weights!r})
"""


def script(text: str) -> str:
    return FILTER.format(weights=str(networks.tiny_weights())) + text


def once(text: str, times: int = 1) -> None:
    for line in LINES:
        assert text.count(line) == times, (line, text)


def test_in_vspipe() -> None:
    done = vspipe(script("clip().set_output()\n"), "-c", "y4m")
    assert done.returncode == 0
    once(done.stderr.decode())
    assert done.stdout.startswith(b"YUV4MPEG2")
    for line in LINES:
        assert line.encode() not in done.stdout


SAY = """
import logging, sys, threading
def say():
    for n in range(2):
        vs_sr.messages.log_once("said once")
    logging.getLogger("vs_sr").info("said by a thread")
made = clip()  # no frame is asked for, so that nothing heavy is imported
import vs_sr.messages
say()
thread = threading.Thread(target=say)
thread.start()
thread.join()
"""
"""By the thread of the script, and by one of our own, which belongs to no environment: Python's log of such a line is
lost in vspipe."""


def said(text: str, times: int = 1) -> None:
    assert text.count("said once") == times, text
    assert text.count("said by a thread") == 2 * times, text


@pytest.mark.parametrize("own", [False, True], ids=["", "with Python's log shown"])
def test_in_vspipe_from_any_thread(own: bool) -> None:
    more = "import logging\nlogging.getLogger().addHandler(logging.StreamHandler())\n" if own else ""
    done = vspipe(script(more + SAY + "made.set_output()\n"), "--info")
    said(done.stderr.decode())
    assert b"said" not in done.stdout


@pytest.mark.parametrize("configured", [False, True], ids=["", "logging configured"])
def test_in_a_host_with_a_log_of_its_own(configured: bool) -> None:
    """As previewers do it. Python's log, where it is configured, has the lines by the name of VapourSynth."""
    done = python(
        script(
            "import logging, sys\n"
            + ("logging.basicConfig(level=logging.INFO)\n" if configured else "")
            + "core.add_log_handler(lambda kind, text: print('shown', int(kind), text, file=sys.stderr))\n"
            + SAY
        )
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said("\n".join(line for line in done.stderr.splitlines() if line.startswith("shown 1 ")))
    others = [line for line in done.stderr.splitlines() if not line.startswith("shown ")]
    assert not any(line.startswith("INFO:vs_sr") for line in others)
    said("\n".join(others), int(configured))


def test_a_python_script_without_more_hears_warnings_alone() -> None:
    done = python(script(SAY + "logging.getLogger('vs_sr').warning('a warning')\n"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("a warning") == 1
    said(done.stderr, 0)


ENVIRONMENTS = """
import sys, threading
import vapoursynth as vs

class Policy(vs.EnvironmentPolicy):
    def __init__(self):
        self.local = threading.local()
    def on_policy_registered(self, api):
        self.api = api
    def on_policy_cleared(self):
        pass
    def get_current_environment(self):
        return getattr(self.local, "current", None)
    def set_environment(self, environment):
        before = self.get_current_environment()
        self.local.current = environment
        return before
    def is_alive(self, environment):
        return environment in self.living

policy = Policy()
policy.living = []
vs.register_policy(policy)
environments = []
for name in "ab":
    data = policy.api.create_environment()
    policy.living.append(data)
    environment = policy.api.wrap_environment(data)
    environments.append((data, environment))
    with environment.use():
        vs.core.add_log_handler(lambda kind, text, name=name: print(name, text, file=sys.stderr))

{filter}
def play(environment):
    with environment.use():
        made = clip(vs.core.core)
        for n in range(8):
            made.get_frame(n)
        del made

for data, environment in environments:
    play(environment)
logged = threading.Thread(target=lambda: __import__("logging").getLogger("vs_sr").warning("to both"))
logged.start()
logged.join()
data, environment = environments[0]
with environment.use():
    import gc
    gc.collect()
policy.living.remove(data)
policy.api.destroy_environment(data)
logged = threading.Thread(target=lambda: __import__("logging").getLogger("vs_sr").warning("to the other"))
logged.start()
logged.join()
sys.stderr.flush()
__import__("os")._exit(0)
"""


@pytest.mark.slow
def test_environments_of_a_process_hear_their_own_lines() -> None:
    """A previewer that opens two scripts: what is logged once is so in each, and what is gone hears nothing."""
    text = (
        FILTER.format(weights=str(networks.tiny_weights())).replace("core = vs.core\n", "").replace("core=core", "core")
    )
    done = python(ENVIRONMENTS.replace("{filter}", text))
    assert done.returncode == 0, done.stderr
    heard = {name: [line for line in done.stderr.splitlines() if line.startswith(f"{name} ")] for name in "ab"}
    for name in "ab":
        once("\n".join(heard[name]))
        assert sum(line.endswith(" to both") for line in heard[name]) == 1
    assert [sum(line.endswith(" to the other") for line in heard[name]) for name in "ab"] == [0, 1]
    assert not re.search("Traceback|Logging error", done.stderr), done.stderr
