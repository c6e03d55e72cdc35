"""PSNR and SSIM against published implementations' figures."""

import json
import math

import numpy as np
import pytest
from helpers import golden
from helpers.images import luma, psnr_y

from vs_sr.evaluation.metrics import psnr, sharpness, ssim


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
    y, z = luma(a), luma(b)
    assert psnr(y, z, border=border) == pytest.approx(figures[f"own_psnr_y_crop{border}"], abs=1e-9)
    assert ssim(y, z, border=border) == pytest.approx(figures[f"own_ssim_y_crop{border}"], abs=1e-12)
    assert ssim(y, z, border=border) == pytest.approx(figures[f"basicsr_ssim_y_crop{border}"], abs=1e-7)


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
