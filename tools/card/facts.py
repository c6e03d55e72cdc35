"""What a report says of the machine, as JSON: ``python -m tools.card.facts``, in the environment with torch."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from vs_sr import nvidia

_PACKAGES = (
    *("torch", "torchvision", "triton", "cupy-cuda13x", "cupy-cuda12x", "numpy", "vapoursynth"),
    *("deformops", "pytest"),
)


def facts() -> dict[str, Any]:
    """The card, the driver, the processor and the versions of what was run; nothing that names a place."""
    import torch

    found: dict[str, Any] = {
        "device": "CPU",
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["device"] = properties.name
        found["memory_gib"] = round(properties.total_memory / (1 << 30), 1)
        found["capability"] = f"{properties.major}.{properties.minor}"
        found["multiprocessors"] = properties.multi_processor_count
        driver = nvidia.driver()
        found["driver"] = driver.version if driver else None
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    print(json.dumps(facts()))
