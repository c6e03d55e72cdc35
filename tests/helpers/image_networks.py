"""Small networks of every image model, their files, and clips for them; used by tests and by their scripts."""

from __future__ import annotations

import copy
import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import vapoursynth as vs
from safetensors.torch import save_file

from vs_sr import registry
from vs_sr.models.merging import quickened
from vs_sr.spec import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

_EDSR = {"scale": 2, "features": 8, "blocks": 2, "value_range": 255.0, "mean": (0.4488, 0.4371, 0.404)}
CONFIGS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "A2N": ({"scale": 2, "features": 8, "upsampled": 4, "blocks": 2, "reduced": 2}, {"scale": "2", "range": "1"}),
    "EDSR": (_EDSR, {"res_scale": "1"}),
    "ESRGAN": ({"steps": (2, 2), "unshuffle": 2, "features": 8, "growth": 4, "blocks": 1}, {}),
    "MDSR": (_EDSR, {"scale": "2"}),
    "SRCNN": ({"kernels": (9, 1, 5), "widths": (8, 4)}, {}),
    "SRGAN": ({"scale": 2, "features": 8, "blocks": 2, "trunk_norm": False}, {}),
    "SRResNet": ({"norm": False, "scale": 2, "features": 8, "blocks": 2}, {}),
    "VDSR": ({"zero_mean": False, "depth": 3, "features": 8}, {}),
}  # fmt: skip
"""Model to its network's arguments (all x2), and to what its file's metadata has to say."""

LUMA = ("SRCNN", "VDSR")
"""Those that take an upscaled clip, and luma alone."""


@functools.cache
def network(name: str) -> nn.Module:
    """The same each time, far from doing nothing, with results in and about 0..1; as sessions hold it in memory."""
    with torch.random.fork_rng():
        torch.manual_seed(sorted(CONFIGS).index(name))
        net = registry.model(name).build(Variant(scale=2, config=CONFIGS[name][0])).eval().requires_grad_(False)
        for key, value in net.state_dict().items():
            if value.dim() == 4:  # a gain of 1 where torch has 1 / sqrt(3): deep features do not vanish
                value *= 3**0.5
            if key in ("conv3.bias", "conv_last.bias") and name in ("SRCNN", "ESRGAN"):
                value += 0.5
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vs_sr-test-weights-")


def save(name: str, net: nn.Module, path: Path, **metadata: str) -> Path:
    """Write a network's file."""
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    save_file(state, path, metadata={"architecture": name, **CONFIGS[name][1], **metadata})
    return path


@functools.cache
def weights(name: str) -> Path:
    """The file of :func:`network`."""
    return save(name, network(name), Path(_folder().name) / f"{name}.safetensors")


def moving(length: int = 2, width: int = 62, height: int = 46, format: int = vs.YUV420P8) -> vs.VideoNode:
    """A colorful pattern with noise that moves, away from the ends of the range."""
    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGBS, length=length, fpsnum=24000, fpsden=1001,
                                  keep=True)  # fmt: skip
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    noise = np.random.default_rng(5).uniform(-0.1, 0.1, (3, height, width)).astype(np.float32)

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane, phase in enumerate((0, 2, 4)):
            wave = np.sin(0.4 * (x + 1.5 * n) + phase) * np.cos(0.3 * (y - n) + 0.5 * phase)
            np.copyto(np.asarray(frame[plane]), (0.5 + 0.25 * wave).astype(np.float32) + noise[plane])
        return frame

    clip = blank.std.ModifyFrame(blank, draw)
    if format == vs.RGBS:
        return clip
    family = vs.core.get_video_format(format).color_family
    return clip.resize.Bicubic(format=format, **({} if family == vs.RGB else {"matrix": 1}))


def planes(clip: vs.VideoNode) -> Tensor:
    """(T, C, H, W) of a float clip whose planes are of one size."""
    frames = [[torch.from_numpy(np.asarray(plane).copy()) for plane in frame] for frame in clip.frames()]
    return torch.stack([torch.stack(frame) for frame in frames])


def clip_of(frames: Tensor, like: vs.VideoNode) -> vs.VideoNode:
    """(T, C, H, W) as an RGBS or GRAYS clip, with the properties of the frames of ``like``."""
    format = vs.RGBS if frames.shape[1] == 3 else vs.GRAYS
    blank = vs.core.std.BlankClip(like, frames.shape[3], frames.shape[2], format=format, keep=True)

    def fill(n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        frame = f[0].copy()
        frame.props.update(f[1].props)
        for plane, source in zip(frame, frames[n], strict=True):
            np.copyto(np.asarray(plane), source.numpy())
        return frame

    return blank.std.ModifyFrame([blank, like], fill)


def by_hand(name: str, clip: vs.VideoNode, scale: int = 2) -> vs.VideoNode:
    """What the filter should make of a clip, in floating point: planes converted, and the network run directly.

    YUV and GRAY clips that :func:`moving` made (BT.709, limited range) give YUV of their subsampling and GRAYS,
    RGB gives RGBS.
    """
    net = quickened(copy.deepcopy(network(name)).to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    net = net.to(memory_format=torch.channels_last)  # in the order of a session: merged weights have the same bits
    is_rgb = clip.format.color_family == vs.RGB
    is_gray = clip.format.color_family == vs.GRAY
    size = {"width": scale * clip.width, "height": scale * clip.height}
    cubic = {"filter_param_a": 0, "filter_param_b": 0.5}
    flat = vs.core.query_video_format(
        clip.format.color_family, vs.FLOAT, 32, clip.format.subsampling_w, clip.format.subsampling_h
    ).id
    with torch.inference_mode():
        if name not in LUMA:
            rgb = clip.resize.Bicubic(format=vs.RGBS)
            made = torch.cat([net(frame[None]) for frame in planes(rgb)])
            out = clip_of(made, rgb)
            return out if is_rgb else out.resize.Bicubic(format=flat, matrix=1, **({} if is_gray else {"chromaloc": 0}))
        yuv = clip.resize.Bicubic(format=vs.YUV444PS, matrix=6) if is_rgb else clip
        luma = yuv.std.ShufflePlanes(0, vs.GRAY).resize.Bicubic(format=vs.GRAYS)
        luma = luma.resize.Bicubic(**size, **cubic).std.Expr("x 219 * 16 + 255 /")
        made = torch.cat([net(frame[None]) for frame in planes(luma)])
        upscaled = clip_of(made, luma).std.Expr("x 255 * 16 - 219 /")
        if is_gray:
            return upscaled
        chroma = yuv.resize.Bicubic(**size, format=vs.YUV444PS if is_rgb else flat, **cubic)
        whole = vs.core.std.ShufflePlanes([upscaled, chroma, chroma], [0, 1, 2], vs.YUV)
        return whole.resize.Bicubic(format=vs.RGBS, matrix_in=6) if is_rgb else whole
