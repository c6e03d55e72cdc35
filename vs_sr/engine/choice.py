"""Which backend runs a model on a device: the one that was asked for, or the best that can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr import registry
from vs_sr.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        for reason in _obstacles(backend, model, variant, device, precision):
            raise DeviceError(f'backend={wish!r} cannot be used: {reason}; backend="auto" takes one that can')
        return [backend], {}
    found: list[Backend] = []
    refused: dict[str, str] = {}
    for backend in sorted(registry.backends(), key=lambda backend: (-backend.priority, backend.name)):
        obstacle = next(_obstacles(backend, model, variant, device, precision), None)
        if obstacle is None:
            found.append(backend)
        else:
            refused[backend.name] = obstacle
    return found, refused


def _obstacles(backend: Backend, model: Model, variant: Variant, device: str, precision: Precision) -> Iterator[str]:
    """Why a backend cannot run a model; nothing where it can. A question that fails is an obstacle, too."""
    try:
        if reason := backend.obstacle(device):
            yield reason
        elif not backend.supports(model, variant, precision):
            yield f"it does not run {model.name} in {precision}"
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
