"""Scene cuts of a clip, as its frame properties tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import vapoursynth as vs

THRESHOLD = 0.3
RANGE = (0.0, 1.0)


def mark(name: str, clip: vs.VideoNode, threshold: float) -> vs.VideoNode:
    """The clip with ``_SceneChangePrev`` and ``_SceneChangeNext`` as it has them."""
    return clip
