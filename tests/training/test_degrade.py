"""What codecs, noise and blur do to clips, in order and by the seed."""

import numpy as np
import pytest

from vs_sr.training.clips import make_clip, reduce_frames
from vs_sr.evaluation.coding import coded
from vs_sr.training.degrade import Chain, blurred
from vs_sr.training.recipe import Degradation


@pytest.fixture(scope="module")
def clip():
    return reduce_frames(make_clip(3, 7, 160))


def error(frames, clip):
    return float(np.sqrt(np.mean((frames.astype(float) - clip) ** 2)))


@pytest.mark.parametrize(("codec", "fine", "coarse"), [("h264", 18, 36), ("mpeg2", 2, 24)])
def test_lower_quality_loses_more_and_frames_stay_in_place(clip, codec, fine, coarse):
    small, large = (coded(clip, codec, quality) for quality in (fine, coarse))
    assert small.shape == clip.shape
    assert error(coded(clip, "chroma", 0), clip) < error(small, clip) < 0.7 * error(large, clip)
    for t in range(len(clip)):  # each frame is nearest to its own
        assert np.argmin([error(small[t], other) for other in clip]) == t
    np.testing.assert_array_equal(coded(clip, codec, coarse), large)


def test_odd_sizes_and_single_frames(clip):
    assert coded(clip[:1, :33, :35], "h264", 20).shape == (1, 33, 35, 3)
    assert coded(clip[:1, :33, :35], "chroma", 0).shape == (1, 33, 35, 3)


def test_subsampled_chroma_keeps_luma(clip):
    out = coded(clip, "chroma", 0).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    assert error(out @ weights, clip @ weights) < 0.5 * error(out, clip)


def test_a_clip_is_coded_as_a_whole(clip):
    """Frames that repeat cost nothing and hardly change, unlike frames on their own."""
    still = np.repeat(clip[:1], 5, axis=0)
    steps = np.abs(np.diff(coded(still, "h264", 30).astype(float), axis=0)).mean()
    assert steps < 1.0 < error(coded(still, "h264", 30), still)


def test_blur_is_a_gaussian_that_keeps_the_mean():
    frames = np.zeros((1, 21, 21, 3))
    frames[0, 10, 10] = 1
    out = blurred(frames, 1.5)[0, :, :, 0]
    y, x = np.mgrid[0:21, 0:21] - 10
    assert out.sum() == pytest.approx(1)
    assert (out * x * x).sum() == pytest.approx(1.5**2, rel=0.02)
    assert (out * y * y).sum() == pytest.approx(1.5**2, rel=0.02)
    assert np.allclose(blurred(np.full((2, 5, 6, 3), 7.0), 2.0), 7)


def test_the_seed_draws_chains_and_a_share_stays_as_it_is():
    facts = Degradation(share=0.4, blur=(0.1, 0.8), noise=(0.0, 0.02), crf=(20, 30), quantizer=(3, 6), seed=5)
    chains = [Chain.draw(facts, index) for index in range(400)]
    assert chains == [Chain.draw(facts, index) for index in range(400)]
    used = [chain for chain in chains if chain]
    assert len(used) == pytest.approx(160, abs=40)
    assert {chain.codec for chain in used} == {"h264", "mpeg2", "chroma", "none"}
    assert all(0.1 <= chain.blur <= 0.8 and chain.noise <= 0.02 for chain in used)
    assert {chain.quality for chain in used if chain.codec == "h264"} <= set(range(20, 31))
    assert {chain.quality for chain in used if chain.codec == "mpeg2"} <= set(range(3, 7))
    assert Chain.draw(Degradation(share=0.0), 1) is None


def test_a_chain_adds_its_noise(clip):
    gray = np.full_like(clip, 128)
    noisy = Chain(blur=0, noise=0.02, codec="none", quality=0, seed=1)(gray)
    assert noisy.astype(float).std() == pytest.approx(0.02 * 255, rel=0.05)
    np.testing.assert_array_equal(Chain(blur=0, noise=0, codec="none", quality=0, seed=1)(clip), clip)
