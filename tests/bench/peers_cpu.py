"""Films through vspipe on the CPU, against vs-mlrt's plugins: ``python -m tests.bench.peers_cpu --json FILE``.

Eight frames of 320x180 YUV420P8, four times as large, with the conversions that each side needs: ours takes YUV, theirs
are given RGBS and converted back. All run the same network, theirs as ONNX of its layers one by one, and in the same
precision: OpenVINO by itself takes bf16 on processors that have it, so theirs is measured so and held to float32.
Sides take turns within a round, after a round that is not counted (in which ours compile and fill the cache). Three
times are taken: of the command as a whole; of the frames, as vspipe says it, which leaves out loading the script (ours
load what is compiled at the first frame, theirs compile before it); and of the frames after the first.

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
from unittest.mock import patch

import torch
from helpers.packages import installed, loaded
from helpers.support import environment
from safetensors.torch import save_file

from vs_sr import settings
from vs_sr.models.esrgan import network as esrgan
from vs_sr.models.layers import NearestConv

from . import models
from .backends import PACKAGES, backends, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from vs_sr.spec import Precision

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
OURS = (
    "core.vs_sr.{model}(clip, weights={weights!r}, device_id=-1, backend={backend!r}, precision={precision!r})"
    ".set_output()\n"
)
ORT = "made = core.ort.Model([rgb], {onnx!r}, provider='CPU', num_streams=1)"
OV = """\
def config():
    return {{"INFERENCE_PRECISION_HINT": "{hint}"}}
made = core.ov.Model([rgb], {onnx!r}, device="CPU", num_streams=1, config=config)
"""
HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}
AROUND = """\
rgb = clip.resize.Bicubic(format=vs.RGBS)
{made}
made.resize.Bicubic(format=vs.YUV420P8, matrix=1).set_output()
"""


class Times(NamedTuple):
    """In seconds."""

    command: float
    frames: float
    later: float
    """From the end of the first frame to that of the last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What makes a film."""

    name: str
    precision: Precision
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
    """The network as ONNX, for images of one size: layer by layer, as people have it."""
    package = loaded(models.ROOT / "plugins" / "vs_sr_onnxruntime" / "vs_sr_onnxruntime.py")

    def joined(layer: nn.Module, parts: Sequence[Tensor]) -> Tensor:
        found: Tensor = layer(torch.cat(list(parts), 1))
        return found

    plain = patch.object(NearestConv, "forward", NearestConv.one_by_one), patch.object(esrgan, "side_by_side", joined)
    with plain[0], plain[1]:
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
    found = []

    def add(name: str, precision: Precision, python: Path, where: Mapping[str, str], text: str) -> None:
        script = place / f"{name.replace(' ', '_')}_{precision}.vpy"
        script.write_text(clip + text, encoding="utf-8")
        frame = case.scale**2 * side[0] * side[1] * 3 // 2
        found.append(Side(name=name, precision=precision, python=python, env=where, script=script, frame=frame))

    able = {backend.name: backend for backend in backends()}
    for precision in options.precisions:
        for backend in options.backends:
            if not able[backend].supports(model, variant, precision):
                continue
            text = OURS.format(model=case.model, weights=str(weights), backend=backend, precision=precision)
            add(f"vs_sr {backend}", precision, Path(sys.executable), env, text)
        theirs = {"ov": OV.format(onnx=str(onnx), hint=HINTS[precision])}
        if precision == "fp32":
            theirs["ort"] = ORT.format(onnx=str(onnx))
        for name, made in theirs.items():
            text = AROUND.format(made=made)
            add(PEERS[name], precision, peers, settings.with_programs(peers.parent), text)
    return found


def compare(title: str, contenders: list[Side], rounds: int) -> Iterator[dict[str, Any]]:
    """For each precision: medians of seconds, and of each round's ratio of our best to every peer."""
    times: dict[Side, list[Times]] = {side: [] for side in contenders}
    for number in range(rounds + 1):
        for side in contenders:
            taken = side.run()
            if number:
                times[side].append(taken)
    medians = {side: Times(*map(statistics.median, zip(*own, strict=True))) for side, own in times.items()}
    for precision in dict.fromkeys(side.precision for side in contenders):
        sides = [side for side in contenders if side.precision == precision]
        ours = [side for side in sides if side.name not in PEERS.values()]
        best = min(ours, key=lambda side: medians[side].later)
        row: dict[str, Any] = {"network": title, "precision": precision, "best": best.name, "rounds": rounds}
        row["seconds"] = {
            side.name: {what: round(value, 2) for what, value in medians[side]._asdict().items()} for side in sides
        }
        row["ratios"] = {}
        for peer in (side for side in sides if side not in ours):
            pairs = list(zip(times[best], times[peer], strict=True))
            row["ratios"][peer.name] = {
                what: round(statistics.median(getattr(a, what) / max(getattr(b, what), 1e-3) for a, b in pairs), 3)
                for what in Times._fields
            }
        yield row


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers_cpu", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--backends", nargs="+", default=["openvino", "onnxruntime", "eager"], help="ours")
    parser.add_argument("--precisions", nargs="+", choices=sorted(HINTS), help="those that this processor has")
    parser.add_argument("--only", help="a part of a network's name, as in 'ESRGAN 6'")
    parser.add_argument("--environment", type=Path, help="of the peers; made where it is missing, and kept")
    parser.add_argument("--smoke", action="store_true", help="one network, tiny, one round")
    options = parser.parse_args()
    options.precisions = options.precisions or ["fp32", *["bf16"] * torch.cpu._is_avx512_bf16_supported()]
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
        networks = NETWORKS[1:2] if options.smoke else NETWORKS
        for model, name in networks:
            if options.only and options.only not in f"{model} {name}":
                continue
            case = next(case for case in models.CASES if (case.model, case.name) == (model, name))
            contenders = sides(case, folder, peers, env, options)
            for row in compare(f"{model} {name}", contenders, 1 if options.smoke else options.rounds):
                rows.append(row)
                print(json.dumps(row), flush=True)
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
