"""Torch custom operators of the recurrent path, in the ``torch.ops.vs_sr`` namespace."""

import vs_sr.runtime  # noqa: F401 - loads torch, before the modules that import it plainly
from vs_sr.ops.color import rgb_to_yuv, yuv_to_rgb
from vs_sr.ops.deform import deform_conv2d
from vs_sr.ops.fused import dcn_fused, dcn_fused_into
from vs_sr.ops.recurrent import act_into, bias_act_res, lstm_gates, up2_into
from vs_sr.ops.sample import dcn_sample, sample_matmul
from vs_sr.ops.shuffle import shuffle2
from vs_sr.ops.status import kernel_status, prepare

__all__ = [
    "act_into",
    "bias_act_res",
    "dcn_fused",
    "dcn_fused_into",
    "dcn_sample",
    "deform_conv2d",
    "kernel_status",
    "lstm_gates",
    "prepare",
    "rgb_to_yuv",
    "sample_matmul",
    "shuffle2",
    "up2_into",
    "yuv_to_rgb",
]
