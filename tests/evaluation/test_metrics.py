"""PSNR and SSIM against published implementations' figures, and the space-time protocol."""

import json
import math

import numpy as np
import pytest
from helpers import golden

from vs_sr.evaluation import vid4
from vs_sr.evaluation.bicubic import imresize, round_half_up
from vs_sr.evaluation.metrics import luma, psnr, psnr_y, sharpness, ssim, ssim_y


@pytest.fixture(scope="module")
def images():
    with np.load(golden.find("golden_image/ops_metrics_images.npz")) as file:
        return file["A"], file["B"]


@pytest.fixture(scope="module")
def figures():
    return json.loads(golden.find("golden_image/ops_metrics_losses.json").read_text())["metrics"]


@pytest.mark.parametrize("border", [0, 2, 4])
def test_reference_figures(images, figures, border):
    a, b = images
    assert psnr(a, b, border=border) == pytest.approx(figures[f"basicsr_psnr_rgb_crop{border}"], abs=1e-9)
    assert psnr_y(a, b, border=border) == pytest.approx(figures[f"own_psnr_y_crop{border}"], abs=1e-9)
    assert ssim_y(a, b, border=border) == pytest.approx(figures[f"own_ssim_y_crop{border}"], abs=1e-12)
    assert ssim_y(a, b, border=border) == pytest.approx(figures[f"basicsr_ssim_y_crop{border}"], abs=1e-7)


@pytest.mark.parametrize("clip", ["calendar", "city"])
def test_vid4_bicubic_figures(clip):
    reference = json.loads(golden.test_data("reference/golden/metrics/vid4_bicubic_metrics.json").read_text())
    table = reference["clips"][clip]["per_frame_psnr_rgb_psnrY_ssimY"]
    frames = vid4.read_frames(golden.test_data(f"footage/vid4/{clip}"))
    assert len(frames) == 13
    for frame, (rgb, y, structure) in list(zip(frames, table, strict=False))[::4]:
        lr = round_half_up(imresize(frame.astype(np.float64), 1 / 4))
        enlarged = round_half_up(imresize(lr.astype(np.float64), 4))
        assert psnr(enlarged, frame) == pytest.approx(rgb, abs=0.01)
        assert psnr_y(enlarged, frame) == pytest.approx(y, abs=0.01)
        assert ssim_y(enlarged, frame) == pytest.approx(structure, abs=0.0005)


def test_luma_range_is_studio():
    corners = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(luma(corners), [[16, 235]])


def test_psnr_of_known_errors():
    a = np.full((16, 16, 3), 100, dtype=np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 1) == pytest.approx(10 * math.log10(255**2))
    assert psnr_y(a, a + 1) == pytest.approx(20 * math.log10(255 * 255 / 219))


def test_border_is_left_out():
    a = np.zeros((16, 16, 3), dtype=np.uint8)
    b = a.copy()
    b[0] = 255
    assert psnr(a, b) < 20
    assert psnr(a, b, border=1) == math.inf


def test_ssim_is_one_only_for_equal_images():
    a = np.random.default_rng(0).random((20, 20)) * 255
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, a[::-1]) < 0.5


def test_sharpness_of_a_ramp_is_its_slope():
    y, x = np.mgrid[:9, :7]
    assert sharpness(3 * x + 4 * y) == pytest.approx(5)
    assert sharpness(np.full((2, 2), 7)) == 0
    for wrong in (np.zeros((4, 4, 3)), np.zeros((1, 4))):
        with pytest.raises(ValueError, match="plane"):
            sharpness(wrong)


def test_wrong_input_is_refused():
    a = np.zeros((16, 16, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        psnr(a, a[:8])
    with pytest.raises(ValueError, match="border"):
        psnr(a, a, border=8)
    with pytest.raises(ValueError, match="one plane"):
        ssim(a, a)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(a[:8, :8, 0], a[:8, :8, 0])
    with pytest.raises(ValueError, match="three channels"):
        luma(a[..., :2])


def test_protocol_gives_every_second_frame_and_scores_all():
    frames = np.random.default_rng(0).integers(0, 256, (6, 18, 22, 3), dtype=np.uint8)
    seen = []

    def upscale(lr):
        seen.append(lr)
        return vid4.bicubic_blend(lr)

    report = vid4.evaluate(frames, upscale, "noise")
    np.testing.assert_array_equal(seen[0], vid4.reduce_frames(frames[:5:2, :16, :20]))
    assert [score.frame for score in report.upscaler] == list(range(5))
    assert [score.interpolated for score in report.upscaler] == [False, True, False, True, False]
    assert report.gain == 0
    assert report.upscaler == report.baseline


def test_protocol_rewards_the_target_itself():
    frames = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    report = vid4.evaluate(frames, lambda lr: frames.astype(np.float32))
    assert report.psnr_y == math.inf
    with pytest.raises(ValueError, match="shape"):
        vid4.evaluate(frames, lambda lr: frames[:2])
    with pytest.raises(ValueError, match="at least 3"):
        vid4.evaluate(frames[:2], vid4.bicubic_blend)


def test_frames_in_between_that_are_softer_are_told():
    film = np.random.default_rng(2).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    film[2:] = film[2] // 2  # a target that itself changes
    softer = film.astype(np.float64)
    softer[1::2] = 100 + (softer[1::2] - 100) * 0.75
    report = vid4.evaluate(film, lambda lr: softer)
    assert [score.sharpness for score in report.upscaler] == pytest.approx([1, 0.75, 1, 0.75, 1], abs=0.01)
    assert report.between == pytest.approx(-0.25, abs=0.01)
    moving = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    assert vid4.evaluate(moving, vid4.bicubic_blend).baseline_between < -0.1  # a mean is softer than its terms


def test_blend_is_the_mean_of_the_enlarged_neighbours():
    lr = np.stack([np.full((4, 4, 3), value, dtype=np.uint8) for value in (10, 21)])
    out = vid4.bicubic_blend(lr)
    assert out.shape == (3, 16, 16, 3)
    assert [int(frame.min()) for frame in out] == [int(frame.max()) for frame in out] == [10, 16, 21]


def test_folder_without_frames_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.png"):
        vid4.read_frames(tmp_path)
