"""Image networks for runtimes other than torch: exported for each size of image, compiled, and kept in the cache.

Backends of packages use it, too: ``docs/backends.md`` has what it guarantees.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import cache, settings
from vs_sr.errors import DeviceError
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from vs_sr.spec import Model, Precision, Request

_PACKAGE = Path(__file__).parents[1]
_lock = threading.Lock()
"""torch exports one network at a time; others that are compiled alike then find it in the cache."""


@dataclass(frozen=True, kw_only=True)
class Runtime[T]:
    """What compiles and runs a network for images of one size."""

    name: str
    """The backend's; and of its folder in the cache."""
    suffix: str
    """Of files in the cache, with the point."""
    facts: tuple[object, ...]
    """All that decides a file besides the network and its size: settings, the machine. By their ``repr``."""
    versions: Mapping[str, str]
    """Package to version, of all that decides a file or a result."""
    compile: Callable[[ExportedProgram], bytes]
    """What is kept of a network. torch is as in a new process: neither in inference mode nor with gradients."""
    load: Callable[[Path], Callable[[T], T]]
    """The network of a kept file: (B, C, H, W) to (B, C, scale*H, scale*W), float32. Tensors are on the request's
    device; of a backend on arrays it takes and gives these."""

    @property
    def identity(self) -> str:
        """Names and versions, as ``Runner.identity`` has them."""
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())


def supports(model: Model, precision: Precision, *precisions: Precision) -> bool:
    """Whether a backend of some precisions runs a model by :func:`network`: image models alone are exported."""
    return model.kind == "image" and precision in precisions


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages, torch's among them, by their names."""
    return {name: importlib.metadata.version(name) for name in (*packages, "torch")}


def network[T: (Tensor, NDArray[np.float32])](
    request: Request, runtime: Runtime[T], weights: Precision = "fp32"
) -> Callable[[T], T]:
    """A runner's network: compiled for each size of the request, or found in the cache, without torch where it is a
    model of ours.

    Args:
        request: of an image model; its network is used up.
        runtime: what compiles it.
        weights: the type that its weights are exported in.

    Raises:
        DeviceError: called with an image of another size.
    """
    plain = functools.cache(lambda: _plain(request.network, weights))
    digest = _known(request, weights) or _digest(request, plain())
    folder = cache.shared_folder("inductor") or cache.private_folder("inductor")
    # torch's exporter makes a folder for its compiler, else among the temporary files, and leaves its name behind
    with settings.lent("TORCHINDUCTOR_CACHE_DIR", str(folder)):
        found = {size: runtime.load(_file(request, plain, size, digest, runtime)) for size in request.sizes}
    sizes = ", ".join(f"{width}x{height}" for width, height in found)

    def run(image: T) -> T:
        height, width = image.shape[-2:]
        if (width, height) not in found:
            raise DeviceError(
                f"{runtime.name}: the network is compiled for images of {sizes}, and one of {width}x{height} came, "
                'since memory ran out; give tilesize=, or backend="eager"'
            )
        return found[width, height](image)

    return run


def _file(
    request: Request, plain: Callable[[], nn.Module], size: tuple[int, int], digest: str, runtime: Runtime[Any]
) -> Path:
    """The network compiled for a size, from the cache or made now."""
    width, height = size
    facts = digest, size, request.batch, runtime.facts, sorted(runtime.versions.items())
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:24]

    def make() -> bytes:
        from vs_sr import isolation
        from vs_sr.runtime import torch

        log_once(
            f"{runtime.name} compiles {request.model.name} for {width}x{height}: "
            "seconds to a minute, the first time on this machine"
        )
        channels = 1 if request.variant.color == "y" else 3
        example = torch.zeros(request.batch, channels, height, width)
        # export wants neither inference mode nor gradients
        with isolation.ours(request.device), torch.inference_mode(False), torch.no_grad():
            return runtime.compile(torch.export.export(plain(), (example,)))

    with _lock:
        return cache.kept(runtime.name, f"{request.model.name}-{width}x{height}-{key}", runtime.suffix, make)


def _known(request: Request, weights: Precision) -> str | None:
    """In place of :func:`_digest`, without the network: by its file, and by all code of ours that networks are made of;
    None of a model of others, whose code may be anywhere."""
    identity = request.identify()
    if not identity or not request.model.build.__module__.startswith("vs_sr.models."):
        return None
    facts = request.model.name, request.variant, identity, weights, versions("vs-sr")
    digest = hashlib.sha256(repr(facts).encode())
    for folder in ("models", "weights"):
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(request: Request, plain: nn.Module) -> str:
    """What tells a network with its weights from every other; of one name and of the same tensors, by its code."""
    from vs_sr.runtime import torch

    digest = hashlib.sha256(repr((request.model.name, request.variant, versions("vs-sr"))).encode())
    for name in sorted({type(module).__module__ for module in plain.modules()}):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and name.partition(".")[0] != "torch":  # whose version is a fact of its own
            digest.update(Path(path).read_bytes())
    for name, tensor in plain.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(network: Any, weights: Precision) -> Any:
    """The network with ordinary tensors of a type: those of inference mode cannot be exported."""
    from vs_sr.runtime import torch

    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[weights]
    with torch.inference_mode(False):
        for module in network.modules():
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if tensor.is_inference():
                    plain = tensor.clone()
                    is_parameter = isinstance(tensor, torch.nn.Parameter)
                    setattr(module, name, torch.nn.Parameter(plain, False) if is_parameter else plain)
    return network.to(dtype)
