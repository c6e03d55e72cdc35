"""The pool: made once, of every kind of source, each clip with the LR of every scale and rate."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.support import python

from vs_sr.errors import ArgumentError
from vs_sr.training import images, pool
from vs_sr.training.clips import HELD_OUT_SEED, Clips, make_clip, reduce_frames
from vs_sr.training.degrade import Chain
from vs_sr.training.recipe import Arrays, Data, Degradation, Images, Place, Scenes, Video

SCENES = Scenes(count=3, frames=5, size=48, seed=5)


def load(tmp_path, data, **place):
    return pool.load(data, Place(out=tmp_path, **place))


@pytest.mark.slow
def test_scenes_are_rendered_once_and_kept(tmp_path):
    data = Data(multi=(2,), inputs=(2,), patch=8, scenes=(SCENES,))
    told = []
    made = pool.load(data, Place(out=tmp_path), lambda *said: told.append(said))
    assert told == [("clips", done, 3) for done in (1, 2, 3)]
    again = pool.load(data, Place(out=tmp_path), lambda *said: pytest.fail("made twice"))
    np.testing.assert_array_equal(made.hr, again.hr)
    np.testing.assert_array_equal(made.hr[1], make_clip(6, 5, 48))
    np.testing.assert_array_equal(made.lr[4, 2][1], reduce_frames(made.hr[1]))
    by_two = load(tmp_path / "parallel", data, workers=2)
    np.testing.assert_array_equal(by_two.hr, made.hr)
    np.testing.assert_array_equal(by_two.lr[4, 2], made.lr[4, 2])
    other = pool.load(replace(data, scenes=(replace(SCENES, seed=6),)), Place(out=tmp_path))
    np.testing.assert_array_equal(other.hr[0], made.hr[1])


def test_a_half_made_pool_is_made_again(tmp_path):
    data = Data(patch=8, scenes=(SCENES,))
    made = np.array(load(tmp_path, data).hr)
    (path,) = (tmp_path / "pool").glob("*_hr.npy")
    path.unlink()
    np.testing.assert_array_equal(load(tmp_path, data).hr, made)


def test_every_scale_and_rate_has_its_lr_and_a_codec_sees_the_frames_that_are_given(tmp_path):
    data = Data(
        scale=(2, 4),
        multi=(2, 4),
        inputs=(2,),
        patch=8,
        scenes=(replace(SCENES, count=2),),
        degradation=Degradation(share=1.0, codecs=("h264",), crf=(30, 30), seed=2),
    )
    made = load(tmp_path, data)
    assert made.lr.keys() == {(2, 2), (2, 4), (4, 2), (4, 4)}
    chain = Chain.draw(data.degradation, 1)
    assert 0 < chain.run_in <= 8  # of frames as far apart as those of the clip, which is not the film's beginning
    lead = 4 * chain.run_in
    low = reduce_frames(make_clip(SCENES.seed + 1, 5, 48, lead=lead), 2)
    np.testing.assert_array_equal(made.hr[1], make_clip(SCENES.seed + 1, 5, 48))
    for phase in (0, 1):
        film = low[lead - 2 * chain.run_in + phase :: 2]
        np.testing.assert_array_equal(made.lr[2, 2][1][phase::2], chain(film)[chain.run_in :])
    np.testing.assert_array_equal(made.lr[2, 4][1][::4], chain(low[::4])[chain.run_in :])
    assert list(made.degraded) == [True, True]


def images_of(folder, *sizes):
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_crops_are_those_of_the_papers(tmp_path):
    """Windows of 480 every 200; one that would end at the edge itself is left out."""
    assert images.places(1000, 680, 480, 200) == [(0, 0), (200, 0), (400, 0)]
    assert images.places(480, 480, 480, 200) == []
    assert len(images.places(1404, 2040, 480, 200)) == 5 * 8
    folder = images_of(tmp_path / "images", (50, 70), (40, 40), (16, 99))
    data = Data(scale=(2,), patch=8, images=(Images(size=32, stride=16),))
    made = load(tmp_path, data, images=(folder,))
    assert made.hr.shape == (7, 1, 32, 32, 3)  # 2 x 3 of the first, 1 of the second, none of the third
    image = images.read(folder / "0.png")
    np.testing.assert_array_equal(made.hr[4][0], image[16:48, 16:48])
    np.testing.assert_array_equal(made.lr[2, 1][4], reduce_frames(image[None, 16:48, 16:48], 2))


def test_scenes_of_photographs_show_them(tmp_path):
    folder = images_of(tmp_path / "photos", (300, 400), (20, 30))
    data = Data(multi=(2,), inputs=(2,), patch=8, scenes=(replace(SCENES, count=1, photos=True),))
    made = load(tmp_path, data, photos=(folder,))
    assert made.hr.shape == (1, 5, 48, 48, 3)
    assert np.abs(made.hr[0].astype(float) - make_clip(SCENES.seed, 5, 48)).mean() > 5
    image = images.Photographs((folder / "0.png",))(np.random.default_rng(1), 10, 20)
    assert image.shape == (10, 20, 3)
    assert 0 <= image.min() < image.max() <= 1
    large = images.Photographs((folder / "1.png",))(np.random.default_rng(1), 60, 90)
    assert large.shape == (60, 90, 3)


def test_several_sources_are_one_pool(tmp_path):
    data = Data(scale=(2,), patch=8, scenes=(replace(SCENES, count=2, frames=1), replace(SCENES, count=1, seed=9)))
    made = load(tmp_path, data)
    assert len(made.hr) == 3
    np.testing.assert_array_equal(made.hr[2], make_clip(9, 5, 48))
    with pytest.raises(IndexError):
        made.hr[3]


def test_pairs_of_an_hdf5_file(tmp_path):
    path = tmp_path / "pairs.h5"
    rng = np.random.default_rng(0)
    high = rng.integers(0, 256, (12, 3, 32, 40), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        for number, image in enumerate(high):
            file[f"hr/{number}"] = image.astype(np.float32) / 255
            file[f"lr/{number}"] = image[:, ::2, ::2].astype(np.float32) / 255
    data = Data(scale=(2,), patch=8, h5=(Arrays(),))
    made = load(tmp_path, data, h5=path)
    assert len(made.hr) == 12
    np.testing.assert_array_equal(made.hr[10][0], high[10].transpose(1, 2, 0))  # by number, not by name
    np.testing.assert_array_equal(made.lr[2, 1][10][0], high[10].transpose(1, 2, 0)[::2, ::2])
    with pytest.raises(ArgumentError, match=r"for another scale than data\.scale=4"):
        load(tmp_path, replace(data, scale=(4,)), h5=path)


@pytest.mark.slow
def test_without_h5py_the_package_is_named(tmp_path):
    done = python(
        "import sys; sys.modules['h5py'] = None; from pathlib import Path; from vs_sr.training import images;"
        "list(images.pairs(Path('x.h5')))"
    )
    assert "x.h5 needs h5py; install it with: pip install 'vs-sr[h5]'" in done.stderr


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        ({"video": (Video(count=1),)}, {}, "data.video is about files of yours; give them with --video FILE"),
        ({"images": (Images(),)}, {}, "give them with --images FOLDER"),
        ({"scenes": (replace(SCENES, photos=True),)}, {}, "give them with --photos FOLDER"),
        ({"scenes": (SCENES,)}, {"video": True}, "--video FILE is given, but the recipe has no data.video"),
        ({"scenes": (replace(SCENES, seed=HELD_OUT_SEED - 2),)}, {}, "are held out; got 3"),
        ({"scenes": (SCENES,), "scale": (5,)}, {}, "size=48 must be a multiple of scale 5"),
        ({"scenes": (SCENES,), "patch": 13}, {}, "at least 4 * patch (13)"),
        ({"scenes": (SCENES,), "inputs": (4,), "multi": (2,)}, {}, "clips of 5 frames hold no 4 inputs, 2 apart"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, data, place, message):
    given = {"video": (tmp_path / "film.mkv",)} if place else {}
    with pytest.raises(ArgumentError) as caught:
        load(tmp_path, Data(**{"patch": 8, **data}), **given)
    assert message in str(caught.value)


def test_examples_are_where_their_lr_is():
    """At any scale and rate; LR of a constant ramp tell where they were taken."""
    y, x = np.mgrid[0:64, 0:96]
    ramp = np.stack([2 * y, 2 * x, 0 * x], axis=2).astype(np.uint8)
    film = np.stack([ramp + np.array([0, 0, 20 * t], np.uint8) for t in range(9)])[None]
    for scale, multi in ((2, 1), (4, 2), (2, 4)):
        clips = Clips.of(film, scale, multi)
        lr, hr = clips.batch(np.random.default_rng(1), 8, 3, 8, scale=scale, multi=multi, colors=False)
        assert hr.shape == (8, 2 * multi + 1, 3, 8 * scale, 8 * scale)
        means = hr[:, ::multi].unflatten(-1, (8, scale)).unflatten(-3, (8, scale)).mean((-1, -3))
        assert float((means - lr)[..., 1:-1, 1:-1].abs().max()) < 1.1 / 255


def test_degraded_clips_keep_their_colors():
    """What 4:2:0 did to chroma has to stay there: their channels do not change places, and no one is a negative."""
    film = np.zeros((1, 1, 16, 16, 3), np.uint8) + np.array([10, 100, 200], np.uint8)
    plain = Clips.of(np.concatenate([film, film]), 2, 1)
    for degraded, seen in (((), 12), ((True, True), 1), ((True, False), 12)):
        clips = Clips(plain.hr, plain.lr, degraded)
        lr, hr = clips.batch(np.random.default_rng(0), 200, 1, 8, scale=2, multi=1)
        for side in (lr, hr):
            assert len({tuple(row) for row in (255 * side[:, 0, :, 0, 0]).round().int().tolist()}) == seen


def test_what_was_degraded_is_known_of_every_source(tmp_path):
    data = Data(
        scale=(2,),
        patch=8,
        scenes=(replace(SCENES, count=6, frames=1),),
        degradation=Degradation(share=0.5, codecs=("none",), noise=(0.05, 0.05)),
    )
    made = load(tmp_path, data)
    changed = [
        not np.array_equal(low, reduce_frames(np.asarray(high), 2))
        for low, high in zip(made.lr[2, 1], made.hr, strict=True)
    ]
    assert changed == list(made.degraded)
    assert 0 < sum(changed) < 6


def test_a_pool_is_known_by_what_is_in_the_files_not_by_their_times(tmp_path):
    import os

    folder = images_of(tmp_path / "images", (50, 70))
    data = Data(scale=(2,), patch=8, images=(Images(size=32, stride=16),))
    load(tmp_path, data, images=(folder,))
    os.utime(folder / "0.png", (1, 1))  # as a copy on another machine has others
    pool.load(data, Place(out=tmp_path, images=(folder,)), lambda *said: pytest.fail("made twice"))
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes() + b"0")
    told = []
    pool.load(data, Place(out=tmp_path, images=(folder,)), lambda *said: told.append(said))
    assert told


def test_a_film_without_a_share_of_the_clips_is_left_out(tmp_path):
    """More films than clips: the ones that none falls to are not even opened."""
    data = Data(scale=(4,), patch=8, video=(Video(count=1, frames=5, size=48, height=48),))
    sources = list(pool._sources(data, Place(out=tmp_path, video=(Path(__file__), tmp_path / "none.mkv"))))
    assert [source.count for source in sources] == [1]
