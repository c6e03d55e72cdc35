"""``backend="openvino"``: image models on the CPU, each size of image compiled by OpenVINO.

What is compiled is the very network that "eager" runs, exported by torch. Blobs are kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import threading
from typing import TYPE_CHECKING, Any

from vs_sr import Backend, Runner, cache, hookimpl, threads
from vs_sr.errors import DeviceError
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vs_sr.spec import Model, Precision, Request, Variant

__version__ = "0.1.0"

_lock = threading.Lock()
"""torch exports one network at a time; others that are compiled alike then find it in the cache."""

_HINTS = {"fp32": "f32", "bf16": "bf16"}


def obstacle(device: str) -> str | None:
    """Why it does not run on a device; None: it does."""
    if device != "cpu":
        return f"it computes on the CPU, and {device} is asked for"
    return None if importlib.util.find_spec("openvino") else "openvino cannot be imported; pip install openvino"


def supports(model: Model, variant: Variant, precision: Precision) -> bool:
    """Image models: the others deform and warp by operators that OpenVINO does not have."""
    return model.kind == "image" and precision in _HINTS


def open(request: Request) -> Runner:
    """The network compiled for each size that will come.

    Raises:
        DeviceError: the processor has no such precision.
    """
    import openvino

    core = openvino.Core()
    if request.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise DeviceError('openvino: this processor has no bf16, and would compute in float; use precision="fp32"')
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[request.precision],
        "INFERENCE_NUM_THREADS": threads.count(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # the cores are shared with whatever is at the pipe's other end
    }
    weights = _digest(request)
    requests = {
        size: core.import_model(io.BytesIO(_blob(core, request, size, weights, settings)), "CPU", settings)
        .create_infer_request()
        for size in request.sizes
    }  # fmt: skip
    scale = request.variant.scale
    sizes = ", ".join(f"{width}x{height}" for width, height in requests)

    def run(image: Tensor) -> Tensor:
        import torch

        height, width = image.shape[-2:]
        if (width, height) not in requests:
            raise DeviceError(
                f"openvino: the network is compiled for images of {sizes}, and one of {width}x{height} came, since "
                'memory ran out; give tilesize=, or backend="eager"'
            )
        infer = requests[width, height]
        made = torch.empty(*image.shape[:2], scale * height, scale * width, device="cpu", dtype=torch.float32)
        infer.set_output_tensor(openvino.Tensor(made.numpy(), shared_memory=True))
        infer.infer([image.contiguous().numpy()], share_inputs=True)
        return made

    return Runner(
        network=run,
        identity=", ".join(f"{name} {version}" for name, version in _versions().items())
        + f", {threads.count()} threads",
    )


def _versions() -> dict[str, str]:
    others = {name: importlib.metadata.version(name) for name in ("openvino", "torch")}
    return {"vs_sr_openvino": __version__, **others}


def _digest(request: Request) -> str:
    digest = hashlib.sha256(repr((request.model.name, request.variant)).encode())
    for name, tensor in request.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _blob(core: Any, request: Request, size: tuple[int, int], weights: str, settings: dict[str, Any]) -> bytes:
    """The network compiled for a size, from the cache or made now."""
    width, height = size
    machine = (
        core.get_property("CPU", "FULL_DEVICE_NAME"),
        sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
    )
    facts = weights, size, request.batch, sorted(settings.items()), machine, sorted(_versions().items())
    key = hashlib.sha256(repr(facts).encode())
    name = f"{request.model.name}-{width}x{height}-{key.hexdigest()[:24]}"

    def make() -> bytes:
        import openvino
        import torch

        log_once(
            f"OpenVINO compiles {request.model.name} for {width}x{height}: some seconds, the first time on this machine"
        )
        channels = 1 if request.variant.color == "y" else 3
        example = torch.zeros(request.batch, channels, height, width)
        with torch.inference_mode(False), torch.no_grad():  # export wants neither
            model = openvino.convert_model(torch.export.export(_plain(request.network), (example,)))
        blob = io.BytesIO()
        core.compile_model(model, "CPU", settings).export_model(blob)
        return blob.getvalue()

    with _lock:
        return cache.kept("openvino", name, ".blob", make).read_bytes()


def _plain(network: Any) -> Any:
    """The network with ordinary tensors: those of inference mode cannot be exported."""
    import torch

    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.is_inference():
                plain = tensor.clone()
                setattr(
                    module, name, torch.nn.Parameter(plain, False) if isinstance(tensor, torch.nn.Parameter) else plain
                )
    return network


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "openvino"."""
    return [
        Backend(
            name="openvino",
            summary="image models on the CPU, compiled by OpenVINO",
            contract=1,
            open=open,
            priority=5,
            obstacle=obstacle,
            supports=supports,
            per_size=True,
        )
    ]
