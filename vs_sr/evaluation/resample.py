"""Bicubic resampling by name: the rules by which published LR images and baselines were made.

All have Keys' kernel with a = -0.5 and antialiasing; they differ where the picture ends and where they round,
which moves figures by up to 0.5 dB.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vs_sr.errors import ArgumentError, VsSrError
from vs_sr.evaluation.bicubic import resize_matrix, round_half_up

type Image = npt.NDArray[np.generic]
type Rule = Literal["matlab-double", "matlab-uint8", "matlab-once", "pil"]

RULES: tuple[Rule, ...] = get_args(Rule.__value__)
SUMMARY: dict[Rule, str] = {
    "matlab-double": "MATLAB's imresize on floating point: mirrored borders, nothing rounded",
    "matlab-uint8": "MATLAB's imresize on uint8: rounded half up after the rows and again after the columns",
    "matlab-once": "in floating point, rounded once at the end (half to even): what ports of imresize write",
    "pil": "Pillow's BICUBIC on uint8: columns first, kernel cut off at borders",
}


def resample(image: Image, size: tuple[int, int], rule: Rule) -> Image:
    """An image at another size.

    Args:
        image: (H, W, C) in 0..255, uint8 or, for the rule "matlab-double", floating point too.
        size: (height, width) of the result, at least 1.
        rule: one of :data:`RULES`, see :data:`SUMMARY`.

    Returns:
        (height, width, C): float64, not clipped, for "matlab-double"; else uint8.

    Raises:
        ArgumentError: no such rule, or an empty size.
        VsSrError: "pil" without Pillow.
    """
    if rule not in RULES:
        raise ArgumentError(f"there is no resampling rule {rule!r}; choices: {', '.join(RULES)}")
    if min(size) < 1:
        raise ArgumentError(f"an image of {image.shape[1]}x{image.shape[0]} cannot become {size[1]}x{size[0]}")
    if rule == "pil":
        return _pillow(image, size)
    vertical, horizontal = (resize_matrix(old, new / old) for old, new in zip(image.shape, size, strict=False))
    rows = np.tensordot(vertical, image.astype(np.float64), axes=(1, 0))
    if rule == "matlab-uint8":
        rows = round_half_up(rows).astype(np.float64)
    whole = np.moveaxis(np.tensordot(horizontal, rows, axes=(1, 1)), 0, 1)
    if rule == "matlab-uint8":
        return round_half_up(whole)
    return np.rint(whole).clip(0, 255).astype(np.uint8) if rule == "matlab-once" else whole


def _pillow(image: Image, size: tuple[int, int]) -> Image:
    try:
        from PIL import Image as Pillow
    except ImportError:
        raise VsSrError("the rule 'pil' needs pillow; install it with: pip install 'vs-sr[demo]'") from None
    if image.dtype != np.uint8:
        raise ArgumentError(f"the rule 'pil' takes uint8 images; got {image.dtype}")
    return np.asarray(Pillow.fromarray(image).resize(size[::-1], Pillow.Resampling.BICUBIC))
