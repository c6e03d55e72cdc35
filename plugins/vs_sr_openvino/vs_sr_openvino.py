"""``backend="openvino"``: image models, each size of image compiled by OpenVINO for the CPU.

``backend="openvino_gpu"`` and ``"openvino_npu"`` do so for the devices of these names. What is compiled is the very
network that "eager" runs, exported by torch. Blobs are kept in the cache.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vs_sr import Backend, Runner, hookimpl, settings, threads
from vs_sr.backends import export
from vs_sr.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch.export import ExportedProgram

    from vs_sr.spec import Model, Precision, Request, Variant

    type Array = NDArray[np.float32]

__version__ = "0.1.0"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device of OpenVINO's as a backend. To vs_sr all of them are on the host: images come and go in its memory."""

    name: str
    """As OpenVINO has it."""
    backend: str
    """What ``backend=`` takes."""
    hints: Mapping[Precision, str]
    """What it may be asked to compute in."""
    priority: int = 0

    def obstacle(self, device: str) -> str | None:
        """Why it cannot be used with a device of vs_sr's; None: it can."""
        if device != "cpu":
            return f"images come to it in the host's memory, and {device} is asked for; use device_id=-1"
        if importlib.util.find_spec("openvino") is None:
            return "openvino cannot be imported; pip install openvino"
        if self.name == "CPU" or any(found.partition(".")[0] == self.name for found in _found()):
            return None
        return f"OpenVINO finds no {self.name} and its driver here, only {', '.join(_found())}"

    def supports(self, model: Model, variant: Variant, precision: Precision) -> bool:
        """Image models: the others deform and warp by operators that OpenVINO does not have."""
        return export.supports(model, precision, *self.hints)

    def open(self, request: Request) -> Runner:
        """The network compiled for each size that will come.

        Raises:
            DeviceError: the processor has no such precision.
        """
        openvino = _openvino()
        core = openvino.Core()
        able = core.get_property(self.name, "OPTIMIZATION_CAPABILITIES")
        if request.precision == "bf16" and "BF16" not in able:
            raise DeviceError(
                f'{self.backend}: this processor has no bf16, and would compute in float; use precision="fp32"'
            )
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": self.hints[request.precision]}
        if self.name == "CPU":
            options |= {
                "INFERENCE_NUM_THREADS": threads.count(),
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # the cores are shared with whatever is at the pipe's other end
            }
        else:
            options |= {"PERFORMANCE_HINT": "LATENCY"}
        known = {
            name: core.get_property(self.name, name) for name in core.get_property(self.name, "CACHING_PROPERTIES")
        }

        def compile(program: ExportedProgram) -> bytes:
            blob = io.BytesIO()
            with _without_telemetry():
                model = openvino.convert_model(program)
            core.compile_model(model, self.name, options).export_model(blob)
            return blob.getvalue()

        def load(path: Path) -> Callable[[Array], Array]:
            blob = io.BytesIO(path.read_bytes())
            return _network(core.import_model(blob, self.name, options), request.variant.scale)

        runtime = export.Runtime(
            name=self.backend,
            suffix=".blob",
            facts=(sorted(options.items()), sorted(known.items()), sorted(able)),
            versions={"vs_sr_openvino": __version__, **export.versions("openvino")},
            compile=compile,
            load=load,
        )
        return Runner(
            network=export.network(request, runtime), identity=f"{runtime.identity}, {threads.count()} threads"
        )


def _network(compiled: Any, scale: int) -> Callable[[Array], Array]:
    import numpy as np

    openvino = _openvino()
    infer = compiled.create_infer_request()

    def run(image: Array) -> Array:
        batch, channels, height, width = image.shape
        made = np.empty((batch, channels, scale * height, scale * width), np.float32)
        infer.set_output_tensor(openvino.Tensor(made, shared_memory=True))
        infer.infer([image], share_inputs=True)
        return made

    return run


@functools.cache
def _found() -> Sequence[str]:
    """The devices that OpenVINO has a driver for."""
    return tuple(_openvino().Core().available_devices)


def _openvino() -> Any:
    """The module."""
    with _without_telemetry():
        return importlib.import_module("openvino")


def _without_telemetry() -> AbstractContextManager[None]:
    """What OpenVINO tells its makers of each import and conversion, by a fork of the host's process, is left out."""
    return settings.lent("CI", "true")


DEVICES = (
    Device(name="CPU", backend="openvino", hints={"fp32": "f32", "bf16": "bf16"}),
    Device(name="GPU", backend="openvino_gpu", hints={"fp32": "f32", "fp16": "f16"}, priority=-1),
    Device(name="NPU", backend="openvino_npu", hints={"fp16": "f16"}, priority=-1),
)
"""What is not measured has to be asked for."""


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backends "openvino", "openvino_gpu" and "openvino_npu"."""
    return [
        Backend(
            name=device.backend,
            summary=f"image models, compiled by OpenVINO for its device {device.name}",
            contract=1,
            open=device.open,
            priority=device.priority,
            obstacle=device.obstacle,
            supports=device.supports,
            per_size=True,
            arrays=True,
        )
        for device in DEVICES
    ]
