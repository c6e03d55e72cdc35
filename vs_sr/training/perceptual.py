"""Distance of images in the space of a network's features: what looks alike is close, pixel for pixel or not.

Johnson et al., "Perceptual Losses", ECCV 2016; before activation as in ESRGAN (Wang et al., ECCV Workshops 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from vs_sr.errors import WeightsError
from vs_sr.models import features
from vs_sr.models.features.network import VGGFeatures
from vs_sr.weights import checkpoint, recognition

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


class Perceptual(nn.Module):
    """The distance, of images (..., 3, H, W) in 0..1; the network never learns.

    Args:
        path: weights of VGG (torchvision's names) or of the MINC network, of any known format.
        preset: which layer of which network, of :data:`vs_sr.models.features.PRESETS`.
        distance: mean absolute or mean squared difference of features.

    Raises:
        WeightsError: the file cannot be read, or is not of this network.
    """

    def __init__(self, path: Path, preset: str, distance: Literal["l1", "l2"] = "l1") -> None:
        super().__init__()
        self.network = VGGFeatures(**features.PRESETS[preset])
        self.distance = distance
        file = checkpoint.read(path)
        places = features.names(file.shapes, features.PRESETS[preset]["depth"])
        wanted = self.network.state_dict()
        used = {old: new for old, new in places.items() if new in wanted}
        if used.keys() != file.shapes.keys() and not used:
            raise WeightsError(f"{path.name} holds no weights of {preset}; give those of torchvision's VGG, or MINC's")
        shapes = {new: file.shapes[old] for old, new in used.items()}
        recognition.fit(self.network, shapes, ((used[old], each) for old, each in file.stream(used)), path.name)
        self.requires_grad_(False)
        self.eval()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean distance, a scalar; gradients flow through ``output`` alone."""
        made = self.network(output.float().flatten(0, -4))
        with torch.no_grad():
            wanted = self.network(target.float().flatten(0, -4))
        error: Tensor = made - wanted
        return error.abs().mean() if self.distance == "l1" else error.square().mean()
