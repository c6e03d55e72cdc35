"""The scripts of ``examples/``: each does what its first lines say. Its packages have tests in ``tests/packages``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import vapoursynth as vs
from helpers import image_networks, networks, video_networks
from helpers.clips import moving
from helpers.films import film
from helpers.media import everything
from helpers.player import Player
from helpers.support import ROOT, environment, vspipe

from vs_sr import scenes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = ROOT / "examples"
SIZE = 32, 24
DOUBLE = """
import vapoursynth as vs
core = vs.core
if "clip" not in globals():
    clip = core.bs.VideoSource(source)
core.resize.Point(core.std.Interleave([clip, clip]), 2 * clip.width, 2 * clip.height).set_output()
"""
"""For pipes and ``vs-sr render``: twice the rate and size, without a network."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "in.mp4", size=SIZE)


@pytest.fixture(autouse=True)
def _no_outputs() -> Iterator[None]:
    yield
    vs.clear_outputs()


def run(name: str, **arguments: object) -> dict[int, vs.VideoNode]:
    """A script's outputs; ``arguments`` as vspipe hands them over, as text."""
    given = {key: str(value) for key, value in arguments.items()}
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    exec(compile(text, name, "exec"), {"__name__": "__vapoursynth__", **given})
    return {index: output.clip for index, output in vs.get_outputs().items()}  # type: ignore[union-attr]


def luma(clip: vs.VideoNode, n: int = 0) -> np.ndarray:
    return np.asarray(clip.get_frame(n)[0]).astype(float)


def looks_like(clip: vs.VideoNode, source: Path) -> None:
    """As the film in another size; small networks of random weights keep no more than that."""
    original = vs.core.bs.VideoSource(str(source))
    assert (clip.num_frames, clip.fps, clip.format) == (original.num_frames, original.fps, original.format)
    assert np.corrcoef(luma(clip).ravel(), luma(original.resize.Bicubic(clip.width, clip.height)).ravel())[0, 1] > 0.4


def test_slowmo(source: Path) -> None:
    """By vspipe, into a file of frames; tests/filters/test_pipeline.py has more of it."""
    done = vspipe(EXAMPLES / "slowmo.vpy", "-c", "y4m", "-a", f"source={source}", "-a", "frames=2")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"FRAME\n") == 4


def test_mpv() -> None:
    """As it is played without user-data: with the shipped weights. tests/engine/test_live.py has more of it."""
    clip = moving(3 + scenes.REACH, 16, 16, vs.YUV420P8)
    playing = Player(EXAMPLES / "mpv.vpy", clip, lambda n: Fraction(1, 24))
    assert [(frame.width, frame.height) for frame in playing.play()] == [(64, 64)] * 4


def test_upscale(source: Path) -> None:
    (clip,) = run("upscale.vpy", source=source).values()
    assert (clip.width, clip.height) == (2 * SIZE[0], 2 * SIZE[1])
    looks_like(clip, source)


@pytest.mark.parametrize("model", sorted(set(image_networks.CONFIGS) - set(image_networks.LUMA)))
def test_upscale_with_another(model: str, source: Path) -> None:
    more = {"scale": 2} if model == "MDSR" else {}
    (clip,) = run("upscale.vpy", source=source, model=model, weights=image_networks.weights(model), **more).values()
    assert clip.get_frame(0).width == clip.width > SIZE[0]
    assert clip.num_frames == 5
    text = (EXAMPLES / "upscale.vpy").read_text(encoding="utf-8")
    assert model in text


@pytest.mark.parametrize("model", image_networks.LUMA)
def test_sharpen(model: str, source: Path) -> None:
    given = {"model": model} if model != "VDSR" else {}
    whole, wide = run("sharpen.vpy", source=source, weights=image_networks.weights(model), **given).values()
    assert (whole.width, whole.height) == (64, 48)
    assert (wide.width, wide.height) == (48, 36)
    looks_like(whole, source)
    looks_like(wide, source)


def test_restore(source: Path) -> None:
    (clip,) = run("restore.vpy", source=source, weights=video_networks.weights("5 frames")).values()
    assert (clip.width, clip.height) == (128, 96)
    looks_like(clip, source)


def test_sequence(source: Path) -> None:
    (clip,) = run("sequence.vpy", source=source, weights=video_networks.weights("BasicVSR")).values()
    assert (clip.width, clip.height) == (128, 96)
    looks_like(clip, source)


