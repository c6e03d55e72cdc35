"""``make demo`` as a newcomer runs it: a film and an image that are what they say, and better than bicubic."""

from __future__ import annotations

import subprocess
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
import pytest
from helpers.films import bright, film
from helpers.images import imresize, psnr_y
from helpers.support import BIN, environment
from PIL import Image

from vs_sr import cli, files
from vs_sr.cli import _source, _video, demo
from vs_sr.training.demo import demo_scene

if TYPE_CHECKING:
    from collections.abc import Callable


def run_demo(out: Path, *arguments: str) -> str:
    """The last line of stdout."""
    done = subprocess.run(
        [BIN / "vs-sr", "demo", "--out", out, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a third of its second."""
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])
    monkeypatch.setattr(demo, "_FRAMES", 8)
    out = tmp_path / "demo"
    start = time.perf_counter()
    assert cli.main(["demo", "--out", str(out)]) == 0
    assert time.perf_counter() - start < 300
    said = capfd.readouterr()
    film, image = out / "slowmo.mp4", out / "side_by_side.png"
    assert said.out.splitlines()[-1] == f"16 frames, 768x432, 48 fps: {film}, {image}"
    assert "Frame: " in said.err
    with Image.open(image) as image:
        assert image.size == (2 * 768 + 4, 432)

    frames = np.stack(_video.frames(film))
    inputs = np.stack(_video.frames(out / "input.mp4"))
    assert frames.shape == (16, 432, 768, 3)
    assert inputs.shape == (8, 108, 192, 3)
    # at the input's times the scene itself is at hand
    truth = (np.asarray(demo_scene(8, 432, 768))[[1, 4, 6]].transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    gains = [
        psnr_y(frames[2 * n], t) - psnr_y(imresize(inputs[n], 4), t) for n, t in zip((1, 4, 6), truth, strict=True)
    ]
    assert np.mean(gains) > 0.5, gains
    # no shift of color, and no flicker between the two kinds of frames
    assert np.abs(frames[::2].mean((0, 1, 2)) - inputs.mean((0, 1, 2))).max() < 1.5
    sharpness = np.abs(np.diff(frames.astype(np.float64), axis=2)).mean((1, 2, 3))
    assert abs(sharpness[1:-1:2].mean() / sharpness[::2].mean() - 1) < 0.1


@pytest.mark.slow
def test_the_demo_of_a_clip_of_ones_own(tmp_path: Path) -> None:
    clip = tmp_path / "mine.mp4"
    x = np.linspace(0, 40, 160)
    images = [
        np.ascontiguousarray(np.broadcast_to((128 + 90 * np.sin(x + n))[None, :, None], (96, 160, 3))).astype(np.uint8)
        for n in range(8)
    ]
    _video.write(clip, images, Fraction(5))
    line = run_demo(tmp_path / "demo", "--clip", str(clip))
    assert line.startswith("10 frames, 640x384, 10 fps: ")
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == ["side_by_side.png", "slowmo.mp4"]


@pytest.mark.slow
def test_the_demo_of_a_film_that_is_turned_and_of_variable_rate(tmp_path: Path) -> None:
    """With the network, as it is run: the others below leave it out."""
    clip = film(tmp_path / "mine.mp4", 4, sar=Fraction(16, 11), matrix="90", times=[0, 100, 300, 600])
    line = run_demo(tmp_path / "demo", "--clip", str(clip))
    assert line.startswith("8 frames, 192x256, ")
    check(tmp_path / "demo", Fraction(48 * 11, 64 * 16), corner=("top", "right"))


# Files as people have them, without the network


SCRIPT = """
import vapoursynth as vs
arguments, core = globals(), vs.core
clip = core.bs.VideoSource(arguments["source"])[: int(arguments["frames"])]
if "width" in arguments:
    clip = clip.resize.Bicubic(int(arguments["width"]), int(arguments["height"]))
clip = core.std.Interleave([clip, clip]).resize.Point(4 * clip.width, 4 * clip.height)
if "format" in arguments:
    matrix = {"matrix": 1} if clip.format.color_family == vs.RGB else {}
    clip = clip.resize.Bicubic(format=getattr(vs, arguments["format"]), **matrix)
clip.set_output()
"""
"""As examples/slowmo.vpy."""


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "light.vpy").write_text(SCRIPT)
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])
    monkeypatch.setattr(demo, "_script", lambda: tmp_path / "light.vpy")
    monkeypatch.setattr(demo, "_affordable", lambda source: (source.clip.width, source.clip.height))


def check(out: Path, aspect: Fraction, corner: tuple[str, str] = ("top", "left")) -> None:
    """The film and the image are shown in the proportions of the clip, the right way up."""
    with av.open(str(out / "slowmo.mp4")) as container:
        stream = container.streams.video[0]
        shown = Fraction(stream.width, stream.height) * (stream.codec_context.sample_aspect_ratio or 1)
        frames = list(container.decode(stream))
    assert float(shown) == pytest.approx(float(aspect), rel=1e-3)
    for frame in frames:
        assert frame.rotation == 0
        assert bright(frame.to_ndarray(format="rgb24")) == corner
    with Image.open(out / "side_by_side.png") as image:
        width, height = (image.width - 4) // 2, image.height
        assert width / height == pytest.approx(float(aspect), rel=0.02)
        for left in (0, width + 4):
            panel = image.convert("RGB").crop((left, height // 4, left + width, height))  # the label is at the top
            assert bright(np.pad(np.asarray(panel), ((height // 4, 0), (0, 0), (0, 0)), "edge")) == corner


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


def demonstrate(clip: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.main(["demo", "--clip", str(clip), "--out", str(out)])
    return (code, *capsys.readouterr())


ODD: dict[str, tuple[str, dict[str, Any], Fraction]] = {
    "an ordinary one": ("x.mp4", {}, Fraction(64, 48)),
    "90": ("x.mp4", {"matrix": "90"}, Fraction(48, 64)),
    "180": ("x.mp4", {"matrix": "180"}, Fraction(64, 48)),
    "270": ("x.mp4", {"matrix": "270"}, Fraction(48, 64)),
    "mirrored": ("x.mp4", {"matrix": "mirrored"}, Fraction(64, 48)),
    "upside down": ("x.mp4", {"matrix": "upside down"}, Fraction(64, 48)),
    "wide pixels": ("x.mp4", {"sar": Fraction(64, 45)}, Fraction(64 * 64, 48 * 45)),
    "high pixels": ("x.mkv", {"sar": Fraction(8, 9)}, Fraction(64 * 8, 48 * 9)),
    "wide pixels on their side": ("x.mp4", {"sar": Fraction(16, 11), "matrix": "270"}, Fraction(48 * 11, 64 * 16)),
    "odd size": ("x.mp4", {"size": (63, 47), "pix_fmt": "yuv444p"}, Fraction(63, 47)),
    "10 bit": ("x.mp4", {"pix_fmt": "yuv420p10le"}, Fraction(64, 48)),
    "16 bit": ("x.mkv", {"pix_fmt": "yuv444p16le", "codec": "ffv1"}, Fraction(64, 48)),
    "gray": ("x.mkv", {"pix_fmt": "gray", "codec": "ffv1"}, Fraction(64, 48)),
    "alpha": ("x.mkv", {"pix_fmt": "yuva420p", "codec": "ffv1"}, Fraction(64, 48)),
    "RGB": ("x.mkv", {"pix_fmt": "bgr0", "codec": "ffv1"}, Fraction(64, 48)),
    "a still image": ("x.png", {"frames": 1, "pix_fmt": "rgb24", "codec": "png"}, Fraction(64, 48)),
    "one frame": ("x.mp4", {"frames": 1}, Fraction(64, 48)),
    "two frames": ("x.mp4", {"frames": 2}, Fraction(64, 48)),
    "a name": ("Mein Film: 100% – ünï.mp4", {}, Fraction(64, 48)),
}


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("kind", ODD)
def test_a_clip_is_shown_in_its_proportions(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, how, aspect = ODD[kind]
    clip = film(tmp_path / name, **how)
    code, out, err = demonstrate(clip, tmp_path / "out of it", capsys)
    assert code == 0, err
    frames = 2 * how.get("frames", 5)
    assert out.startswith(f"{frames} frames, ")
    corner = {
        "90": ("top", "right"), "180": ("bottom", "right"), "270": ("bottom", "left"),
        "mirrored": ("top", "right"), "upside down": ("bottom", "left"),
    }.get(how.get("matrix", ""), ("top", "left"))  # fmt: skip
    check(tmp_path / "out of it", aspect, corner)
    assert times(tmp_path / "out of it" / "slowmo.mp4") == pytest.approx([n / 50 for n in range(frames)], abs=1e-4)


@pytest.mark.usefixtures("light")
def test_a_variable_rate_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = film(tmp_path / "x.mkv", 5, times=[0, 100, 300, 600, 900])
    code, out, err = demonstrate(clip, tmp_path / "demo", capsys)
    assert code == 0, err
    assert out.startswith("10 frames, 256x192, 8.3333 fps: ")
    expected = [0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05]
    assert times(tmp_path / "demo" / "slowmo.mp4") == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("light")
def test_a_second_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the frames' times, not by a rate that a file of variable rate makes up."""
    assert demonstrate(film(tmp_path / "x.mp4", 40), tmp_path / "a", capsys)[1].startswith("50 frames, ")
    slow = film(tmp_path / "y.mkv", 9, times=[300 * n for n in range(9)])
    assert demonstrate(slow, tmp_path / "b", capsys)[1].startswith("8 frames, ")


@pytest.mark.usefixtures("light")
def test_a_damaged_file_gives_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = film(tmp_path / "x.mkv", 30, options={"g": "5"})
    clip.write_bytes(clip.read_bytes()[:-200])
    code, _, err = demonstrate(clip, tmp_path / "demo", capsys)
    assert code == 0, err
    check(tmp_path / "demo", Fraction(64, 48))


def audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def written(path: Path, data: bytes = b"") -> Path:
    path.write_bytes(data)
    return path


def interlaced(path: Path) -> Path:
    return film(path, codec="mpeg2video", options={"flags": "+ilme+ildct", "top": "1"})


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no file": (lambda folder: folder / "x.mp4", "there is no file"),
    "a folder": (lambda folder: folder, "is no file; give a video"),
    "nothing": (lambda folder: written(folder / "x.mp4"), "cannot be read as a video: "),
    "text": (lambda folder: written(folder / "x.mp4", b"hello"), "cannot be read as a video: "),
    "half": (lambda folder: written(folder / "x.mp4", film(folder / "y.mp4").read_bytes()[:700]), "cannot be read"),
    "sound alone": (lambda folder: audio(folder / "x.m4a"), "holds no video"),
    "no frames": (lambda folder: film(folder / "x.mkv", 0), "cannot be read as a video"),
    "tiny": (lambda folder: film(folder / "x.mkv", size=(6, 40)), "is 6x40; the model takes at least 8x8 pixels"),
    "fields": (lambda folder: interlaced(folder / "x.mkv"), "is interlaced; deinterlace it first"),
}


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_shown_is_refused_in_a_sentence(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = REFUSED[kind]
    clip = make(tmp_path)
    code, out, err = demonstrate(clip, tmp_path / "demo", capsys)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("vs-sr demo: ")
    assert message in last
    assert not list((tmp_path / "demo").iterdir())


@pytest.mark.usefixtures("light")
def test_results_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, file = film(tmp_path / "x.mp4"), written(tmp_path / "file")
    (tmp_path / "taken" / "slowmo.mp4").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    own = film(tmp_path / "own" / "slowmo.mp4")
    for given, out, message in (
        (clip, file, "nothing can be written to the folder"),
        (clip, file / "below", "nothing can be written to the folder"),
        (clip, tmp_path / "taken", "slowmo.mp4 is a folder, not a file; use another --out"),
        (own, tmp_path / "own", "is what the demo writes; use another --out"),
    ):
        code, _, err = demonstrate(given, out, capsys)
        assert code == 1
        assert message in err.splitlines()[-1]
    assert times(own), "still there"


@pytest.mark.usefixtures("light")
def test_a_full_disk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> AbstractContextManager[BinaryIO]:
        return open("/dev/full", "wb", buffering=0)  # type: ignore[return-value]

    monkeypatch.setattr(files, "replacing", full)
    code, _, err = demonstrate(film(tmp_path / "x.mp4"), tmp_path / "demo", capsys)
    assert code == 1
    assert "slowmo.mp4 cannot be written: No space left on device" in err.splitlines()[-1]


def test_a_large_clip_is_scaled_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _source.open_file(film(tmp_path / "x.mp4"))
    source = replace(source, clip=source.clip.resize.Bicubic(3840, 2160), durations=(Fraction(1, 60),) * 60)
    monkeypatch.setattr(demo, "_MINUTES", 0.5)
    width, height = demo._affordable(source)
    assert width < 3840
    assert height < 2160
    assert width % 2 == height % 2 == 0
    assert Fraction(width, height) * source.at(width, height) == Fraction(16, 9)
    monkeypatch.setattr(demo, "_MINUTES", 1e9)
    assert demo._affordable(source) == (3840, 2160)
