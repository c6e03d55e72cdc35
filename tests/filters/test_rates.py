"""Frame rates: factors and targets, through real VapourSynth."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest
import vapoursynth as vs
from helpers.clips import digest, moving, slow
from helpers.counting import made, numbers, run, triple
from helpers.recurrence import Clip
from helpers.support import BIN, environment

if TYPE_CHECKING:
    from pathlib import Path

core = vs.core

TARGETS = [
    (Fraction(24), Fraction(60)),
    (Fraction(24000, 1001), Fraction(60000, 1001)),
    (Fraction(24000, 1001), Fraction(60)),
    (Fraction(25), Fraction(60)),
    (Fraction(30), Fraction(48)),
    (Fraction(25, 2), Fraction(100)),
    (Fraction(24), Fraction(24)),
]


def at_rate(clip: vs.VideoNode, rate: Fraction) -> vs.VideoNode:
    return clip.std.AssumeFPS(fpsnum=rate.numerator, fpsden=rate.denominator)


def target(rate: Fraction) -> dict[str, int]:
    return {"fps_num": rate.numerator, "fps_den": rate.denominator}


def fake(clip: vs.VideoNode, **arguments: Any) -> vs.VideoNode:
    return core.vs_sr.Recurrence(clip, device_id=-1, **arguments)


@pytest.mark.parametrize(("rate", "wish"), TARGETS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 13])
def test_every_output_is_where_its_time_is(length: int, rate: Fraction, wish: Fraction) -> None:
    """The nearest eighth of an input interval, for as long as the clip lasts; exact durations, exact sum."""
    out = fake(at_rate(numbers(length), rate), **target(wish))
    ratio = wish / rate
    clip = Clip(frames=length, multi=ratio.numerator, per=ratio.denominator)
    assert (out.fps, out.num_frames) == (wish, ceil(length * ratio)) == (wish, clip.outputs)
    for n, frame in enumerate(out.frames()):
        assert triple(frame) == clip.expected(n), n
        assert Fraction(frame.props["_DurationNum"], frame.props["_DurationDen"]) == 1 / wish


def test_the_last_frame_stays_until_the_clip_ends() -> None:
    """25 to 60: 12 outputs for 5 inputs; those after the last frame's time are that frame."""
    out = fake(at_rate(numbers(5), Fraction(25)), fps_num=60)
    assert [triple(frame)[2] for frame in out.frames()][-2:] == [4, 4]
    assert out.num_frames == 12


@pytest.mark.parametrize("multi", [1, 2, 4, 8])
def test_a_whole_multiple_as_a_target_is_the_factor_bit_for_bit(multi: int) -> None:
    clip = moving(3, 18, 10, vs.YUV420P8)
    factor, wish = slow(clip, multi=multi), slow(clip, fps_num=24000 * multi, fps_den=1001)
    assert (factor.fps, factor.num_frames) == (wish.fps, wish.num_frames) == (multi * clip.fps, 3 * multi)
    for a, b in zip(factor.frames(), wish.frames(), strict=True):
        assert digest(a) == digest(b)
        assert dict(a.props) == dict(b.props)


