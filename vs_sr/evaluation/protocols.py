"""Protocols: everything between a ground-truth image and a figure in a paper's table, as named choices.

The same network and images give figures up to 0.5 dB apart, by how the LR was made, what was rounded, what
was cropped, and what "Y" is. A :class:`Protocol` states each of these; :data:`PRESETS` names the usual sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vs_sr.errors import ArgumentError
from vs_sr.evaluation.resample import RULES, Rule, resample

if TYPE_CHECKING:
    import numpy.typing as npt

    Image = npt.NDArray[np.generic]
    Float64 = npt.NDArray[np.float64]

type GroundTruth = Literal["crop", "resize"]
type Rounding = Literal["round", "truncate", "none"]
type LumaName = Literal["matlab", "edsr", "a2n", "yjn870", "jpeg"]


@dataclass(frozen=True, slots=True)
class Luma:
    """Y = offset + weights . (R, G, B), of RGB in 0..255."""

    weights: tuple[float, float, float]
    offset: float
    summary: str

    def __call__(self, rgb: Image) -> Float64:
        """(..., 3) in 0..255 -> (...), not rounded."""
        y: Float64 = rgb.astype(np.float64) @ np.array(self.weights) + self.offset
        return y

    @property
    def gain(self) -> float:
        """What Y gains where R, G and B all gain 1."""
        return sum(self.weights)


def _over(divisor: float, *weights: float) -> tuple[float, float, float]:
    red, green, blue = (weight / divisor for weight in weights)
    return red, green, blue


LUMAS: dict[LumaName, Luma] = {
    "matlab": Luma(_over(255, 65.481, 128.553, 24.966), 16, "rgb2ycbcr: 16 + (65.481 R + 128.553 G + 24.966 B) / 255"),
    "edsr": Luma(_over(256, 65.738, 129.057, 25.064), 16, "the same over 256, as EDSR and A2N have it"),
    "a2n": Luma(_over(256, 65.738, 129.057, 25.046), 16, "25.046 for blue, the A2N article's: +0.001 dB"),
    "yjn870": Luma(_over(256, 64.738, 129.057, 25.064), 16, "64.738 for red, yjn870's: +0.03 dB; white is 234"),
    "jpeg": Luma((0.299, 0.587, 0.114), 0, "full range, as Pillow and OpenCV convert: about -1.3 dB"),
}


@dataclass(frozen=True, slots=True)
class Border:
    """Pixels left out on each side: ``factor * scale + pixels``."""

    factor: int
    pixels: int

    @classmethod
    def parse(cls, text: str) -> Border:
        """From "4", "scale" or "scale+6".

        Raises:
            ArgumentError: it is none of these.
        """
        match = re.fullmatch(r"(?P<scale>scale)?(?:(?(scale)\+)(?P<pixels>\d+))?", text)
        if not text or match is None:
            raise ArgumentError(f"border {text!r} is not known; give a number of pixels, 'scale', or 'scale+N'")
        return cls(int(match["scale"] is not None), int(match["pixels"] or 0))

    def at(self, scale: int) -> int:
        """In pixels."""
        return self.factor * scale + self.pixels

    def __str__(self) -> str:
        if not self.factor:
            return str(self.pixels)
        return f"scale+{self.pixels}" if self.pixels else "scale"


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How images are prepared and measured. The defaults are those of most benchmark tables."""

    resize: Rule = "matlab-uint8"
    """How the LR is made, and how it is upscaled for the baseline and for networks on upscaled images."""
    upscale: Rule | None = None
    """How it is upscaled where that differs; None: as ``resize``."""
    ground_truth: GroundTruth = "crop"
    """How the ground truth comes to a multiple of the scale. "resize" smooths it: about +0.5 dB at x3."""
    cumulative_modcrop: bool = False
    """Crop to a multiple of 2, the rest to a multiple of 3, ... up to the scale, as VDSR's test set was made."""
    border: Border = Border(1, 0)
    """Left out of PSNR and SSIM."""
    ssim_border: Border | None = None
    """Left out of SSIM where that differs; None: as ``border``."""
    ssim_padding: Literal["valid", "zero"] = "valid"
    """Where SSIM's window goes over the edge: not at all, or over zeros (pytorch_ssim)."""
    y: LumaName = "matlab"
    """What Y is: of figures, and as the input of networks that take Y."""
    output: Rounding = "round"
    """How RGB output becomes code values; the Y of networks that give Y stays as it is."""
    round_y: bool = False
    """Round both Ys to integers, as MATLAB's rgb2ycbcr does on uint8: -0.03 to -0.08 dB."""
    crf: int | None = None
    """The LR clip goes through 4:2:0 and H.264 of this CRF, as people have films; None: it does not."""

    def __post_init__(self) -> None:
        """Refuse names that nothing has.

        Raises:
            ArgumentError: there is no such rule or luma.
        """
        for what, name, choices in (("resampling rule", self.resize, RULES), ("Y", self.y, LUMAS)):
            if name not in choices:
                raise ArgumentError(f"there is no {what} {name!r}; choices: {', '.join(choices)}")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise ArgumentError(f"crf={self.crf} is out of range; 0 to 51")

    @property
    def luma(self) -> Luma:
        """The rule that ``y`` names."""
        return LUMAS[self.y]


