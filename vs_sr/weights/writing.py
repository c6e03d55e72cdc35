"""Writing safetensors, tensor by tensor: no second copy of the numbers in memory."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.weights.checkpoint import SAFETENSORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from vs_sr.spec import Metadata

_CODES = {dtype: code for code, dtype in SAFETENSORS.items()}


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write tensors of the CPU to a file, whole or not at all; in the order of :func:`ordered`.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    names = ordered(tensors)
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name in names:
        tensor = tensors[name]
        entries[name] = {
            "dtype": _CODES[str(tensor.dtype).removeprefix("torch.")],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    header = json.dumps(entries, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    with files.replacing(path) as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for piece in numbers(tensors):
            file.write(piece)


def ordered(tensors: Mapping[str, Tensor]) -> list[str]:
    """Their names in a file: the widest types first, so that every number is aligned, then by name."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def numbers(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """The bytes of the tensors, as they follow each other in a file."""
    from vs_sr.runtime import torch

    for name in ordered(tensors):
        yield memoryview(tensors[name].detach().contiguous().flatten().view(torch.uint8).numpy())
