"""The plugin's node against NaN and infinity: every format of floating point, every place, nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
import vapoursynth as vs

from vs_sr._bridge import finite

core = vs.core

FORMATS = [vs.GRAYH, vs.GRAYS, vs.RGBH, vs.RGBS, vs.YUV420PH, vs.YUV420PS, vs.YUV444PS]
BAD = (np.nan, -np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: core.get_video_format(format).name)
def test_only_what_is_not_finite_becomes_black(format: int) -> None:
    """The largest and the smallest numbers, zeros and denormals stay, bit for bit; in every plane, in every column."""
    width, height = 38, 6
    source = core.std.BlankClip(width=width, height=height, format=format, length=6, keep=True)
    kind = np.float16 if source.format.bits_per_sample == 16 else np.float32
    info = np.finfo(kind)
    good = [info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, 0.0, -0.0, 0.5, -3.25]
    rng = np.random.default_rng(int(format))
    wanted: dict[tuple[int, int], np.ndarray] = {}
    spoiled: dict[tuple[int, int], np.ndarray] = {}
    for n in range(6):
        for plane in range(source.format.num_planes):
            shape = np.asarray(source.get_frame(0)[plane]).shape
            pixels = rng.choice(np.array(good, kind), shape)
            where = rng.random(shape) < 0.1 if n in (1, 4) and plane == n % source.format.num_planes else None
            bad = pixels.copy()
            if where is not None:
                where[-1, -1] = True
                bad[where] = rng.choice(np.array(BAD, kind), int(where.sum()))
                pixels[where] = 0
            wanted[n, plane], spoiled[n, plane] = pixels, bad

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(f.format.num_planes):
            np.asarray(frame[plane])[:] = spoiled[n, plane]
        frame.props["n"] = n
        return frame

    clip = source.std.ModifyFrame(source, draw)
    for n, frame in enumerate(finite(clip, "mended").frames()):
        for plane in range(frame.format.num_planes):
            assert np.asarray(frame[plane]).tobytes() == wanted[n, plane].tobytes(), (n, plane)
        assert frame.props.get("mended") == (1 if n in (1, 4) else None)
        assert frame.props["n"] == n


def test_a_clip_of_integers_is_refused() -> None:
    with pytest.raises(vs.Error, match=r"^XFinite: clip must have a constant format of floating point$"):
        finite(core.std.BlankClip(format=vs.YUV420P8), "mended")
