"""A film rendered by several processes through Ray: on this machine, on a cluster of two nodes; some of them die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import networks
from helpers.films import film, scenes
from helpers.media import look, pixels, same
from helpers.support import BIN, environment

from vs_sr import cli
from vs_sr.errors import ArgumentError
from vs_sr.render import cluster, segments, work
from vs_sr.render.cluster import Team
from vs_sr.render.crew import Crew
from vs_sr.render.encoding import Wish
from vs_sr.render.schedule import Job
from vs_sr.render.work import Order, Script
from vs_sr.render.worker import Origin, Worker, task_of

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
    (folder / f"process {{os.getpid()}} {{os.getppid()}}").touch()
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
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])


@contextmanager
def two_nodes(folder: Path) -> Iterator[Any]:
    """Two nodes of one core each."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="vs-sr-") as own:  # for sockets
        Path(own, "ray").mkdir()
        patch.setenv("RAY_TMPDIR", own)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("VS_SR_CACHE", str(folder / "cache"))
        pytest.importorskip("ray", reason="needs Ray")
        from ray.cluster_utils import Cluster

        takes = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 << 20}
        nodes = Cluster(initialize_head=True, head_node_args={**takes, "include_dashboard": False})
        try:
            nodes.add_node(**takes)
            yield nodes
        finally:
            nodes.shutdown()


def written(folder: Path, pause: float = 0) -> Path:
    path = folder / "script.vpy"
    path.write_text(SCRIPT.format(folder=folder, pause=pause))
    return path


def run(*arguments: object) -> int:
    return cli.main(["render", *map(str, arguments)])


@contextmanager
def taken() -> Iterator[list[tuple[int, int]]]:
    """The segments that workers have given, in the order of the film."""
    found: list[tuple[int, int]] = []
    original = segments.Store.take

    def watched(self: segments.Store, segment: segments.Segment, number: int) -> None:
        found.append((segment.start, segment.stop))
        original(self, segment, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.Store, "take", watched)
        yield found


@pytest.mark.slow
def test_a_cluster_of_two_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Started once for all of it; the last part ends one of the nodes."""
    source, script = film(tmp_path / "in.mkv", 100, size=(32, 32)), written(tmp_path, pause=0.01)
    assert run(source, tmp_path / "whole.mkv", "--script", script, *LOSSLESS) == 0
    with two_nodes(tmp_path) as nodes:
        carried(nodes, tmp_path)
        fetched(nodes, source, script, tmp_path)
        failed(nodes, source, script, tmp_path, capsys)
        died(nodes, source, script, tmp_path)


def carried(nodes: Any, folder: Path) -> None:
    """A network with a state, a cut, and a segment that begins inside a scene: the bits of a run in order."""
    source = scenes(folder / "scenes.mkv", 76, cut=13)
    model = f"ZoomingSlowMo:carry=1,device_id=-1,weights={networks.tiny_weights()}"
    assert run(source, folder / "one.mkv", "--model", model, *LOSSLESS) == 0
    with taken() as found:
        assert run(source, folder / "two.mkv", "--model", model, *LOSSLESS, "--ray", nodes.address) == 0
    assert found == [(0, 26), (26, 146), (146, 152)]
    assert look(folder / "one.mkv") == look(folder / "two.mkv")
    assert same(pixels(folder / "one.mkv"), pixels(folder / "two.mkv"))


def fetched(nodes: Any, source: Path, script: Path, folder: Path) -> None:
    """A worker that sees neither the film nor the folder of segments."""
    order = Order(film=source, script=Script.read(script), wish=Wish(codec="ffv1"))
    here, name = work.prepare(order), Path("/nowhere/in.mkv")

    class Elsewhere(Origin):
        def piece(self, path: Path, offset: int, node: str) -> bytes:
            assert path == name
            return super().piece(source, offset, node)

    task = task_of(order, segments.Store(folder / "no.segments"))
    away = replace(order, film=name, script=replace(order.script, path=Path("/nowhere/script.vpy")))
    task = replace(task, order=away, files={str(name): (name, *task.files[str(source)][1:])})
    with cluster.connected(nodes.address, 1, 1):
        ray = cluster.load()
        origin = ray.remote(Elsewhere).options(name=task.run, num_cpus=0).remote()
        worker = ray.remote(Worker).remote(0, 1, task)
        assert ray.get(worker.facts.remote()) == here.facts
        look = ray.get(worker.look.remote())
        made = ray.get(worker.render.remote(Job(26, here.clock(26), 146), here.encoding(look), here.facts))
        copies = list((folder / "cache" / "fetched" / task.run).rglob("in.mkv"))
        assert [copy.read_bytes() for copy in copies] == [source.read_bytes()]
        assert len(ray.get(origin.nodes.remote())) == 1
        with pytest.raises(cluster.load().exceptions.RayTaskError, match=r"size was .*; all machines have to agree"):
            ray.get(worker.render.remote(Job(0, here.start, 26), here.encoding(look), {**here.facts, "size": [1, 1]}))
    (folder / "segment").write_bytes(made.data)
    found = segments.read(folder / "segment")
    assert found is not None
    assert (found.start, found.stop, found.began, found.fresh, found.sure) == (26, 54, here.clock(26), True, True)
    assert len(list(found.read())) == 28


def failed(nodes: Any, source: Path, script: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which frames, where and why; what is whole is gone on with, in one process."""
    (folder / "broken").touch()
    target = folder / "failed.mkv"
    assert run(source, target, "--script", script, *LOSSLESS, "--ray", nodes.address, "--workers", 2) == 1
    (folder / "broken").unlink()
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"frames \d+ to 199, on .+ \(node [0-9a-f]{8}\): RuntimeError: the network is gone", said), said
    assert run(source, target, "--script", script, *LOSSLESS, "--resume") == 0
    assert same(pixels(target), pixels(folder / "whole.mkv"))
    assert look(target) == look(folder / "whole.mkv")


