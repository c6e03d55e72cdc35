"""Films through vspipe on the CPU, against vs-mlrt's plugins: ``python -m tests.bench.peers_cpu --json FILE``.

Eight frames of 320x180 YUV420P8, four times as large, with the conversions that each side needs: ours takes YUV, theirs
are given RGBS and converted back. All run the same network, theirs as ONNX that is exported from ours. Sides take turns
within a round, after a round that is not counted (in which ours compile and fill the cache). Three times are taken: of
the command as a whole; of the frames, as vspipe says it, which leaves out loading the script (ours load torch at the
first frame, theirs compile before it); and of the frames after the first, which is what a film takes.

The peers (``vapoursynth-mlrt-ov``, ``vapoursynth-mlrt-ort``) are installed into an environment of their own, ours into
a folder beside. ``--smoke`` takes one network, tiny frames and one round.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from helpers.packages import installed, loaded
from helpers.support import environment
from safetensors.torch import save_file

from vs_sr import settings

from . import models
from .backends import PACKAGES, network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

PEERS = {"ov": "vapoursynth-mlrt-ov", "ort": "vapoursynth-mlrt-ort"}
"""The plugin's name in VapourSynth's core, and its package."""
NETWORKS = (("EDSR", "baseline, x4"), ("ESRGAN", "6 blocks (anime), x4"), ("ESRGAN", "23 blocks, x4"))
METADATA = {"EDSR": {"res_scale": "1"}, "ESRGAN": {}}
"""What our file has to say that no tensor does."""

CLIP = """\
import vapoursynth as vs

core = vs.core
# Noise that moves, painted once.
noise = core.std.BlankClip(width={width}, height={height}, format=vs.GRAY8, length=1, keep=True)
def paint(n, f):
    made = f.copy()
    for y in range(made.height):
        for x in range(made.width):
            made[0][y, x] = (x * 7919 + y * 104729 + x * y * 31) % 220 + 16
    return made
still = noise.std.ModifyFrame(noise, paint).resize.Bicubic(2 * {width}, {height}, format=vs.YUV420P8, matrix_s="709")
views = [still.std.CropAbs({width}, {height}, 2 * n, 0) for n in range({frames})]
clip = core.std.Splice(views).std.SetFrameProps(_Matrix=1)
"""
OURS = 'core.vs_sr.{model}(clip, weights={weights!r}, device_id=-1, backend="{backend}").set_output()\n'
THEIRS = {
    "ov": "core.ov.Model([rgb], {onnx!r}, device='CPU', num_streams=1)",
    "ort": "core.ort.Model([rgb], {onnx!r}, provider='CPU', num_streams=1)",
}
AROUND = """\
rgb = clip.resize.Bicubic(format=vs.RGBS)
made = {call}
made.resize.Bicubic(format=vs.YUV420P8, matrix=1).set_output()
"""


class Times(NamedTuple):
    """In seconds."""

    command: float
    frames: float
    later: float
    """From the end of the first frame to that of the last."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What makes a film."""

    name: str
    python: Path
    env: Mapping[str, str]
    script: Path
    frame: int
    """Bytes of a frame that it makes."""

    def run(self) -> Times:
        """Make it.

        Raises:
            RuntimeError: it fails; what it says.
        """
        command = [str(self.python.with_name("vspipe")), "-c", "y4m", str(self.script), "-"]
        start = time.perf_counter()
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, env=dict(self.env), stdout=subprocess.PIPE, stderr=said, bufsize=0)
            assert process.stdout is not None
            got, first, last = 0, None, start
            while chunk := process.stdout.read(1 << 20):
                got, last = got + len(chunk), time.perf_counter()
                if first is None and got >= self.frame:
                    first = last
            process.stdout.close()
            failed, end = process.wait(), time.perf_counter()
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
        frames = re.search(r"Output \d+ frames in ([\d.]+) seconds", text)
        if failed or frames is None or first is None:
            raise RuntimeError(f"{self.name}: {text.strip()[-600:]}")
        return Times(command=end - start, frames=float(frames[1]), later=last - first)


def exported(net: nn.Module, size: tuple[int, int, int], path: Path) -> Path:
    """The network as ONNX, for images of one size."""
    package = loaded(models.ROOT / "plugins" / "vs_sr_onnxruntime" / "vs_sr_onnxruntime.py")
    path.write_bytes(package._exported(torch.export.export(net, (torch.zeros(1, *size),))))
    return path


