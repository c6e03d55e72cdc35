"""Timing kernels on a card: its ceilings, cases with their contenders, and the report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vs_sr import ops

type Inputs = tuple[Tensor, ...]
type Contender = Callable[..., object]

CALLS = 20
"""In a graph."""
ROTATION = 240_000_000
"""Bytes of input that a graph goes through at least."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of work, and who does it."""

    name: str
    make: Callable[[int], Inputs]
    """The inputs of a seed."""
    contenders: dict[str, Contender]
    """The first one is ours; the others are compared with it."""
    bytes: float
    """Read and written at least."""
    prepare: dict[str, Callable[..., Inputs]] = field(default_factory=dict)
    """What a contender wants instead of the inputs; made outside the clock."""
    flops: float = 0.0
    reference: Contender | None = None
    """In float64; None: no error is reported."""


@dataclass(kw_only=True)
class Row:
    """One contender's result."""

    case: str
    contender: str
    microseconds: float | None
    floor_microseconds: float
    megabytes: float
    """Read and written at least."""
    error: float | None = None
    """Relative L2 against float64."""
    captured: bool = True
    """In a CUDA graph; some peers cannot be, and are timed with their launches."""
    ratio_to_ours: float | None = None
    ours: bool = False
    """The project's own kernel, as the first of every case."""
    failure: str = ""


@dataclass(kw_only=True)
class Report:
    """What the JSON holds."""

    device: str
    versions: dict[str, str]
    copy_bytes_per_second: float
    gemm_flops_per_second: float
    rows: list[Row] = field(default_factory=list)
    convolutions: dict[str, float] = field(default_factory=dict)
    """Fraction of the product's rate that cuDNN reaches, by channels."""
    gather: dict[str, float] = field(default_factory=dict)
    """Microseconds of the gather by mapping of lanes."""
    network: dict[str, float] = field(default_factory=dict)
    """Milliseconds per output frame of Zooming Slow-Mo, by what does the deformable convolutions."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Pieces of work for which there was no time."""


class Bench:
    """Times things on a device, and keeps the report."""

    def __init__(self, *, smoke: bool) -> None:
        self.smoke = smoke
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.report = Report(
            device=torch.cuda.get_device_name() if self.on_card else "CPU",
            versions={"torch": torch.__version__, "kernels": ops.kernel_status().partition(", sources in ")[0]},
            copy_bytes_per_second=self._copy(),
            gemm_flops_per_second=self._gemm(),
        )

    @property
    def on_card(self) -> bool:
        return self.device.type == "cuda"

    def normal(self, *shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float16) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        tensor = (torch.randn(shape, generator=generator, device=self.device) * scale).to(dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else tensor

    def seconds(self, work: Callable[[], object], *, calls: int = 1, replays: int = 15) -> tuple[float, bool]:
        """Median time of ``work`` divided by ``calls``, and whether it ran as a graph."""
        if not self.on_card:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) / calls, False
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(2):
                work()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
            run, captured = graph.replay, True
        except Exception:  # a peer that cannot be captured
            torch.cuda.synchronize()
            run, captured = work, False  # type: ignore[assignment]
        times = []
        for _ in range(3 if self.smoke else replays):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000 / calls)
        return statistics.median(times), captured

    def _copy(self) -> float:
        source = torch.empty(
            4_300_000_000 if self.on_card and not self.smoke else 1 << 20, dtype=torch.uint8, device=self.device
        )
        target = torch.empty_like(source)
        return 2 * source.numel() / self.seconds(lambda: target.copy_(source))[0]

    def _gemm(self) -> float:
        n = 8192 if self.on_card and not self.smoke else 128
        a, b = self.normal(n, n), self.normal(n, n, seed=1)
        out = torch.empty_like(a)
        return 2.0 * n**3 / self.seconds(lambda: torch.mm(a, b, out=out), calls=1)[0]

    def run(self, case: Case) -> None:
        """Time every contender of a case, and print a line for each."""
        floor = max(case.bytes / self.report.copy_bytes_per_second, case.flops / self.report.gemm_flops_per_second)
        size = sum(t.numel() * t.element_size() for t in case.make(0))
        sets = 1 if self.smoke else min(CALLS, max(4, -(-ROTATION // size)))
        inputs = [case.make(seed) for seed in range(sets)]
        exact = None if case.reference is None else case.reference(*inputs[0])
        ours: float | None = None
        for name, contender in case.contenders.items():
            row = Row(
                case=case.name,
                contender=name,
                ours=name == next(iter(case.contenders)),
                microseconds=None,
                floor_microseconds=floor * 1e6,
                megabytes=case.bytes / 1e6,
            )
            try:
                prepare = case.prepare.get(name)
                given = inputs if prepare is None else [prepare(*one) for one in inputs]
                if exact is not None:
                    row.error = relative_error(contender(*given[0]), exact)
                calls = 1 if self.smoke else CALLS

                def work(contender: Contender = contender, given: list[Inputs] = given, calls: int = calls) -> None:
                    for i in range(calls):
                        contender(*given[i % sets])

                seconds, row.captured = self.seconds(work, calls=calls)
                row.microseconds = seconds * 1e6
                ours = ours or row.microseconds
                row.ratio_to_ours = row.microseconds / ours
            except Exception as error:  # a peer that is missing or refuses: said in its row
                row.failure = f"{type(error).__name__}: {error}"[:200]
            self.report.rows.append(row)
            print(line(row), flush=True)


def relative_error(found: object, exact: object) -> float:
    """Relative L2 over all outputs."""
    pairs = list(zip(_tensors(found), _tensors(exact), strict=True))
    difference = sum(float((f.double() - e.double()).square().sum()) for f, e in pairs)
    return float((difference / sum(float(e.double().square().sum()) for _, e in pairs)) ** 0.5)


def _tensors(result: object) -> list[Tensor]:
    return [result] if isinstance(result, torch.Tensor) else list(result)  # type: ignore[call-overload]


def line(row: Row) -> str:
    if row.microseconds is None:
        return f"{row.case:44} {row.contender:34} {row.failure}"
    floors = row.microseconds / row.floor_microseconds
    error = "" if row.error is None else f"error {row.error:.1e}"
    graph = "" if row.captured else "(no graph)"
    return (
        f"{row.case:44} {row.contender:34} {row.microseconds:10.1f} us  {floors:6.2f} x floor"
        f"  {row.ratio_to_ours:6.2f} x ours  {error} {graph}"
    )
