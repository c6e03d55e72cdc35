"""Zooming Slow-Mo with its trunk in OpenVINO and its alignment in torch, against all of it in torch:
``python -m tests.bench.cut_recurrence``.

The shipped weights, four frames of 112x64, float32. Feature extraction and the pyramids (``encode``) and the
reconstruction (``reconstruct``) are exported and compiled; what deforms stays. Results agree before anything is timed.
Figures of the last run stand in docs/backends.md. ``--smoke`` takes small frames.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import openvino
import torch
from torch import nn

from vs_sr import registry, threads
from vs_sr.engine import recurrence
from vs_sr.models.layers import Pyramid
from vs_sr.models.zooming_slow_mo.network import Timestep, bicubic
from vs_sr.weights import store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo


class Encode(nn.Module):
    """All that is made of a frame: its pyramid, and those of the recurrence, (B, C, H, W) and smaller."""

    def __init__(self, network: ZoomingSlowMo) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        pyramid = self.network.pyramid(frame)
        for_h, for_c = self.network.ConvBLSTM.forward_net.pyramids(pyramid.l1)
        return *pyramid, *for_h[1:], *for_c[1:]


class Detail(nn.Module):
    """What is added to the base, of the hidden states of both directions."""

    def __init__(self, network: ZoomingSlowMo) -> None:
        super().__init__()
        self.network = network

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        return self.network.detail(self.network.ConvBLSTM.fuse(past, future))


def compiled(part: nn.Module, *examples: Tensor) -> Callable[..., list[Tensor]]:
    """A part run by OpenVINO; its results are copies, since the next call writes to the same memory."""
    with torch.no_grad():
        model = openvino.convert_model(torch.export.export(part, examples))
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads.count(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    infer = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(*inputs: Tensor) -> list[Tensor]:
        made = infer.infer([each.contiguous().numpy() for each in inputs], share_inputs=True)
        return [torch.from_numpy(made[number].copy()) for number in range(len(made))]

    return run


class Cut:
    """A network of which some methods run in OpenVINO."""

    def __init__(self, network: ZoomingSlowMo, encode: Any, detail: Any) -> None:
        self._network, self._encode, self._detail = network, encode, detail
        self.between, self.forward_step = network.between, network.forward_step
        self.backward_step = network.backward_step

    def encode(self, frame: Tensor) -> Timestep:
        if self._encode is None:
            return self._network.encode(frame)
        l1, l2, l3, h2, h3, c2, c3 = self._encode(frame)
        return Timestep(frame, Pyramid(l1, l2, l3), (Pyramid(l1, h2, h3), Pyramid(l1, c2, c3)))

    def reconstruct(self, timestep: Timestep, past: Tensor, future: Tensor) -> Tensor:
        (detail,) = self._detail(past, future)
        return bicubic(timestep.image) + detail


def seconds(work: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Processor time of each, in turns: on a busy machine it is what is left of a comparison."""
    times: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):
        for own, each in zip(times, work, strict=True):
            start = time.process_time()
            each()
            own.append(time.process_time() - start)
    return times


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cut_recurrence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="small frames")
    options = parser.parse_args()
    height, width = (16, 24) if options.smoke else (64, 112)
    torch.set_num_threads(threads.count())
    model = registry.model("ZoomingSlowMo")
    source = store.shipped(model.weights)
    made = store.network(model, store.recognize(model, source).variant, source).eval().requires_grad_(False)
    eager = copy.deepcopy(made).to(memory_format=torch.channels_last)
    frames = torch.rand(1, 4, 3, height, width)
    feature = torch.rand(1, made.conv_first.out_channels, height, width)
    encode, detail = compiled(Encode(made), frames[:, 0]), compiled(Detail(made), feature, 1 - feature)
    forms = {
        "all in torch": eager,
        "encode and reconstruct cut": Cut(eager, encode, detail),
        "reconstruct cut": Cut(eager, None, detail),
    }
    with torch.inference_mode():
        expected = recurrence.sequence(eager, frames, 2)
        for network in forms.values():
            torch.testing.assert_close(recurrence.sequence(network, frames, 2), expected, atol=1e-4, rtol=0)
        whole = seconds([lambda n=n: recurrence.sequence(n, frames, 2) for n in forms.values()], options.rounds)
        for name, own in zip(forms, whole, strict=True):
            ratios = sorted(a / b for a, b in zip(own, whole[0], strict=True))
            print(f"{name}: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) of torch", flush=True)
        step = eager.encode(frames[:, 0])
        state = eager.forward_step(step, None)
        parts = {
            "encode": (lambda: eager.encode(frames[:, 0]), lambda: encode(frames[:, 0])),
            "reconstruct": (
                lambda: eager.reconstruct(step, state[0], state[0]),
                lambda: forms["reconstruct cut"].reconstruct(step, state[0], state[0]),
            ),
            "forward_step": (lambda: eager.forward_step(step, state),),
            "between": (lambda: eager.between(step, step),),
        }
        for name, work in parts.items():
            found = [f"{1e3 * statistics.median(own):.1f} ms" for own in seconds(work, options.rounds)]
            print(f"{name}: {' in torch, '.join(found)}{' in OpenVINO' if len(work) == 2 else ' in torch'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
