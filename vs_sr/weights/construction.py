"""Building a network no larger than the weights that go into it."""

from __future__ import annotations

import math
from typing import Any

from vs_sr.errors import WeightsError
from vs_sr.runtime import torch

_SLACK, _CALLS = 1 << 22, 4096
"""Numbers, and calls, that a network may take besides: tables of positions, masks, constants."""
_MAKERS = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye})


class Allowance(torch.overrides.TorchFunctionMode):
    """Within it, tensors can be made in proportion to a file: twice its numbers, and some calls for each tensor.

    A file says what its network is like by a few shapes and by how many tensors it has. One that lies would have a
    network of gigabytes made before its tensors are compared with the network's.
    """

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self._numbers = 2 * numbers + _SLACK
        self._calls = 64 * tensors + _CALLS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what is made before it is made."""
        kwargs = kwargs or {}
        if func in _MAKERS:
            sizes = kwargs.get("size", args)
            sizes = sizes[0] if sizes and isinstance(sizes[0], list | tuple) else sizes
            self._calls -= 1
            self._numbers -= math.prod(side for side in sizes if isinstance(side, int))
            if self._numbers < 0 or self._calls < 0:
                raise WeightsError("its shapes are those of a network that is larger than all of the file")
        return func(*args, **kwargs)
