"""What ``vs-sr compare`` measures, on arrays; the page's budget; SSIM in blocks."""

from __future__ import annotations

import base64
import io
import json
import weakref
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from helpers.images import scene

from vs_sr.color import LUMA, Matrix
from vs_sr.errors import ArgumentError
from vs_sr.evaluation import metrics, page, protocols, report
from vs_sr.evaluation.comparison import Shown, compare, luma

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vs_sr.evaluation.measure import Clip


class Frames:
    """Frames that are made when they are asked for."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = frames
        self.made: list[weakref.ref[np.ndarray]] = []
        self.alive = 0
        """At a time, at most."""

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self.frames:
            image = frame.copy()
            self.made.append(weakref.ref(image))
            self.alive = max(self.alive, sum(made() is not None for made in self.made))
            yield image
            del image


def compared(**films: list[np.ndarray]) -> Clip:
    return compare({name: Frames(frames) for name, frames in films.items()}, [*films][-1], luma(Matrix.ST170_M))


def test_figures_are_those_of_the_metrics() -> None:
    truth = [frame.astype(float) for frame in scene(3)]
    noise = np.random.default_rng(0).normal(0, 8, (3, 48, 64, 3))
    a = [frame + each for frame, each in zip(truth, noise, strict=True)]
    b = [frame + 2.0 for frame in truth]
    found = compared(A=a, B=b, truth=truth)
    y = protocols.LUMAS["matlab"]
    assert found.name == "truth"
    for number, score in enumerate(found.scores["A"]):
        seen = a[number].clip(0, 255)
        assert score.frame == str(number)
        assert score.psnr_rgb == pytest.approx(metrics.psnr(seen, truth[number]))
        assert score.ssim_rgb == pytest.approx(metrics.ssim_rgb(seen, truth[number]))
        assert score.psnr_y == pytest.approx(metrics.psnr(y(a[number]), y(truth[number])), abs=1e-3)
        assert score.ssim_y == pytest.approx(metrics.ssim(y(a[number]), y(truth[number])), abs=1e-4)
    errors = [y(one) - y(other) for one, other in zip(a, truth, strict=True)]
    changes = [float(np.mean(np.abs(errors[n] - errors[n - 1]))) for n in (1, 2)]
    assert [score.change_error for score in found.scores["A"]] == [
        None,
        *(pytest.approx(each, abs=0.01) for each in changes),
    ]
    assert [score.change_error for score in found.scores["B"]] == [None, *2 * [pytest.approx(0, abs=1e-9)]]
    assert found.temporal["A"].change_error == pytest.approx(np.mean(changes), abs=0.01)


def test_frames_are_held_no_longer_than_they_are_needed() -> None:
    films = {name: Frames(scene(8)) for name in ("A", "B", "truth")}
    compare(films, "truth", luma(Matrix.BT709))
    assert [len(film.made) for film in films.values()] == [8, 8, 8]
    assert max(film.alive for film in films.values()) <= 3  # zip() keeps one


@pytest.mark.parametrize("matrix", [*LUMA, Matrix.ICTCP])
def test_y_is_that_of_the_matrix(matrix: Matrix) -> None:
    """Red, green and blue of full strength by the definition, and white and black."""
    red, blue = LUMA.get(matrix, LUMA[Matrix.BT709])
    corners = 255.0 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(luma(matrix)(corners), [16 + 219 * w for w in (red, 1 - red - blue, blue, 1, 0)])


def test_frames_too_small_for_ssim_are_named() -> None:
    with pytest.raises(ArgumentError, match="frame 0: SSIM needs at least 11 pixels"):
        compared(A=[np.zeros((8, 64, 3))], B=[np.zeros((8, 64, 3))])


@pytest.mark.parametrize("padding", ["valid", "zero"])
@pytest.mark.parametrize("shape", [(11, 11), (64, 75), (74, 200), (139, 65)])
def test_blocks_of_the_window_are_the_whole_matrix(shape: tuple[int, int], padding: metrics.Padding) -> None:
    plane = np.random.default_rng(1).random(shape) * 255
    matrix = metrics._blur_matrix(shape[0], padding)
    np.testing.assert_allclose(metrics._blur_rows(matrix, plane), matrix @ plane, rtol=1e-13)


def test_the_table_has_the_worst_frames_of_a_long_film() -> None:
    truth = [np.zeros((16, 16, 3))] * 6
    found = compared(A=[image + error for image, error in zip(truth, (1, 5, 2, 4, 0, 3), strict=True)], B=truth)
    rows = [line.split() for line in report.table([found], 3).splitlines()]
    assert [row[0] for row in rows if row[1:2] == ["A"]] == ["1", "3", "5", "mean", "motion"]
    assert rows[0][-1] == "change"
    (mean,) = (row for row in rows if row[:1] == ["mean"])
    assert float(mean[-1]) == pytest.approx(found.temporal["A"].change_error, abs=5e-4)


# The page


def shown(number: int, height: int = 48, width: int = 64) -> Shown:
    first, second = scene(2, height, width)
    return Shown(number, {"A": first, "B": second})


def images(made: page.Page) -> dict[str, list[str]]:
    file = io.BytesIO()
    clip = compared(A=scene(2), B=scene(2))
    made.write(file, clip, {"A": "a</script>.mkv", "B": "b"}, [0, 0.04], (64, 48), Fraction(4, 3))
    text = file.getvalue().decode()
    data = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(data)["films"]["A"] == "a</script>.mkv"
    return dict(json.loads(data)["images"])


def test_a_page_holds_the_frames() -> None:
    made = page.Page(2)
    for number in range(2):
        made.add(shown(number))
    found = images(made)
    assert made.frames == len(found["A"]) == len(found["B"]) == 2
    with av.open(io.BytesIO(base64.b64decode(found["B"][0]))) as file:
        image = next(file.decode(video=0)).to_ndarray(format="rgb24", src_colorspace="ITU601")
    assert metrics.psnr(image, shown(0).images["B"]) > 40


def test_a_page_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In frames, and in bytes: coarser images first, then fewer."""
    size = {q: sum(len(page.jpeg(image, q)) for image in shown(0).images.values()) for q in page._QUANTIZERS}
    monkeypatch.setattr(page, "FRAMES", 10)

    def kept(limit: int) -> tuple[int, int]:
        monkeypatch.setattr(page, "BYTES", limit)
        made = page.Page(1000)
        for number in range(20):
            made.add(shown(number))
        return made.frames, made._quantizer

    assert kept(10 * size[2]) == (10, 2)
    assert kept(10 * size[3]) == (10, 3)
    assert kept(4 * size[5] + 1) == (4, 5)
    assert kept(1) == (1, 5)  # a page without a frame is none
