"""Weights between those of two files: part of the way from fidelity to natural looks, for one (ESRGAN, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.weights import checkpoint, recognition, writing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from vs_sr.spec import Metadata
    from vs_sr.weights.recognition import Recognition


def interpolate(a: Path, b: Path, target: Path, alpha: float, hints: Metadata | None = None) -> Recognition:
    """Write (1 - alpha) a + alpha b, tensor by tensor, in float32, with the network's names.

    Args:
        a: weights of any known format and naming scheme.
        b: of the same network and configuration.
        target: a name that ends in ``.safetensors``; an existing file is replaced.
        alpha: 0 gives ``a``, 1 gives ``b``; others extrapolate, which is not refused.
        hints: what no tensor of either tells, see ``Model.hints``.

    Returns:
        What both were recognized as.

    Raises:
        WeightsError: a file cannot be read, is not recognized, or is of another network than the other.
        ArgumentError: the target cannot be written.
    """
    if target.suffix != ".safetensors":
        raise ArgumentError(f"the target must end in .safetensors; got {target.name!r}")
    try:
        files.check_target(target)
    except ArgumentError as error:
        raise ArgumentError(f"{target} {error}") from None
    (first, start), (second, end) = _read(a, hints), _read(b, hints)
    if (first.model.name, first.variant) != (second.model.name, second.variant):
        raise WeightsError(
            f"{a.name} is of {_described(first)}, {b.name} of {_described(second)}; give two files of one network"
        )
    tensors = {
        name: (tensor.float().lerp(end[name].float(), alpha) if tensor.is_floating_point() else tensor)
        for name, tensor in start.items()
    }
    metadata = {
        "format": "pt",
        "architecture": first.model.name,
        "scale": str(first.variant.scale),
        **first.variant.metadata,
        **{key: value for key, value in checkpoint.read(a).metadata.items() if key in ("base", *first.model.hints)},
        **(hints or {}),
        "interpolated": f"{1 - alpha:g} of {a.name}, {alpha:g} of {b.name}",
        "source_sha256": ", ".join(_sha256(path) for path in (a, b)),
    }
    try:
        writing.save(target, tensors, metadata)
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {files.reason(error)}") from None
    return first


def _read(path: Path, hints: Metadata | None) -> tuple[Recognition, dict[str, Tensor]]:
    """What a file is of, and its tensors by the network's names."""
    file = checkpoint.read(path)
    found = recognition.recognize(file, hints)
    return found, recognition.network(file, found).state_dict()


def _sha256(path: Path) -> str:
    with checkpoint.opened(path) as file:
        return files.sha256(file)


def _described(found: Recognition) -> str:
    config = ", ".join(f"{key}={value}" for key, value in found.variant.config.items())
    return f"{found.model.name} ({config})"