def test_no_timestep_is_computed_that_is_not_needed() -> None:
    """24 to 60: of four intervals, 20 timesteps in place of 32, of which 10 are shown."""
    clip = Clip(frames=7, window=8, multi=5, per=2)
    out = run(clip)
    other = run(Clip(frames=2))
    other.get_frame(0).close()  # the session that both share is open now
    for calls in made[-1].calls.values():
        calls.clear()
    for frame in out.frames():
        frame.close()
    counts = {name: len(calls) for name, calls in made[-1].calls.items()}
    assert counts == {"encode": 7, "between": 6 * 4, "forward": 6 * 5 + 1, "reconstruct": 6 * 5 // 2 + 1}


def test_a_cut_lies_between_the_outputs_where_its_input_ends() -> None:
    """Each side keeps its mark once; what would be shown between the scenes is the frame before again."""
    clip = Clip(frames=9, multi=5, per=2, cuts=(3,))
    out = run(clip)
    marks: dict[str, list[int]] = {"_SceneChangeNext": [], "_SceneChangePrev": []}
    for n, frame in enumerate(out.frames()):
        assert triple(frame) == clip.expected(n)
        for key, found in marks.items():
            found += [n] * frame.props.get(key, 0)
    sources = [clip.place(n)[0] for n in range(out.num_frames)]
    assert marks == {"_SceneChangeNext": [sources.index(4) - 1], "_SceneChangePrev": [sources.index(4)]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fps_num": 20}, "fps_num=20, fps_den=1 is out of range; 24 (the clip's) to 192 are possible"),
        ({"fps_num": 193}, "fps_num=193, fps_den=1 is out of range; 24 (the clip's) to 192 are possible"),
        ({"fps_num": 60, "multi": 2}, "fps_num=60, fps_den=1 and multi=2 are two rates; give one"),
        ({"fps_den": 1001}, "fps_den=1001 alone is no rate; give fps_num as well"),
        ({"fps_num": 0}, "fps_num=0 is out of range; 1 to 2147483647 (default none)"),
        ({"fps_num": 60, "fps_den": 0}, "fps_den=0 is out of range; 1 to 2147483647 (default 1)"),
        ({"fps_num": 2**31 - 1, "fps_den": 2**25 + 1}, "too fine a ratio; use std.AssumeFPS first"),
        ({"multi": 16}, "multi=16 is not possible; choices: 1, 2, 4, 8 (default 2)"),
    ],
)
def test_what_cannot_be_met_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(vs.Error) as caught:
        fake(numbers(3), **arguments)
    assert str(caught.value).startswith("Recurrence: ")
    assert message in str(caught.value)


def test_a_clip_of_variable_rate_is_refused_with_the_way_out() -> None:
    clip = core.std.Splice([at_rate(numbers(3), Fraction(24)), at_rate(numbers(3), Fraction(30))])
    with pytest.raises(vs.Error, match=r"^Recurrence: fps_num=60, fps_den=1 is not possible for .* use multi, which "):
        fake(clip, fps_num=60)
    out = fake(clip, multi=4)
    durations = [Fraction(f.props["_DurationNum"], f.props["_DurationDen"]) for f in out.frames()]
    assert durations == [Fraction(1, 96)] * 12 + [Fraction(1, 120)] * 12


def test_a_model_that_does_not_interpolate_has_no_target() -> None:
    from helpers.recurrence import Recurrence

    import vs_sr

    model = vs_sr.Model(name="Plain", summary="", paper="", kind="sequence", build=lambda _: Recurrence(),
                        fixed=vs_sr.Variant(scale=1), window=4)  # fmt: skip
    vs_sr.register(model)
    with pytest.raises(vs.Error, match=r"^Plain: fps_num=60, fps_den=1 is not possible: this model does multi=1 only"):
        core.vs_sr.Plain(numbers(3), fps_num=60)


@pytest.mark.parametrize("rate", [(3 * (2**27 - 1), 2**22), (60000, 1001)], ids=str)
def test_a_clip_of_unknown_length_has_a_target_too(rate: tuple[int, int]) -> None:
    """Players hand over nearly 2**31 frames; no product overflows."""
    most = 2**31 - 1
    source = core.std.BlankClip(length=most, width=2, height=1, format=vs.RGBS, color=[7, 7, 7], keep=True)
    out = fake(source, fps_num=rate[0], fps_den=rate[1], sc=0)
    assert (out.num_frames, out.fps) == (most, Fraction(*rate))
    ratio = Fraction(*rate) / 24
    clip = Clip(frames=most, multi=ratio.numerator, per=ratio.denominator)
    for n in (0, 1, 1000003, most - 1):
        assert (triple(out.get_frame(n))[2] == 7) == (clip.place(n)[1] == 0)


@pytest.mark.parametrize("other", [{"multi": 2}, {"multi": 8}, {"fps_num": 60}], ids=str)
def test_a_state_is_for_the_timesteps_that_it_has_stepped_over(other: dict[str, int], tmp_path: Path) -> None:
    clip, path = numbers(7), str(tmp_path / "film.state")
    for frame in fake(clip, carry=1, multi=4, state_out=path).frames():
        frame.close()
    assert fake(clip[6:] + clip[:6], carry=1, multi=4, state_in=path)
    with pytest.raises(vs.Error, match=r"^Recurrence: .*timesteps"):
        fake(clip[6:] + clip[:6], carry=1, state_in=path, **other)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
@pytest.mark.parametrize(("rate", "wish"), TARGETS[:5], ids=str)
def test_a_film_through_vspipe_and_ffmpeg(rate: Fraction, wish: Fraction, tmp_path: Path) -> None:
    """Count, duration and times to the tick, as a demuxer finds them in the file."""
    import av
    from helpers import networks

    script = tmp_path / "film.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        f"clip = vs.core.std.BlankClip(width=16, height=16, format=vs.YUV420P8, length=24, "
        f"fpsnum={rate.numerator}, fpsden={rate.denominator})\n"
        f"vs.core.vs_sr.ZoomingSlowMo(clip, weights={str(networks.tiny_weights())!r}, device_id=-1, "
        f"fps_num={wish.numerator}, fps_den={wish.denominator}).set_output()\n",
        encoding="utf-8",
    )
    film = tmp_path / "film.mkv"
    command = f"'{BIN}/vspipe' -c y4m '{script}' - | ffmpeg -loglevel error -y -i - -c:v ffv1 -f nut '{film}'"
    subprocess.run(["bash", "-o", "pipefail", "-c", command], env=environment(), check=True, timeout=240)
    with av.open(str(film)) as container:
        (stream,) = container.streams.video
        times = [packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None]
    count = ceil(24 * wish / rate)
    assert times == [n / wish for n in range(count)]
    assert 0 <= count / wish - 24 / rate < 1 / wish
