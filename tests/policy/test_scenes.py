"""Generated scenes: deterministic, moving as told, free of aliasing."""

import sys

import numpy as np
import pytest
import torch
from helpers.images import imresize

from vs_sr.errors import VsSrError
from vs_sr.training import shapes, textures
from vs_sr.training.clips import Clips, make_clip
from vs_sr.training.demo import demo_scene
from vs_sr.training.motion import Motion, random_motion
from vs_sr.training.scenes import SUPERSAMPLING, Layer, make_scene, render


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clips():
    hr = np.stack([make_clip(seed, 7, 48) for seed in (3, 4)])
    return Clips.of(hr)


def spot(height, width, radius=6.0):
    """A white disc on its own sheet."""
    side = int(SUPERSAMPLING * radius * 2) + 9
    mask = shapes.coverage(shapes.ellipse(1.0), side, side, ((side - 1) / 2,) * 2, SUPERSAMPLING * radius, 0.0)
    return np.concatenate([np.ones((side, side, 3), np.float32), mask[..., None]], axis=2)


def centroid(plane):
    y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
    return np.array([(plane * x).sum(), (plane * y).sum()]) / plane.sum()


def test_same_seed_same_scene():
    a, b = (make_scene(11, frames=3, height=40, width=56) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (3, 3, 40, 56)
    assert a.dtype == np.float32
    assert not np.array_equal(a, make_scene(12, frames=3, height=40, width=56))


@pytest.mark.parametrize("seed", range(8))
def test_values_lie_in_range_and_something_is_seen(seed):
    scene = make_scene(seed, frames=3, height=48, width=48)
    assert scene.min() >= 0
    assert scene.max() <= 1
    assert scene[0].std() > 0.01


def test_scenes_move():
    moved = [
        np.abs(np.diff(make_scene(s, frames=2, height=48, width=48, noise=False), axis=0)).mean() for s in range(8)
    ]
    assert np.mean(moved) > 0.003


@pytest.mark.parametrize("velocity", [(0.0, 0.0), (0.3, 0.0), (-1.25, 2.5)])
def test_subpixel_motion_is_exact(velocity):
    layer = Layer(spot(64, 64), Motion(velocity=velocity))
    scene = render([layer], Motion(), 5, 64, 64)
    places = np.array([centroid(frame[0]) for frame in scene])
    np.testing.assert_allclose(places[2], [31.5, 31.5], atol=0.01)
    np.testing.assert_allclose(np.diff(places, axis=0), np.tile(velocity, (4, 1)), atol=0.03)


def test_camera_moves_layers_by_their_parallax():
    layers = [Layer(spot(64, 64), Motion(y=y), parallax=p) for y, p in ((-16, 0.5), (16, 1.0))]
    scene = render(layers, Motion(velocity=(2, 0)), 3, 64, 64)[:, 0]
    upper = [centroid(frame[:32])[0] for frame in scene]
    lower = [centroid(frame[32:])[0] for frame in scene]
    np.testing.assert_allclose(np.diff(upper), 1.0, atol=0.01)
    np.testing.assert_allclose(np.diff(lower), 2.0, atol=0.01)


def test_upper_layer_hides_lower():
    red, blue = (np.zeros((80, 80, 4), np.float32) for _ in range(2))
    red[..., [0, 3]] = 1
    blue[..., [2, 3]] = 1
    frame = render([Layer(red, Motion()), Layer(blue, Motion(x=20))], Motion(), 1, 40, 80)[0]
    np.testing.assert_allclose(frame[:, 20, 30], [1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(frame[:, 20, 50], [0, 0, 1], atol=1e-3)
    np.testing.assert_allclose(frame[:, 20, 5], [0, 0, 0], atol=1e-3)


def test_mirrored_background_leaves_no_gap():
    sheet = np.ones((90, 90, 4), np.float32)
    scene = render([Layer(sheet, Motion(velocity=(9, 4), spin=0.05), mirrored=True)], Motion(), 5, 40, 40)
    assert scene.min() > 0.999


def test_shading_of_an_edge_is_its_coverage():
    # A half-plane edge at a quarter of a pixel: the mean of a mask is the area it covers.
    mask = shapes.coverage(shapes.rectangle(1.0), 64, 64, (31.5, 31.5), 20.25 * np.sqrt(2), 0.0)
    assert mask.sum() == pytest.approx((2 * 20.25) ** 2, rel=0.002)


@pytest.mark.parametrize("maker", [textures.stripes_image, textures.lattice_image, textures.noise_image])
def test_pictures_have_little_power_near_nyquist(maker):
    # What lies beyond half the sheet's Nyquist frequency is lost in the reduction; more would alias.
    image = maker(np.random.default_rng(5), 128, 128).mean(axis=2)
    window = np.hanning(128)
    power = np.abs(np.fft.fft2((image - image.mean()) * window * window[:, None])) ** 2
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    assert power[f > 0.35].sum() < 0.03 * power.sum()


def test_text_is_legible_and_drawn_in_grey():
    mask = textures.text_mask(np.random.default_rng(0), 80, 200, smallest=16)
    assert 0.05 < mask.mean() < 0.5
    assert np.mean((mask > 0.1) & (mask < 0.9)) > 0.02  # antialiased


def test_text_without_pillow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(VsSrError, match="pip install"):
        textures.text_mask(np.random.default_rng(0), 40, 40)


def test_motion_is_what_it_says():
    motion = Motion(x=3, y=-1, velocity=(2, 0), acceleration=(0, 1), angle=0.1, spin=0.2, zoom=0.01)
    np.testing.assert_allclose(motion.matrix(0) @ [0, 0, 1], [3, -1, 1])
    np.testing.assert_allclose(motion.matrix(2) @ [0, 0, 1], [7, 1, 1])
    turned = motion.matrix(2)[:2, :2]
    np.testing.assert_allclose(np.arctan2(turned[1, 0], turned[0, 0]), 0.5)
    np.testing.assert_allclose(np.sqrt(np.linalg.det(turned)), np.exp(0.02))


def test_random_motion_keeps_to_its_limits():
    rng = np.random.default_rng(0)
    motions = [random_motion(rng, 10, 6) for _ in range(300)]
    speeds = [float(np.hypot(*motion.velocity)) for motion in motions]
    assert max(speeds) <= 6
    assert 10 < sum(speed == 0 for speed in speeds) < 60
    assert max(abs(motion.x) for motion in motions) <= 10
    assert min(speed for speed in speeds if speed) < 0.1  # two decades ...
    lively = [random_motion(rng, 10, 6, span=1.0) for _ in range(300)]  # ... or a factor of e
    assert min(speed for motion in lively if (speed := np.hypot(*motion.velocity))) >= 6 / np.e


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="frames"):
        make_scene(0, frames=0)
    with pytest.raises(ValueError, match="32"):
        demo_scene(4, 16, 64)


def test_demo_scene_is_deterministic_and_moves_smoothly():
    film = demo_scene(4, 72, 128, seed=1)
    assert film.shape == (4, 3, 72, 128)
    np.testing.assert_array_equal(film, demo_scene(4, 72, 128, seed=1))
    steps = np.abs(np.diff(film, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0.001
    assert steps.max() < 3 * steps.min()
    # Detail that the reduction loses: bicubic must be visibly short of the film.
    frame = film[0].transpose(1, 2, 0)
    assert np.abs(imresize(imresize(frame, 0.25), 4) - frame).mean() > 0.01


def test_batch_pairs_each_lr_frame_with_its_hr_frame(clips):
    rng = np.random.default_rng(0)
    for inputs in (2, 3, 4):
        lr, hr = clips.batch(rng, 3, inputs, 8)
        assert lr.shape == (3, inputs, 3, 8, 8)
        assert hr.shape == (3, 2 * inputs - 1, 3, 32, 32)
        # Away from the crop's border, reducing the HR patch again gives the LR patch.
        for b in range(3):
            for t in range(inputs):
                again = imresize(hr[b, 2 * t].permute(1, 2, 0).numpy(), 0.25)[3:-3, 3:-3]
                np.testing.assert_allclose(again, lr[b, t].permute(1, 2, 0).numpy()[3:-3, 3:-3], atol=4 / 255)


def test_batches_follow_from_their_generator(clips):
    first, second = (clips.batch(np.random.default_rng(9), 2, 2, 8)[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, clips.batch(np.random.default_rng(10), 2, 2, 8)[1])
