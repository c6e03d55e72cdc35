"""The network as torch runs it, operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.hookspecs import hookimpl
from vs_sr.spec import Backend, Request, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence


def open(request: Request) -> Runner:
    """The network itself, moved to the device."""
    from vs_sr.runtime import torch

    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[request.precision]
    network = request.network.to(request.device, dtype)
    network = network.to(memory_format=torch.channels_last)  # quicker everywhere
    return Runner(network=network, identity=f"eager, torch {torch.__version__}")


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "eager"."""
    return [Backend(name="eager", summary="torch, operator by operator: runs everywhere", contract=1, open=open)]
