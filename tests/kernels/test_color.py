"""Color conversion, in torch and in emulated kernels, against zimg through VapourSynth's core.resize."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import vapoursynth as vs
from helpers.emulation import emulator as emulation
from helpers.emulation.checks import Mutated, mutant
from helpers.emulation.emulator import Emulator, run_all_orders

from vs_sr.conversion import MATRICES
from vs_sr.ops import color, rgb_to_yuv, yuv_to_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from vs_sr.ops._launch import Launch

type Case = tuple[int, tuple[int, int], int, bool, int, color.Filter]
"""bits, subsampling, matrix, full range, chroma location, filter"""

CASES: list[Case] = [
    (8, (1, 1), 1, False, 0, "bicubic"),
    (8, (1, 1), 6, True, 1, "bilinear"),
    (10, (1, 1), 9, False, 2, "bicubic"),
    (16, (1, 1), 1, False, 4, "bicubic"),
    (12, (1, 0), 5, True, 0, "bicubic"),
    (8, (1, 0), 7, False, 1, "bilinear"),
    (9, (0, 0), 4, False, 0, "bicubic"),
    (16, (0, 0), 8, True, 0, "bicubic"),
    (8, (0, 1), 1, False, 3, "bicubic"),
    (14, (1, 1), 1, True, 5, "bilinear"),
    (8, (1, 1), 8, False, 3, "bicubic"),
]
QUICK = [CASES[0], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[1:])]
SIZES = [(18, 70), (2, 2), (34, 6)]
"""Height and width: several tiles and a rest, the smallest, narrower than a filter reaches."""


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    return emulation.shared()


def clip(format: int, planes: Sequence[NDArray[np.generic]]) -> vs.VideoNode:
    """One frame with the given planes, the first of which has the frame's size."""
    height, width = planes[0].shape
    blank = vs.core.std.BlankClip(format=format, width=width, height=height, length=1)
    frame = blank.get_frame(0).copy()
    for index, plane in enumerate(planes):
        np.asarray(frame[index])[:] = plane
    return blank.std.ModifyFrame(blank, lambda n, f: frame)


def planes_of(node: vs.VideoNode) -> list[NDArray[np.generic]]:
    with node.get_frame(0) as frame:
        return [np.array(frame[index]) for index in range(frame.format.num_planes)]


def yuv_format(bits: int, subsampling: tuple[int, int]) -> int:
    return int(vs.core.query_video_format(vs.YUV, vs.INTEGER, bits, *subsampling).id)


