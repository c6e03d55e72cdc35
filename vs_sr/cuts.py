"""Every frame's word on scene cuts: the properties that it came with, else what our own detector sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import vapoursynth as vs

from vs_sr import _bridge, color, scenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt


def found(name: str, bare: vs.VideoNode, threshold: float = scenes.THRESHOLD) -> vs.VideoNode:
    """Frames with nothing but ``_SceneChangePrev`` and ``_SceneChangeNext``, at 1 on both sides of every cut.

    Between two frames of which at least one speaks of the other, the properties decide (:func:`vs_sr.scenes.marked`);
    elsewhere the detector (:class:`vs_sr.scenes.Copies`) does. A 0 that was there stays; none is added, since it
    would mislead whoever slices, joins or reverses the clip.

    Args:
        name: of the filter; errors begin with it.
        bare: the clip, from :func:`vs_sr.frames.bare`.
        threshold: of the detector.
    """
    return _bridge.temporal(
        name,
        _small(bare),
        _Detector(bare.num_frames, threshold),
        width=1,
        height=1,
        format=vs.GRAY8,
        step=1,
        multi=1,
        groups=bare.num_frames,
        before=scenes.REACH,
        after=scenes.REACH,
    )


def mark(clip: vs.VideoNode, found: vs.VideoNode) -> vs.VideoNode:
    """The clip with the marks of :func:`found`; nothing else of its frames changes."""
    return _bridge.lean(clip.std.CopyFrameProps(found, props=[scenes.PREVIOUS, scenes.NEXT]))


def _small(bare: vs.VideoNode) -> vs.VideoNode:
    """Luma of the size that the detector takes, in the depth of the clip: reduced as it is, which is twice as quick.

    Without tags nothing can contradict the format; a cut is one in any matrix.
    """
    format = cast("vs.VideoFormat", bare.format)
    gray = vs.core.query_video_format(vs.GRAY, format.sample_type, format.bits_per_sample).id
    if format.color_family == vs.RGB:
        small = _bridge.lean(bare.resize.Bilinear(scenes.WIDTH, scenes.HEIGHT))
        return _bridge.lean(small.resize.Point(format=gray, matrix=color.Matrix.ST170_M))
    return _bridge.lean(bare.resize.Bilinear(scenes.WIDTH, scenes.HEIGHT, format=gray))


class _Detector:
    """What the plugin calls for a group of frames."""

    def __init__(self, length: int, threshold: float) -> None:
        self._length = length
        self._threshold = threshold
        self._known: dict[tuple[int, int], float] = {}  # so that each pair is compared once

    def __call__(
        self, group: int, want: int, numbers: list[int], frames: list[vs.VideoFrame]
    ) -> Sequence[vs.VideoFrame]:
        tags = {n: scenes.read(frame.props) for n, frame in zip(numbers, frames, strict=True)}
        self._known = {pair: new for pair, new in self._known.items() if set(pair) <= tags.keys()}
        copies = scenes.Copies({n: _copy(frame) for n, frame in zip(numbers, frames, strict=True)}, self._known)
        frame = vs.core.create_video_frame(vs.core.get_video_format(vs.GRAY8), 1, 1)
        frame[0][0, 0] = 0
        previous, following = tags[group]
        scenes.write(
            frame.props, (self._mark(group - 1, previous, tags, copies), self._mark(group, following, tags, copies))
        )
        return [frame]

    def _mark(self, i: int, given: int | None, tags: dict[int, scenes.Tags], copies: scenes.Copies) -> int | None:
        """What a frame says of a cut between the frames i and i+1, one of which it is and has said ``given``."""
        if not 0 <= i < self._length - 1:  # an end of the clip can be marked, not seen
            return given
        known = scenes.marked(i, tags)
        cut = copies.cut(i, self._threshold) if known is None else known
        return 1 if cut else 0 if given == 0 else None


def _copy(frame: vs.VideoFrame) -> npt.NDArray[np.float32]:
    """The pixels, in 0..1; those that are no number, in clips of floating point, are black."""
    import numpy as np

    pixels = np.asarray(frame[0]).astype(np.float32)
    if frame.format.sample_type == vs.INTEGER:  # of limited range, untagged as it is
        unit = np.float32(1 << (frame.format.bits_per_sample - 8))
        pixels = (pixels - 16 * unit) / (219 * unit)
    return np.nan_to_num(pixels, nan=0.0).clip(0, 1)
