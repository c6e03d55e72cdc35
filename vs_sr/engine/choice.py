"""Which backend runs a model on a device: the one that was asked for, or the best that can."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vs_sr import registry
from vs_sr.backends import measured
from vs_sr.errors import DeviceError, described
from vs_sr.messages import log_once

if TYPE_CHECKING:
    from vs_sr.spec import Backend, Model, Precision, Variant


def candidates(
    wish: str, model: Model, variant: Variant, device: str, precision: Precision
) -> tuple[list[Backend], dict[str, str]]:
    """The backends that can run a model, the best first, and for each other one why it cannot.

    Args:
        wish: the argument ``backend``: a name, or "auto".
        model: to be run.
        variant: of it.
        device: as torch names it.
        precision: of the weights and features.

    Raises:
        DeviceError: the one that was asked for cannot.
    """
    if wish != "auto":
        backend = registry.backend(wish)
        if reason := obstacle(backend, model, variant, device, precision):
            raise unusable(backend, reason)
        return [backend], {}
    for problem in registry.problems("backend"):
        log_once(problem, logging.WARNING)
    found: list[Backend] = []
    refused: dict[str, str] = {}

    def rank(backend: Backend) -> tuple[int, float, str]:
        """Of equal priority, the quickest comes first; what is not measured counts as eager, on devices other too."""
        share = measured.SHARES.get((model.name, precision, backend.name), 1.0) if device == "cpu" else 1.0
        return -backend.priority, share, backend.name

    for backend in sorted((each for each in registry.backends() if each.priority >= 0), key=rank):
        if reason := obstacle(backend, model, variant, device, precision):
            refused[backend.name] = reason
        else:
            found.append(backend)
    return found, refused


def obstacle(backend: Backend, model: Model, variant: Variant, device: str, precision: Precision) -> str | None:
    """Why a backend cannot run a model; None: it can. A question that fails is an obstacle, too."""
    try:
        if reason := backend.obstacle(device):
            return str(reason)
        return None if backend.supports(model, variant, precision) else f"it does not run {model.name} in {precision}"
    except Exception as error:
        return described(error)


def unusable(backend: Backend, reason: str) -> DeviceError:
    """The error for those who have asked for a backend by its name."""
    return DeviceError(f'backend={backend.name!r} cannot be used: {reason}; backend="auto" takes one that can')
