"""The cases of :mod:`tests.bench.gpu`: what each kernel is measured on, and against whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from vs_sr import ops
from vs_sr.ops import color, fused, packing, recurrent, shuffle

from .timing import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .timing import Bench, Contender, Inputs

# Deformable convolution


def dcn_case(
    bench: Bench, name: str, batch: int, height: int, width: int, sigma: float, *, compiled: bool = False
) -> Case:
    """Everybody gets the data in the order and type of his own; "layer" is torchvision with what a network has around
    it: splitting, concatenating, the sigmoid. ``compiled``: beside the form that torch.compile makes, which takes long.
    """
    weight = bench.normal(64, 64, 3, 3, seed=100, scale=1 / 24)
    packed, bias = packing.pack_dcn_weight(weight)[None], bench.normal(1, 64, seed=101, dtype=torch.float32)
    order, inverse = packing.offset_mask_order(64, bench.device), packing.offset_mask_inverse(64, bench.device)

    def make(seed: int) -> Inputs:
        coarse = F.interpolate(
            bench.normal(batch, 2, 5, 7, seed=seed, scale=4.0, dtype=torch.float32), (height, width), mode="bicubic"
        )
        plain = bench.normal(batch, 216, height, width, seed=seed + 1, dtype=torch.float32)
        plain[:, :144] = plain[:, :144] * sigma + coarse.repeat(1, 72, 1, 1)
        om = plain[:, order].half().contiguous(memory_format=torch.channels_last)
        return bench.normal(batch, 64, height, width, seed=seed + 2), om

    def published(x: Tensor, om: Tensor) -> Inputs:
        return x, om[:, inverse].contiguous(memory_format=torch.channels_last)

    def planar(dtype: torch.dtype) -> Callable[..., Inputs]:
        """x, offsets and mask as torchvision wants them."""

        def prepare(x: Tensor, om: Tensor) -> Inputs:
            plain = om[:, inverse].to(dtype).contiguous()
            return x.to(dtype).contiguous(), plain[:, :144].contiguous(), plain[:, 144:].sigmoid()

        return prepare

    def unsplit(dtype: torch.dtype) -> Callable[..., Inputs]:
        return lambda x, om: (x.to(dtype).contiguous(), om[:, inverse].to(dtype).contiguous())

    def torchvision_op(dtype: torch.dtype) -> Contender:
        w, b = weight.to(dtype), bias[0].to(dtype)

        def call(x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
            return F.leaky_relu(torchvision_dcn(x, offset, w, b, padding=1, mask=mask), 0.1)

        return call

    def nhwc(dtype: torch.dtype) -> Callable[..., Inputs]:
        """The same as deformops wants them: (B, H, W, C), (B, H, W, G, K, 2), (B, H, W, G, K)."""

        def prepare(x: Tensor, om: Tensor) -> Inputs:
            plain = om[:, inverse].to(dtype).permute(0, 2, 3, 1)
            offset, logits = plain[..., :144].contiguous(), plain[..., 144:]
            points = *plain.shape[:3], 8, 9
            return x.to(dtype).permute(0, 2, 3, 1).contiguous(), offset.view(*points, 2), logits.sigmoid().view(points)

        return prepare

    def deformops_op(dtype: torch.dtype) -> Contender:
        w, b = weight.to(dtype).contiguous(), bias[0].to(dtype)

        def call(x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
            from deformops.registry import conv  # type: ignore[import-not-found, unused-ignore]

            out: Tensor = conv(x, offset, w, b, mask, padding=1, offset_groups=8)
            return F.leaky_relu(out, 0.1).permute(0, 3, 1, 2)

        return call

    def torchvision_layer(dtype: torch.dtype) -> Contender:
        alone = torchvision_op(dtype)

        def call(x: Tensor, plain: Tensor) -> object:
            first, second, logits = torch.chunk(plain, 3, 1)
            return alone(x, torch.cat((first, second), 1), torch.sigmoid(logits))

        return call

    def sampled(x: Tensor, plain: Tensor) -> Tensor:
        return F.leaky_relu(ops.sample_matmul(x, plain, weight, bias[0].half(), groups=8), 0.1)

    def grid(x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return F.leaky_relu(ops.deform_conv2d(x, offset, mask, weight, bias[0].half(), padding=1), 0.1)

    half, single = torch.float16, torch.float32
    entrants: dict[str, tuple[Callable[..., Inputs] | None, Contender]] = {
        "dcn_fused": (None, lambda x, om: ops.dcn_fused(x, om, packed, bias, 0.1)),
        "dcn_sample + matmul": (published, sampled),
        "torchvision fp16 (op alone)": (planar(half), torchvision_op(half)),
        "torchvision fp32 (op alone)": (planar(single), torchvision_op(single)),
        "deformops fp16 (op alone)": (nhwc(half), deformops_op(half)),
        "deformops fp32 (op alone)": (nhwc(single), deformops_op(single)),
        "torchvision fp16 (layer)": (unsplit(half), torchvision_layer(half)),
        "torchvision fp32 (layer)": (unsplit(single), torchvision_layer(single)),
        "grid_sample, eager": (planar(half), grid),
    }
    if compiled:
        form = torch.compile(grid_sample_form(weight, bias[0].half()), dynamic=False)
        entrants["grid_sample, compiled"] = (planar(half), form)

    def reference(x: Tensor, om: Tensor) -> Tensor:
        return fused.fused_reference(x.double(), om.double(), packed.double(), bias.double(), 0.1)

    pixels = batch * height * width
    return Case(
        name=f"dcn {name}, batch {batch}, sigma {sigma:g}",
        make=make,
        contenders={name: contender for name, (_, contender) in entrants.items()},
        prepare={name: prepare for name, (prepare, _) in entrants.items() if prepare is not None},
        bytes=2.0 * pixels * (64 + 216 + 64) + packed.numel() * 2,
        flops=2.0 * pixels * 576 * 64,
        reference=reference,
    )


def torchvision_dcn(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, mask: Tensor
) -> Tensor:
    """Their operator; imported when it is called, so that a machine without torchvision runs everything else."""
    from torchvision.ops import deform_conv2d  # type: ignore[import-untyped]

    found: Tensor = deform_conv2d(x, offset, weight, bias, padding=padding, mask=mask)
    return found


def grid_sample_form(weight: Tensor, bias: Tensor) -> Contender:
    """The operator in plain torch, so that torch.compile sees inside."""

    def call(flat: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        batch, _, height, width = flat.shape
        tap = torch.arange(9, device=flat.device)
        rows, cols = (torch.arange(n, device=flat.device, dtype=torch.float32) for n in (height, width))
        d = offset.float().view(batch, 8, 9, 2, height, width)
        y = d[:, :, :, 0] + rows[:, None] + (tap // 3 - 1)[:, None, None]
        xx = d[:, :, :, 1] + cols + (tap % 3 - 1)[:, None, None]
        grid = torch.stack([(2 * xx + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        samples = F.grid_sample(
            flat.float().view(batch * 8, 8, height, width),
            grid.view(batch * 8, 9 * height, width, 2),
            align_corners=False,
        ).view(batch, 8, 8, 9, height * width)
        columns = (samples * mask.float().view(batch, 8, 1, 9, -1)).view(batch, 576, -1).to(flat.dtype)
        out = torch.baddbmm(bias[:, None], weight.view(1, 64, 576).expand(batch, -1, -1), columns)
        return F.leaky_relu(out.view(batch, 64, height, width), 0.1)

    return call


# Memory-bound kernels


def memory_cases(bench: Bench, height: int, width: int) -> list[Case]:
    unit = 2.0 * 64 * height * width  # bytes of 64 channels of halves at LR

    def shuffled(scale: int) -> Case:
        bias = bench.normal(256, seed=50, dtype=torch.float32)

        order = packing.shuffle_order(64).to(bench.device)

        def published(x: Tensor) -> Inputs:
            plain = torch.empty_like(x)
            plain[:, order] = x
            return (plain,)

        published_bias = published(bias.half().view(1, -1, 1, 1))[0]
        name = "eager pixel_shuffle"
        return Case(
            name=f"shuffle2 at {scale}x",
            make=lambda seed: (bench.normal(1, 256, scale * height, scale * width, seed=seed),),
            contenders={
                "shuffle2": lambda x: ops.shuffle2(x, bias, 0.1),
                name: lambda x: F.leaky_relu(F.pixel_shuffle(x + published_bias, 2), 0.1),
            },
            prepare={name: published},
            bytes=8 * unit * scale**2,
            reference=lambda x: shuffle.shuffle_reference(x.double(), bias, 0.1),
        )

    def gates_eager(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = gates.chunk(4, 1)
        c = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def up_into(x: Tensor, out: Tensor) -> Tensor:
        ops.up2_into(x, out, 64, 2.0)
        return out[:, 64:]

    def up_eager(x: Tensor, out: Tensor) -> Tensor:
        larger = 2 * F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.cat([out[:, :64], larger], 1)[:, 64:]

    def up_exact(x: Tensor, out: Tensor) -> Tensor:
        return 2 * F.interpolate(x.double(), scale_factor=2, mode="bilinear", align_corners=False)

    def small(seed: int) -> Inputs:
        return (
            bench.normal(1, 64, height // 2, width // 2, seed=seed),
            bench.normal(1, 128, height // 2 * 2, width // 2 * 2, seed=seed + 1),
        )

    return [
        shuffled(1),
        shuffled(2),
        Case(
            name="lstm_gates",
            make=lambda seed: (bench.normal(1, 256, height, width, seed=seed), bench.normal(1, 64, height, width)),
            contenders={"lstm_gates": lambda g, c: ops.lstm_gates(g, c), "eager": gates_eager},
            bytes=7 * unit,
            reference=lambda g, c: recurrent.gates_reference(g.double(), None, c.double()),
        ),
        Case(
            name="up2_into",
            make=small,
            contenders={"up2_into": up_into, "eager interpolate and cat": up_eager},
            bytes=1.25 * unit,
            reference=up_exact,
        ),
        Case(
            name="bias_act_res",
            make=lambda seed: tuple(bench.normal(1, 64, height, width, seed=seed + i) for i in range(2)),
            contenders={
                "bias_act_res": lambda x, r: ops.bias_act_res(x, None, 0.1, r),
                "eager": lambda x, r: F.leaky_relu(x, 0.1) + r,
            },
            bytes=3 * unit,
            reference=lambda x, r: recurrent.bias_reference(x.double(), None, 0.1, r),
        ),
    ]


def color_cases(bench: Bench, height: int, width: int) -> list[Case]:
    cases = []
    for bits, shift, name in ((8, (1, 1), "420P8"), (10, (1, 1), "420P10"), (16, (0, 0), "444P16")):
        samples = height * width * (1 + 2 / (1 << sum(shift))) * (1 if bits == 8 else 2)
        pixels = 12.0 * height * width
        arguments = (bits, shift, 1, False, 0, "bicubic")
        rest = (bits, 1, False, 0, "bicubic")

        def planes(seed: int, arguments: tuple[Any, ...] = arguments) -> Inputs:
            rgb = bench.normal(3, height, width, seed=seed, scale=0.2, dtype=torch.float32) + 0.5
            return tuple(torch.ops.vs_sr.rgb_to_yuv(rgb, *arguments))

        def to_yuv(rgb: Tensor, arguments: tuple[Any, ...] = arguments) -> object:
            return torch.ops.vs_sr.rgb_to_yuv(rgb, *arguments)

        def to_rgb(y: Tensor, u: Tensor, v: Tensor, rest: tuple[Any, ...] = rest) -> object:
            return torch.ops.vs_sr.yuv_to_rgb(y, u, v, *rest)

        def eager_yuv(rgb: Tensor, arguments: tuple[Any, ...] = arguments) -> object:
            return color.down_reference(rgb, *arguments)

        def eager_rgb(y: Tensor, u: Tensor, v: Tensor, rest: tuple[Any, ...] = rest) -> object:
            return color.up_reference(y, u, v, *rest)

        def image(seed: int) -> Inputs:
            return (bench.normal(3, height, width, seed=seed, scale=0.2, dtype=torch.float32) + 0.5,)

        cases += [
            Case(
                name=f"rgb_to_yuv {name}",
                make=image,
                contenders={"rgb_to_yuv": to_yuv, "eager": eager_yuv},
                bytes=pixels + samples,
            ),
            Case(
                name=f"yuv_to_rgb {name}",
                make=planes,
                contenders={"yuv_to_rgb": to_rgb, "eager": eager_rgb},
                bytes=pixels + samples,
            ),
        ]
    return cases
