"""How quick backends are on the CPU, as measured: what ``backend="auto"`` goes by among equal priorities.

Written by `python -m tools.generate` from benchmarks/backends.json.
"""

from collections.abc import Mapping

SHARES: Mapping[tuple[str, str, str], float] = {
    ("A2N", "fp32", "compile"): 0.84,
    ("A2N", "fp32", "openvino"): 0.863,
    ("EDSR", "bf16", "compile"): 0.921,
    ("EDSR", "bf16", "openvino"): 0.929,
    ("ESRGAN", "bf16", "compile"): 0.86,
    ("ESRGAN", "bf16", "openvino"): 0.857,
    ("ESRGAN", "fp32", "compile"): 0.906,
    ("ESRGAN", "fp32", "openvino"): 0.841,
    ("MDSR", "bf16", "compile"): 0.869,
    ("MDSR", "bf16", "openvino"): 0.903,
    ("MDSR", "fp32", "compile"): 0.849,
    ("MDSR", "fp32", "onnxruntime"): 0.881,
    ("MDSR", "fp32", "openvino"): 0.867,
    ("SRCNN", "bf16", "compile"): 0.928,
    ("SRCNN", "fp32", "compile"): 0.933,
    ("SRCNN", "fp32", "onnxruntime"): 0.902,
    ("SRResNet", "fp32", "onnxruntime"): 0.927,
    ("SRResNet", "fp32", "openvino"): 0.916,
    ("VDSR", "bf16", "compile"): 0.926,
    ("VDSR", "bf16", "openvino"): 0.93,
    ("VDSR", "fp32", "compile"): 0.868,
    ("VDSR", "fp32", "onnxruntime"): 0.768,
    ("VDSR", "fp32", "openvino"): 0.748,
}
"""Model, precision and backend to the share of the time of "eager"; what gains nothing is left out."""
