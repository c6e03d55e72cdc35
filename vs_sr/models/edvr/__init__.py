"""EDVR: a frame restored from a window of five or seven, aligned by deformable convolutions.

Wang et al., "EDVR: Video Restoration with Enhanced Deformable Convolutional Networks", CVPR Workshops 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vs_sr.errors import WeightsError
from vs_sr.hookspecs import hookimpl
from vs_sr.models.naming import check_scale, choose, count, rules
from vs_sr.spec import Model, Published, Scheme, Variant
from vs_sr.windows import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from vs_sr.spec import Metadata, Shapes
    from vs_sr.windows import Ends

_SIGNATURE = ("conv_l2_1.weight", "pcd_align.offset_conv1.l3.weight", "pcd_align.cas_dcnpack.weight")
_ENDS = "the frames that stand for those before a scene's first and after its last"


def detect(shapes: Shapes, metadata: Metadata) -> Variant | None:
    """Everything from names and shapes; ``ends``, where nobody says it, is what the authors had for such weights."""
    if not all(name in shapes for name in (*_SIGNATURE, "conv_last.weight")):
        return None
    channels = shapes["conv_l2_1.weight"][0]
    tsa = "fusion.feat_fusion.weight" in shapes
    stacked = shapes.get("fusion.feat_fusion.weight" if tsa else "fusion.weight")
    if stacked is None or stacked[1] % channels:
        raise WeightsError(f"its fusion of frames is not known: {stacked} for features of {channels} channels")
    predeblur = "predeblur.conv_first.weight" in shapes
    hr_in = "predeblur.stride_conv_hr1.weight" in shapes or "conv_first_2.weight" in shapes
    frames = stacked[1] // channels
    usual = "replicate" if predeblur or hr_in else "reflection_circle"
    ends = cast("Ends", choose({"ends": usual, **metadata}, "ends", ENDS, _ENDS))
    return Variant(
        scale=check_scale(metadata, 1 if hr_in else 4),
        multiple=16 if hr_in else 4,
        channels=channels,
        window=frames,
        ends=ends,
        config={
            "frames": frames,
            "channels": channels,
            "groups": shapes["pcd_align.cas_dcnpack.conv_offset.weight"][0] // 27,
            "front_blocks": count(shapes, r"feature_extraction\.\d+\.conv1\.weight"),
            "back_blocks": count(shapes, r"reconstruction\.\d+\.conv1\.weight"),
            "hr_channels": shapes["conv_hr.weight"][0],
            "tsa": tsa,
            "predeblur": predeblur,
            "hr_in": hr_in,
        },
        metadata={"ends": ends},
    )


_OLD = rules(
    (r"fea_L([23])_conv([12])", r"conv_l\1_\2"),
    (r"pcd_align\.L([123])_offset_conv([123])", r"pcd_align.offset_conv\2.l\1"),
    (r"pcd_align\.L([123])_dcnpack\.conv_offset_mask", r"pcd_align.dcn_pack.l\1.conv_offset"),
    (r"pcd_align\.L([123])_dcnpack", r"pcd_align.dcn_pack.l\1"),
    (r"pcd_align\.cas_dcnpack\.conv_offset_mask", r"pcd_align.cas_dcnpack.conv_offset"),
    (r"pcd_align\.L([12])_fea_conv", r"pcd_align.feat_conv.l\1"),
    # the two temporal attentions change places: tAtt_2 is the middle frame's
    (r"tsa_fusion\.tAtt_2", "fusion.temporal_attn1"),
    (r"tsa_fusion\.tAtt_1", "fusion.temporal_attn2"),
    (r"tsa_fusion\.fea_fusion", "fusion.feat_fusion"),
    (r"tsa_fusion\.sAtt_L([123])", r"fusion.spatial_attn_l\1"),
    (r"tsa_fusion\.sAtt_add_([12])", r"fusion.spatial_attn_add\1"),
    (r"tsa_fusion\.sAtt_([1-5])", r"fusion.spatial_attn\1"),
    (r"tsa_fusion", "fusion"),
    (r"recon_trunk", "reconstruction"),
    (r"HRconv", "conv_hr"),
    (r"pre_deblur\.conv_first(?:_1)?", "predeblur.conv_first"),
    (r"pre_deblur\.conv_first_2", "predeblur.stride_conv_hr1"),
    (r"pre_deblur\.conv_first_3", "predeblur.stride_conv_hr2"),
    (r"pre_deblur\.deblur_L([23])_conv", r"predeblur.stride_conv_l\1"),
    (r"pre_deblur\.RB_L3_1", "predeblur.resblock_l3"),
    (r"pre_deblur\.RB_L2_([12])", r"predeblur.resblock_l2_\1"),
    *((rf"pre_deblur\.RB_L1_{block + 1}", f"predeblur.resblock_l1.{block}") for block in range(5)),
)
_MMAGIC = rules(
    (r"feat_l([23])_conv([12])\.conv", r"conv_l\1_\2"),
    (r"pcd_alignment\.dcn_pack\.(l[123])", r"pcd_align.dcn_pack.\1"),
    (r"pcd_alignment\.cas_dcnpack", "pcd_align.cas_dcnpack"),
    (r"pcd_alignment\.(\w+)\.(l[123])\.conv", r"pcd_align.\1.\2"),
    (r"pcd_alignment\.(cas_offset_conv[12])\.conv", r"pcd_align.\1"),
    (r"fusion\.(\w+)\.conv", r"fusion.\1"),
    (r"upsample([12])\.upsample_conv", r"upconv\1"),
)


def build(variant: Variant) -> nn.Module:
    """The network of random weights."""
    from vs_sr.models.edvr.network import EDVR

    return EDVR(**variant.config)


def _published(file: str) -> Published:
    address = f"https://download.openmmlab.com/mmediting/restorers/edvr/{file}"
    place = "linked in its configs/edvr/README.md"
    return Published(file=file, repository="open-mmlab/mmagic", place=place, address=address)


def _linked(file: str) -> Published:
    return Published(file=file, repository="XPixelGroup/BasicSR", place="linked in its model zoo")


@hookimpl
def vs_sr_models() -> Sequence[Model]:
    """EDVR as the filter ``core.vs_sr.EDVR``."""
    return [
        Model(
            name="EDVR",
            summary="x4 (or deblurring) of a frame from a window of five or seven",
            paper='Wang et al., "EDVR", CVPR Workshops 2019',
            kind="multi-frame",
            build=build,
            detect=detect,
            schemes=(
                Scheme(name="BasicSR", signature=_SIGNATURE),
                Scheme(
                    name="EDVR old",
                    signature=(
                        "fea_L2_conv1.weight",
                        "pcd_align.L3_offset_conv1.weight",
                        "pcd_align.cas_dcnpack.weight",
                    ),
                    rename=_OLD,
                ),
                Scheme(
                    name="mmagic",
                    signature=(
                        "feat_l2_conv1.conv.weight",
                        "pcd_alignment.offset_conv1.l3.conv.weight",
                        "pcd_alignment.cas_dcnpack.weight",
                    ),
                    rename=_MMAGIC,
                ),
            ),
            hints={
                "ends": f"{', '.join(ENDS[:-1])} or {ENDS[-1]}: {_ENDS}. Where it is not said, reflection_circle for "
                "super-resolution and replicate for deblurring, as the authors had it"
            },
            published=_published("edvrm_x4_8x4_600k_reds_20210625-e29b71b5.pth"),
            more=(
                _published("edvrl_c128b40_8x8_lr2e-4_600k_reds4_20220104-4509865f.pth"),
                _linked("EDVR_M_x4_SR_REDS_official-32075921.pth"),
                _linked("EDVR_L_x4_SR_REDS_official-9f5f5039.pth"),
                _linked("EDVR_L_x4_SR_Vimeo90K_official-162b54e4.pth"),
                _linked("EDVR_L_x4_SRblur_REDS_official-983d7b8e.pth"),
                _linked("EDVR_L_deblur_REDS_official-ca46bd8c.pth"),
                _linked("EDVR_L_deblurcomp_REDS_official-0e988e5c.pth"),
            ),
        )
    ]