def test_chain(source: Path) -> None:
    (clip,) = run("chain.vpy", source=source, height=48, weights=networks.tiny_weights()).values()
    original = vs.core.bs.VideoSource(str(source))
    assert (clip.num_frames, clip.fps, clip.format) == (2 * original.num_frames, 2 * original.fps, original.format)
    frame = clip.get_frame(1)  # of 24 rows, 2 are cut off at either end
    assert (frame.width, frame.height) == (32 * 48 // 20 // 2 * 2, 48)


def test_preview(source: Path) -> None:
    """What is left and right of the middle is what the names say."""
    before, after, both = run("preview.vpy", source=source).values()
    assert [clip.get_frame(1).props["Name"] for clip in (before, after, both)] == ["bicubic", "EDSR", "bicubic | EDSR"]
    half = SIZE[0] // 4 * 4
    assert np.array_equal(luma(both)[:, :half], luma(before)[:, :half])
    assert np.array_equal(luma(both)[:, half:], luma(after)[:, half:])
    assert not np.array_equal(luma(before), luma(after))


# From one program to the next


@pytest.fixture
def double(tmp_path: Path) -> Path:
    path = tmp_path / "double.vpy"
    path.write_text(DOUBLE, encoding="utf-8")
    return path


def shell(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = {"pipe.sh": "ffmpeg", "play.sh": "mpv"}[name]
    if not (shutil.which(program) and shutil.which("bash")):
        pytest.skip(f"{program} or bash is not installed")
    command = [EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120, check=False)


@pytest.mark.slow
def test_pipe(double: Path, tmp_path: Path) -> None:
    source, target = everything(tmp_path / "a film.mkv"), tmp_path / "out.mkv"
    done = shell("pipe.sh", source, target, double)
    assert done.returncode == 0, done.stderr
    with av.open(str(source)) as film, av.open(str(target)) as made:
        assert [stream.type for stream in made.streams] == ["video", "audio"]
        assert made.streams.audio[0].codec_context.name == film.streams.audio[0].codec_context.name
        assert made.streams.video[0].width == 2 * film.streams.video[0].width
        frames = sum(1 for _ in film.decode(video=0))
        assert sum(1 for _ in made.decode(video=0)) == 2 * frames
    double.write_text("raise SystemError('no script')", encoding="utf-8")
    assert shell("pipe.sh", source, tmp_path / "none.mkv", double).returncode != 0


@pytest.mark.slow
def test_play(source: Path, double: Path) -> None:
    quiet = ("--no-config", "--vo=null", "--ao=null")
    done = shell("play.sh", source, double, *quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "64x48" in done.stdout
    double.write_text("raise SystemError('no script')", encoding="utf-8")
    assert shell("play.sh", source, double, *quiet).returncode != 0


@pytest.mark.parametrize("name", ["pipe", "play"])
def test_on_windows_the_programs_are_called_alike(name: str) -> None:
    """Word for word, once the variables are written as there."""
    unix = (EXAMPLES / f"{name}.sh").read_text(encoding="utf-8")
    windows = (EXAMPLES / f"{name}.cmd").read_bytes().decode()
    assert windows.count("\n") == windows.count("\r\n")
    (line,) = re.findall(r"^vspipe.*$", unix.replace("|\n", "|"), re.M)
    (same,) = re.findall(r"^vspipe.*$", windows.replace("\r", ""), re.M)
    line = " ".join(line.replace(' "${@:3}"', "").split())  # what cmd.exe has no word for
    assert re.sub(r"\$(\w+)", r"%\1%", line) == same


@pytest.mark.slow
def test_batch(double: Path, tmp_path: Path) -> None:
    """One that fails keeps none from being made; what is there is left alone."""
    folder, out = tmp_path / "films", tmp_path / "made"
    folder.mkdir()
    film(folder / "a.mp4", 3)
    (folder / "b.mp4").write_bytes(b"no film")
    film(folder / "c.MKV", 3)
    (folder / "notes.txt").write_text("no film either")

    def batch() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, EXAMPLES / "batch.py", folder, out, "--script", double, "--quiet"]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)

    done = batch()
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["1 of 3: a.mp4", "2 of 3: b.mp4", "3 of 3: c.MKV"]
    assert done.stderr.splitlines()[-1] == "not made: b.mp4"
    assert {path.name for path in out.iterdir()} == {"a.mp4.mkv", "c.MKV.mkv"}
    with av.open(str(out / "c.MKV.mkv")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 6
    (folder / "b.mp4").unlink()
    done = batch()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_file_is_in_the_list() -> None:
    listed = re.findall(r"\]\((?!\.\.)([\w.]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.name not in ("README.md", "__pycache__")
    )
