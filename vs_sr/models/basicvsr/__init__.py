"""BasicVSR: features carried both ways through time along optical flow.

Chan et al., "BasicVSR: The Search for Essential Components in Video Super-Resolution and Beyond", CVPR 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, count, rules
from vs_sr.spec import Model, Published, Scheme, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes

_SIGNATURE = (
    "spynet.basic_module.0.basic_module.0.weight",
    "backward_trunk.main.0.weight",
    "forward_trunk.main.0.weight",
    "conv_last.weight",
)

_CONSTANTS = ((r"spynet\.(mean|std)", None),)  # of the input, in the code


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Everything from names and shapes."""
    if not all(name in shapes for name in _SIGNATURE):
        return None
    return Variant(
        scale=check_scale(metadata, 4),
        multiple=32,  # what SpyNet resizes its input to: tiles of such sides it takes as they are
        channels=shapes["backward_trunk.main.0.weight"][0],
        config={
            "channels": shapes["backward_trunk.main.0.weight"][0],
            "blocks": count(shapes, r"backward_trunk\.main\.2\.\d+\.conv1\.weight"),
            "hr_channels": shapes["conv_hr.weight"][0],
        },
    )


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.basicvsr.network import BasicVSR

    return BasicVSR(**variant.config)


def _published(file: str) -> Published:
    address = f"https://download.openmmlab.com/mmediting/restorers/basicvsr/{file}"
    place = "linked in its configs/basicvsr/README.md"
    return Published(file=file, repository="open-mmlab/mmagic", place=place, address=address)


def _linked(file: str) -> Published:
    return Published(file=file, repository="XPixelGroup/BasicSR", place="linked in its model zoo")


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """BasicVSR as the filter ``core.vs_sr.BasicVSR``."""
    return [
        Model(
            name="BasicVSR",
            summary="x4 of a sequence, both directions of time along optical flow",
            paper='Chan et al., "BasicVSR", CVPR 2021',
            kind="sequence",
            build=build,
            detect=detect,
            schemes=(
                Scheme(name="BasicSR", signature=_SIGNATURE, rename=rules(*_CONSTANTS)),
                Scheme(
                    name="mmagic",
                    signature=(
                        "spynet.basic_module.0.basic_module.0.conv.weight",
                        "backward_resblocks.main.0.weight",
                        "forward_resblocks.main.0.weight",
                        "conv_last.weight",
                    ),
                    rename=rules(
                        *_CONSTANTS,
                        # the networks of a level have a ReLU, which counts, between two convolutions
                        *(
                            (
                                rf"spynet\.basic_module\.(\d)\.basic_module\.{layer}\.conv",
                                rf"spynet.basic_module.\1.basic_module.{2 * layer}",
                            )
                            for layer in range(5)
                        ),
                        (r"(backward|forward)_resblocks", r"\1_trunk"),
                        (r"upsample([12])\.upsample_conv", r"upconv\1"),
                    ),
                ),
            ),
            arguments={"multi": "1 alone: the frame rate does not change"},
            published=_published("basicvsr_reds4_20120409-0e599677.pth"),
            more=(
                _published("basicvsr_vimeo90k_bi_20210409-d2d8f760.pth"),
                _published("basicvsr_vimeo90k_bd_20210409-0154dd64.pth"),
                _linked("BasicVSR_REDS4-543c8261.pth"),
                _linked("BasicVSR_Vimeo90K_BIx4-2a29695a.pth"),
            ),
            # Trained on 15 frames, measured by its authors on whole clips: so the state is carried. Beyond about 60
            # frames people have seen artifacts: so it begins again after 4 * 14 frames.
            window=15,
            carry=True,
            segment=4,
        )
    ]