def died(nodes: Any, source: Path, script: Path, folder: Path) -> None:
    """The head's worker in the middle of its segment, and then the other node with its own: the first one is back."""
    dead: list[str] = []
    original = Crew._state
    raylet = nodes.head_node.all_processes["raylet"][0].process.pid
    for path in folder.glob("process *"):
        path.unlink()

    def processes(parent: object = "*") -> list[int]:
        return sorted({int(path.name.split()[1]) for path in folder.glob(f"process * {parent}")})

    def deadly(self: Crew, *arguments: Any) -> Any:
        state = original(self, *arguments)
        if not dead and len(processes()) == 2:
            os.kill(processes(raylet)[0], signal.SIGKILL)
            dead.append("worker")
        elif dead == ["worker"] and state.done > 0:
            nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
            dead.append("node")
        return state

    target = folder / "died.mkv"
    with taken() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Crew, "_state", deadly)
        assert run(source, target, "--script", script, *LOSSLESS, "--ray", nodes.address) == 0
    assert dead == ["worker", "node"]
    assert len(processes()) > 2
    assert found == [(0, 26), (26, 54), (54, 90), (90, 200)]
    assert same(pixels(target), pixels(folder / "whole.mkv"))
    assert look(target) == look(folder / "whole.mkv")


@pytest.mark.slow
def test_workers_of_this_machine_that_are_interrupted(tmp_path: Path) -> None:
    """Nothing of Ray's is left, and one process goes on with what there is."""
    pytest.importorskip("ray", reason="needs Ray")
    source, script = film(tmp_path / "in.mkv", 100, size=(32, 32)), written(tmp_path, pause=0.01)
    common = ("--script", str(script), *LOSSLESS)
    assert run(source, tmp_path / "whole.mkv", *common) == 0
    target = tmp_path / "out.mkv"
    kept = tmp_path / "out.mkv.segments"
    with tempfile.TemporaryDirectory(prefix="vs-sr-") as short:
        process = subprocess.Popen(
            [BIN / "vs-sr", "render", source, target, *common, "--workers", "2"],
            env=environment(TMPDIR=short, VS_SR_CACHE=str(tmp_path / "cache")),
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (kept / "000000.segment").exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert not list(Path(short).iterdir())
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not target.exists()
    assert run(source, target, *common, "--resume") == 0
    assert same(pixels(target), pixels(tmp_path / "whole.mkv"))
    assert look(target) == look(tmp_path / "whole.mkv")


def test_ray_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = film(tmp_path / "in.mkv", 3)
    assert run(source, tmp_path / "out.mkv", "--script", written(tmp_path), "--workers", 2) == 1
    assert capsys.readouterr().err.endswith("--workers and --ray need Ray: pip install 'vs-sr[render,ray]'\n")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ray", "ray://a:10001"), "run vs-sr on a machine of the cluster, with --ray auto"),
        (("--worker-threads", "2"), "--worker-threads is for --workers or --ray"),
        (("--workers", "2", "--dry-run"), "leave out --workers and --ray"),
        (("--workers", "2", "--model", "ZoomingSlowMo:device_id=3"), "device_id=3 is not for --workers: the cluster"),
        (
            ("--workers", "2", "--model", "ZoomingSlowMo:device_id=-1,carry=1,state_out=a.state"),
            "state_out=a.state is not for --workers: it is written in order",
        ),
    ],
)
def test_what_workers_cannot_do(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "in.mkv", 3)
    assert run(source, tmp_path / "out.mkv", *options) == 1
    assert message in capsys.readouterr().err


CPU = [{"CPU": 8.0}, {"CPU": 4.0}]
CARDS = [{"CPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("machines", "workers_", "threads", "team"),
    [
        (CPU, None, None, Team(2, 4)),
        (CPU, 3, None, Team(3, 4)),
        (CPU, 4, None, Team(4, 2)),
        (CPU, 12, None, Team(12, 1)),
        (CPU, 2, 3, Team(2, 3)),
        (CARDS, None, None, Team(3, 8, 1)),
        (CARDS, 2, 4, Team(2, 4, 1)),
    ],
)
def test_what_workers_take(
    machines: list[dict[str, float]], workers_: int | None, threads: int | None, team: Team
) -> None:
    assert cluster._room(machines, workers_, threads, cards=True) == team


@pytest.mark.parametrize(
    ("machines", "workers_", "threads", "fit"),
    [(CPU, 13, None, 12), (CPU, 4, 4, 3), (CARDS, 4, None, 3), (CARDS, 3, 16, 1), ([{"CPU": 0.0}], 1, None, 0)],
)
def test_workers_that_do_not_fit(
    machines: list[dict[str, float]], workers_: int, threads: int | None, fit: int
) -> None:
    with pytest.raises(ArgumentError, match=f"--workers {workers_}: the cluster has room for {fit} with"):
        cluster._room(machines, workers_, threads, cards=True)
