"""``backend="compile"``: image models as machine code, made by torch's own compiler, Inductor, for each size of image.

What is kept in the cache is a library, made ahead of time: nothing is compiled, guarded or traced during a film, on
whatever thread.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vs_sr import settings, threads
from vs_sr.backends import export
from vs_sr.hookspecs import hookimpl
from vs_sr.spec import Backend, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor
    from torch.export import ExportedProgram

    from vs_sr.spec import Model, Precision, Request, Variant

_NAME = "compile"
_OPTIONS: Mapping[str, Any] = {"freezing": True}
"""Of Inductor: weights are packed when it compiles, not in each call."""


def obstacle(device: str) -> str | None:
    """Why it does not run on a device; None: it does."""
    if device != "cpu":
        return f"it compiles for the CPU, and {device} is asked for"
    compiler = settings.compiler()
    if shutil.which(compiler) is None:
        return f"it needs a C++ compiler, and there is no {compiler} on the PATH; install one, or name one in CXX"
    return None


def supports(model: Model, variant: Variant, precision: Precision) -> bool:
    """Image models: steps of a recurrence are one call each, of which little is left to compile."""
    return export.supports(model, precision, "fp32", "bf16")


def open(request: Request) -> Runner:
    """The network compiled for each size that will come."""
    from vs_sr.runtime import torch

    runtime = export.Runtime(
        name=_NAME,
        suffix=".pt2",
        facts=(sorted(_OPTIONS.items()), threads.count(), sorted(torch.cpu.get_capabilities().items())),
        versions=export.versions(),
        compile=_compiled,
        load=_load,
    )
    network = export.network(request, runtime, request.precision)
    return Runner(network=network, identity=f"compile, {runtime.identity}, {threads.count()} threads")


def _compiled(program: ExportedProgram) -> bytes:
    inductor = _inductor()
    with tempfile.TemporaryDirectory(prefix="vs_sr-compile-") as folder:
        path = Path(folder) / "network.pt2"
        inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=dict(_OPTIONS))
        return path.read_bytes()


def _load(path: Path) -> Callable[[Tensor], Tensor]:
    compiled = _inductor().aoti_load_package(str(path))

    def run(image: Tensor) -> Tensor:
        made: Tensor = compiled(image.contiguous())
        return made

    return run


def _inductor() -> Any:
    """The module; where we are the first to import it, it starts no processes that wait for work."""
    with settings.lent("TORCHINDUCTOR_COMPILE_THREADS", "1"):
        return importlib.import_module("torch._inductor")


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "compile"."""
    return [
        Backend(
            name=_NAME,
            summary="image models on the CPU, compiled by torch's Inductor and a C++ compiler",
            contract=1,
            open=open,
            priority=-1,
            obstacle=obstacle,
            supports=supports,
            per_size=True,
        )
    ]
