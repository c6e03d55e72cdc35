"""State dicts into networks, as the package puts files into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vs_sr.weights import recognition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


def fit(network: nn.Module, state: Mapping[str, Tensor], label: str) -> None:
    """Load ``state`` as the file ``label`` would be."""
    recognition.fit(network, {name: tuple(tensor.shape) for name, tensor in state.items()}, state.items(), label)
