"""What can go wrong in ``vs-sr render``: one clear message, an exit code that is not zero, nothing lost or replaced."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from helpers import networks
from helpers.films import damage, film
from helpers.media import bitmaps, everything, look, pixels, same
from helpers.support import BIN, environment

from vs_sr import cli, files
from vs_sr.render import rendering, segments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCRIPT = """
import time
from pathlib import Path
import vapoursynth as vs
core = vs.core

def draw(n, f):
    if Path(r"{folder}/broken").exists() and n >= 70:
        raise RuntimeError("the network is gone")
    time.sleep({pause})
    frame = f.copy()
    frame.props["_SceneChangePrev"] = int(n in (50, 55, 90))
    return frame

clip = core.std.Interleave([clip, clip])
core.std.ModifyFrame(clip, clip, draw).set_output()
"""
"""Twice the rate, with cuts, and a network that can fail."""
LOSSLESS = ("--codec", "ffv1")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])


@pytest.fixture
def script(tmp_path: Path) -> str:
    return written(tmp_path)


def written(folder: Path, pause: float = 0) -> str:
    path = folder / "script.vpy"
    path.write_text(SCRIPT.format(folder=folder, pause=pause))
    return str(path)


def moving(path: Path, frames: int = 100, **how: Any) -> Path:
    return film(path, frames, size=(32, 32), **how)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code, and the last line of stderr."""
    code = cli.main(["render", *map(str, arguments)])
    lines = capsys.readouterr().err.splitlines()
    return code, lines[-1] if lines else ""


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def text(path: Path) -> Path:
    path.write_bytes(b"hello")
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...], str]] = {
    "no film": (lambda folder: folder / "no.mkv", "out.mkv", (), "there is no file"),
    "a folder": (lambda folder: folder, "out.mkv", (), "is no file; give a video"),
    "text": (lambda folder: text(folder / "in.mkv"), "out.mkv", (), "cannot be read as a video: "),
    "sound alone": (lambda folder: sound(folder / "in.m4a"), "out.mkv", (), "holds no video"),
    "no frames": (lambda folder: film(folder / "in.mkv", 0), "out.mkv", (), "cannot be read as a video: "),
    "the film itself": (lambda folder: moving(folder / "in.mkv", 3), "in.mkv", ("--force",), "is the film itself"),
    "no such container": (lambda folder: moving(folder / "in.mkv", 3), "out.xyz", (), "choices: .mkv, .mp4"),
    "no such folder": (lambda folder: moving(folder / "in.mkv", 3), "no/out.mkv", (), "there is no such folder"),
    "no such encoder": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--codec", "libx999"), "has no such encoder; it has "
    ),
    "no such option": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--codec", "ffv1", "--crf", "20"), "has no option crf"
    ),
    "a wrong option": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--preset", "hasty"), "libx264 refuses 32x32 in "
    ),
    "a codec that the container lacks": (
        lambda folder: moving(folder / "in.mkv", 3), "out.webm", (), "a webm file cannot hold what libx264 makes"
    ),
    "sound that the container lacks": (
        lambda folder: everything(folder / "in.mkv"), "out.webm", ("--codec", "libvpx-vp9"),
        "audio stream 1 (aac); use .mkv, or leave such streams out with --drop audio",
    ),
    "a font that the container lacks": (
        lambda folder: everything(folder / "in.mkv", font=True), "out.mp4", (), "leave such streams out with --drop att"
    ),
    "images for subtitles in MP4": (
        lambda folder: bitmaps(folder / "in.mkv", moving(folder / "film.mp4", 5)), "out.mp4", (),
        "subtitle stream 1 (hdmv_pgs_subtitle); use .mkv, or leave such streams out with --drop subtitles",
    ),
    "more bits than the codec has": (
        lambda folder: moving(folder / "in.mkv", 3, pix_fmt="yuv420p10le"), "out.mkv", ("--codec", "mpeg4"),
        "mpeg4 cannot take YUV420P10 without loss; say with --pixel-format",
    ),
    "no such pixel format": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--pixel-format", "rgb24"), "libx264 takes yuv420p"
    ),
    "a size that chroma cannot have": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--resize", "33x33"), "--resize 33x33 is not possible"
    ),
    "a part after the end": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--start", "1:00"), "it lasts 0.120 s"
    ),
    "two graphs": (
        lambda folder: moving(folder / "in.mkv", 3), "out.mkv", ("--model", "ZoomingSlowMo"), "are two graphs; give one"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_done_is_refused_at_once(
    kind: str, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, target, options, message = REFUSED[kind]
    source = make(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    code, last = run(capsys, source, tmp_path / target, "--script", script, *options)
    assert code == 1
    assert last.startswith("vs-sr render: ")
    assert message in last
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("NoSuchModel", "NoSuchModel"),
        ("ZoomingSlowMo:speed=3", "there is no argument 'speed'; choices: "),
        ("ZoomingSlowMo:window=many", "window=many is not a whole number"),
        ("ZoomingSlowMo:carry", "not of the form argument=value"),
        ("ZoomingSlowMo:window=99", "window=99 is out of range; 2 to 64"),
        ("ESRGAN", "weights must be given"),
    ],
)
def test_models_that_cannot_be(model: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, last = run(capsys, moving(tmp_path / "in.mkv", 3), tmp_path / "out.mkv", "--model", model)
    assert code == 1
    assert message in last


@pytest.mark.parametrize("option", [("--start", "soon"), ("--resize", "big"), ("--bitrate", "-3"), ("--preview", "0")])
def test_wrong_usage(option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["render", "a.mkv", "b.mkv", *option])
    assert stopped.value.code == 2


def test_what_exists_stays(script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = moving(tmp_path / "in.mkv", 3), tmp_path / "out.mkv"
    target.write_bytes(b"mine")
    code, last = run(capsys, source, target, "--script", script)
    assert code == 1
    assert "exists; --force replaces it once the new one is whole" in last
    (tmp_path / "broken").touch()
    long = moving(tmp_path / "long.mkv")
    assert run(capsys, long, target, "--script", script, "--force")[0] == 1
    assert target.read_bytes() == b"mine"
    (tmp_path / "broken").unlink()
    assert run(capsys, long, target, "--script", script, "--force", "--resume")[0] == 0
    assert len(look(target).times) == 200


def test_a_network_that_fails_loses_nothing(script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bits, frames and packets, as of a run that was not interrupted, and the same cuts."""
    source = everything(tmp_path / "in.mkv", moving(tmp_path / "video.mkv", options={"g": "30"}))
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    common = ("--script", script)
    assert run(capsys, source, whole, *common)[0] == 0
    (tmp_path / "broken").touch()
    code, last = run(capsys, source, target, *common)
    assert code == 1
    assert "the network is gone" in last
    assert not target.exists()
    kept = tmp_path / "out.mkv.segments"
    assert sorted(path.name for path in kept.iterdir()) == ["000000.segment", "lock", "render.json"]
    assert run(capsys, source, target, *common)[1].endswith(
        "has what an interrupted run has left; --resume goes on with it, --restart deletes it"
    )
    (tmp_path / "broken").unlink()
    first = (kept / "000000.segment").stat().st_mtime_ns
    seen: list[int] = []
    original = segments.Store.writing

    def watched(self: segments.Store, number: int) -> Any:
        seen.append(number)
        return original(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.Store, "writing", watched)
        assert run(capsys, source, target, *common, "--resume")[0] == 0
    assert first
    assert seen[0] == 1
    assert same(pixels(whole), pixels(target))
    one, two = look(whole), look(target)
    assert one == two
    assert one.keys[:3] == pytest.approx([one.times[0] + at / 50 for at in (0, 50, 90)], abs=1e-3)
    assert not kept.exists()


def test_what_is_left_is_not_mixed_with_another_run(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = moving(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    (tmp_path / "broken").touch()
    assert run(capsys, source, target, "--script", script)[0] == 1
    code, last = run(capsys, source, target, "--script", script, "--resume", "--crf", "30")
    assert code == 1
    assert "encoder was ['libx264', 'crf=16'" in last
    assert last.endswith("--restart begins again")
    (tmp_path / "broken").unlink()
    assert run(capsys, source, target, "--script", script, "--restart", "--crf", "30")[0] == 0
    assert len(look(target).times) == 200


def test_damaged_segments_are_found(script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = moving(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    (tmp_path / "broken").touch()
    assert run(capsys, source, target, "--script", script)[0] == 1
    (tmp_path / "broken").unlink()
    path = tmp_path / "out.mkv.segments" / "000000.segment"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    code, last = run(capsys, source, target, "--script", script, "--resume")
    assert code == 1
    assert "000000.segment is damaged; delete it, and go on with --resume" in last
    assert not target.exists()
    path.unlink()
    assert run(capsys, source, target, "--script", script, "--resume")[0] == 0
    assert len(look(target).times) == 200


@pytest.mark.parametrize("when", ["a segment", "the whole file"])
def test_a_full_disk(when: str, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = moving(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    original = files.replacing

    def full(path: Path) -> Any:
        if path.name == ("000001.segment" if when == "a segment" else "out.mkv"):
            return open("/dev/full", "wb", buffering=0)
        return original(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "replacing", full)
        code, last = run(capsys, source, target, "--script", script)
    assert code == 1
    assert last.endswith("cannot be written: No space left on device; --resume goes on")
    assert not target.exists()
    assert run(capsys, source, target, "--script", script, "--resume")[0] == 0
    assert len(look(target).times) == 200


def damaged(path: Path) -> Path:
    """A film whose frame 31 cannot be decoded."""
    return damage(moving(path, 60, options={"g": "20", "bf": "0"}), 31)


@pytest.mark.parametrize("reader", ["auto", "av"])
def test_a_damaged_frame(reader: str, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails, or is repeated and told of; the film never gets shorter."""
    source, target = damaged(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    common = (source, target, "--script", script, "--reader", reader, *LOSSLESS)
    code, last = run(capsys, *common)
    assert code == 1
    assert "frame 31 (at 1.240 s) cannot be decoded; --damaged repeat shows the frame before it instead" in last
    assert not target.exists()
    assert cli.main(["render", *map(str, common), "--damaged", "repeat", "--restart", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["repeated"] == [31]
    found = pixels(target)
    assert len(found) == 120
    assert same(found[62:63], found[60:61])
    assert not same(found[64:65], found[62:63])


def test_bestsource_alone_does_not_pass_over_frames(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, last = run(
        capsys, damaged(tmp_path / "in.mkv"), tmp_path / "out.mkv", "--script", script, "--reader", "bestsource"
    )
    assert code == 1
    assert "BestSource finds 59 frames of 60; --reader av says more" in last


def test_an_encoder_that_loses_frames(script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = segments.Writer.add

    def lossy(self: segments.Writer, packets: list[Any]) -> None:
        original(self, packets[:-1] if len(packets) > 1 else packets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.Writer, "add", lossy)
        code, last = run(capsys, moving(tmp_path / "in.mkv"), tmp_path / "out.mkv", "--script", script)
    assert code == 1
    assert "the encoder gave" in last
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import vapoursynth", "sets no output; end it with clip.set_output()"),
        ("1/0", "fails: ZeroDivisionError: division by zero"),
        ("clip.std.NoSuchFilter()", "fails: AttributeError"),
    ],
)
def test_scripts_that_fail(script: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.vpy"
    path.write_text(script)
    code, last = run(capsys, moving(tmp_path / "in.mkv", 3), tmp_path / "out.mkv", "--script", path)
    assert code == 1
    assert message in last


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "vs-sr", "render", *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("carry", [0, 1])
def test_a_state_is_found_again(
    carry: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that carries a state goes on after an interruption as if there had been none."""
    monkeypatch.setattr(rendering, "MOST", 16)
    source = film(tmp_path / "in.mkv", 12, size=(16, 16))
    model = f"ZoomingSlowMo:weights={networks.tiny_weights()},device_id=-1,carry={carry},segment=0"
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert run(capsys, source, whole, "--model", model, *LOSSLESS)[0] == 0
    original = segments.Store.writing

    def interrupted(self: segments.Store, number: int) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return original(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.Store, "writing", interrupted)
        assert run(capsys, source, target, "--model", model, *LOSSLESS)[0] == 130
    assert run(capsys, source, target, "--model", model, *LOSSLESS, "--resume")[0] == 0
    assert same(pixels(whole), pixels(target))


@pytest.mark.slow
def test_interrupted_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = moving(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    script = written(tmp_path, pause=0.02)
    process = start(source, target, "--script", script)
    kept = tmp_path / "out.mkv.segments"
    wait_for((kept / "000000.segment").exists, process)
    for way in ("--resume", "--restart"):  # beside it
        code, last = run(capsys, source, target, "--script", script, way)
        assert code == 1
        assert f"another run is writing to {kept}; wait for its end" in last
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on with it" in err
    assert "Traceback" not in err
    assert not target.exists()
    assert not list(kept.glob(".*"))
    assert run(capsys, source, target, "--script", script, "--resume")[0] == 0
    assert len(look(target).times) == 200


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty times, at any moment from the beginning on; the bits are those of an unbroken run."""
    source = everything(tmp_path / "in.mkv", moving(tmp_path / "video.mkv", 200))
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    script = written(tmp_path, pause=0.005)
    assert run(capsys, source, whole, "--script", script, *LOSSLESS)[0] == 0
    moments, killed = random.Random(7), 0

    def is_whole() -> None:
        assert same(pixels(whole), pixels(target))
        assert look(whole) == look(target)
        target.unlink()

    while killed < 20:
        process = start(source, target, "--script", script, *LOSSLESS, "--resume", "--quiet")
        time.sleep(moments.uniform(0.3, 2))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if target.exists():  # so far in so many runs: begin again
            is_whole()
    assert run(capsys, source, target, "--script", script, *LOSSLESS, "--resume")[0] == 0
    is_whole()
    assert rendering.MOST < 400 / 2
