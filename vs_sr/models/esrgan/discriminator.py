"""The discriminator of ESRGAN (Wang et al., ECCV Workshops 2018): VGG-like, for images of 128x128."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class VGGDiscriminator(nn.Module):
    """(B, 3, 128, 128) in 0..1 -> (B, 1), a logit: larger where the image looks more real.

    Args:
        features: channels of the first of the five levels; 64.
        inner_bias: whether the convolutions that are followed by batch normalization have biases.
    """

    def __init__(self, *, features: int = 64, inner_bias: bool = False) -> None:
        super().__init__()
        inputs = 3
        for level, factor in enumerate((1, 2, 4, 8, 8)):
            outputs = factor * features
            same = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=inner_bias or level == 0)
            self.add_module(f"conv{level}_0", same)
            if level > 0:  # the image itself is not normalized
                self.add_module(f"bn{level}_0", nn.BatchNorm2d(outputs))
            self.add_module(f"conv{level}_1", nn.Conv2d(outputs, outputs, 4, 2, 1, bias=inner_bias))
            self.add_module(f"bn{level}_1", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.linear1 = nn.Linear(inputs * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)

    @staticmethod
    def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the authors' own code (``features.N``, with inner biases) under our names."""
        places = {f"classifier.{2 * number}": f"linear{number + 1}" for number in range(2)}
        index = 0
        for layer in range(10):
            level, half = divmod(layer, 2)
            places[f"features.{index}"] = f"conv{level}_{half}"
            if layer:
                places[f"features.{index + 1}"] = f"bn{level}_{half}"
            index += 3 if layer else 2  # convolution, normalization but for the first, activation
        found: dict[str, Tensor] = {}
        for name, tensor in state.items():
            layer_name, _, part = name.rpartition(".")
            found[f"{places[layer_name]}.{part}"] = tensor
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 128, 128) -> (B, 1).

        Raises:
            ValueError: another size.
        """
        if x.shape[-2:] != (128, 128):
            raise ValueError(f"VGGDiscriminator: needs images of 128x128, got {tuple(x.shape)}")
        for level in range(5):
            for half in (0, 1):
                x = self.get_submodule(f"conv{level}_{half}")(x)
                if (level, half) != (0, 0):
                    x = self.get_submodule(f"bn{level}_{half}")(x)
                x = _lrelu(x)
        return self.linear2(_lrelu(self.linear1(x.flatten(1))))
