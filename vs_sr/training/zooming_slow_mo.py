"""Train the compact Zooming Slow-Mo that ships as the default weights.

    python -m vs_sr.training.zooming_slow_mo --out runs/zsm

reads from top to bottom: options, data, network, loop, export. It runs on two CPU cores in about an hour; a
CUDA device is used when there is one. An interrupted run continues when the same command is given again.
``docs/training.md`` has the figures reached.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from vs_sr.arguments import Arguments
from vs_sr.engine.recurrence import sequence
from vs_sr.evaluation.measure import Clip, Measurement
from vs_sr.evaluation.protocols import LUMAS, preset
from vs_sr.evaluation.upscalers import Bicubic, Network, find
from vs_sr.models.layers import DeformableConv
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo, bicubic
from vs_sr.training.clips import HELD_OUT_SEED, load_clips, make_clip
from vs_sr.training.motion import SPAN
from vs_sr.weights import writing


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line. The defaults are the first command of the shipped weights' recipe."""
    parser = argparse.ArgumentParser(prog="python -m vs_sr.training.zooming_slow_mo", description=__doc__)
    add = parser.add_argument
    # where
    add("--out", type=Path, required=True, help="folder of the checkpoint, the clips and the exported weights")
    add("--measure", type=Path, nargs="*", default=[], help="folders of PNG frames to measure on, never trained on")
    add("--start", type=Path, help="exported weights that the second part begins with, without a first part")
    # network: a fifth of the paper's parameters; a quarter of its work per pixel in the ConvLSTM
    add("--channels", type=int, default=32)
    add("--groups", type=int, default=4)  # 8 channels a group, as in the paper
    add("--front-blocks", type=int, default=2)
    add("--back-blocks", type=int, default=8)  # cheap: 15 kMAC each of 1,900 per LR pixel
    add("--hr-channels", type=int, default=32)  # the work at the output's size is linear in their square
    # data
    add("--clips", type=int, default=600)  # 330 MB as uint8; rendering takes a minute or two
    add("--clip-frames", type=int, default=7)
    add("--clip-size", type=int, default=160)
    add("--span", type=float, default=SPAN)  # of speeds; at 2.3 few scenes are so slow that alignment learns nothing
    add("--patch", type=int, default=24)  # LR pixels: 96 x 96 HR, more than the fastest motion
    add("--frames", type=int, default=12)  # LR frames a step: 6 examples of 2, 4 of 3 or 3 of 4
    # optimization
    add("--single-iterations", type=int)  # first part: no alignment, no recurrence, a tenth the work; 1600, or 0
    add("--iterations", type=int, default=700)  # second part: the whole network
    add("--single-lr", type=float, default=1e-3)  # first part, after the warm-up
    add("--lr", type=float, default=4e-4)  # second part, peak; at 1e-3 the recurrence lost what was learned
    add("--lr-last", type=float, default=1e-6)  # where the cosine ends
    add("--warmup", type=int, default=50)  # Adam's second moments need some steps to be worth trusting
    add("--weight-decay", type=float, default=1e-4)
    add("--clip-norm", type=float, default=0.5)  # a rare large gradient through the offsets ends runs otherwise
    add("--ema", type=float, default=0.995)  # averages about the last 200 steps
    add("--charbonnier", type=float, default=1e-3)  # sqrt(d^2 + eps^2): L2 below a quarter of a level, L1 above
    add("--between", type=float, default=1.0)  # weight of interpolated frames against input-time ones, which are easier
    add("--pulse", type=float, default=0.0)  # weight of unsteady sharpness: any mean error leaves moving detail soft
    add("--seed", type=int, default=1)
    # housekeeping
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that render the clips")
    add("--log-every", type=int, default=20)
    add("--save-every", type=int, default=100)
    add("--measure-every", type=int, default=500)
    args = parser.parse_args(argv)
    if args.single_iterations is None:
        args.single_iterations = 0 if args.start else 1600
    if args.iterations < 1 or args.patch % 4 or args.clip_size % 4:
        parser.error("--iterations must be >= 1, --patch and --clip-size multiples of 4")
    if args.patch > args.clip_size // 4 or args.clip_frames < 7:
        parser.error("--patch must fit into --clip-size / 4, and --clip-frames must be >= 7")
    return args


