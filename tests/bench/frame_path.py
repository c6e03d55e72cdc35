"""Processor time of a frame's way around a network that costs nothing: ``python tests/bench/frame_path.py``.

Trees are compared turn by turn, each a process of its own with its own installation:
``python tests/bench/frame_path.py --tree . --tree ../before``. The first is set against the others.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZE, SCALE = (480, 270), 4
WARM = 20
"""Frames before the clock starts: torch is loaded, memory is there."""


def measure(kind: str, frames: int) -> float:
    """Milliseconds of processor time per output frame, of all threads."""
    import vapoursynth as vs

    import vs_sr
    from vs_sr import registry
    from vs_sr.runtime import torch  # as filters load it: threads that wait for each other sleep

    class Null(torch.nn.Module):
        """The same image for every frame."""

        def __init__(self) -> None:
            super().__init__()
            width, height = SIZE
            self.register_buffer("made", torch.rand(1, 3, SCALE * height, SCALE * width))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.made

        def encode(self, frame: torch.Tensor) -> torch.Tensor:
            return frame

        def reconstruct(self, window: object) -> torch.Tensor:
            return self.made

    vs_sr.register(
        vs_sr.Model(
            name="Null",
            summary="",
            paper="",
            kind="image" if kind == "image" else registry.model("EDVR").kind,  # trees differ in the word
            build=lambda variant: Null(),
            fixed=vs_sr.Variant(scale=SCALE, window=None if kind == "image" else 3),
        )
    )
    clip = vs.core.std.BlankClip(
        width=SIZE[0], height=SIZE[1], format=vs.YUV420P8, length=WARM + frames, color=[90, 110, 140], keep=True
    )
    made = vs.core.vs_sr.Null(clip, device_id=-1)
    times = []
    for frame in made.frames(close=True):  # which collects garbage at its end, outside of the clock
        assert frame.format.id == vs.YUV420P8
        times.append(time.process_time())
    return 1e3 * (times[-1] - times[WARM - 1]) / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, action="append", help="a checkout with its .venv")
    parser.add_argument("--kind", choices=("image", "multi-frame"), default="image", help="the latter has the detector")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.tree:
        print(f"{measure(options.kind, options.frames):.3f}")
        return
    command = [__file__, "--kind", options.kind, "--frames", str(options.frames)]
    times: list[list[float]] = []
    for _ in range(options.rounds):
        turn = [
            float(subprocess.run([tree / ".venv/bin/python", *command], check=True, stdout=subprocess.PIPE).stdout)
            for tree in options.tree
        ]
        times.append(turn)
        print("  ".join(f"{value:8.3f}" for value in turn), flush=True)
    for place, tree in enumerate(options.tree):
        ratio = statistics.median(turn[0] / turn[place] for turn in times)
        print(f"{tree}: {statistics.median(turn[place] for turn in times):.3f} ms a frame, first/this {ratio:.3f}")


if __name__ == "__main__":
    sys.exit(main())
