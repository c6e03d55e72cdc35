"""What half precision costs the result: PSNR of the shipped network's output on a card, fp16 against fp32, through the
filter: ``python -m tests.bench.precision --json precision.json``.

``--frames`` are real ones, (T, H, W, 3) of uint8 in a .npy file; without, waves that move are drawn. ``--smoke`` takes
a few small ones and, on the CPU where there is no card, bf16 for fp16, which the CPU is not asked to run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import vapoursynth as vs

from vs_sr.evaluation.metrics import psnr


def drawn(count: int, height: int, width: int) -> np.ndarray:
    """Waves that move."""
    y, x = np.mgrid[:height, :width]
    frames = [
        np.stack([128 + 60 * np.sin((x + 2 * t) / (3 + c)) + 50 * np.cos((y - t) / (4 + c)) for c in range(3)], 2)
        for t in range(count)
    ]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def clip(frames: np.ndarray) -> vs.VideoNode:
    """Of RGB frames."""
    count, height, width, _ = frames.shape
    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGB24, length=count)

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        made = f.copy()
        for plane in range(3):
            np.asarray(made[plane])[:] = frames[n, :, :, plane]
        return made

    return blank.std.ModifyFrame(blank, write).resize.Point(format=vs.RGBS)


def upscaled(frames: np.ndarray, precision: str, device: int) -> list[np.ndarray]:
    """The filter's output, (H, W, 3) in 0..255."""
    made = vs.core.vs_sr.ZoomingSlowMo(clip(frames), precision=precision, device_id=device)
    return [255 * np.stack([np.asarray(frame[plane]) for plane in range(3)], 2).clip(0, 1) for frame in made.frames()]


def main() -> int:
    """Run it; 2 where there is no card."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.precision", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--frames", type=Path, help="real ones")
    parser.add_argument("--smoke", action="store_true", help="small frames, on any machine")
    options = parser.parse_args()
    on_card = torch.cuda.is_available()
    if not on_card and not options.smoke:
        print("there is no CUDA device; --smoke shows that the program works", file=sys.stderr)
        return 2
    real = options.frames is not None and options.frames.is_file()
    frames = np.load(options.frames) if real else drawn(7, 144, 180)
    if options.smoke:
        frames = frames[:3, :24, :32]
    half, device = ("fp16", 0) if on_card else ("bf16", -1)
    pairs = zip(upscaled(frames, half, device), upscaled(frames, "fp32", device), strict=True)
    found = [psnr(a, b) for a, b in pairs]
    figures = {
        "frames": "real" if real else "drawn",
        "precision": half,
        "psnr_lowest": round(min(found), 2),
        "psnr_mean": round(float(np.mean(found)), 2),
        "count": len(found),
    }
    print(f"{half} against fp32, {len(found)} frames, {figures['frames']}: {figures['psnr_lowest']} dB at the lowest")
    if options.json:
        options.json.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
