"""Where Zooming Slow-Mo's time goes on the CPU, layer by layer: ``python -m tests.bench.account``.

The network as published, four frames of 112x64, float32. Writes ``benchmarks/account.json``, of which the table in
docs/models/zooming_slow_mo.md is made (``python -m tools.generate``). It says three things: the time against the plain
form's, in turns; what each kind of layer takes, and at which rate; and the ceiling, the best rate that any 3x3
convolution reaches here. Every layer at the ceiling, and nothing else to do, is the least that this network can take.
``--smoke`` takes a small network, and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vs_sr import isolation
from vs_sr.engine import recurrence

from . import models, published
from .plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

RECORD = models.ROOT / "benchmarks" / "account.json"
FRAMES, SIDE = 4, (112, 64)
ROUNDS = 7
PARTS = (
    ("conv_first", "features of the frames"),
    ("feature_extraction", "features of the frames"),
    ("fea_L", "pyramids of the frames"),
    ("pcd_align", "frames between: alignment"),
    ("fusion", "frames between: alignment"),
    ("ConvBLSTM.forward_net.pcd_h.fea_L", "recurrence: pyramids"),
    ("ConvBLSTM.forward_net.pcd_c.fea_L", "recurrence: pyramids"),
    ("ConvBLSTM.forward_net.pcd", "recurrence: alignment"),
    ("ConvBLSTM.forward_net.cell_list", "recurrence: cell"),
    ("ConvBLSTM.conv_1x1", "recurrence: both directions to one"),
    ("recon_trunk", "reconstruction: trunk"),
    ("", "reconstruction: output's size"),
)
"""Beginnings of the layers' names, and what they are part of."""


class Layer(NamedTuple):
    """Layers of a part that do the same."""

    part: str
    what: str
    size: str
    """Width and height of the output."""


def part(module: str) -> str:
    """What a layer is part of, by its name."""
    return next(name for begin, name in PARTS if module.startswith(begin))


class Account(TorchDispatchMode):
    """Time, calls and floating-point operations of every operator, by layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.seconds: Counter[Layer] = Counter()
        self.calls: Counter[Layer] = Counter()
        self.flops: Counter[Layer] = Counter()
        self._network = network
        self._inside = [""]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """All that the network does within."""
        hooks = []
        for name, module in self._network.named_modules():
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: self._inside.append(name)))
            hooks.append(module.register_forward_hook(self._left))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _left(self, *_: object) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.perf_counter()
        out = func(*args, **(kwargs or {}))
        spent = time.perf_counter() - start
        what, size, flops = _described(func.overloadpacket.__name__, args, out)
        layer = Layer(part(self._inside[-1]), what, size)
        self.seconds[layer] += spent
        self.calls[layer] += 1
        self.flops[layer] += flops
        return out


_WEIGHTS = {"conv2d": 1, "convolution": 1, "deform_conv2d": 3}
"""The place of the weights among the arguments of operators that multiply."""


def _described(operator: str, args: Any, out: Any) -> tuple[str, str, int]:
    """What an operator does, the size of its output, and its operations; all that do not multiply are one.

    Samples of a deformable convolution are not counted.
    """
    if operator not in _WEIGHTS:
        return "activations, sums, copies", "", 0
    weight: Tensor = args[_WEIGHTS[operator]]
    outputs, inputs, height, width = weight.shape
    kind = "deformable" if operator == "deform_conv2d" else f"{height}x{width}"
    return f"{kind}, {inputs} to {outputs}", f"{out.shape[3]}x{out.shape[2]}", 2 * out.numel() * weight[0].numel()


def ceiling(smoke: bool) -> tuple[float, int]:
    """The best rate of a 3x3 convolution at this size, in operations a second, and its channels."""
    best = (0.0, 0)
    for channels in (64, 128, 256, 512):
        x = torch.randn(1, channels, SIDE[1], SIDE[0]).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
        flops = 2 * x.numel() * weight[0].numel()
        times = []
        for _ in range(2 if smoke else 30):
            start = time.perf_counter()
            F.conv2d(x, weight, padding=1)
            times.append(time.perf_counter() - start)
        best = max(best, (flops / statistics.median(times), channels))
    return best


def _taken(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(network: nn.Module, frames: Tensor, rounds: int) -> dict[str, Any]:
    """The time of both forms, in turns, and ours by layer."""

    def ours() -> Tensor:
        return recurrence.sequence(network, frames, 2)  # type: ignore[arg-type]

    def rival() -> Tensor:
        with plain():
            return ours()

    torch.testing.assert_close(ours(), rival(), atol=1e-4, rtol=0)
    pairs, accounts = [], []
    for _ in range(rounds):
        pairs.append((_taken(ours), _taken(rival)))
        account = Account(network)
        with account.counting():
            ours()
        accounts.append(account)
    ratios = sorted(own / other for own, other in pairs)
    positions = 2 * frames.shape[1] - 1
    rows = []
    for layer in accounts[0].seconds:
        seconds = statistics.median(account.seconds[layer] for account in accounts)
        flops = accounts[0].flops[layer]
        rows.append(
            layer._asdict()
            | {
                "calls": round(accounts[0].calls[layer] / positions, 2),
                "gflop": round(flops / 1e9 / positions, 3),
                "ms": round(1e3 * seconds / positions, 3),
                "gflop_per_second": round(flops / 1e9 / seconds, 1),
            }
        )
    order = list(dict.fromkeys(name for _, name in PARTS))
    return {
        "ratio": [round(value, 3) for value in (statistics.median(ratios), ratios[0], ratios[-1])],
        "ours_ms": round(1e3 * statistics.median(own for own, _ in pairs) / positions, 1),
        "plain_ms": round(1e3 * statistics.median(other for _, other in pairs) / positions, 1),
        "rows": sorted(rows, key=lambda row: (order.index(row["part"]), row["size"] == "", -row["ms"])),
    }


def main() -> int:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.account", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--smoke", action="store_true", help="a small network once; nothing is written")
    options = parser.parse_args()
    isolation.settle()
    with isolation.ours("cpu"), torch.inference_mode():
        small: dict[str, Any] = {"blocks": (1, 1), "channels": 16} if options.smoke else {}
        network = published.network(**small).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        size = (16, 16) if options.smoke else SIDE
        frames = torch.rand(1, FRAMES, 3, size[1], size[0], generator=torch.Generator().manual_seed(1))
        rate, channels = ceiling(options.smoke)
        found = measure(network, frames, 1 if options.smoke else ROUNDS)
    record = {
        "machine": models.machine(),
        "versions": {"torch": importlib.metadata.version("torch"), "python": platform.python_version()},
        "input": f"{FRAMES} x {size[0]}x{size[1]}",
        "ceiling_gflop_per_second": round(rate / 1e9, 1),
        "ceiling_channels": channels,
        **found,
    }
    print(json.dumps(record, indent=1))
    if not options.smoke:
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
