"""A film rendered by several processes through Ray: on this machine, on a cluster of two nodes, with deaths on the way.

The cluster is started once for all of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import networks
from helpers.films import film
from helpers.media import look, pixels, same
from helpers.support import BIN, environment

from vs_sr import cli, files
from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.render import encoding, rendering, workers
from vs_sr.render.workers import Team

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
import os
import time
from pathlib import Path
import vapoursynth as vs
core = vs.core
folder = Path(r"{folder}")

def draw(n, f):
    (folder / f"process {{os.getpid()}}").touch()
    if n >= 110 and (folder / "broken").exists():
        raise RuntimeError("the network is gone")
    time.sleep({pause})
    frame = f.copy()
    frame.props["_SceneChangePrev"] = int(n in (26, 30, 54, 90))
    return frame

clip = core.std.Interleave([clip, clip])
core.std.ModifyFrame(clip, clip, draw).set_output()
"""
"""Twice the rate, cuts that the film does not tell, and who has rendered."""
LOSSLESS = ("--codec", "ffv1", "--quiet")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("VS_SR_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tempfile.TemporaryDirectory(prefix="vs-sr-")  # short: sockets lie in it
        Path(folder.name, "ray").mkdir()
        patch.setenv("RAY_TMPDIR", folder.name)
        pytest.importorskip("ray", reason="needs Ray")
        from ray.cluster_utils import Cluster

        own = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=own)
        cluster.add_node(**{key: value for key, value in own.items() if key != "include_dashboard"})
        yield cluster
        cluster.shutdown()
        folder.cleanup()


def written(folder: Path, pause: float = 0) -> Path:
    path = folder / "script.vpy"
    path.write_text(SCRIPT.format(folder=folder, pause=pause))
    return path


def run(*arguments: object) -> int:
    return cli.main(["render", *map(str, arguments)])


def unlike(path: Path, frames: int, cut: int) -> Path:
    """A film of moving texture that is another one from a frame on."""
    rng = np.random.default_rng(3)
    scenes = rng.integers(0, 255, (2, 16, 200), np.uint8)
    scenes[1] //= 4
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for n in range(frames):
            image = np.repeat(scenes[int(n >= cut)][:, n : n + 16, None], 3, 2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("carried", ["carry=1", "carry=1,segment=4"])
def test_a_state_that_is_carried(carried: str, nodes: Any, tmp_path: Path) -> None:
    """The shipped network, a cut, and segments that begin inside a scene: the bits of a run in order."""
    source = unlike(tmp_path / "in.mkv", 80, cut=13)
    model = ("--model", f"ZoomingSlowMo:{carried},device_id=-1", *LOSSLESS)
    assert run(source, tmp_path / "one.mkv", *model) == 0
    assert run(source, tmp_path / "two.mkv", *model, "--ray", nodes.address) == 0
    one, two = look(tmp_path / "one.mkv"), look(tmp_path / "two.mkv")
    assert one == two
    assert np.searchsorted(one.times, one.keys)[:3].tolist() == [0, 26, 146]
    assert same(pixels(tmp_path / "one.mkv"), pixels(tmp_path / "two.mkv"))
