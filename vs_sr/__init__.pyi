"""Space-time video super-resolution for VapourSynth."""

# Written by `python -m tools.generate`: what vs_sr/__init__.py loads when it is first used.

from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack

import vapoursynth as vs

from vs_sr.engine.scheduler.state import State as State
from vs_sr.errors import AmbiguousError as AmbiguousError
from vs_sr.errors import ArgumentError as ArgumentError
from vs_sr.errors import DeviceError as DeviceError
from vs_sr.errors import FrameError as FrameError
from vs_sr.errors import PluginError as PluginError
from vs_sr.errors import VsSrError as VsSrError
from vs_sr.errors import WeightsError as WeightsError
from vs_sr.functions import register as register
from vs_sr.hookspecs import hookimpl as hookimpl
from vs_sr.spec import Backend as Backend
from vs_sr.spec import Model as Model
from vs_sr.spec import Published as Published
from vs_sr.spec import Request as Request
from vs_sr.spec import Runner as Runner
from vs_sr.spec import Variant as Variant

__version__: str
__all__ = [  # noqa: RUF022 - plain order
    "A2N",
    "AmbiguousError",
    "ArgumentError",
    "Backend",
    "BasicVSR",
    "DeviceError",
    "EDSR",
    "EDVR",
    "ESRGAN",
    "FrameError",
    "MDSR",
    "Model",
    "PluginError",
    "Published",
    "Request",
    "Runner",
    "SRCNN",
    "SRGAN",
    "SRResNet",
    "State",
    "VDSR",
    "Variant",
    "VsSrError",
    "WeightsError",
    "ZoomingSlowMo",
    "hookimpl",
    "register",
]

class _All(TypedDict, total=False):
    weights: str | None
    """A shipped name, or the path of a `.safetensors` or `.pth` file; configurations are read off the file. Default:
    none; the error says where to get some.
    """
    model_path: str | None
    """``weights``, as other filters call it."""
    backend: str
    """How the network is run; `vs-sr doctor` lists the backends that are installed. Default: `auto`."""
    device_id: int | None
    """Number of a CUDA device; -1 is the CPU. A number without a device is an error. Default: first GPU, else CPU."""
    device_index: int | None
    """``device_id``, as other filters call it."""
    precision: Literal["auto", "fp32", "fp16", "bf16"]
    """Fp32, fp16 or bf16. auto: fp16 on a GPU for integer and half clips, else fp32. Default: `auto`."""
    fp16: bool | None
    """``precision``, as other filters call it."""
    matrix_in: int | None
    """Matrix of the input, as `core.resize` numbers it (1, 4 to 9), whatever the frames say. Untagged YUV is taken
    for 709 above 1024x576, else for 601. Default: as tagged.
    """
    range_in: int | None
    """Range of the input, whatever the frames say: 0 limited, 1 full. Default: as tagged."""
    matrix: int | None
    """Matrix of the output, where that is not RGB. Default: as the input."""
    range: int | None
    """Range of the output. Default: as the input."""
    format: int | None
    """Format of the output: `vs.YUV420P10` and the like. Default: as the input."""
    dither: Literal["none", "ordered", "random", "error_diffusion"]
    """How values between those of an integer output are rounded, as in `core.resize`; against bands in skies.
    Default: `none`.
    """
    tilesize: int | Sequence[int] | None
    """Side, or `[width, height]`, of the tiles that a frame is run in, overlap included; 0 is the whole frame.
    Default: whole frames that fit into half of the memory, else tiles.
    """
    tile: int | Sequence[int] | None
    """``tilesize``, as other filters call it."""
    overlap: int | Sequence[int] | None
    """Pixels that a tile throws away at each inner side, a number or `[horizontal, vertical]`. Default: as far as
    the network sees, 32 and a quarter of a tile at most.
    """
    tile_pad: int | Sequence[int] | None
    """``overlap``, as other filters call it."""

class _Repeating(_All, total=False):
    repeats: int
    """Frames that repeat the one before: 0, each is a frame like others. 1: image models take the earlier result;
    models that interpolate spread two to four frames of one drawing evenly. 2: sequence models see each drawing
    once, and hold it. Default: `0`.
    """
    repeats_threshold: float
    """How different a repeated frame may be: the mean difference of a block of 16x16 values, in code values of 8
    bits. 0: identical. Default: `0.0`.
    """

class _Image(_Repeating, total=False):
    scale: int | None
    """Has to be that of the weights. Default: as the weights say."""
    num_streams: int
    """Sessions that run side by side, each with weights of its own in memory; 1 to 32. The bits stay the same.
    Default: `1`.
    """

