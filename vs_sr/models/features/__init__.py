"""Networks whose features a perceptual loss compares; no filters.

``vgg19`` is what ESRGAN's loss takes (conv5_4 before its activation), ``vgg16`` what SRGAN's community
loss takes (the last pooling), ``minc`` a VGG-16 trained on materials (conv5_3 before its activation).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from vs_sr.spec import Shapes

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "vgg19": {"depth": 19, "last": (5, 4)},
    "vgg16": {"depth": 16, "last": (5, 3), "activated": True, "pooled": True},
    "minc": {"depth": 16, "last": (5, 3), "normalize": False, "ceil": True},
}
"""Arguments of ``VGGFeatures`` by name."""

CONVS: Mapping[int, tuple[int, ...]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each of the five levels, by depth."""


def names(shapes: Shapes, depth: int = 16) -> dict[str, str]:
    """From a file's names to those of ``VGGFeatures``: ``convLN`` (MINC) gets torchvision's index.

    What the features do not need (torchvision's classifier) is left out.
    """
    places: dict[str, int] = {}
    index = 0
    for level, count in enumerate(CONVS[depth], 1):
        for number in range(1, count + 1):
            places[f"conv{level}{number}"] = index
            index += 2  # the convolution and its activation
        index += 1  # the pooling
    found: dict[str, str] = {}
    for name in shapes:
        if match := re.fullmatch(r"(conv\d\d)\.(weight|bias)", name):
            found[name] = f"features.{places[match[1]]}.{match[2]}"
        elif name.startswith("features."):
            found[name] = name
    return found
