"""``backend="onnxruntime"``: image models, run by ONNX Runtime on the CPU.

``backend="onnxruntime_cuda"``, ``"onnxruntime_tensorrt"``, ``"onnxruntime_directml"`` and ``"onnxruntime_coreml"`` use
the execution providers of these names. What is run is the very network that "eager" runs, exported by torch for each
size of image. Files of ONNX are kept in the cache.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vs_sr import Backend, Runner, cache, hookimpl, threads
from vs_sr.backends import export
from vs_sr.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.export import ExportedProgram

    from vs_sr.spec import Model, Precision, Request, Variant

__version__ = "0.1.0"

_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
"""The package of TensorRT-RTX: its provider is no part of ONNX Runtime."""
_FOLDER = "onnxruntime_tensorrt"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An execution provider as a backend."""

    name: str
    """As ONNX Runtime has it."""
    backend: str
    """What ``backend=`` takes."""
    device: str = "cpu"
    """Where images come and go: "cpu" (the host's memory) or "cuda"."""
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    options: Mapping[str, str] = field(default_factory=dict)
    """Its own settings."""
    install: str
    """The package that brings it."""
    priority: int = -1
    """What is not measured has to be asked for."""

    def obstacle(self, device: str) -> str | None:
        """Why it cannot be used with a device of vs_sr's; None: it can."""
        if device.partition(":")[0] != self.device:
            where = "device_id=-1" if self.device == "cpu" else "an NVIDIA card"
            return f"its images are on the device {self.device}, and {device} is asked for; use {where}"
        for needed in ("onnxruntime", "onnxscript"):
            if importlib.util.find_spec(needed) is None:
                return f"{needed} cannot be imported; pip install {needed}"
        if self.backend == _FOLDER:
            return None if importlib.util.find_spec(_PLUGIN) else f"{_PLUGIN} cannot be imported; {self._way_out()}"
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if self.name in available:
            return None
        return f"this ONNX Runtime has no {self.name}, only {', '.join(available)}; {self._way_out()}"

    def supports(self, model: Model, variant: Variant, precision: Precision) -> bool:
        """Image models in a precision that the provider has."""
        return export.supports(model, precision, *self.precisions)

    def open(self, request: Request) -> Runner:
        """The network exported for each size that will come.

        Raises:
            DeviceError: the provider's own libraries or devices are missing.
        """
        runtime = export.Runtime(
            name=self.backend,
            suffix=".onnx",
            facts=(),
            versions={
                "vs_sr_onnxruntime": __version__,
                "onnxruntime": _version(),
                **export.versions("onnx", "onnxscript"),
            },
            compile=_exported,
            load=lambda path: self._load(path, request),
        )
        network = export.network(request, runtime, request.precision)
        return Runner(network=network, identity=f"{runtime.identity}, {self.name}, {threads.count()} threads")

    def _load(self, path: Path, request: Request) -> Callable[[Any], Any]:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads.count()
        settings.inter_op_num_threads = 1
        settings.use_deterministic_compute = True
        for pool in ("intra", "inter"):  # the cores are shared with whatever is at the pipe's other end
            settings.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
        settings.log_severity_level = 3
        settings.enable_mem_pattern = self.name != "DmlExecutionProvider"  # which has none
        number = int(request.device.partition(":")[2] or 0)
        if self.backend == _FOLDER:
            name, devices = _tensorrt()
            if number >= len(devices):
                raise DeviceError(f"{self.backend}: TensorRT-RTX finds {len(devices)} cards; none is {request.device}")
            folder = cache.shared_folder(_FOLDER) or cache.private_folder(_FOLDER)
            settings.add_provider_for_devices([devices[number]], {**self.options, "nv_runtime_cache_path": str(folder)})
            session = onnxruntime.InferenceSession(path, settings)
        else:
            name = self.name
            own = {**self.options, "device_id": str(number)} if self.device == "cuda" else dict(self.options)
            session = onnxruntime.InferenceSession(path, settings, providers=[(name, own)])
        if name not in session.get_providers():  # it goes on without those whose libraries do not load
            raise DeviceError(f"{self.backend}: {name} cannot be loaded: a library of its own is missing")
        if self.device == "cuda":
            return functools.partial(_on_card, session, request.variant.scale, number)
        return functools.partial(_on_host, session)

    def _way_out(self) -> str:
        return f"pip install {self.install}"


def _on_host(session: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    (made,) = session.run(None, {session.get_inputs()[0].name: image})
    found: NDArray[np.float32] = made
    return found


def _on_card(session: Any, scale: int, number: int, image: Tensor) -> Tensor:
    """In the card's memory; the provider has a stream of its own, so both are waited for."""
    import numpy as np
    import torch

    image = image.contiguous()
    made = image.new_empty(*image.shape[:2], *(scale * side for side in image.shape[2:]))
    binding = session.io_binding()
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    binding.bind_input(source, "cuda", number, np.float32, tuple(image.shape), image.data_ptr())
    binding.bind_output(target, "cuda", number, np.float32, tuple(made.shape), made.data_ptr())
    torch.cuda.current_stream(image.device).synchronize()
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    return made


def _exported(program: ExportedProgram) -> bytes:
    import torch

    made = torch.onnx.export(program, dynamo=True, verbose=False)  # it would print to the standard output
    assert made is not None
    content: bytes = made.model_proto.SerializeToString()
    return content


def _version() -> str:
    """Of the module: packages of several names bring it."""
    import onnxruntime

    version: str = onnxruntime.__version__
    return version


@functools.cache
def _tensorrt() -> tuple[str, Sequence[onnxruntime.OrtEpDevice]]:
    """TensorRT-RTX's provider, and the cards that it can use. A process registers it once."""
    import onnxruntime

    plugin = importlib.import_module(_PLUGIN)
    name = plugin.get_ep_name()
    onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    return name, [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]


PROVIDERS = (
    Provider(
        name="CPUExecutionProvider",
        backend="onnxruntime",
        precisions=("fp32",),
        install="onnxruntime",
        priority=0,
    ),
    Provider(
        name="CUDAExecutionProvider",
        backend="onnxruntime_cuda",
        device="cuda",
        # no timing decides an algorithm, and no TF32
        options={"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
        install="onnxruntime-gpu",
    ),
    Provider(
        name="NvTensorRTRTXExecutionProvider",
        backend=_FOLDER,
        device="cuda",
        install="onnxruntime-ep-nv-tensorrt-rtx",
    ),
    Provider(name="DmlExecutionProvider", backend="onnxruntime_directml", install="onnxruntime-directml"),
    Provider(
        name="CoreMLExecutionProvider",
        backend="onnxruntime_coreml",
        precisions=("fp32",),
        options={"ModelFormat": "MLProgram", "RequireStaticInputShapes": "1"},
        install="onnxruntime",
    ),
)


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "onnxruntime", and one for each other execution provider."""
    return [
        Backend(
            name=provider.backend,
            summary=f"image models, run by ONNX Runtime: {provider.name}",
            contract=1,
            open=provider.open,
            priority=provider.priority,
            obstacle=provider.obstacle,
            supports=provider.supports,
            per_size=True,
            arrays=provider.device == "cpu",
        )
        for provider in PROVIDERS
    ]
