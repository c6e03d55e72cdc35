"""How quick backends are on the CPU, as measured: what ``backend="auto"`` goes by among equal priorities.

Written by `python -m tools.generate` from benchmarks/backends.json.
"""

from collections.abc import Mapping

SHARES: Mapping[tuple[str, str, str], float] = {
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
