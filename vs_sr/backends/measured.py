"""How quick backends are on the CPU, as measured: what ``backend="auto"`` goes by among equal priorities.

Written by `python -m tools.generate` from benchmarks/backends.json.
"""

from collections.abc import Mapping

SHARES: Mapping[tuple[str, str, str], float] = {
    ("SRCNN", "fp32", "compile"): 0.895,
    ("SRCNN", "fp32", "onnxruntime"): 0.824,
    ("SRCNN", "fp32", "openvino"): 0.733,
    ("SRGAN", "fp32", "openvino"): 0.93,
    ("SRResNet", "fp32", "onnxruntime"): 0.926,
    ("SRResNet", "fp32", "openvino"): 0.919,
    ("VDSR", "fp32", "onnxruntime"): 0.798,
    ("VDSR", "fp32", "openvino"): 0.742,
}
"""Model, precision and backend to the share of the time of "eager"; what gains nothing is left out."""