def image(height: int, width: int) -> Tensor:
    """(3, H, W): noise that leaves 0..1 a little, so that clamping is seen, and an edge."""
    generator = np.random.default_rng(height * width)
    rgb = generator.uniform(-0.05, 1.05, (3, height, width)).astype(np.float32)
    rgb[:, :, width // 2 :] *= 0.5
    return torch.from_numpy(rgb)


def planes(height: int, width: int, bits: int, subsampling: tuple[int, int]) -> list[Tensor]:
    """Y, U, V: all codes, those outside the range as well."""
    generator = np.random.default_rng(height * width + bits)
    dtype = np.uint8 if bits == 8 else np.uint16
    sizes = [(height, width), *[(height >> subsampling[1], width >> subsampling[0])] * 2]
    return [torch.from_numpy(generator.integers(0, 1 << bits, size).astype(dtype)) for size in sizes]


def zimg_yuv(rgb: Tensor, case: Case) -> list[NDArray[np.generic]]:
    bits, subsampling, matrix, full, location, filter = case
    source = clip(vs.RGBS, [plane.numpy() for plane in rgb])
    resize = source.resize.Bilinear if filter == "bilinear" else source.resize.Bicubic
    return planes_of(resize(format=yuv_format(bits, subsampling), matrix=matrix, range=int(full), chromaloc=location))


def zimg_rgb(yuv: Sequence[Tensor], case: Case) -> Tensor:
    bits, subsampling, matrix, full, location, filter = case
    source = clip(yuv_format(bits, subsampling), [plane.numpy() for plane in yuv])
    resize = source.resize.Bilinear if filter == "bilinear" else source.resize.Bicubic
    rgb = resize(format=vs.RGBS, matrix_in=matrix, range_in=int(full), chromaloc_in=location)
    return torch.from_numpy(np.stack(planes_of(rgb)))


def codes_apart(found: Sequence[Tensor], expected: Sequence[NDArray[np.generic]]) -> int:
    return max(
        int(np.abs(f.numpy().astype(np.int64) - e.astype(np.int64)).max()) for f, e in zip(found, expected, strict=True)
    )


def down(rgb: Tensor, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    bits, subsampling, matrix, full, location, filter = case
    return rgb_to_yuv(
        rgb, bits=bits, subsampling=subsampling, matrix=matrix, full=full, location=location, filter=filter
    )


def up(yuv: Sequence[Tensor], case: Case) -> Tensor:
    bits, _, matrix, full, location, filter = case
    y, u, v = yuv
    return yuv_to_rgb(y, u, v, bits=bits, matrix=matrix, full=full, location=location, filter=filter)


def run_down(emulator: Emulator, rgb: Tensor, case: Case) -> list[Tensor]:
    bits, _, matrix, full, location, filter = case

    def launch(rgb: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Launch:
        return color.down_launch(rgb, y, u, v, bits, matrix, full, location, filter)

    return run_all_orders(emulator, launch, [rgb], down(rgb, case))


def run_up(emulator: Emulator, yuv: Sequence[Tensor], case: Case) -> Tensor:
    bits, _, matrix, full, location, filter = case

    def launch(y: Tensor, u: Tensor, v: Tensor, rgb: Tensor) -> Launch:
        return color.up_launch(y, u, v, rgb, bits, matrix, full, location, filter)

    (rgb,) = run_all_orders(emulator, launch, yuv, [torch.zeros(3, *yuv[0].shape)])
    return rgb


def code(case: Case) -> float:
    """One code value of luma in RGB."""
    bits, _, _, full, _, _ = case
    return 1 / ((1 << bits) - 1) if full else 1 / (219 << (bits - 8))


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_rgb_to_yuv_is_zimgs(emulator: Emulator, case: Case) -> None:
    for height, width in SIZES:
        rgb = image(height, width)
        expected = zimg_yuv(rgb, case)
        assert codes_apart(down(rgb, case), expected) <= 1, f"torch, {height}x{width}"
        assert codes_apart(run_down(emulator, rgb, case), expected) <= 1, f"kernel, {height}x{width}"


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_yuv_to_rgb_is_zimgs(emulator: Emulator, case: Case) -> None:
    for height, width in SIZES:
        yuv = planes(height, width, case[0], case[1])
        expected = zimg_rgb(yuv, case)
        for found in (up(yuv, case), run_up(emulator, yuv, case)):
            assert float((found - expected).abs().max()) <= code(case), f"{height}x{width}"


@pytest.mark.slow
def test_torch_agrees_with_zimg_in_every_combination() -> None:
    """All that the arguments allow, in torch alone: the kernels get the same tables."""
    rgb = image(18, 38)
    for bits, subsampling, matrix, full, location, filter in itertools.product(
        (8, 10, 16), ((1, 1), (1, 0), (0, 0)), sorted(MATRICES), (False, True), range(6), ("bicubic", "bilinear")
    ):
        if subsampling == (0, 0) and location:
            continue
        case: Case = (bits, subsampling, int(matrix), full, location, filter)  # type: ignore[assignment]
        yuv = down(rgb, case)
        assert codes_apart(yuv, zimg_yuv(rgb, case)) <= 1, case
        difference = (up(yuv, case) - zimg_rgb(yuv, case)).abs().max()
        assert float(difference) <= code(case), case


def test_strides_of_planes_and_of_interleaved_rgb_are_followed(emulator: Emulator) -> None:
    case = CASES[0]
    wide = planes(18, 96, 8, (1, 1))
    y, u, v = wide[0][:, :70], wide[1][:, :35], wide[2][:, :35]
    bits, _, matrix, full, location, filter = case
    rgb = torch.zeros(18, 70, 3).permute(2, 0, 1)  # channels last
    emulator.run(color.up_launch(y, u, v, rgb, bits, matrix, full, location, filter))
    expected = up([y.contiguous(), u.contiguous(), v.contiguous()], case)
    assert torch.allclose(rgb, expected, atol=1e-6)
    assert torch.equal(up([y, u, v], case), expected)
    assert codes_apart(run_down(emulator, rgb, case), [plane.numpy() for plane in down(expected, case)]) <= 1


MUTANTS = {
    "no first barrier": ("down", "    __syncthreads();  // U and V of all pixels in reach\n", ""),
    "no second barrier": ("down", "    __syncthreads();  // rows are filtered\n", ""),
    "edges not mirrored": ("down", "i < 0 ? -1 - i : i >= size", "i < 0 ? 0 : i >= size"),
    "luma of the neighbor": ("down", "x >= left && x <", "x > left && x <"),
    "taps reversed": ("down", "filter_x[k] * u_full", "filter_x[TAPS - 1 - k] * u_full"),
    "edges not mirrored, up": ("up", "i < 0 ? -1 - i : i >= size", "i < 0 ? 0 : i >= size"),
    "phases exchanged": ("up", "shift_x ? x % 2 : 0", "shift_x ? 1 - x % 2 : 0"),
    "past the end": ("up", "if (x >= width || y >= height) return;", ""),
}


@pytest.mark.parametrize(
    "name", [*MUTANTS][:1] + [pytest.param(name, marks=pytest.mark.slow) for name in [*MUTANTS][1:]]
)
def test_mutants_are_seen(emulator: Emulator, name: str) -> None:
    direction, old, new = MUTANTS[name]
    kernel = (color.RGB_TO_YUV if direction == "down" else color.YUV_TO_RGB)[torch.uint8]
    mutated = Mutated(emulator, mutant(kernel, old, new))
    case = CASES[0]

    def wrong() -> bool:
        try:
            if direction == "down":
                rgb = image(18, 70)
                return codes_apart(run_down(mutated, rgb, case), zimg_yuv(rgb, case)) > 1
            yuv = planes(18, 70, 8, (1, 1))
            found = run_up(mutated, yuv, case)
            return not float((found - zimg_rgb(yuv, case)).abs().max()) <= code(case)
        except AssertionError:  # a fault, or other bits in another order
            return True

    assert wrong()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 7}, "bits=7 must be 8 to 16"),
        ({"matrix": 2}, r"matrix=2 is none of 1 \(BT709\)"),
        ({"location": 6}, "location=6"),
        ({"filter": "lanczos"}, "filter='lanczos'"),
        ({"subsampling": (2, 0)}, "subsampling"),
        ({"rgb": torch.zeros(3, 5, 6)}, "5x6 pixels cannot be subsampled"),
        ({"rgb": torch.zeros(1, 4, 4)}, r"rgb must be \(3, H, W\)"),
        ({"rgb": torch.zeros(3, 4, 4).half()}, "in float32"),
    ],
)
def test_rgb_to_yuv_refuses(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"rgb": torch.zeros(3, 4, 4), "matrix": 1, **change}
    with pytest.raises(ValueError, match=message):
        rgb_to_yuv(**arguments)  # type: ignore[arg-type]


def test_yuv_to_rgb_refuses_planes_that_do_not_fit() -> None:
    y, u, v = planes(4, 6, 8, (1, 1))
    with pytest.raises(ValueError, match="chroma must be as large as luma or half"):
        yuv_to_rgb(y, u[:, :2], v[:, :2], matrix=1)
    with pytest.raises(ValueError, match=r"planes must be \(H, W\) in torch.uint16"):
        yuv_to_rgb(y, u, v, bits=10, matrix=1)
    with pytest.raises(ValueError, match="one stride"):
        yuv_to_rgb(y, u, torch.zeros(2, 9, dtype=torch.uint8)[:, :3], matrix=1)