def sides(case: models.Case, folder: Path, peers: Path, env: Mapping[str, str], options: Any) -> list[Side]:
    """Ours by each backend, then the peers, with their scripts."""
    model, variant = models.found(case)
    net = network(model, variant)
    side = (32, 24) if options.smoke else (320, 180)
    place = folder / f"{case.model}-{case.name.split()[0]}"
    place.mkdir()
    weights = place / "weights.safetensors"
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    save_file(state, weights, metadata={"architecture": case.model, **METADATA[case.model]})
    onnx = exported(net, models.size(case, side), place / "network.onnx")
    clip = CLIP.format(width=side[0], height=side[1], frames=options.frames)
    own = {
        backend: OURS.format(model=case.model, weights=str(weights), backend=backend) for backend in options.backends
    }
    made = [(f"vs_sr {name}", Path(sys.executable), env, text) for name, text in own.items()]
    for name, call in THEIRS.items():
        text = AROUND.format(call=call.format(onnx=str(onnx)))
        made.append((PEERS[name], peers, settings.with_programs(peers.parent), text))
    found = []
    for name, python, where, text in made:
        script = place / f"{name.replace(' ', '_')}.vpy"
        script.write_text(clip + text, encoding="utf-8")
        frame = case.scale**2 * side[0] * side[1] * 3 // 2
        found.append(Side(name=name, python=python, env=where, script=script, frame=frame))
    return found


def compare(title: str, contenders: list[Side], rounds: int) -> dict[str, Any]:
    """Medians of seconds, and of each round's ratio of our best to every peer."""
    times: dict[str, list[Times]] = {}
    for number in range(rounds + 1):
        for side in contenders:
            taken = side.run()
            if number:
                times.setdefault(side.name, []).append(taken)
    seconds = {name: Times(*map(statistics.median, zip(*own, strict=True))) for name, own in times.items()}
    best = min((name for name in seconds if name.startswith("vs_sr")), key=lambda name: seconds[name].later)
    row: dict[str, Any] = {"network": title, "best": best, "rounds": rounds, "seconds": {}, "ratios": {}}
    for name, own in seconds.items():
        row["seconds"][name] = {what: round(value, 2) for what, value in own._asdict().items()}
    for peer in PEERS.values():
        pairs = list(zip(times[best], times[peer], strict=True))
        row["ratios"][peer] = {
            what: round(statistics.median(getattr(a, what) / max(getattr(b, what), 1e-3) for a, b in pairs), 3)
            for what in Times._fields
        }
    return row


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers_cpu", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--backends", nargs="+", default=["openvino", "onnxruntime", "eager"], help="ours")
    parser.add_argument("--environment", type=Path, help="of the peers; made where it is missing, and kept")
    parser.add_argument("--smoke", action="store_true", help="one network, tiny, one round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vs_sr-peers-") as temporary:
        folder = Path(temporary)
        place = (options.environment or folder / "peers").absolute()
        peers = place / "bin" / "python"
        if not peers.exists():
            venv.create(place, with_pip=True)
            subprocess.run([str(peers), "-m", "pip", "install", "--quiet", *PEERS.values()], check=True)
        paths = [installed(models.ROOT / "plugins" / name, folder / name)["PYTHONPATH"] for name in PACKAGES.values()]
        env = {**environment(), "PYTHONPATH": os.pathsep.join(paths)}
        rows = []
        for model, name in NETWORKS[1:2] if options.smoke else NETWORKS:
            case = next(case for case in models.CASES if (case.model, case.name) == (model, name))
            contenders = sides(case, folder, peers, env, options)
            rows.append(compare(f"{model} {name}", contenders, 1 if options.smoke else options.rounds))
            print(json.dumps(rows[-1]), flush=True)
        code = f"import importlib.metadata as m; print(*(m.version(name) for name in {list(PEERS.values())!r}))"
        said = subprocess.run([str(peers), "-c", code], check=True, capture_output=True, text=True).stdout.split()
    versions = dict(zip(PEERS.values(), said, strict=True))
    versions |= {name: importlib.metadata.version(name) for name in ("vs-sr", "torch", *PACKAGES)}
    record = {"machine": models.machine(), "versions": versions, "frames": options.frames, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
