"""The network as torch runs it, operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vs_sr.hookspecs import hookimpl
from vs_sr.spec import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn


def prepare(network: nn.Module) -> Callable[..., Any]:
    """The network itself."""
    return network


@hookimpl
def vs_sr_backends() -> Sequence[Backend]:
    """The backend "eager"."""
    return [Backend(name="eager", summary="torch, operator by operator: runs everywhere", prepare=prepare)]