PRESETS: dict[str, tuple[str, Protocol]] = {
    "matlab-uint8": ("uint8 MATLAB bicubic, border = scale: EDSR, SRGAN, BasicSR tables", Protocol()),
    "matlab-double": (
        "MATLAB bicubic on floating point, nothing rounded",
        Protocol(resize="matlab-double", output="none"),
    ),
    "vdsr": (
        "matlab-double with cumulative modcrop: the .mat files of pytorch-vdsr",
        Protocol(resize="matlab-double", output="none", cumulative_modcrop=True),
    ),
    "pil": ("Pillow's bicubic both ways", Protocol(resize="pil")),
    "edsr": ("matlab-uint8 with EDSR's constants of Y", Protocol(y="edsr")),
    "div2k": ("EDSR's validation on DIV2K: RGB, border = scale + 6", Protocol(y="edsr", border=Border(1, 6))),
    "a2n-article": (
        "Pillow's LR, ground truth resized, output not rounded, SSIM of the whole image",
        Protocol(resize="pil", ground_truth="resize", output="none", y="a2n", ssim_border=Border(0, 0)),
    ),
    "yjn870": (
        "Pillow's LR, ground truth resized, no border, yjn870's constants of Y",
        Protocol(resize="pil", ground_truth="resize", y="yjn870", border=Border(0, 0), output="truncate"),
    ),
    "vid4": (
        "video: LR rounded once, no border; Zooming Slow-Mo, EDVR, BasicSR on Vid4, REDS4 (RGB column)",
        Protocol(resize="matlab-once", border=Border(0, 0)),
    ),
    "space-time": (
        "vid4 with matlab-uint8 LR and a baseline in floating point: the figures of our training",
        Protocol(upscale="matlab-double", border=Border(0, 0)),
    ),
}
"""Name to (summary, protocol)."""


def preset(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in PRESETS:
        raise ArgumentError(f"there is no protocol {name!r}; choices: {', '.join(PRESETS)}")
    return PRESETS[name][1]


def ground_truth(image: npt.NDArray[np.uint8], scale: int, protocol: Protocol) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) at a size that is a multiple of ``scale``, cropped or resized as the protocol says.

    Raises:
        ArgumentError: it is smaller than ``scale``.
    """
    height, width = image.shape[:2]
    if min(height, width) < scale:
        raise ArgumentError(f"an image of {width}x{height} is too small for x{scale}")
    if protocol.ground_truth == "resize":
        size = (height // scale * scale, width // scale * scale)
        if size == (height, width):
            return image
        rule: Rule = "matlab-uint8" if protocol.resize == "matlab-double" else protocol.resize
        return resample(image, size, rule).astype(np.uint8)
    for divisor in range(2, scale + 1) if protocol.cumulative_modcrop else (scale,):
        height, width = (length // divisor * divisor for length in (height, width))
    return image[:height, :width]


def reduce(target: npt.NDArray[np.uint8], scale: int, protocol: Protocol) -> Image:
    """The LR image (H/scale, W/scale, 3) in 0..255 of a ground truth: uint8, or float64 by the double rule."""
    return resample(target, (target.shape[0] // scale, target.shape[1] // scale), protocol.resize)


def upscale(lr: Image, scale: int, protocol: Protocol) -> Image:
    """An LR image (h, w, 3) upscaled by bicubic: (scale*h, scale*w, 3), uint8 or float64 as the rule has it."""
    return resample(lr, (lr.shape[0] * scale, lr.shape[1] * scale), protocol.upscale or protocol.resize)


def code_values(rgb: Image, protocol: Protocol) -> Image:
    """RGB output as the figures see it: clipped to 0..255, and rounded as the protocol says."""
    clipped = rgb.astype(np.float64).clip(0, 255)
    match protocol.output:
        case "round":
            return np.rint(clipped).astype(np.uint8)
        case "truncate":
            return clipped.astype(np.uint8)
        case "none":
            return clipped
