"""The naming schemes that published files come in: from a network's names to a file's, for the tests.

Written the other way round than the package reads them, so that the two check each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def _by(*pairs: tuple[str, str]) -> Callable[[list[str]], list[str]]:
    def write(names: list[str]) -> list[str]:
        found = []
        for name in names:
            for pattern, replacement in pairs:
                changed, count = re.subn(rf"^{pattern}(?=\.|$)", replacement, name)
                if count:
                    name = changed
                    break
            found.append(name)
        return found

    return write


def _edsr_basicsr(names: list[str]) -> list[str]:
    last = max(int(n.split(".")[1]) for n in names if n.startswith("body."))
    return _by(
        (r"head\.0", "conv_first"),
        (rf"body\.{last}", "conv_after_body"),
        (r"body\.(\d+)\.body\.0", r"body.\1.conv1"),
        (r"body\.(\d+)\.body\.2", r"body.\1.conv2"),
        (r"tail\.0", "upsample"),
        (r"tail\.1", "conv_last"),
    )(names)


def _esrgan_old(names: list[str]) -> list[str]:
    blocks = 1 + max(int(n.split(".")[1]) for n in names if n.startswith("body."))
    steps = len({n.split(".")[0] for n in names if n.startswith("conv_up")})
    return _by(
        ("conv_first", "model.0"),
        (r"body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0"),
        ("conv_body", f"model.1.sub.{blocks}"),
        *((f"conv_up{step}", f"model.{3 * step}") for step in range(1, steps + 1)),
        ("conv_hr", f"model.{3 * steps + 2}"),
        ("conv_last", f"model.{3 * steps + 4}"),
    )(names)


def _srgan_flat(names: list[str]) -> list[str]:
    blocks = len([n for n in names if n.endswith(".conv1.weight")])
    return _by(
        (rf"block{blocks + 2}", "block18"),
        (rf"block{blocks + 3}", "block19"),
        *((f"block{number + 2}", f"residual_blocks.{number}") for number in range(blocks)),
    )(names)


_SPYNET = [
    (rf"spynet\.basic_module\.(\d)\.basic_module\.{2 * layer}", rf"spynet.basic_module.\1.basic_module.{layer}.conv")
    for layer in range(5)
]

SCHEMES: Mapping[str, Mapping[str, Callable[[list[str]], Iterable[str]]]] = {
    "SRCNN": {"SRCNN": list},
    "VDSR": {
        "pytorch-vdsr": list,
        "input_layer/output_layer": _by(("input", "input_layer"), ("output", "output_layer")),
        "zero-mean residual": list,
    },
    "SRResNet": {
        "BasicSR (MSRResNet)": list,
        "BasicSR 2019 (MSRResNet)": _by(("body", "recon_trunk"), ("conv_hr", "HRconv")),
        "pytorch-SRResNet (instance normalization)": list,
    },
    "SRGAN": {
        "leftthomas": list,
        "p_relu": _by((r"(block\d+(?:\.\d+)?)\.prelu", r"\1.p_relu")),
        "Conv1/Conv2": _by((r"(block\d+)\.conv([12])", r"\1.Conv\2")),
        "residual_blocks": _srgan_flat,
    },
    "EDSR": {
        "EDSR-PyTorch": list,
        "BasicSR": _edsr_basicsr,
        "net_head/net_body/net_tail": _by(("(head|body|tail)", r"net_\1")),
    },
    "MDSR": {"EDSR-PyTorch": list},
    "A2N": {"A2N": list},
    "ESRGAN": {
        "BasicSR, Real-ESRGAN": list,
        "ESRGAN new": _by(
            (r"body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2"),
            ("conv_body", "trunk_conv"),
            (r"conv_up(\d)", r"upconv\1"),
            ("conv_hr", "HRconv"),
        ),
        "ESRGAN old": _esrgan_old,
    },
    "EDVR": {
        "BasicSR": list,
        "EDVR old": _by(
            (r"conv_l([23])_([12])", r"fea_L\1_conv\2"),
            (r"pcd_align\.offset_conv([123])\.l([123])", r"pcd_align.L\2_offset_conv\1"),
            (r"pcd_align\.dcn_pack\.l([123])\.conv_offset", r"pcd_align.L\1_dcnpack.conv_offset_mask"),
            (r"pcd_align\.dcn_pack\.l([123])", r"pcd_align.L\1_dcnpack"),
            (r"pcd_align\.feat_conv\.l([12])", r"pcd_align.L\1_fea_conv"),
            (r"pcd_align\.cas_dcnpack\.conv_offset", "pcd_align.cas_dcnpack.conv_offset_mask"),
            (r"fusion\.temporal_attn1", "tsa_fusion.tAtt_2"),
            (r"fusion\.temporal_attn2", "tsa_fusion.tAtt_1"),
            (r"fusion\.feat_fusion", "tsa_fusion.fea_fusion"),
            (r"fusion\.spatial_attn_l(\d)", r"tsa_fusion.sAtt_L\1"),
            (r"fusion\.spatial_attn_add(\d)", r"tsa_fusion.sAtt_add_\1"),
            (r"fusion\.spatial_attn(\d)", r"tsa_fusion.sAtt_\1"),
            ("fusion", "tsa_fusion"),
            ("reconstruction", "recon_trunk"),
            ("conv_hr", "HRconv"),
            (r"predeblur\.conv_first", "pre_deblur.conv_first"),
            (r"predeblur\.stride_conv_l([23])", r"pre_deblur.deblur_L\1_conv"),
            (r"predeblur\.resblock_l3", "pre_deblur.RB_L3_1"),
            (r"predeblur\.resblock_l2_([12])", r"pre_deblur.RB_L2_\1"),
            *((rf"predeblur\.resblock_l1\.{n}", f"pre_deblur.RB_L1_{n + 1}") for n in range(5)),
        ),
        "mmagic": _by(
            (r"conv_l([23])_([12])", r"feat_l\1_conv\2.conv"),
            (r"pcd_align\.dcn_pack", "pcd_alignment.dcn_pack"),
            (r"pcd_align\.(\w+)\.(l\d)", r"pcd_alignment.\1.\2.conv"),
            (r"pcd_align\.(cas_offset_conv\d)", r"pcd_alignment.\1.conv"),
            ("pcd_align", "pcd_alignment"),
            (r"fusion\.(temporal_attn\d|spatial_attn5|spatial_attn_add2)", r"fusion.\1"),
            (r"fusion\.([a-z]\w+_\w+)", r"fusion.\1.conv"),
            (r"upconv([12])", r"upsample\1.upsample_conv"),
        ),
    },
    "BasicVSR": {
        "BasicSR": list,
        "mmagic": _by(
            *_SPYNET,
            ("(backward|forward)_trunk", r"\1_resblocks"),
            (r"upconv([12])", r"upsample\1.upsample_conv"),
        ),
    },
}
"""Model to scheme to what a file of the scheme calls the network's tensors."""
