"""Clips of videos: from where something moves, never across a cut, never of what is held out."""

import av
import numpy as np
import pytest

from vs_sr.errors import VsSrError
from vs_sr.training import video
from vs_sr.training.recipe import Video
from vs_sr.training.textures import power_noise

HEIGHT, WIDTH, SCENE = 128, 192, 24
FACTS = Video(count=4, frames=6, size=64, height=64, best=0.5, stills=2, until=0.75)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four scenes of 24 frames at twice the size of clips; in each, a square moves at the left, and only there."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for scene in range(4):
            rng = np.random.default_rng(scene)
            ground = (127 + 90 * power_noise(rng, HEIGHT, WIDTH, 1.2, 0.02).clip(-1, 1)).astype(np.uint8)
            square = rng.integers(0, 256, (48, 48), dtype=np.uint8)
            for t in range(SCENE):
                image = ground.copy()
                image[20 + t : 68 + t, 10:58] = square
                frame = av.VideoFrame.from_ndarray(np.repeat(image[..., None], 3, axis=2), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_places_are_those_that_move_and_hold_no_cut(film):
    size = video.size_at(film, 64, 4)
    assert size == (64, 96)
    judged = list(video.judge(film, FACTS, size, 4))
    best = sorted(judged, reverse=True)[:6]
    assert all(spot.x <= 12 for _, spot in best)
    facts = Video(count=1, frames=5, size=64, height=64)  # of windows of 5, some lie across a cut
    starts = {spot.start for _, spot in video.judge(film, facts, size, 4)}
    assert {20, 45} & set(range(0, 86, 5)) == {20, 45}
    assert not starts & {20, 45, 70}  # 20..24 and 45..49 and 70..74 hold frames of two scenes
    assert {0, 5, 15, 25, 50} <= starts


def test_choice_is_seeded_in_order_and_has_its_stills(film):
    spots = video.choose(film, FACTS, (4,))
    assert spots == video.choose(film, FACTS, (4,))
    assert spots == sorted(spots)
    assert [spot.still for spot in spots].count(True) == 2
    assert {(s.start, s.y, s.x) for s in spots if s.still} <= {(s.start, s.y, s.x) for s in spots if not s.still}
    assert max(spot.start + FACTS.frames for spot in spots) <= 0.75 * 4 * SCENE
    others = [video.choose(film, Video(**{**FACTS.__dict__, "seed": seed}), (4,)) for seed in range(2, 6)]
    assert any(other != spots for other in others)


def test_clips_are_the_films_frames(film):
    size = video.size_at(film, 64, 4)
    spots = [video.Spot(6, 0, 0), video.Spot(6, 0, 0, still=True), video.Spot(30, 0, 8)]
    found = list(video.clips(film, FACTS, spots, size))
    assert [spot for spot, _ in found] == spots
    assert all(frames.shape == (6, 64, 96, 3) for _, frames in found)
    with av.open(str(film)) as container:
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for spot, frames in found:
        for t, frame in enumerate(frames):
            source = whole[spot.start if spot.still else spot.start + t].astype(float)
            means = source.reshape(64, 2, 96, 2, 3).mean(axis=(1, 3))
            assert np.abs(frame - means).mean() < 12  # a bicubic kernel is sharper than a box
    np.testing.assert_array_equal(found[0][1][0], found[1][1][5])
    assert np.abs(np.diff(found[0][1].astype(float), axis=0)).mean() > 1


def test_clips_have_the_frames_before_them_as_far_as_there_are_some(film):
    size = video.size_at(film, 64, 4)
    spots = [video.Spot(6, 0, 0), video.Spot(30, 0, 8), video.Spot(30, 0, 8, still=True)]
    plain = [frames for _, frames in video.clips(film, FACTS, spots, size)]
    found = [frames for _, frames in video.clips(film, FACTS, spots, size, [9, 9, 3])]
    assert [len(frames) for frames in found] == [6 + 6, 9 + 6, 3 + 6]  # the film has six frames before the first one
    for frames, alone in zip(found, plain, strict=True):
        np.testing.assert_array_equal(frames[-6:], alone)
    (_, earlier), *_ = video.clips(film, FACTS, [video.Spot(21, 0, 0)], size)
    np.testing.assert_array_equal(found[1][:6], earlier)
    np.testing.assert_array_equal(found[2], np.repeat(plain[1][:1], 9, axis=0))


def test_the_beginning_may_be_left_out(film):
    size = video.size_at(film, 64, 4)
    facts = Video(**{**FACTS.__dict__, "from_": 0.25})
    starts = {spot.start for _, spot in video.judge(film, facts, size, 4)}
    assert starts == {start for start in (spot.start for _, spot in video.judge(film, FACTS, size, 4)) if start >= 24}
    (_, frames), *_ = video.clips(film, facts, [video.Spot(24, 0, 0)], size, [5])
    assert len(frames) == 6  # what is left out is not before a clip either


def test_lettering_on_a_flat_ground_is_no_place():
    """Credits have detail and motion, and teach nothing; lettering before an image stays."""
    rng = np.random.default_rng(0)
    ground = (0.5 + 0.2 * power_noise(rng, 32, 48, 1.2, 0.02)).astype(np.float32)
    for flat, places in ((True, 0), (False, 2)):
        frames = []
        for t in range(6):
            frame = np.full((32, 48), 16 / 255, np.float32) if flat else ground.copy()
            for line in range(2, 30, 6):
                frame[line + t % 3 : line + t % 3 + 2, 4:44:2] = 0.9
            frames.append(frame)
        assert len(video._best(frames, 16)) == places


def test_what_cannot_be_is_said(film, tmp_path):
    with pytest.raises(VsSrError, match="height=256 would upscale it"):
        video.size_at(film, 256, 4)
    with pytest.raises(VsSrError, match="places for clips of 6 frames, not 400"):
        video.choose(film, Video(**{**FACTS.__dict__, "count": 400}), (4,))
    with pytest.raises(VsSrError, match="cannot be read as a video"):
        video.size_at(tmp_path / "none.mkv", 64, 4)


def black(path, height, width):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
        for _ in range(24):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_film_without_motion_has_no_places(tmp_path):
    path = black(tmp_path / "still.mkv", HEIGHT, WIDTH)
    with pytest.raises(VsSrError, match=r"still.mkv has 0 places"):
        video.choose(path, FACTS, (4,))


def test_a_film_too_narrow_for_a_clip_is_named(tmp_path):
    path = black(tmp_path / "narrow.mkv", HEIGHT, 48)
    with pytest.raises(VsSrError, match=r"narrow.mkv is 48x128 at height=128; size=64 does not fit"):
        video.choose(path, Video(count=1, height=HEIGHT, size=64), (4,))
