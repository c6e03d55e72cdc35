"""``vs-sr compare`` on files, and its page in a browser."""

from __future__ import annotations

import csv
import io
import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from helpers.browser import chromium, needs_chromium
from helpers.films import damage
from helpers.films import film as still
from helpers.images import write
from helpers.support import environment

from vs_sr import cli
from vs_sr.evaluation import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from helpers.browser import Tab

SIZE = 64, 48
RAMP = np.linspace(60, 160, SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0])


@pytest.fixture(autouse=True, scope="module")
def _own_settings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", environment()["XDG_CONFIG_HOME"])
        yield


def film(path: Path, shifts: Sequence[float], *, bits: int = 8, matrix: int = 1, sar: Fraction = Fraction(1)) -> Path:
    """Without loss, at 25 frames per second: a ramp of luma, raised by so much of 8 bits in each frame."""
    width, height = SIZE
    name = "yuv420p" if bits == 8 else f"yuv420p{bits}le"
    with av.open(str(path), "w") as container:
        # FFV1 would lose the shape of pixels
        codec, options = ("libx264", {"qp": "0"}) if sar != 1 else ("ffv1", {})
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, name
        stream.codec_context.colorspace, stream.codec_context.sample_aspect_ratio = matrix, sar
        for shift in shifts:
            planes = (
                np.rint(RAMP) + shift,
                np.full((height // 2, width // 2), 90),
                np.full((height // 2, width // 2), 150),
            )
            frame = av.VideoFrame(width, height, name)
            for plane, values in zip(frame.planes, planes, strict=True):
                kind = np.uint8 if bits == 8 else np.uint16
                stored = np.frombuffer(plane, kind).reshape(plane.height, -1)
                stored[:, : plane.width] = (values * 2 ** (bits - 8)).astype(kind)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    film(folder / "a.mkv", [3, 3, 5, 3, 0, 3])
    film(folder / "b.mkv", [0] * 6)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["compare", *map(str, arguments)])
    return (code, *capsys.readouterr())


def psnr(error: float) -> float:
    return 20 * math.log10(255 / error) if error else math.inf


def test_y_is_the_very_plane_of_the_films(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PIL")
    files = {name: tmp_path / f"x.{name}" for name in ("csv", "json", "png", "html")}
    options = ["--csv", files["csv"], "--json", files["json"], "--plot", files["png"], "--html", files["html"]]
    code, out, err = run(capsys, films / "a.mkv", films / "b.mkv", *options)
    assert code == 0, err
    errors = [3, 3, 5, 3, 0, 3]
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["film"], row["frame"], float(row["time"])) for row in rows] == [
        ("A", str(n), n / 25) for n in range(6)
    ]
    assert [float(row["psnr_y"]) for row in rows] == pytest.approx([psnr(error) for error in errors], abs=1e-3)
    assert rows[4]["psnr_rgb"] == "inf"
    assert rows[0]["change_error"] == ""
    assert [float(row["change_error"]) for row in rows[1:]] == pytest.approx([0, 2, 2, 3, 3], abs=1e-4)
    record = json.loads(files["json"].read_text())
    assert record["reference"] == "B"
    assert record["y"] == "limited range, weights of BT709"
    assert record["films"]["A"] == {"path": str(films / "a.mkv"), "first": 0, "rate": "25"}
    assert record["frames"]["A"][4]["psnr_y"] is None
    assert record["temporal"]["A"]["change_error"] == pytest.approx(2)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["A", f"{films / 'a.mkv'}:", "6", "frames", "at", "25", "fps,", "64x48"]
    assert ["PSNR-Y", "SSIM-Y", "PSNR-RGB", "SSIM-RGB", "change"] in lines
    (worst,) = (line for line in lines if line[:2] == ["2", "A"])
    assert float(worst[2]) == pytest.approx(psnr(5), abs=1e-3)
    assert ["mean", "A", "inf"] in [line[:3] for line in lines]
    assert measure.read(files["png"]).shape == (320, 900, 3)
    page = files["html"].read_text(encoding="utf-8")
    assert "{{" not in page
    assert "http://www.w3.org/2000/svg" in page
    assert page.count("http") == page.count("http-equiv") + 1  # nothing is fetched


def test_bits_and_truth(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A film of ten bits, whose values lie between those of eight, and two that are measured at once."""
    fine = film(tmp_path / "fine.mkv", [0.5] * 6, bits=10)
    code, _, err = run(
        capsys, films / "a.mkv", fine, "--truth", films / "b.mkv", "--json", tmp_path / "x.json", "--reader", "av"
    )
    assert code == 0, err
    frames = json.loads((tmp_path / "x.json").read_text())["frames"]
    assert list(frames) == ["A", "B"]
    assert [frame["psnr_y"] for frame in frames["B"]] == pytest.approx([psnr(0.5)] * 6, abs=1e-2)
    assert frames["A"][0]["psnr_y"] == pytest.approx(psnr(3), abs=1e-3)


def test_a_part(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = film(tmp_path / "longer.mkv", range(9))
    options = ["--start", "0.08", "--end", "0.2", "--csv", tmp_path / "x.csv"]
    code, _, err = run(capsys, films / "b.mkv", longer, *options)
    assert code == 0, err
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time"]) for row in rows] == [("2", "0.000000"), ("3", "0.040000"), ("4", "0.080000")]
    assert [float(row["psnr_y"]) for row in rows] == pytest.approx([psnr(error) for error in (2, 3, 4)], abs=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of gray."""
    made = tmp_path_factory.mktemp("images")
    for number in range(6):
        write(
            made / f"{number}.png", np.repeat(np.rint(RAMP)[:, :, None], 3, axis=2).astype(np.uint8) + np.uint8(number)
        )
    return made


def test_folders_of_images(films: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, folder, folder, "--csv", tmp_path / "x.csv")
    assert code == 0, err
    assert out.startswith(f"A  {folder}: 6 frames, 64x48\n")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["psnr_y"] for row in rows} == {"inf"}
    assert rows[-1]["time"] == "0.200000"
    assert run(capsys, films / "a.mkv", folder)[0] == 0


def test_a_damaged_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ends it, and the message says in which film; or the frame before it stands for it."""
    whole = still(tmp_path / "whole.mkv", 6, options={"g": "6", "bf": "0"})
    broken = damage(still(tmp_path / "broken.mkv", 6, options={"g": "6", "bf": "0"}), 3)
    code, out, err = run(capsys, whole, broken)
    assert (code, out) == (1, "")
    assert f"{broken}: frame 3 (at 0.120 s) cannot be decoded; --damaged repeat" in err
    code, out, err = run(capsys, whole, broken, "--damaged", "repeat")
    assert code == 0
    assert "B: frame 3 could not be decoded; the one before it stands for it" in err
    assert [line.split()[2] == "inf" for line in out.splitlines() if line[:1].isdecimal()][:4] == [True] * 3 + [False]


def test_what_cannot_be_compared(films: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = films / "a.mkv", films / "b.mkv"
    longer = film(tmp_path / "longer.mkv", range(9))
    small = tmp_path / "small"
    small.mkdir()
    write(small / "0.png", np.zeros((24, 32, 3), np.uint8))
    uneven = tmp_path / "uneven"
    uneven.mkdir()
    for number, width in enumerate((64, 32)):
        write(uneven / f"{number}.png", np.zeros((48, width, 3), np.uint8))

    def refused(*arguments: object) -> str:
        code, _, err = run(capsys, *arguments)
        assert code == 1
        assert err.startswith("vs-sr compare: ")
        return err

    assert "A has 6 frames at 25 fps and B 9 frames at 25 fps" in refused(a, longer)
    assert "--start and --end take a part of each" in refused(a, b, "--truth", longer)
    assert "A is 64x48 and B 32x24; films of one size are compared: vs-sr render --resize" in refused(a, small)
    assert "1.png is 32x48, 0.png 64x48; the frames of a folder must have one size" in refused(uneven, uneven)
    assert "--start and --end are times" in refused(folder, folder, "--start", 1)
    assert "no frame of" in refused(a, b, "--start", 1)
    assert "there is no file" in refused(a, tmp_path / "none.mkv")
    assert "is a film that is compared" in refused(a, b, "--csv", b)
    assert "--html: " in refused(a, b, "--html", tmp_path / "none" / "x.html")


# The page, looked at by a machine


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """The page of a film that grows brighter and one that stays dark, with pixels that are twice as wide as high."""
    folder = tmp_path_factory.mktemp("page")
    names = [folder / name for name in ("a.mkv", "b<i>.mkv", "truth.mkv")]
    bright, dark = [70, *range(40, 44), 40], [-40] * 6
    for name, shifts in zip(names, (bright, dark, [0] * 6), strict=True):
        film(name, shifts, sar=Fraction(2))
    html = folder / "x.html"
    assert cli.main(["compare", *map(str, names[:2]), "--truth", str(names[2]), "--html", str(html)]) == 0
    with chromium(folder / "profile") as tab:
        tab.open(html)
        tab.wait("document.readyState === 'complete' && $('readout').textContent !== ''")
        yield tab
        errors = [event for event in tab.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        assert not errors
        asked = [e["params"]["request"]["url"] for e in tab.events if e.get("method") == "Network.requestWillBeSent"]
        assert {url.partition(":")[0] for url in asked} == {"file", "data"}


def luminance(tab: Tab, x: float, y: float) -> float:
    """Of what is seen at shares of the films' place."""
    box = tab.value("(box => [box.left, box.top, box.width, box.height])($('view').getBoundingClientRect())")
    with av.open(io.BytesIO(tab.screenshot())) as file:
        image = next(file.decode(video=0)).to_ndarray(format="gray")
    return float(image[int(box[1] + y * box[3]), int(box[0] + x * box[2])])


@pytest.mark.slow
@needs_chromium
def test_the_slider_lies_between_the_films(tab: Tab) -> None:
    assert tab.value("$('title').textContent") == "A a.mkv and B b<i>.mkv against truth truth.mkv"
    assert tab.value("$('stage').offsetWidth / $('stage').offsetHeight") == pytest.approx(2 * 64 / 48, abs=0.01)
    assert luminance(tab, 0.4, 0.5) > luminance(tab, 0.6, 0.5) + 60
    left, top, width, height = tab.value("(b => [b.left, b.top, b.width, b.height])($('view').getBoundingClientRect())")
    tab.drag((left + width / 2, top + height / 2), (left + width * 0.8, top + height / 2))
    assert tab.value("split") == pytest.approx(0.8, abs=0.01)
    assert luminance(tab, 0.6, 0.5) > luminance(tab, 0.9, 0.5) + 60
    tab.press("ArrowLeft", shift=True)
    assert tab.value("split") == pytest.approx(0.78, abs=0.01)
    tab.value("slide(0.5)")


@pytest.mark.slow
@needs_chromium
def test_the_plot_and_the_figures_follow_the_player(tab: Tab) -> None:
    tab.press("Home")
    tab.wait("current === 0")
    brighter = luminance(tab, 0.3, 0.5)
    tab.press("ArrowRight")
    tab.wait("current === 1")
    assert luminance(tab, 0.3, 0.5) < brighter - 20
    assert tab.value("$('readout').textContent") == "frame 1, 0.040 s"
    assert tab.value("$('cursor').style.left") == "25%"
    assert tab.value("$('A psnr_y').textContent") == f"{psnr(40):.3f}"
    assert tab.value("document.querySelectorAll('#plot polyline').length") == 2
    tab.press("End")
    tab.wait("current === 5")
    tab.press(" ")
    tab.wait("playing && current > 1 && current < 5")  # from the beginning again
    tab.press(" ")
    assert not tab.value("playing")
    x, y = tab.value("(b => [b.left + 0.6 * b.width, b.top + 9])($('plot').getBoundingClientRect())")
    tab.drag((x, y), (x, y))
    tab.wait("current === 3")


@pytest.mark.slow
@needs_chromium
def test_zoom_and_the_choice_of_films(tab: Tab) -> None:
    whole = tab.value("$('stage').offsetWidth")
    tab.value("scale(8)")
    assert tab.value("$('stage').offsetWidth") == 8 * 2 * 64
    tab.press("-")
    assert tab.value("zoom") == 4
    tab.press("0")
    assert tab.value("$('stage').offsetWidth") == whole
    tab.value("$('pick-right').value = 'truth'; choose()")
    assert tab.value("$('names-right').textContent") == "truth truth.mkv"
    seen = luminance(tab, 0.7, 0.5)
    tab.value("$('pick-right').value = 'B'; choose()")
    assert luminance(tab, 0.7, 0.5) < seen - 20
