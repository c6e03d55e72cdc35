"""Networks in half precision on our own CUDA kernels: the layers that have a form for them are exchanged for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.errors import DeviceError
from vs_sr.hookspecs import hookimpl
from vs_sr.spec import Backend, Request, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vs_sr.spec import Model, Precision, Variant


def obstacle(device: str) -> str | None:
    """Why the kernels do not run on a device; None: they do."""
    if not device.startswith("cuda"):
        return f"its kernels are CUDA, and {device} has none"
    from vs_sr.ops import status
    from vs_sr.runtime import torch

    return status.obstacle(torch.device(device))


def supports(model: Model, variant: Variant, precision: Precision) -> bool:
    """Half precision alone: what the kernels are made for."""
    return precision == "fp16"


def open(request: Request) -> Runner:
    """The network with its layers exchanged, every kernel loaded; its methods become CUDA graphs as shapes come.

    Raises:
        DeviceError: a kernel cannot be compiled or loaded.
    """
    from vs_sr.backends.kernels import graphs
    from vs_sr.backends.kernels.forms import exchanged
    from vs_sr.ops import status
    from vs_sr.runtime import torch

    device = torch.device(request.device)
    if not status.prepare(device):
        raise DeviceError(f"its kernels do not run on {request.device}: {status.obstacle(device)}")
    card = graphs.Cuda(device)
    network = exchanged(request.network, torch.float16, fused=status.fused(device), lanes=card.states).to(device)
    network = graphs.network(network, request.model.kind, card)
    return Runner(network=network, identity=f"kernels {status.identity()}, torch {torch.__version__}")


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "kernels"."""
    return [
        Backend(
            name="kernels",
            summary="half precision on our own CUDA kernels, through CuPy",
            contract=1,
            open=open,
            priority=10,
            obstacle=obstacle,
            supports=supports,
        )
    ]