def build(args: argparse.Namespace) -> ZoomingSlowMo:
    """The network as training finds it: ``--start``, or untrained, which is exactly bicubic and blend."""
    torch.manual_seed(args.seed)
    net = ZoomingSlowMo(
        channels=args.channels,
        groups=args.groups,
        front_blocks=args.front_blocks,
        back_blocks=args.back_blocks,
        hr_channels=args.hr_channels,
        base="bicubic",
    )
    start_simple(net)
    if args.start:
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(args.start).items()})
    return net.to(args.device)


def start_simple(net: ZoomingSlowMo) -> None:
    """Initialize ``net`` as a single-image network that looks no further, plus small random weights.

    An interpolated frame starts as the mean of its neighbors' features, alignment as the identity, and the
    recurrence hands its input through. So what the first, cheap part of the training learns without
    alignment and recurrence is worth something from the first step of the second.
    """
    for name, module in net.named_modules():
        if isinstance(module, DeformableConv):
            nn.init.kaiming_normal_(module.weight, a=0.1)  # offsets keep their zeros: a plain 3x3
        elif isinstance(module, nn.Conv2d) and not name.endswith("conv_offset_mask"):
            # torch's default shrinks features by half in each layer; 40 layers of that learn nothing for long.
            nn.init.kaiming_normal_(module.weight, a=0.1)
            module.bias.data.zero_()  # type: ignore[union-attr]
            if name.endswith("conv2") and ("recon_trunk" in name or "feature_extraction" in name):
                module.weight.data.mul_(0.1)  # residual branches start small
    nn.init.zeros_(net.conv_last.weight)  # the base alone
    for upconv in (net.upconv1, net.upconv2):
        # The four sub-pixels of a pixel shuffle start equal (ICNR, Aitken et al. 2017): no checkerboard.
        upconv.weight.data.copy_(upconv.weight.data[::4].repeat_interleave(4, 0))

    lstm = net.ConvBLSTM.forward_net
    for align in (net.pcd_align, lstm.pcd_h.pcd_align, lstm.pcd_c.pcd_align):
        for side in (1, 2):
            # twice the identity, since the mask starts at a half
            near_identity(align.get_parameter(f"L1_dcnpack_{side}.weight"), (2.0,))
            near_identity(align.get_parameter(f"L1_fea_conv_{side}.weight"), (1.0, 0.0))
    near_identity(net.fusion.weight, (0.5, 0.5))  # the neighbors' mean
    for pcd in (lstm.pcd_h, lstm.pcd_c):
        near_identity(pcd.fusion.weight, (0.0, 1.0))  # the state, not the frame
    # tanh is nearly linear at a quarter of the features' size; conv_1x1 undoes the quarter and the gates.
    weight, bias = lstm.get_parameter("cell_list.0.conv.weight"), lstm.get_parameter("cell_list.0.conv.bias")
    i, f, o, g = weight.data.chunk(4)
    for gate in (i, f, o):
        gate.mul_(0.1)
    near_identity(g, (0.25, 0.0))
    opened = 2.0  # gates i and o start open, the forget gate nearly closed
    bias.data.copy_(torch.tensor([opened, -opened, opened, 0.0]).repeat_interleave(len(bias) // 4))
    passed = 2 * 0.25 * torch.sigmoid(torch.tensor(opened)).item() ** 2
    near_identity(net.ConvBLSTM.conv_1x1.weight, (1 / passed, 1 / passed))


def near_identity(weight: torch.Tensor, gains: tuple[float, ...]) -> None:
    """A tenth of the weights (O, len(gains) * O, k, k) as they are, plus ``gains`` times each input half."""
    with torch.no_grad():
        weight.mul_(0.1)
        middle = weight.shape[-1] // 2
        for part, gain in zip(weight.chunk(len(gains), 1), gains, strict=True):
            part[:, :, middle, middle] += gain * torch.eye(weight.shape[0], device=weight.device)


def single_image(net: ZoomingSlowMo, frames: torch.Tensor) -> torch.Tensor:
    """``net`` without alignment and recurrence: (B, T, 3, h, w) -> (B, 2T-1, 3, 4h, 4w) at a tenth of the work."""
    batch, count = frames.shape[:2]
    known = net.feature_extraction(net.conv_first(frames.flatten(0, 1)))
    known = known.unflatten(0, (batch, count))
    features = [known[:, 0]]
    for t in range(1, count):
        features += [(known[:, t - 1] + known[:, t]) / 2, known[:, t]]
    detail: torch.Tensor = net.detail(torch.stack(features, 1).flatten(0, 1)).unflatten(0, (batch, 2 * count - 1))
    return detail + bicubic_and_blend(frames)


def bicubic_and_blend(frames: torch.Tensor) -> torch.Tensor:
    """The base that the network's output is added to: (B, T, 3, h, w) -> (B, 2T-1, 3, 4h, 4w)."""
    images = [frames[:, 0]]
    for before, after in pairwise(frames.unbind(1)):
        images += [(before + after) / 2, after]
    return torch.stack([bicubic(image) for image in images], 1)


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Both parts warm up linearly; the first then stays at its rate, the second follows half a cosine down."""
    single = step < args.single_iterations
    peak, into = (args.single_lr, step) if single else (args.lr, step - args.single_iterations)
    if into < args.warmup:
        return float(peak * (into + 1) / args.warmup)
    if single:
        return float(peak)
    progress = min(1.0, (into - args.warmup) / max(1, args.iterations - args.warmup))
    return float(args.lr_last + (peak - args.lr_last) * 0.5 * (1 + math.cos(math.pi * progress)))


def charbonnier(output: torch.Tensor, target: torch.Tensor, eps: float, between: float = 1.0) -> torch.Tensor:
    """Mean of sqrt(d^2 + eps^2) (Charbonnier et al. 1994) of (B, S, ...), in float32; odd S weigh ``between``."""
    error = ((output.float() - target).square() + eps * eps).sqrt()
    if between == 1:
        return error.mean()
    weight = torch.ones(error.shape[1], device=error.device)
    weight[1::2] = between
    return (error.flatten(2).mean((0, 2)) * weight).sum() / weight.sum()


def pulse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How differently from the target's the sharpness of (B, S, 3, H, W) changes from frame to frame.

    Where the network cannot know where detail went, the least mean error is soft; input-time frames stay sharp, and
    the film pulses. Sharpness is taken as the mean step of luma in squares of 16 pixels: it does not mind that
    detail is a pixel off, so interpolated frames need not be soft, and input-time frames may give a little.
    """
    change, wanted = (contrast(film.float()).diff(dim=1) for film in (output, target))
    return (change - wanted).abs().mean()


def contrast(film: torch.Tensor) -> torch.Tensor:
    """Mean step of luma to the right and down in squares of 16 pixels: (B, S, 3, H, W) -> (B, S, H / 16, W / 16)."""
    luma = film.flatten(0, 1).mul(film.new_tensor(LUMAS["jpeg"].weights)[:, None, None]).sum(1, keepdim=True)
    steps = luma[..., :-1, 1:] - luma[..., :-1, :-1], luma[..., 1:, :-1] - luma[..., :-1, :-1]
    step = F.pad((steps[0].abs() + steps[1].abs()) / 2, (0, 1, 0, 1), mode="replicate")
    squares: torch.Tensor = F.avg_pool2d(step, 16)[:, 0].unflatten(0, film.shape[:2])
    return squares


def held_out_clips() -> list[npt.NDArray[np.uint8]]:
    """Scenes to measure on that no pool contains; the second eight move."""
    still = [make_clip(HELD_OUT_SEED + index, 7, 160) for index in range(8)]
    return still + [make_clip(HELD_OUT_SEED + 1000 + index, 7, 160, span=2.3) for index in range(8)]


def measure(path: Path, args: argparse.Namespace, *, bf16: bool) -> dict[str, list[Clip]]:
    """Weights as the filter runs them, on the held-out scenes and on every folder of ``--measure``."""
    device = torch.device(args.device)
    options = Arguments(
        device_id=-1 if device.type == "cpu" else device.index or 0, precision="bf16" if bf16 else "fp32"
    )
    measurement = Measurement(
        upscaler=Network(*find("ZoomingSlowMo", str(path)), scale=4, multi=2, options=options),
        baseline=Bicubic(4, 2),
        protocol=preset("space-time"),
        video=True,
    )
    threads = torch.get_num_threads()
    scenes = held_out_clips()
    torch.set_num_threads(threads)  # rendering takes one
    return {
        "held-out scenes": [measurement.clip(f"held-out {i}", list(clip)) for i, clip in enumerate(scenes)],
        "folders": [measurement.folder(folder) for folder in args.measure],
    }


def gain(clip: Clip) -> float:
    """PSNR-Y above bicubic and blend, dB."""
    return clip.mean("ZoomingSlowMo", "psnr_y") - clip.mean("bicubic", "psnr_y")


def softness(clip: Clip, upscaler: str) -> float:
    """Sharpness of interpolated frames over that of input-time ones, minus 1: -0.1 is a tenth softer."""
    found = clip.temporal[upscaler]
    return (found.sharpness_interpolated or 0) / found.sharpness - 1


def save_checkpoint(
    path: Path, step: int, net: ZoomingSlowMo, ema: dict[str, torch.Tensor], optimizer: torch.optim.AdamW
) -> None:
    """All that a run needs to continue, without pickle: weights, their average, Adam's two moments."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in net.named_parameters():
        tensors[f"net.{name}"], tensors[f"ema.{name}"] = parameter, ema[name]
        tensors |= {f"{moment}.{name}": value for moment, value in optimizer.state[parameter].items()}
    writing.save(path, {name: tensor.cpu() for name, tensor in tensors.items()}, {"step": str(step)})


def load_checkpoint(path: Path, net: ZoomingSlowMo, ema: dict[str, torch.Tensor], optimizer: torch.optim.AdamW) -> int:
    """Restore what :func:`save_checkpoint` wrote; the number of steps done."""
    with safe_open(path, "pt", device=next(net.parameters()).device.type) as file, torch.no_grad():
        step, stored = int(file.metadata()["step"]), set(file.keys())
        for name, parameter in net.named_parameters():
            parameter.copy_(file.get_tensor(f"net.{name}"))
            ema[name].copy_(file.get_tensor(f"ema.{name}"))
            moments = {f"{moment}.{name}": moment for moment in ("step", "exp_avg", "exp_avg_sq")}
            state = {moment: file.get_tensor(key) for key, moment in moments.items() if key in stored}
            if state:  # parameters that the first part leaves alone have none
                state["step"] = state["step"].cpu()
                optimizer.state[parameter] = state
    return step


def train(args: argparse.Namespace) -> Path:
    """The whole run; the path of the exported weights."""
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    clips = load_clips(
        args.out,
        args.clips,
        seed=args.seed * 1_000_000,
        frames=args.clip_frames,
        size=args.clip_size,
        workers=args.workers,
        span=args.span,
    )
    net = build(args)
    parameters = dict(net.named_parameters())
    ema = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.99), weight_decay=args.weight_decay)
    checkpoint = args.out / "checkpoint.safetensors"
    first = load_checkpoint(checkpoint, net, ema, optimizer) if checkpoint.exists() else 0
    log(f"{sum(p.numel() for p in parameters.values()):,} parameters, {len(clips.hr)} clips, from step {first}")

    started, losses = time.perf_counter(), []
    steps = args.single_iterations + args.iterations
    for step in range(first, steps):
        single = step < args.single_iterations
        # Every step draws from its own generator: a resumed run sees what an uninterrupted one would have.
        rng = np.random.default_rng([args.seed, step])
        inputs = 2 if single else int(rng.integers(2, 5))
        lr, hr = clips.batch(rng, args.frames // inputs, inputs, args.patch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)

        with torch.autocast(args.device.split(":")[0], torch.bfloat16):
            output = single_image(net, lr.to(args.device)) if single else sequence(net, lr.to(args.device), 2)
        error = charbonnier(output, hr.to(args.device), args.charbonnier, args.between)
        loss = error + args.pulse * pulse(output, hr.to(args.device)) if args.pulse else error
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), args.clip_norm)
        optimizer.step()
        decay = min(args.ema, (step + 1) / (step + 10))  # a young average forgets faster
        with torch.no_grad():
            for name, parameter in parameters.items():
                ema[name].lerp_(parameter, 1 - decay)

        # The base's own loss puts the figure in proportion: 1.0 is what the network started from.
        base = float(charbonnier(bicubic_and_blend(lr), hr, args.charbonnier, args.between))
        losses.append(float(error.detach()) / base)
        done = step + 1
        if done % args.log_every == 0 or done == steps:
            pace = (time.perf_counter() - started) / (done - first)
            log(
                f"step {done}/{steps}  loss/base {np.mean(losses[-args.log_every :]):.4f}  "
                f"lr {learning_rate(step, args):.1e}  {pace:.2f} s/step  "
                f"ETA {pace * (steps - done) / 60:.0f} min"
            )
        if done % args.save_every == 0 or done == steps:
            save_checkpoint(checkpoint, done, net, ema, optimizer)
        if done % args.measure_every == 0 and done < steps:
            export(args, ema, done, bf16=True)
    return export(args, ema, steps, bf16=False)


def export(args: argparse.Namespace, ema: dict[str, torch.Tensor], step: int, *, bf16: bool) -> Path:
    """Write the averaged weights (fp16) with their recipe, measure them, and add the figures."""
    stored = {name: tensor.half().cpu() for name, tensor in ema.items()}
    earlier = read_metadata(args.start) if args.start else {}
    metadata = {
        "architecture": "ZoomingSlowMo",
        "scale": "4",
        "value_range": "0-1",
        "border": "zero-pad-4",
        "base": "bicubic",
        "licence": "MIT",
        "recipe": "\n".join([*filter(None, [earlier.get("recipe")]), recipe(args)]),
        "training_data": "scenes by vs_sr.training.scenes (dead leaves, text, lattices, gradients "
        "with per-layer motion), x4 by MATLAB-compatible bicubic; no photographs",
        "iterations": str(int(earlier.get("iterations", 0)) + step),
    }
    path: Path = args.out / "zooming_slow_mo_compact.safetensors"
    writing.save(path, stored, metadata)
    figures = {}
    for kind, clips in measure(path, args, bf16=bf16).items():
        for clip in clips:
            ours, baseline = (softness(clip, upscaler) for upscaler in ("ZoomingSlowMo", "bicubic"))
            psnr = clip.mean("ZoomingSlowMo", "psnr_y")
            log(
                f"  {clip.name}: {psnr:.3f} dB PSNR-Y, {gain(clip):+.3f} above bicubic and blend, "
                f"sharpness of interpolated frames {ours:+.1%} against {baseline:+.1%}"
            )
            figures[clip.name] = {
                "psnr_y": round(psnr, 3),
                "bicubic_blend": round(psnr - gain(clip), 3),
                "softness": round(ours, 3),
            }
        if clips:
            log(f"  mean on {kind}: {np.mean([gain(clip) for clip in clips]):+.3f} dB")
    writing.save(path, stored, metadata | {"psnr": json.dumps(figures)})
    return path


def recipe(args: argparse.Namespace) -> str:
    """The command that remakes the weights, without folders and machine settings; START is what it began with."""
    left_out = {"out", "start", "measure", "device", "threads", "workers", "log_every", "save_every", "measure_every"}
    words = [f"--{name.replace('_', '-')} {value}" for name, value in vars(args).items() if name not in left_out]
    start = ["--start START"] if args.start else []
    return " ".join(["python -m vs_sr.training.zooming_slow_mo --out OUT", *start, *words])


def read_metadata(path: Path) -> dict[str, str]:
    """The free-form metadata of a weights file."""
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def log(message: str) -> None:
    """A progress line, on stderr: stdout belongs to whoever pipes."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    path = train(options(argv))
    log(f"wrote {path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
