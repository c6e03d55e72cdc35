"""``vs-sr render`` on films as people have them: what the file was is what it becomes, larger and smoother."""

from __future__ import annotations

import io
import json
import re
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import vapoursynth as vs
from helpers import networks
from helpers.films import bright, film
from helpers.media import CHAPTERS, LINES, bitmaps, copied, everything, look, pixels, same, with_cover
from helpers.support import environment

from vs_sr import cli
from vs_sr.cli import _video
from vs_sr.training.clips import as_frames, reduce_frames
from vs_sr.training.demo import demo_scene

if TYPE_CHECKING:
    from pathlib import Path

DOUBLE = """
import vapoursynth as vs
core = vs.core
clip = core.std.Interleave([clip, clip])
core.resize.Point(clip, 2 * clip.width, 2 * clip.height).set_output()
"""
"""Twice the rate and size, without a network."""
FRAME = 1 / 50


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])


@pytest.fixture
def double(tmp_path: Path) -> str:
    path = tmp_path / "double.vpy"
    path.write_text(DOUBLE)
    return str(path)


def render(*arguments: object) -> None:
    assert cli.main(["render", "--quiet", *map(str, arguments)]) == 0


def test_nothing_of_a_file_is_lost(double: str, tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv", font=True)
    target = tmp_path / "out.mkv"
    render(source, target, "--script", double)
    before, after = look(source), look(target)
    assert after.kinds == ["video h264", "audio aac", "subtitle subrip"]
    assert after.times == pytest.approx([before.times[0] + n * FRAME for n in range(50)], abs=1.1e-3)
    assert abs(after.end - before.end) < FRAME
    assert after.beep == pytest.approx(before.beep, abs=2e-3)
    assert after.lines == before.lines
    assert after.chapters == [(a / 1000, b / 1000, name) for a, b, name in CHAPTERS]
    assert (after.title, after.languages, after.attachments) == ("A film", ["deu"], [b"letters"])
    assert after.size == (128, 96)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == ["out.mkv"]


@pytest.mark.parametrize(("given", "wanted", "kind"), [("mkv", "mp4", "mov_text"), ("mp4", "mkv", "subrip")])
def test_subtitles_become_what_the_container_has(
    given: str, wanted: str, kind: str, double: str, tmp_path: Path
) -> None:
    """And the sound stays with the frames, whatever the container does with the encoder's delay."""
    source = everything(tmp_path / f"in.{given}", subtitles="subrip" if given == "mkv" else "mov_text")
    target = tmp_path / f"out.{wanted}"
    render(source, target, "--script", double)
    before, after = look(source), look(target)
    assert f"subtitle {kind}" in after.kinds
    shift = after.times[0] - before.times[0]
    assert [(a - shift, b - shift, words) for a, b, words in after.lines] == [
        (pytest.approx(a, abs=0.03), pytest.approx(b, abs=0.03), words) for a, b, words in before.lines
    ]
    assert [words for _, _, words in after.lines] == [words for _, _, words in LINES]
    assert before.beep is not None
    assert after.beep is not None
    assert after.beep - after.times[0] == pytest.approx(before.beep - before.times[0], abs=2e-3)
    assert len(after.chapters) == 3


def test_subtitles_that_are_images(double: str, tmp_path: Path) -> None:
    source = bitmaps(tmp_path / "in.mkv", film(tmp_path / "film.mp4", 25))
    render(source, tmp_path / "out.mkv", "--script", double)
    assert copied(tmp_path / "out.mkv", "subtitle") == copied(source, "subtitle") != []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_covers(name: str, double: str, tmp_path: Path) -> None:
    source = with_cover(tmp_path / "in.mp4", film(tmp_path / "film.mp4", 5))
    render(source, tmp_path / name, "--script", double)
    assert copied(tmp_path / name, "cover") == copied(source, "cover") != []
    assert len(pixels(tmp_path / name)) == 10


@pytest.mark.parametrize("reader", ["bestsource", "av"])
def test_times_that_vary_are_kept(reader: str, double: str, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", 5, times=[0, 100, 300, 600, 900])
    target = tmp_path / "out.mp4"
    render(source, target, "--script", double, "--reader", reader)
    times = look(target).times
    # Interleave divides durations by two where the rate varies, too
    assert times == pytest.approx([0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05], abs=1e-4)


@pytest.mark.parametrize("reader", ["bestsource", "av"])
@pytest.mark.parametrize("matrix", ["90", "180", "270", "mirrored", "upside down"])
def test_films_that_lie_on_their_side(reader: str, matrix: str, double: str, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", 2, sar=Fraction(16, 11), matrix=matrix)
    target = tmp_path / "out.mp4"
    render(source, target, "--script", double, "--reader", reader)
    found = look(target)
    turned = matrix in ("90", "270")
    assert found.size == ((96, 128) if turned else (128, 96))
    assert found.sar == (Fraction(11, 16) if turned else Fraction(16, 11))
    corners = {
        "90": ("top", "right"), "180": ("bottom", "right"), "270": ("bottom", "left"),
        "mirrored": ("top", "right"), "upside down": ("bottom", "left"),
    }  # fmt: skip
    luma = pixels(target)[0][0]
    assert bright(np.repeat(luma[:, :, None], 3, 2)) == corners[matrix]


FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le", "yuv444p10le", "gray")


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_both_readers_read_alike(pix_fmt: str, double: str, tmp_path: Path) -> None:
    """Every value, and every tag."""
    source = film(tmp_path / "in.mkv", 3, pix_fmt=pix_fmt, codec="ffv1" if pix_fmt == "gray" else "libx264")
    found = []
    for reader in ("bestsource", "av"):
        target = tmp_path / f"{reader}.mkv"
        render(source, target, "--script", double, "--reader", reader, "--codec", "ffv1")
        found.append((pixels(target), look(target)))
    (first, one), (second, two) = found
    assert same(first, second)
    assert (one.color, one.pix_fmt, one.times) == (two.color, two.pix_fmt, two.times)
    assert one.pix_fmt == pix_fmt.replace("yuvj", "yuv")
    assert one.color[3] == (2 if pix_fmt == "yuvj420p" else one.color[3])


def test_an_odd_size(double: str, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", 2, size=(63, 47), pix_fmt="yuv444p")
    render(source, tmp_path / "out.mkv", "--script", double, "--resize", "63x47")
    found = look(tmp_path / "out.mkv")
    assert (found.size, found.pix_fmt) == ((63, 47), "yuv444p")


HDR = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_hdr_stays_what_it_is(codec: str, double: str, tmp_path: Path) -> None:
    import av

    params = f"log-level=error:{HDR}:colorprim=9:transfer=16:colormatrix=9"
    source = film(tmp_path / "in.mkv", 3, codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": params})
    target = tmp_path / "out.mkv"
    render(source, target, "--script", double, "--codec", codec)
    said = []
    for path in (source, target):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            said.append(
                [bytes(frame.side_data[kind]) for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")]
            )
    assert said[0][1] == said[1][1]
    assert np.frombuffer(said[0][0], np.int32).tolist() == np.frombuffer(said[1][0], np.int32).tolist()
    found = look(target)
    assert (found.pix_fmt, found.color[:3]) == ("yuv420p10le", (9, 16, 9))


def test_standard_definition_keeps_its_matrix(tmp_path: Path) -> None:
    """A film that says nothing is 601 at this size, and says so once it is large."""
    source = film(tmp_path / "in.mkv", 2)
    weights = networks.tiny_weights()
    render(source, tmp_path / "out.mkv", "--model", f"ZoomingSlowMo:weights={weights},device_id=-1")
    found = look(tmp_path / "out.mkv")
    assert found.color[2] == 6
    assert (found.size, len(found.times)) == ((256, 192), 4)


@pytest.mark.slow
def test_the_network_on_a_film_with_everything(tmp_path: Path) -> None:
    """Five seconds, turned, of high pixels and of a rate that varies, with sound and subtitles: in sync to the end."""
    seconds, count = 5, 125
    steps = 40 + 15 * np.random.default_rng(1).integers(-2, 3, count - 1)
    times = [0, *np.cumsum(steps).tolist()]
    video = film(tmp_path / "video.mp4", count, size=(32, 24), sar=Fraction(8, 9), matrix="90", times=times)
    source = everything(tmp_path / "in.mp4", video, subtitles="mov_text", seconds=seconds)
    target, weights = tmp_path / "out.mkv", networks.tiny_weights(4)
    render(source, target, "--model", f"ZoomingSlowMo:weights={weights},device_id=-1")
    before, after = look(source), look(target)
    assert after.times[::2] == pytest.approx(before.times, abs=2e-3)
    halves = [(a + b) / 2 for a, b in zip(before.times, [*before.times[1:], before.end], strict=True)]
    assert after.times[1::2] == pytest.approx(halves, abs=2e-3)
    assert after.end == pytest.approx(before.end, abs=2e-3)
    assert before.beep == pytest.approx(seconds - 0.5, abs=0.03)
    assert after.beep == pytest.approx(before.beep, abs=2e-3)
    assert after.heard == pytest.approx(before.heard, abs=FRAME)
    assert [words for _, _, words in after.lines] == [words for _, _, words in LINES]
    assert (after.size, after.sar) == ((96, 128), Fraction(9, 8))


@pytest.mark.slow
def test_no_frame_is_passed_through(tmp_path: Path) -> None:
    """Frames at the film's own times come from the network, as those between them: else every second one flickers."""
    source, target = tmp_path / "in.mp4", tmp_path / "out.mkv"
    _video.write(source, list(reduce_frames(as_frames(demo_scene(5, 192, 256)))), Fraction(24))
    render(source, target, "--codec", "ffv1", "--model", "ZoomingSlowMo:device_id=-1")
    made = np.stack([planes[0] for planes in pixels(target)]).astype(float)
    clip = vs.core.bs.VideoSource(str(source)).resize.Bicubic(256, 192)
    passed = np.stack([np.asarray(frame[0]) for frame in clip.frames()])
    sharpness = [np.abs(np.diff(each, axis=2)).mean((1, 2)) for each in (made, passed.astype(float))]
    assert (sharpness[0][::2] > 1.1 * sharpness[1]).all()
    assert sharpness[0][1:-1:2] == pytest.approx((sharpness[0][:-2:2] + sharpness[0][2::2]) / 2, rel=0.05)


@pytest.mark.slow
def test_models_in_a_chain(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", 3, size=(16, 16))
    weights = networks.tiny_weights()
    model = f"ZoomingSlowMo:weights={weights},device_id=-1"
    render(
        source, tmp_path / "out.mkv", "--model", f"{model},multi=1", "--model", f"{model},window=3", "--codec", "ffv1"
    )
    found = look(tmp_path / "out.mkv")
    assert (found.size, len(found.times)) == ((256, 256), 6)
    clip = vs.core.bs.VideoSource(str(source))
    arguments = {"weights": str(weights), "device_id": -1}
    clip = clip.vs_sr.ZoomingSlowMo(multi=1, **arguments).vs_sr.ZoomingSlowMo(window=3, **arguments)
    assert same(
        [[np.asarray(plane).copy() for plane in frame] for frame in clip.frames()], pixels(tmp_path / "out.mkv")
    )


def test_a_part_is_in_sync(double: str, tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv")
    target = tmp_path / "out.mkv"
    begin, end = 0.4, 0.8
    render(source, target, "--script", double, "--start", begin, "--end", "0:00.8")
    before, after = look(source), look(target)
    taken = [at for at in before.times if begin - 1e-6 <= at < end - 1e-6]
    assert len(after.times) == 2 * len(taken)
    assert after.end - after.times[0] == pytest.approx(len(taken) / 25, abs=2e-3)
    assert before.beep is not None
    assert after.beep == pytest.approx(before.beep - taken[0], abs=2e-3)
    assert [words for _, _, words in after.lines] == ["Hello", "again"]
    assert after.lines[1][0] == pytest.approx(before.lines[1][0] - taken[0], abs=2e-3)
    assert [name for _, _, name in after.chapters] == ["One", "Two"] or [n for _, _, n in after.chapters] == ["Two"]


def test_slow_motion_keeps_the_rate(double: str, tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv")
    target = tmp_path / "out.mkv"
    render(source, target, "--script", double, "--slow-motion")
    before, after = look(source), look(target)
    assert np.diff(after.times) == pytest.approx(np.full(49, 1 / 25), abs=1.1e-3)
    assert after.beep is None
    assert after.lines[0][0] == pytest.approx(2 * before.lines[0][0], abs=2e-3)
    assert after.chapters[1][0] == pytest.approx(0.8)


@pytest.mark.parametrize("name", ["out.mkv", "out.webm"])
def test_slow_sound(name: str, double: str, tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv")
    target = tmp_path / name
    codec = ("--codec", "libvpx-vp9", "--crf", "30") if name.endswith("webm") else ()
    render(source, target, "--script", double, "--slow-motion", "--stretch-sound", *codec)
    before, after = look(source), look(target)
    assert before.beep is not None
    assert after.beep == pytest.approx(2 * before.beep, abs=0.06)  # a window of the filter
    assert after.kinds[1] == ("audio opus" if codec else "audio aac")
    assert after.languages == ["deu"]


def test_a_preview_has_the_film_on_its_left(double: str, tmp_path: Path) -> None:
    render(film(tmp_path / "in.mkv", 20), tmp_path / "out.mkv", "--script", double, "--preview", "7")
    found = look(tmp_path / "out.mkv")
    assert (found.size, len(found.times)) == ((256, 96), 7)
    left, right = np.split(pixels(tmp_path / "out.mkv")[6][0].astype(int), 2, axis=1)
    assert np.abs(left - right).mean() < 4


def test_a_dry_run_writes_nothing(double: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = everything(tmp_path / "in.mkv")
    names = sorted(tmp_path.iterdir())
    assert cli.main(["render", str(source), str(tmp_path / "out.mp4"), "--script", double, "--dry-run"]) == 0
    said = capsys.readouterr().err
    for part in ("50 frames, 128x96, 50 fps", "libx264, crf 16", "audio aac", "becomes mov_text", "time      about"):
        assert part in said
    assert sorted(tmp_path.iterdir()) == names


def test_what_scripts_are_told(double: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = film(tmp_path / "in.mkv")
    assert cli.main(["render", str(source), str(tmp_path / "out.mkv"), "--script", double, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines][:1] == ["plan"]
    assert lines[0]["result"]["frames"] == 10
    assert lines[-2]["event"] == "progress"
    assert lines[-2]["frame"] == lines[-2]["frames"] == 10
    assert (lines[-1]["event"], lines[-1]["frames"], lines[-1]["repeated"]) == ("done", 10, [])
    assert cli.main(["render", str(tmp_path / "no.mkv"), str(tmp_path / "b.mkv"), "--json"]) == 1
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["event"] == "error"
    assert "there is no file" in line["message"]


def test_a_bar_on_a_terminal(double: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(said, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["render", str(film(tmp_path / "in.mkv", 5)), str(tmp_path / "out.mkv"), "--script", double]
    assert cli.main(arguments) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.getvalue())
    assert re.search(r"Frame .*10/10 .* fps, 0:\d\d left, \d+ MiB", shown)


def test_bits_per_second_and_other_options(double: str, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", 30)
    sizes = []
    for number, rate in enumerate(("40k", "2M")):
        target = tmp_path / f"{number}.mp4"
        render(source, target, "--script", double, "--bitrate", rate, "--preset", "fast", "--encoder-option", "g=10")
        found = look(target)
        sizes.append(target.stat().st_size)
        assert len(found.keys) >= 6
    assert sizes[0] < sizes[1]
