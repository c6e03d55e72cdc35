"""Color: arguments beat tags, tags of all kinds, alpha; nobody hears of the library that converts.

The networks of these tests change nothing, so a flat clip has to come back as it was.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from helpers.clips import FORMATS, slow
from helpers.plain_models import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

core = vs.core

TAGS = ("_Matrix", "_Range", "_ChromaLocation", "_Transfer", "_Primaries", "_ColorSpace", "_ColorRange")
PLAIN = (1, 4, 5, 6, 7, 8, 9)


def flat(format: int, length: int = 1, width: int = 16, height: int = 16) -> vs.VideoNode:
    """One color, which is far from gray and inside limited range in every matrix; no tags."""
    info = core.get_video_format(format)
    if info.sample_type == vs.FLOAT:
        color = [0.4, 0.12, -0.08] if info.color_family == vs.YUV else [0.4, 0.5, 0.3]
    else:
        color = [c << (info.bits_per_sample - 8) for c in (100, 120, 140)]
    clip = core.std.BlankClip(
        format=format, width=width, height=height, length=length, color=color[: info.num_planes], keep=True
    )
    return clip.std.RemoveFrameProps(list(TAGS))


def tagged(clip: vs.VideoNode, each: Sequence[Mapping[str, Any]]) -> vs.VideoNode:
    """The clip with properties on every frame, of whatever types."""

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for key, value in each[n].items():
            frame.props[key] = value
        return frame

    return clip.std.ModifyFrame(clip, write)


def means(frame: vs.VideoFrame) -> list[float]:
    found = [np.asarray(plane).astype(np.float64) for plane in frame]
    assert all(np.ptp(plane) <= 0.02 * (1 + abs(plane).max()) for plane in found), "still flat"
    return [float(plane.mean()) for plane in found]


def close(found: list[float], wanted: list[float], format: vs.VideoFormat, tolerance: float = 1) -> bool:
    """Within one code value of 8 bit, which is what rounding on the way costs."""
    step = 1 / 255 if format.sample_type == vs.FLOAT else 1 << (format.bits_per_sample - 8)
    return all(abs(a - b) <= tolerance * step for a, b in zip(found, wanted, strict=True))


def family(clip: vs.VideoNode) -> str:
    return {vs.RGB: "RGB", vs.YUV: "YUV", vs.GRAY: "GRAY"}[clip.format.color_family]


def upscale(name: str, clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    return getattr(core.vs_sr, name)(clip, **arguments)


# Arguments


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: core.get_video_format(f).name)
def test_an_argument_wins_over_every_tag(name: str, format: int) -> None:
    """As for a clip that is tagged again with what the arguments say; to the bit, pixels and tags."""
    rng = random.Random(int(format))
    clip = flat(format)
    rgb = family(clip) == "RGB"
    for _ in range(4):
        tags = {"_Matrix": rng.choice((*PLAIN, 2, 3)), "_Range": rng.randrange(2), "_Transfer": 1, "_Primaries": 1}
        given = {"range_in": rng.randrange(2)} | ({} if rgb else {"matrix_in": rng.choice(PLAIN)})
        again = {"_Range": given["range_in"]} | ({} if rgb else {"_Matrix": given["matrix_in"]})
        out = {} if rng.randrange(2) else {"format": vs.RGB48 if family(clip) != "RGB" else vs.YUV444P16}
        with (
            upscale(name, clip.std.SetFrameProps(**tags), **given, **out).get_frame(0) as found,
            upscale(name, clip.std.SetFrameProps(**{**tags, **again}), **out).get_frame(0) as wanted,
        ):
            assert means(found) == means(wanted), (tags, given)
            assert dict(found.props) == dict(wanted.props)
            if not out:
                assert found.props["_Range"] == given["range_in"]
                assert found.props["_Matrix"] == given.get("matrix_in", 0)
                assert close(means(found), means(clip.get_frame(0)), found.format)


@pytest.mark.parametrize("name", MODELS)
def test_output_arguments_say_what_the_output_is(name: str) -> None:
    clip = flat(vs.YUV444P16).std.SetFrameProps(_Matrix=6, _Range=0, _Transfer=16, _Primaries=9, _ColorSpace=6)
    for matrix in PLAIN:
        for full in (0, 1):
            with upscale(name, clip, matrix=matrix, range=full).get_frame(0) as frame:
                assert (frame.props["_Matrix"], frame.props["_Range"]) == (matrix, full)
                assert (frame.props["_Transfer"], frame.props["_Primaries"]) == (16, 9)
                assert "_ColorSpace" not in frame.props, "an older name would say something else"
                with clip.resize.Bicubic(matrix=matrix, range=full).get_frame(0) as wanted:
                    assert close(means(frame), means(wanted), frame.format, 0.1)


@pytest.mark.parametrize("arguments", [{"matrix": 1}, {"matrix_in": 1}, {"matrix": 9, "format": vs.RGB24}])
def test_rgb_has_no_other_matrix(arguments: dict[str, int]) -> None:
    clip = flat(vs.RGB24) if "format" not in arguments else flat(vs.YUV444P8)
    with pytest.raises(vs.Error, match=r"^PlainRgb: matrix.* is not possible: the (clip|output) is RGB; choices: 0"):
        upscale("PlainRgb", clip, **arguments)


@pytest.mark.parametrize("subsampling", [(3, 0), (0, 3), (4, 4)])
def test_chroma_that_cannot_be_converted_is_refused(subsampling: tuple[int, int]) -> None:
    format = core.query_video_format(vs.YUV, vs.INTEGER, 8, *subsampling)
    with pytest.raises(vs.Error, match=r"^PlainRgb: clip has the format .*quarter of the width and height"):
        upscale("PlainRgb", core.std.BlankClip(format=format.id, width=64, height=64))
    with pytest.raises(vs.Error, match=r"^PlainRgb: format has the format .*quarter"):
        upscale("PlainRgb", flat(vs.YUV444P8), format=format.id)


# Tags


NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 255, -1, 1 << 31, -(1 << 62))
BROKEN = (b"709", 0.5, [1, 6])
FOREIGN = ("Resize error", "zimg", "colorspace", "Error:")


def pick(rng: random.Random) -> dict[str, Any]:
    """Some tags, likely and absurd ones."""
    tags: dict[str, Any] = {}
    for name in TAGS:
        kind = rng.random()
        if kind < 0.25:
            tags[name] = rng.choice({"_Matrix": PLAIN, "_ColorSpace": PLAIN}.get(name, (0, 1)))
        elif kind < 0.6:
            tags[name] = rng.choice(NUMBERS)
        elif kind < 0.65:
            tags[name] = rng.choice(BROKEN)
    return tags


@pytest.mark.filterwarnings("ignore:The _ColorRange")
@pytest.mark.parametrize("seed", range(6))
def test_any_tags_on_any_format(seed: int) -> None:
    """A frame of the right color, or one sentence of ours that says which frame and what to do."""
    rng = random.Random(seed)
    outcomes = {"frame": 0, "refused": 0, "failed": 0}
    for _ in range(60):
        name, format, tags = rng.choice([*MODELS]), rng.choice(FORMATS), pick(rng)
        clip = tagged(flat(format, 2), [tags, tags])
        arguments = {}
        for key, numbers in (
            ("matrix_in", NUMBERS),
            ("matrix", NUMBERS),
            ("range_in", (0, 1, 7)),
            ("range", (0, 1, -1)),
        ):
            if rng.random() < 0.15:
                arguments[key] = rng.choice(numbers)
        if rng.random() < 0.2:
            arguments["format"] = rng.choice(FORMATS)
        try:
            made = upscale(name, clip, **arguments)
        except vs.Error as error:
            outcomes["refused"] += 1
            text = str(error)
            assert text.startswith(f"{name}: "), text
            assert "choices: " in text, text
            assert not any(word in text for word in FOREIGN), text
            continue
        try:
            frame = made.get_frame(1)
        except vs.Error as error:
            outcomes["failed"] += 1
            text = str(error)
            assert text.startswith(f"{name}: frame 1 of the clip: "), (text, tags)
            assert "matrix_in=" in text, text
            assert not any(word in text for word in FOREIGN), (text, tags)
            assert family(clip) == "YUV"
            assert "matrix_in" not in arguments
            continue
        outcomes["frame"] += 1
        same = made.format.id == format and not {"matrix", "range"} & arguments.keys()
        if same:
            assert close(means(frame), means(clip.get_frame(1)), frame.format), (name, format, tags, arguments)
        check_tags(frame, clip, tags, arguments)
    assert outcomes["frame"] > 20, outcomes


def check_tags(frame: vs.VideoFrame, clip: vs.VideoNode, tags: dict[str, Any], arguments: dict[str, Any]) -> None:
    """The tags of an output frame."""
    props = frame.props
    kind = {vs.RGB: "RGB", vs.YUV: "YUV", vs.GRAY: "GRAY"}[frame.format.color_family]
    assert props["_Range"] in (0, 1)
    assert "_ColorSpace" not in props
    if kind == "RGB":
        assert props["_Matrix"] == 0
    elif "matrix" in arguments:
        assert props["_Matrix"] == arguments["matrix"]
    elif "matrix_in" in arguments and family(clip) == kind:
        assert props["_Matrix"] == arguments["matrix_in"]
    if kind == "YUV":
        assert props["_Matrix"] in (*PLAIN, 10, 12, 13, 14)
        assert props.get("_ChromaLocation", 0) in range(6)
    for name in ("_Transfer", "_Primaries"):  # not ours to judge
        if isinstance(tags.get(name), int):
            assert props[name] == tags[name]
    if "range" in arguments:
        assert props["_Range"] == arguments["range"]


def test_tags_that_change_within_a_clip(caplog: pytest.LogCaptureFixture) -> None:
    """Every frame by its own tags, in a window of a sequence model, too; what is doubted is said once."""
    each = [
        {"_Matrix": 1}, {"_Matrix": 9, "_Range": 1}, {"_Matrix": 3}, {}, {"_ColorSpace": 1},
        {"_Matrix": 3, "_Range": 0}, {"_Matrix": 14, "_Transfer": 16, "_Primaries": 9},
        {"_Matrix": 6, "_Transfer": 3, "_ChromaLocation": 77},
    ]  # fmt: skip
    blank = flat(vs.YUV420P10, len(each))
    clip = tagged(blank, each)
    with caplog.at_level(logging.INFO, "vs_sr"):
        for n, frame in enumerate(upscale("PlainRgb", clip).frames(prefetch=1)):  # what is said of the first is asked
            matrix = each[n].get("_Matrix", each[n].get("_ColorSpace", 6))
            assert frame.props["_Matrix"] == (6 if matrix == 3 else matrix)
            assert close(means(frame), means(blank.get_frame(0)), frame.format)
    said = [record.getMessage() for record in caplog.records]
    assert sum("_Matrix=3 has no meaning and is taken for unspecified" in line for line in said) == 1
    assert sum("frame 2 of the clip: no matrix is given: 16x16 is taken for ST170_M" in line for line in said) == 1
    assert sum("frame 7 of the clip: _ChromaLocation=77 has no meaning" in line for line in said) == 1
    matrices = [frame.props["_Matrix"] for frame in slow(clip, sc=0).frames()]
    assert matrices == [m for m in (1, 9, 6, 6, 1, 6, 14, 6) for _ in range(2)]


@pytest.mark.parametrize("name", MODELS)
def test_planes_of_rgb_can_be_upscaled_and_joined_again(name: str) -> None:
    for full in ({}, {"_Range": 0}, {"_Range": 1}):
        clip = flat(vs.RGB24).std.SetFrameProps(_Matrix=0, **full)
        parts = [upscale(name, plane) for plane in core.std.SplitPlanes(clip)]
        joined = core.std.ShufflePlanes(parts, [0, 0, 0], vs.RGB)
        with joined.get_frame(0) as frame:
            assert means(frame) == means(clip.get_frame(0))
            assert frame.props["_Range"] == full.get("_Range", 1)
        joined.resize.Bicubic(format=vs.YUV420P8, matrix=1).get_frame(0).close()
    for format in (vs.YUV444P8, vs.RGB24):
        made = upscale(name, core.std.SplitPlanes(clip)[1], format=format).get_frame(0)
        assert made.props["_Matrix"] == (6 if format == vs.YUV444P8 else 0)


# Alpha


def alpha_of(format: int, width: int, height: int, **props: int) -> vs.VideoFrame:
    frame = core.create_video_frame(core.get_video_format(format), width, height)
    value = 0.25 if frame.format.sample_type == vs.FLOAT else 1 << (frame.format.bits_per_sample - 2)
    for plane in frame:
        np.asarray(plane)[:] = value
    frame.props.update(props)
    return frame


def with_alphas(*alphas: Any) -> vs.VideoNode:
    return tagged(flat(vs.YUV420P8, len(alphas)), [{} if alpha is None else {"_Alpha": alpha} for alpha in alphas])


@pytest.fixture(params=[*MODELS, "ZoomingSlowMo"])
def upscaled(request: pytest.FixtureRequest) -> Iterator[Any]:
    name = request.param
    return (lambda clip: slow(clip, multi=1, sc=0)) if name == "ZoomingSlowMo" else (lambda clip: upscale(name, clip))


def test_alpha_of_the_frames_size_comes_along(upscaled: Any) -> None:
    """In whatever it is tagged with, which is nobody's business: it is no color."""
    kinds = [vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS]
    tags = [
        {},
        {"_Matrix": 0, "_Range": 1},
        {"_Matrix": 11, "_Transfer": 3},
        {"_FieldBased": 1},
        {"_ChromaLocation": 99},
    ]
    clip = with_alphas(*(alpha_of(kind, 16, 16, **t) for kind, t in zip(kinds, tags, strict=True)))
    for n, frame in enumerate(upscaled(clip).frames()):
        alpha = frame.props["_Alpha"]
        assert (alpha.format.id, alpha.width, alpha.height) == (kinds[n], frame.width, frame.height)
        assert means(alpha) == means(alpha_of(kinds[n], 16, 16))
        assert {key: alpha.props[key] for key in tags[n]} == tags[n]


def test_what_is_no_alpha_of_the_frame_is_left_out_and_said_once(
    upscaled: Any, caplog: pytest.LogCaptureFixture
) -> None:
    others = [
        alpha_of(vs.GRAY8, 32, 32), alpha_of(vs.GRAY8, 16, 8), alpha_of(vs.RGB24, 16, 16),
        alpha_of(vs.YUV420P8, 16, 16), alpha_of(vs.GRAY32, 16, 16),
        7, 0.5, b"alpha", alpha_of(vs.GRAY8, 32, 32), None, alpha_of(vs.GRAY8, 16, 16),
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING, "vs_sr"):
        made = [frame.props.get("_Alpha") for frame in upscaled(with_alphas(*others)).frames()]
    assert made[:-1] == [None] * 10
    assert (made[-1].width, made[-1].height) in ((32, 32), (64, 64))
    said = [record.getMessage() for record in caplog.records if "_Alpha" in record.getMessage()]
    assert sum("_Alpha has 32x32 pixels, the frame 16x16: the output has no alpha" in line for line in said) == 1
    assert len(said) == 6
