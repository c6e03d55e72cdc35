"""The driver of recurrences: what it calls, in which order, and what it holds meanwhile."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.recurrence import Clip, Recurrence, Timestep

from vs_sr.engine import recurrence
from vs_sr.models.basicvsr.network import BasicVSR
from vs_sr.models.zooming_slow_mo.network import ZoomingSlowMo

if TYPE_CHECKING:
    from vs_sr.spec import Carried


class Recorded(Recurrence):
    """Keeps the order of its calls, and how many backward states live when an image is made."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []
        self.living: list[int] = []
        self._made: list[weakref.ref[torch.Tensor]] = []

    def forward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        self.order.append("forward")
        return super().backward_step(timestep, state)

    def backward_step(self, timestep: Timestep, state: Carried | None) -> Carried:
        self.order.append("backward")
        made = super().backward_step(timestep, state)
        self._made.append(weakref.ref(made[0]))
        return made

    def reconstruct(self, timestep: Timestep, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        self.order.append("image")
        self.living.append(sum(state() is not None for state in self._made))
        return super().reconstruct(timestep, past, future)


def film(count: int) -> list[torch.Tensor]:
    """Frames whose pixels are their number."""
    return [torch.full((1, 3, 1, 2), float(n)) for n in range(count)]


def numbers(image: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(channel) for channel in image[0, :, 0, 0])


def test_an_image_is_made_as_soon_as_it_can_be() -> None:
    network = Recorded()
    timesteps = recurrence.timesteps(network, film(3))
    assert len(timesteps) == 5
    images, left = recurrence.run(network, timesteps, own=4, outputs={0, 2, 3})
    assert network.order == ["backward"] * 5 + ["forward", "image", "forward", "forward", "image", "forward", "image"]
    assert (sorted(images), left) == ([0, 2, 3], None)
    whole = Clip(frames=3, window=3)
    assert [numbers(images[t]) for t in (0, 2, 3)] == [whole.expected(t) for t in (0, 2, 3)]


def test_backward_states_are_freed_as_they_are_used() -> None:
    network = Recorded()
    recurrence.run(network, recurrence.timesteps(network, film(4)), own=5, outputs=range(5))
    assert network.living == [5, 4, 3, 2, 1]


def test_a_state_alone_needs_no_backward_direction() -> None:
    network = Recorded()
    timesteps = recurrence.timesteps(network, film(3))
    images, left = recurrence.run(network, timesteps, own=4, outputs=(), border=4)
    assert (images, network.order) == ({}, ["forward"] * 4)
    assert left is not None
    assert int(left[0][0, 0, 0, 0]) == Clip(frames=3, window=3).expected(3)[0]


@pytest.mark.parametrize("border", range(6))
def test_a_run_goes_on_from_the_state_before_any_timestep(border: int) -> None:
    network = Recurrence()
    timesteps = recurrence.timesteps(network, film(3))
    begin = (torch.full((1, 1, 1, 2), 7.0),)
    whole, left = recurrence.run(network, timesteps, state=begin, outputs=range(5), border=border)
    rest, _ = recurrence.run(network, timesteps[border:], state=left, outputs=range(5 - border))
    assert all(torch.equal(whole[border + t], image) for t, image in rest.items())
    assert (left is begin) == (border == 0)


@pytest.mark.parametrize(
    ("network", "multi"),
    [
        (ZoomingSlowMo(channels=8, groups=2, front_blocks=1, back_blocks=1, hr_channels=8), 2),
        (ZoomingSlowMo(channels=8, groups=2, front_blocks=1, back_blocks=1, hr_channels=8), 4),
        (BasicVSR(channels=8, blocks=1, hr_channels=8), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_frame_teaches_every_image(network: Any, multi: int) -> None:
    """Gradients go through the whole sequence, in both directions."""
    torch.manual_seed(1)
    frames = torch.rand(2, 3, 3, 12, 12, requires_grad=True)
    made = recurrence.sequence(network, frames, multi)
    assert made.shape == (2, 2 * multi + 1, 3, 48, 48)
    for image in made.unbind(1):
        (gradient,) = torch.autograd.grad(image.square().sum(), frames, retain_graph=True)
        assert (gradient.abs().amax((0, 2, 3, 4)) > 0).all()
    made.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("count", "multi"), [(3, 3), (3, 6), (3, 0), (1, 2)])
def test_a_rate_that_the_timesteps_cannot_give_is_refused(count: int, multi: int) -> None:
    with pytest.raises(ValueError, match=rf"{count} frames .* multi={multi} cannot be made"):
        recurrence.sequence(Recurrence(), torch.stack(film(count), 1), multi)
