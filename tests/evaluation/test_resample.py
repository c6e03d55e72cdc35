"""Bicubic resampling against images made by MATLAB's rules, and against what any resampling must do."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import golden
from helpers.images import imresize
from hypothesis import assume, given
from hypothesis import strategies as st

from vs_sr.evaluation import measure
from vs_sr.evaluation.resample import resize_matrix, round_half_up

SCALES = {"d2": 1 / 2, "d3": 1 / 3, "d4": 1 / 4, "u2": 2, "u3": 3, "u4": 4, "d0p7": 0.7, "u1p5": 1.5}
IMAGES = ("noise", "smooth")


@pytest.fixture(scope="module")
def vectors():
    return np.load(golden.find("golden_image/ops_imresize.npz"))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("scale", SCALES)
def test_double_rule(vectors, name, scale):
    image = vectors[f"{name}_u8"] / 255
    expected = vectors[f"{name}_{scale}_double"]
    np.testing.assert_allclose(imresize(image, SCALES[scale]), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("scale", [s for s in SCALES if s != "u1p5"])
def test_uint8_rule(vectors, name, scale):
    made = imresize(vectors[f"{name}_u8"], SCALES[scale])
    np.testing.assert_array_equal(made, vectors[f"{name}_{scale}_uint8_matlab"])


@pytest.mark.parametrize("name", IMAGES)
def test_uint8_rule_at_three_halves(vectors, name):
    # Many results are exact halves at this scale: their last bit depends on the order of a sum.
    image, expected = vectors[f"{name}_u8"], vectors[f"{name}_u1p5_uint8_matlab"]
    difference = imresize(image, 1.5).astype(int) - expected.astype(int)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= 0.001 * difference.size


def test_uint8_rule_differs_from_rounding_once(vectors):
    once = round_half_up(imresize(vectors["noise_u8"].astype(np.float64), 1 / 4))
    assert np.mean(once != imresize(vectors["noise_u8"], 1 / 4)) > 0.02


def test_real_frames_are_reduced_as_the_reference_did():
    expected, frames = (
        [measure.read(path) for path in measure.images(golden.test_data(folder))]
        for folder in ("reference/golden/metrics", "footage/vid4/calendar")
    )
    made = np.stack([round_half_up(imresize(frame.astype(np.float64), 1 / 4)) for frame in frames[: len(expected)]])
    difference = np.abs(made.astype(int) - np.stack(expected).astype(int))
    assert difference.max() <= 1  # the reference rounds half to even, once
    assert np.count_nonzero(difference) <= 4e-5 * difference.size


@given(length=st.integers(1, 60), scale=st.sampled_from([0.25, 1 / 3, 0.5, 0.7, 1, 1.5, 2, 3, 4]))
def test_matrix_keeps_constants_and_size(length, scale):
    matrix = resize_matrix(length, scale)
    assert matrix.shape == (max(1, -(-length * Fraction(scale).limit_denominator(100) // 1)), length)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12)


@given(length=st.integers(2, 40), scale=st.sampled_from([0.25, 0.5, 2, 3, 4]))
def test_resampling_commutes_with_mirroring(length, scale):
    signal = np.random.default_rng(length).random((length, 3))
    assume(length * scale % 1 == 0)  # the sample grid of a ragged size is not symmetric
    matrix = resize_matrix(length, scale)
    np.testing.assert_allclose(matrix @ signal[::-1], (matrix @ signal)[::-1], rtol=0, atol=1e-12)


def test_scale_one_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(imresize(image, 1), image)


def test_rounding_is_half_up_and_clips():
    np.testing.assert_array_equal(round_half_up(np.array([-3.0, 0.5, 1.5, 254.5, 300.0])), [0, 1, 2, 255, 255])
