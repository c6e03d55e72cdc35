"""The discriminator's part in training: what it makes the network learn, and how it learns itself.

Kinds: "srgan", distances of probabilities as in SRGAN's best known code; "vanilla", cross entropy (Goodfellow et al.,
2014); "relativistic", cross entropy of a logit against the mean logit of the other side (Jolicoeur-Martineau, ICLR
2019; ESRGAN, section 3.2), halved. Means are over the whole batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F

from vs_sr.errors import ArgumentError
from vs_sr.models.esrgan.discriminator import VGGDiscriminator
from vs_sr.models.srgan.discriminator import Discriminator

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vs_sr.training.recipe import Adversary as Facts

type Kind = Literal["srgan", "vanilla", "relativistic"]


def generator_loss(kind: Kind, real: Tensor, fake: Tensor) -> Tensor:
    """What the network makes smaller, from the logits (B, 1) of real and of made images."""
    match kind:
        case "srgan":
            return (1 - torch.sigmoid(fake)).mean()
        case "vanilla":
            return _entropy(fake, real=True)
        case "relativistic":
            return (_entropy(real - fake.mean(), real=False) + _entropy(fake - real.mean(), real=True)) / 2


def discriminator_loss(kind: Kind, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator makes smaller, from the same."""
    match kind:
        case "srgan":
            return 1 - torch.sigmoid(real).mean() + torch.sigmoid(fake).mean()
        case "vanilla":
            return _entropy(real, real=True) + _entropy(fake, real=False)
        case "relativistic":
            return (_entropy(real - fake.mean(), real=True) + _entropy(fake - real.mean(), real=False)) / 2


def _entropy(logits: Tensor, *, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class Adversary:
    """A discriminator and its optimizer."""

    def __init__(self, facts: Facts, patch: int, device: torch.device) -> None:
        """A new one.

        Args:
            facts: of the recipe.
            patch: HR pixels on a side of what it will see.
            device: to compute on.

        Raises:
            ArgumentError: the discriminator does not take that size.
        """
        if facts.network == "vgg128" and patch != 128:
            given = "data.patch * scale - 2 * loss.border"
            raise ArgumentError(f"adversary.network='vgg128' takes 128x128; {given} is {patch}; or 'srgan'")
        self.kind = facts.kind
        self.rate = facts.rate
        self.network: nn.Module = (VGGDiscriminator() if facts.network == "vgg128" else Discriminator()).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=facts.rate)

    def judge(self, output: Tensor, target: Tensor) -> Tensor:
        """The generator's loss for films (B, S, 3, H, W); the discriminator takes no gradient of it."""
        self.network.requires_grad_(False)
        loss = generator_loss(self.kind, self._logits(target), self._logits(output))
        self.network.requires_grad_(True)
        return loss

    def learn(self, output: Tensor, target: Tensor, share: float) -> float:
        """One step of its own; its loss before it. ``share``: of the peak of the schedule."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * share
        loss = discriminator_loss(self.kind, self._logits(target), self._logits(output.detach()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _logits(self, film: Tensor) -> Tensor:
        images = film.float().flatten(0, 1)
        if isinstance(self.network, Discriminator):  # whose own output is a probability
            logits: Tensor = self.network.net(images).flatten(1)
        else:
            logits = self.network(images)
        return logits
