"""VGG features, in whose space perceptual losses compare images.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015. The
tensors are named as in torchvision's networks, whose files load as they are (their classifier is not used).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from vs_sr.models.features import CONVS
from vs_sr.models.layers import IMAGENET_MEAN, IMAGENET_STD, normalize

if TYPE_CHECKING:
    from torch import Tensor

_WIDTHS = (64, 128, 256, 512, 512)


class VGGFeatures(nn.Module):
    """(B, 3, H, W) -> (B, 512, H/16, W/16) for a layer of the fifth level.

    Args:
        depth: 16 or 19.
        last: the layer whose output is the feature: its level and its number there, (5, 4) for conv5_4.
        activated: whether the feature is taken after the ReLU; ESRGAN takes it before (section 3.3).
        normalize: whether RGB in 0..1 is brought to ImageNet's mean and standard deviation first.
        ceil: whether pooling rounds sizes up (the MINC network) or down.
        pooled: whether the pooling of the level follows, ``last`` being its last layer.
    """

    def __init__(
        self,
        *,
        depth: Literal[16, 19] = 19,
        last: tuple[int, int] = (5, 4),
        activated: bool = False,
        normalize: bool = True,
        ceil: bool = False,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        level, number = last
        if not (1 <= level <= 5 and 1 <= number <= CONVS[depth][level - 1]):
            raise ValueError(f"VGGFeatures: VGG-{depth} has no layer conv{level}_{number}")
        counts = [*CONVS[depth][: level - 1], number]
        layers: list[nn.Module] = []
        inputs = 3
        for width, count in zip(_WIDTHS, counts, strict=False):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2, ceil_mode=ceil))
        if not pooled:
            layers.pop()
            if not activated:
                layers.pop()
        self.features = nn.Sequential(*layers)
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), RGB in 0..1 when normalizing -> the feature."""
        if self.normalize:
            x = normalize(x, IMAGENET_MEAN, IMAGENET_STD)
        return self.features(x)