class _Video(_All, total=False):
    sc: bool
    """Nothing passes a cut, and the frame before it is repeated, never blended. Cuts are what `_SceneChangeNext` and
    `_SceneChangePrev` say, or what is found where they are absent. Default: `True`.
    """
    sc_threshold: float
    """How different frames must be for a cut to be found: from 0, every change, to 1, hardly any. Default: `0.5`."""

class _Sequence(_Video, _Repeating, total=False):
    window: int | None
    """Input frames per step, one of them shared with the next step; 2 to 64. More frames see further, and need more
    memory. Default: the model's.
    """
    multi: int | None
    """Frame-rate factor: 2, 4 or 8, where the model interpolates; 1 is super-resolution alone. Default: the model's."""
    fps_num: int | None
    """A target rate in place of `multi`, from the clip's to eight times it: `fps_num=60`. Default: none."""
    fps_den: int | None
    """What `fps_num` is divided by: 60000/1001. Default: 1."""
    carry: bool | None
    """Carry the forward direction's state from window to window. Default: the model's."""
    segment: int | None
    """Windows after which a carried state begins again, counted from the clip's beginning; a seek looks back that
    far at most. 0: at cuts alone. Default: the model's.
    """
    lookahead: int | None
    """Further frames that the backward direction sees after a window, computed and thrown away; 0 to 64. Default:
    the model's.
    """
    checkpoint: int
    """Windows from one checkpoint of the carried state to the next. Default: `8`."""
    state_memory: int | None
    """MiB of memory that checkpoints may take; fewer are kept then. Default: by the memory of the machine, at most
    1024.
    """
    state_in: str | None
    """File of a carried state to begin with, that `state_out` has written. Default: zero."""
    state_out: str | None
    """File that the carried state is written to, at checkpoints and at the end. Default: none."""

def A2N(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """A2N: x2, x3 or x4; small, with attention weighted by the image.

    Chen et al., "Attention in Attention Network for Image Super-Resolution", 2021.

    ``scale``: that of the weights; 2 or 3 where these do not say it.
    """

def BasicVSR(clip: vs.VideoNode, **arguments: Unpack[_Sequence]) -> vs.VideoNode:
    """BasicVSR: x4 of a sequence, both directions of time along optical flow.

    Chan et al., "BasicVSR", CVPR 2021.

    ``multi``: 1 alone: the frame rate does not change.
    """

def EDSR(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """EDSR: x2, x3 or x4; wide residual blocks, trained for fidelity.

    Lim et al., "Enhanced Deep Residual Networks", CVPR Workshops 2017.
    """

def EDVR(clip: vs.VideoNode, **arguments: Unpack[_Video]) -> vs.VideoNode:
    """EDVR: x4 (or deblurring) of a frame from a window of five or seven.

    Wang et al., "EDVR", CVPR Workshops 2019.
    """

def ESRGAN(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """ESRGAN: x1 to x8 by the weights; what most community checkpoints are.

    Wang et al., "ESRGAN", ECCV Workshops 2018; "Real-ESRGAN", ICCV Workshops 2021.

    ``scale``: that of the weights; 2 or 3 where these do not say it.
    """

def MDSR(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """MDSR: x2, x3 and x4 in one file; residual blocks, trained for fidelity.

    Lim et al., "Enhanced Deep Residual Networks", CVPR Workshops 2017.

    ``scale``: which of the file's scales, 2, 3 or 4; has to be given.
    """

def SRCNN(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """SRCNN: sharpens an upscaled clip; three layers, luma only.

    Dong et al., "Learning a Deep Convolutional Network for Image SR", ECCV 2014.

    ``scale``: the factor by which the clip is upscaled by bicubic first, 1 to 8, 2 by default; 1 is a clip that
    is upscaled already.
    """

def SRGAN(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """SRGAN: x2, x4 or x8; trained against a discriminator, for natural looks.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017.
    """

def SRResNet(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """SRResNet: x2, x3 or x4; residual blocks, trained for fidelity.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017.
    """

def VDSR(clip: vs.VideoNode, **arguments: Unpack[_Image]) -> vs.VideoNode:
    """VDSR: sharpens an upscaled clip; twenty layers, luma only.

    Kim et al., "Accurate Image Super-Resolution Using Very Deep Networks", CVPR 2016.

    ``scale``: the factor by which the clip is upscaled by bicubic first, 1 to 8, 2 by default; 1 is a clip that
    is upscaled already.
    """

def ZoomingSlowMo(clip: vs.VideoNode, **arguments: Unpack[_Sequence]) -> vs.VideoNode:
    """ZoomingSlowMo: 4x the resolution and 2x the frame rate (or up to 8x) in one network (recurrent, deformable).

    Xiang et al., "Zooming Slow-Mo", CVPR 2020.

    ``clip``: constant format and size, at least 8x8; 4:2:0 needs even sizes, as always in VapourSynth.
    """
