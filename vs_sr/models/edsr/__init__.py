"""EDSR: wide residual blocks without normalization, for fidelity.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, choose, count, number, reach, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = ("head.0.weight", "body.0.body.0.weight", "tail.0.0.weight", "tail.1.weight")
_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, which every network of the family was trained on
_MEAN_SHIFT = ((r"sub_mean", None), (r"add_mean", None))
_NARROW, _LARGE = 64, (256, 32)
"""Features up to which the paper scales no residuals (section 3), and features and blocks of its network that does."""


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Sizes, scale and biases from the shapes; ``range``, ``mean`` and ``res_scale`` from what is known."""
    if not all(name in shapes for name in _SIGNATURE):
        return None
    features = shapes["head.0.weight"][0]
    blocks = count(shapes, r"body\.\d+\.body\.0\.weight")
    scale = upscale(shapes, "tail.0", features)
    if "res_scale" in metadata or (features > _NARROW and (features, blocks) != _LARGE):
        unknown = f"the factor of the residuals of {blocks} blocks of {features} is not known"
        res_scale = number(metadata, "res_scale", unknown)
    else:
        res_scale = 1.0 if features <= _NARROW else 0.1
    value_range, mean = mean_shift(metadata)
    ups = [(1, 2**step) for step in range(count(shapes, r"tail\.0\.\d+\.weight"))]
    return Variant(
        scale=check_scale(metadata, scale),
        receptive_field=reach((1 + 2 * blocks + 1, 1), *ups, (1, scale)),
        channels=features,
        config={
            "scale": scale,
            "features": features,
            "blocks": blocks,
            "res_scale": res_scale,
            "value_range": value_range,
            "mean": mean,
            "inner_bias": "body.0.body.0.bias" in shapes,
        },
        metadata={
            "res_scale": f"{res_scale:g}",
            "range": f"{value_range:g}",
            "mean": "div2k" if any(mean) else "none",
        },
    )


def upscale(shapes: Shapes, prefix: str, features: int) -> int:
    """The scale of an upsampler: one step of x3, or steps of x2 at every second index.

    Raises:
        WeightsError: it is none of these.
    """
    ratios = [
        shapes[f"{prefix}.{index}.weight"][0] / features
        for index in range(0, 6, 2)
        if f"{prefix}.{index}.weight" in shapes
    ]
    if ratios == [9]:
        return 3
    if ratios and set(ratios) == {4}:
        return int(2 ** len(ratios))
    raise WeightsError(f"{prefix} upscales by steps of {ratios} times {features} channels: not x2, x3, x4 or x8")


def mean_shift(metadata: Metadata) -> tuple[float, tuple[float, ...]]:
    """The range that the network works in, and the mean that is taken off its input.

    Metadata beats the tensor ``sub_mean.bias`` of the file, which beats the 255 of the authors' weights.
    """
    stored = [float(value) for value in metadata.get("sub_mean.bias", "").split()]
    known = metadata.get("range", "255")
    if stored and "range" not in metadata:
        known = f"{-stored[0] / _MEAN[0]:.4g}"
    value_range = float(choose({"range": known}, "range", ("1", "255"), "the range of the network's values"))
    mean = choose({"mean": "div2k", **metadata}, "mean", ("div2k", "none"), "what is taken off the input")
    return value_range, _MEAN if mean == "div2k" else (0.0, 0.0, 0.0)


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.edsr.network import EDSR

    return EDSR(**variant.config)


def _published(file: str) -> Published:
    return Published(
        file=file,
        repository="sanghyun-son/EDSR-PyTorch",
        place="linked in its src/model/edsr.py",
        address=f"https://cv.snu.ac.kr/research/EDSR/models/{file}",
    )


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """EDSR as the filter ``core.vs_sr.EDSR``."""
    return [
        Model(
            name="EDSR",
            summary="x2, x3 or x4; wide residual blocks, trained for fidelity",
            paper='Lim et al., "Enhanced Deep Residual Networks", CVPR Workshops 2017',
            kind="image",
            build=build,
            detect=detect,
            schemes=(
                Scheme(
                    name="EDSR-PyTorch",
                    signature=_SIGNATURE,
                    rename=rules(*_MEAN_SHIFT),
                    values=("sub_mean.bias",),
                ),
                Scheme(
                    name="BasicSR",
                    signature=(
                        "conv_first.weight",
                        "body.0.conv1.weight",
                        "conv_after_body.weight",
                        "upsample.0.weight",
                        "conv_last.weight",
                    ),
                    rename=_from_basicsr,
                    facts={"range": "255"},
                ),
                Scheme(
                    name="net_head/net_body/net_tail",
                    signature=("net_head.0.weight", "net_body.0.body.0.weight", "net_tail.1.weight"),
                    rename=rules(*_MEAN_SHIFT, (r"net_(head|body|tail)", r"\1")),
                    facts={"range": "1", "res_scale": "0.1"},
                ),
            ),
            hints={
                "res_scale": "the factor of the residuals: 1 in the baseline, 0.1 in the large network",
                "range": "the range of the values inside, 255 or 1",
                "mean": "what is taken off the input: div2k, or none (super-image)",
            },
            weights="edsr_compact_x2",
            published=_published("edsr_baseline_x2-1bc95232.pt"),
            more=(
                _published("edsr_baseline_x3-abf2a44e.pt"),
                _published("edsr_baseline_x4-6b446fab.pt"),
                _published("edsr_x2-0edfb8a3.pt"),
                _published("edsr_x3-ea3ef2c6.pt"),
                _published("edsr_x4-4f62e9ef.pt"),
            ),
        )
    ]


def _from_basicsr(shapes: Shapes) -> dict[str, str]:
    blocks = count(shapes, r"body\.\d+\.conv1\.weight")
    return dict(
        rules(
            (r"conv_first", "head.0"),
            (r"body\.(\d+)\.conv1", r"body.\1.body.0"),
            (r"body\.(\d+)\.conv2", r"body.\1.body.2"),
            (r"conv_after_body", f"body.{blocks}"),
            (r"upsample", "tail.0"),
            (r"conv_last", "tail.1"),
        )(shapes)
    )
