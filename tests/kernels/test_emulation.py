"""The emulation of CUDA on the CPU: it computes what CUDA would, and it sees what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from helpers.emulation import emulator as emulation
from helpers.emulation.checks import output
from helpers.emulation.emulator import EmulationError, Emulator, guarded
from helpers.support import ROOT

from vs_sr.ops import recurrent
from vs_sr.ops._launch import Launch
from vs_sr.ops._nvrtc import Kernel

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="session")
def emulator() -> Emulator:
    return emulation.shared()


def small(emulator: Emulator, body: str, data: Tensor, *, order: str = "forward", shared: int = 0) -> Tensor:
    """Run ``body`` as a kernel of 64 threads over floats in guarded memory; returns what it wrote there."""
    function = f"void small(float *data) {{ const int i = threadIdx.x; {body} }}"
    text = f'#include "device.cuh"\nextern "C" __global__ {function}\n'
    memory = guarded(data)
    launch = Launch(
        kernel=Kernel(name="small"),
        grid=(1, 1, 1),
        block=(64, 1, 1),
        args=(memory.data_ptr(),),
        shared=shared,
    )
    emulator.run(launch, order, text=text)
    return memory


def test_emulated_collectives(emulator: Emulator) -> None:
    data = torch.arange(64.0)
    lanes = torch.arange(64) % 32
    assert torch.equal(
        small(emulator, "data[i] = __shfl_xor_sync(0xffffffffu, data[i], 5);", data), data[torch.arange(64) ^ 5]
    )
    down = small(emulator, "data[i] = __shfl_down_sync(0xffffffffu, data[i], 3);", data)
    assert torch.equal(down, torch.where(lanes < 29, data + 3, data))
    votes = small(emulator, "data[i] = __all_sync(0xffffffffu, i < 40) + 2 * __any_sync(0xffffffffu, i == 40);", data)
    assert torch.equal(votes, torch.cat([torch.full((32,), 1.0), torch.full((32,), 2.0)]))
    reverse = """VS_SHARED_MEMORY(bytes); float *s = reinterpret_cast<float *>(bytes);
        s[i] = data[i]; __syncthreads(); data[i] = s[63 - i];"""
    for order in emulation.ORDERS:
        assert torch.equal(small(emulator, reverse, data, order=order, shared=256), data.flip(0))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("data[i + 1] = 0;", "invalid access"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("if (i < 32) __syncthreads();", "divergent barrier"),
                ("if (i % 2) __syncwarp(); else data[i] = __any_sync(0xffffffffu, 1);", "divergent warp"),
                ("if (i % 2) __syncwarp();", "divergent barrier"),
                ("data[i] = __ldg(reinterpret_cast<const float2 *>(data + 1)).x;", "not aligned"),
                ("VS_SHARED_MEMORY(bytes); reinterpret_cast<float *>(bytes)[i + 1] = 0;", "invalid access"),
                ("data[i] = __shfl_xor_sync(0xffffu, data[i], 1);", "only whole warps"),
            )
        ),
    ],
)
def test_emulation_reports_faults(emulator: Emulator, body: str, message: str) -> None:
    with pytest.raises(EmulationError, match=message):
        small(emulator, body, torch.zeros(64), shared=256)


def test_emulation_poisons_shared_memory(emulator: Emulator) -> None:
    body = "VS_SHARED_MEMORY(bytes); data[i] = reinterpret_cast<float *>(bytes)[i];"
    assert bool(small(emulator, body, torch.zeros(64), shared=256).isnan().all())


def test_launches_of_the_wrong_types_are_refused(emulator: Emulator) -> None:
    launch = recurrent.bias_launch(output(1, 8, 1, 1), None, None, output(1, 8, 1, 1), 0, 1.0)
    for wrong in (1.0, 1):  # a double; a pointer: what CuPy would make of a bare number
        changed = Launch(kernel=launch.kernel, grid=launch.grid, block=launch.block, args=(*launch.args[:-1], wrong))
        with pytest.raises(TypeError):
            emulator.run(changed)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", range(3))
def test_the_benchmarks_gather_stays_inside_its_image(emulator: Emulator, mapping: int) -> None:
    from bench.gpu import gather_launch

    text = (ROOT / "tests" / "bench" / "gather.cu").read_text(encoding="utf-8")
    x, out = guarded(output(1, 64, 7, 64)), guarded(torch.zeros(1, dtype=torch.int32), align=4)
    emulator.run(gather_launch(x, out, mapping), "greedy", text=text)
    x = guarded(output(1, 64, 7, 64), at_end=False)
    emulator.run(gather_launch(x, out, mapping), text=text)
    assert int(out) == 0  # it keeps what it reads to itself
