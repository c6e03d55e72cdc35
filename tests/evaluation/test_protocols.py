"""Protocols against published figures and vectors: resampling by name, Y, borders, crops, windows."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers import golden
from helpers.images import imresize
from hypothesis import given
from hypothesis import strategies as st

from vs_sr import windows
from vs_sr.errors import ArgumentError
from vs_sr.evaluation import protocols, resample, sampling, upscalers
from vs_sr.evaluation.metrics import psnr, ssim, ssim_rgb
from vs_sr.evaluation.protocols import Border, Protocol

SCALES = {"d2": 1 / 2, "d3": 1 / 3, "d4": 1 / 4, "u2": 2, "u3": 3, "u4": 4}


@pytest.fixture(scope="module")
def vectors():
    return np.load(golden.find("golden_image/ops_imresize.npz"))


@pytest.fixture(scope="module")
def images():
    with np.load(golden.find("golden_image/ops_metrics_images.npz")) as file:
        return file["A"], file["B"]


@pytest.fixture(scope="module")
def figures():
    return json.loads(golden.find("golden_image/ops_metrics_losses.json").read_text())["metrics"]


@pytest.mark.parametrize("name", ["noise", "smooth"])
@pytest.mark.parametrize("scale", SCALES)
def test_rules_are_those_of_the_vectors(vectors, name, scale):
    # imresize is held to the vectors by tests/evaluation/test_resample.py; it works to a factor, the rules to a size.
    image = vectors[f"{name}_u8"]
    image = image[: image.shape[0] // 12 * 12, : image.shape[1] // 12 * 12]
    size = tuple(round(length * SCALES[scale]) for length in image.shape[:2])
    double = resample.resample(image, size, "matlab-double")
    np.testing.assert_allclose(double, imresize(image.astype(np.float64), SCALES[scale]), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(resample.resample(image, size, "matlab-uint8"), imresize(image, SCALES[scale]))
    once = resample.resample(image, size, "matlab-once")
    np.testing.assert_array_equal(once, np.rint(double).clip(0, 255))


@pytest.mark.parametrize("name", ["noise", "smooth"])
@pytest.mark.parametrize("scale", SCALES)
def test_pillows_rule_is_the_vectors(vectors, name, scale):
    expected = vectors[f"{name}_{scale}_uint8_pil"]
    made = resample.resample(vectors[f"{name}_u8"], expected.shape[:2], "pil")
    np.testing.assert_array_equal(made, expected)


def test_rules_differ_where_they_say(vectors):
    image = vectors["noise_u8"]
    size = (image.shape[0] // 2, image.shape[1] // 2)
    made = {rule: resample.resample(image, size, rule).astype(float) for rule in resample.RULES}
    assert np.abs(made["matlab-uint8"] - made["matlab-once"]).max() >= 1
    inside = np.abs(made["pil"] - made["matlab-double"])[4:-4, 4:-4].max()
    assert inside <= 2 < np.abs(made["pil"] - made["matlab-double"]).max()
    with pytest.raises(ArgumentError, match="choices: matlab-double"):
        Protocol(resize="lanczos")
    with pytest.raises(ArgumentError, match="choices: matlab, edsr"):
        Protocol(y="709")
    with pytest.raises(ArgumentError, match="cannot become"):
        resample.resample(image, (0, 4), "pil")
    with pytest.raises(ArgumentError, match="takes uint8"):
        resample.resample(image.astype(float), size, "pil")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("matlab", "psnr_matlab_65481_128553_24966_255_crop2"),
        ("a2n", "psnr_a2n_article_65738_129057_25046_256_crop2"),
        ("edsr", "psnr_edsr_65738_129057_25064_256_crop2"),
        ("yjn870", "psnr_yjn870_64738_129057_25064_256_crop2"),
        ("jpeg", "psnr_jpeg_299_587_114_crop2"),
    ],
)
def test_constants_of_y(images, figures, name, key):
    luma = protocols.LUMAS[name]
    found = psnr(*(luma(image) for image in images), border=2)
    assert found == pytest.approx(figures[key], abs=1e-9)
    white = figures[key.replace("psnr_", "Y_of_white_").removesuffix("_crop2")]
    offset = 16 if name == "edsr" else 0  # EDSR's own code leaves it out, which no PSNR sees
    assert luma(np.full(3, 255)) == pytest.approx(white + offset, abs=1e-9)
    assert luma.gain == pytest.approx((luma(np.full(3, 255)) - luma(np.zeros(3))) / 255)


@pytest.mark.parametrize("border", [0, 2, 4])
def test_ssim_of_rgb(images, figures, border):
    assert ssim_rgb(*images, border=border) == pytest.approx(figures[f"basicsr_ssim_rgb_crop{border}"], abs=1e-7)


def test_ssim_over_zeros_is_the_convolution_with_padding(images):
    torch = pytest.importorskip("torch")
    a, b = (torch.from_numpy(image[..., 0].astype(np.float64))[None, None] for image in images)
    x = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (window / window.sum())[:, None] * (window / window.sum())

    def blur(plane):
        return torch.nn.functional.conv2d(plane, window[None, None], padding=5)

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()
    found = ssim(images[0][..., 0], images[1][..., 0], padding="zero")
    assert found == pytest.approx(float(expected), abs=1e-9)
    assert found != pytest.approx(ssim(images[0][..., 0], images[1][..., 0]), abs=1e-6)


@pytest.mark.parametrize(("text", "pixels"), [("0", 0), ("4", 4), ("scale", 3), ("scale+6", 9)])
def test_border(text, pixels):
    border = Border.parse(text)
    assert border.at(3) == pixels
    assert str(border) == text


@pytest.mark.parametrize("text", ["", "-1", "scale+", "scales", "+2", "scale-1", "2+scale"])
def test_no_border(text):
    with pytest.raises(ArgumentError, match="border"):
        Border.parse(text)


def test_ground_truth_is_cropped_or_resized():
    image = np.random.default_rng(0).integers(0, 256, (35, 47, 3), dtype=np.uint8)
    np.testing.assert_array_equal(protocols.ground_truth(image, 4, Protocol()), image[:32, :44])
    # 35 -> 34 -> 33 -> 32, 47 -> 46 -> 45 -> 44; at 46 rows: 46 -> 46 -> 45 -> 44
    cumulative = Protocol(cumulative_modcrop=True)
    assert protocols.ground_truth(image[:29], 4, cumulative).shape[:2] == (24, 44)
    assert protocols.ground_truth(image[:29], 4, Protocol()).shape[:2] == (28, 44)
    resized = protocols.ground_truth(image, 4, Protocol(ground_truth="resize", resize="pil"))
    assert resized.shape == (32, 44, 3)
    assert np.any(resized != image[:32, :44])
    same = protocols.ground_truth(image[:32, :44], 4, Protocol(ground_truth="resize"))
    np.testing.assert_array_equal(same, image[:32, :44])
    with pytest.raises(ArgumentError, match="too small"):
        protocols.ground_truth(image[:3], 4, Protocol())


def test_code_values():
    rgb = np.array([[[-3.0, 1.7, 254.6]]])
    assert protocols.code_values(rgb, Protocol()).tolist() == [[[0, 2, 255]]]
    assert protocols.code_values(rgb, Protocol(output="truncate")).tolist() == [[[0, 1, 254]]]
    assert protocols.code_values(rgb, Protocol(output="none")).tolist() == [[[0, 1.7, 254.6]]]


def test_protocols_have_names():
    for name, (_, protocol) in protocols.PRESETS.items():
        assert protocols.preset(name) is protocol
    with pytest.raises(ArgumentError, match="choices: matlab-uint8"):
        protocols.preset("matlab")


# Set5: what the rules are worth, in dB


def set5_bicubic(protocol, scale):
    folder = golden.test_data("footage/set5")
    from vs_sr.evaluation.measure import Measurement

    measured = Measurement(upscaler=upscalers.Bicubic(scale), protocol=protocol).folder(folder)
    return measured.mean("bicubic", "psnr_y"), measured.mean("bicubic", "ssim_y")


@pytest.mark.parametrize(("scale", "figure"), [(2, (33.690, 0.9308)), (3, (30.408, 0.8692)), (4, (28.415, 0.8115))])
def test_bicubic_on_set5_by_the_double_rule(scale, figure):
    found = set5_bicubic(protocols.preset("vdsr"), scale)
    assert found[0] == pytest.approx(figure[0], abs=0.01)
    assert found[1] == pytest.approx(figure[1], abs=2e-4)


def test_resizing_the_ground_truth_is_worth_half_a_decibel():
    cropped = replace(protocols.preset("yjn870"), ground_truth="crop")
    assert set5_bicubic(protocols.preset("yjn870"), 3)[0] == pytest.approx(30.92, abs=0.01)
    assert set5_bicubic(cropped, 3)[0] < 30.45
    assert set5_bicubic(protocols.preset("matlab-uint8"), 3)[0] == pytest.approx(30.40, abs=0.01)


# Windows


@pytest.fixture(scope="module")
def tables():
    return json.loads(golden.find("golden/frame_index_tables.json").read_text())


def test_neighbors_are_basicsrs(tables):
    for key, expected in tables["edvr_basicsr_generate_frame_indices"].items():
        ends, size, count = (part.rpartition("=")[2] for part in key.split(","))
        found = [windows.neighbors(i, range(int(count)), int(size), ends) for i in range(int(count))]
        assert found == expected, key
    assert len(tables["edvr_basicsr_generate_frame_indices"]) == 8


def test_windows_are_those_of_zooming_slow_mos_test(tables):
    checked = 0
    for key, expected in tables["zsm_test_index_generation"].items():
        skip, outputs, count = (part.rpartition("=")[2] for part in key.split(","))
        if skip == "True":
            continue
        size = (int(outputs) + 1) // 2
        found = [list(span) for span in sampling.spans(int(count), size, 1, "drop")]
        assert found == [inputs for inputs, _ in expected], key
        checked += 1
    assert checked > 20


@given(count=st.integers(2, 60), size=st.integers(2, 9), shared=st.integers(0, 1))
def test_windows_cover_a_clip(count, size, shared):
    spans = sampling.spans(count, size, shared, "short")
    assert sorted({frame for span in spans for frame in span}) == list(range(count))
    assert all(b.start == a.stop - shared for a, b in pairwise(spans))
    assert all(len(span) == size for span in spans[:-1])
    assert len(spans[-1]) > shared or len(spans) == 1


def test_windows_that_are_none():
    assert sampling.spans(7, 0, 1, "drop") == [range(7)]
    assert sampling.spans(1, 4, 1, "short") == [range(1)]
    with pytest.raises(ArgumentError, match="cannot share"):
        sampling.spans(7, 3, 3, "short")
    with pytest.raises(ArgumentError, match="no window of 4"):
        sampling.spans(3, 4, 1, "drop")
    with pytest.raises(ArgumentError, match="odd"):
        windows.neighbors(0, range(9), 4, "circle")
    with pytest.raises(ArgumentError, match="too few"):
        windows.neighbors(0, range(2), 5, "reflection")
    with pytest.raises(ArgumentError, match="too few"):
        windows.neighbors(0, range(4), 5, "reflection_circle")
    assert windows.neighbors(0, range(3), 5, "reflection") == [2, 1, 0, 1, 2]
    assert windows.neighbors(0, range(1), 5, "replicate") == [0] * 5


@given(height=st.integers(26, 90), width=st.integers(26, 90), limit=st.sampled_from([10, 1500, 100_000]))
def test_quarters_make_the_whole_again(height, width, limit):
    torch = pytest.importorskip("torch")
    whole = torch.arange(height * width).view(1, height, width)
    runs = []

    def run(part):
        runs.append(part)
        return part.repeat_interleave(2, -1).repeat_interleave(2, -2)

    if limit == 10:
        with pytest.raises(ArgumentError, match="cannot be cut"):
            sampling.chopped(whole, 10, limit, 2, run)
        return
    assert torch.equal(sampling.chopped(whole, 10, limit, 2, run), run(whole))
    assert len(runs) >= 4
    assert all(part.shape[-2] * part.shape[-1] < limit for part in runs[:-1])
