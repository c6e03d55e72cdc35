"""Scene cuts, as the frame properties ``_SceneChangePrev`` and ``_SceneChangeNext`` tell them. Pure integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

PREVIOUS, NEXT = "_SceneChangePrev", "_SceneChangeNext"

type Tags = tuple[int | None, int | None]
"""The two properties of a frame: is it the first of a scene, is it the last; None where absent."""


def read(properties: Mapping[str, Any]) -> Tags:
    """The two properties of a frame."""
    return properties.get(PREVIOUS), properties.get(NEXT)


def write(properties: MutableMapping[str, Any], tags: Tags) -> None:
    """Set the two properties of a frame; those that are None are left as they are."""
    for key, value in zip((PREVIOUS, NEXT), tags, strict=True):
        if value is not None:
            properties[key] = value


def cuts(tags: Mapping[int, Tags]) -> set[int]:
    """The cuts that frames tell of; cut i lies between the frames i and i+1. Either side may tell it."""
    first = {frame - 1 for frame, (previous, _) in tags.items() if previous}
    last = {frame for frame, (_, following) in tags.items() if following}
    return first | last


def divide(tags: Tags, part: int, parts: int) -> Tags:
    """The properties of part 0 .. parts-1 of a frame that becomes several: a cut stays where it is."""
    previous, following = tags
    return (
        previous if part == 0 or previous is None else 0,
        following if part == parts - 1 or following is None else 0,
    )
