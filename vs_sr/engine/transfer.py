"""From the device to host memory: the images of a group at once, waited for where nobody else waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vs_sr.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor


class NotFiniteError(FrameError):
    """A network gives NaN or infinity of a clip that has none."""


@dataclass(frozen=True)
class Made:
    """What a scheduler makes of a group, on the device, where it may still be being computed."""

    images: Mapping[int, Tensor]
    """Output frame to its image (C, H, W). An output that repeats another has the same tensor."""
    before: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """States that the images are made from, which have to be finite, too, by what they are called in an error."""
    after: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """States that the next group is made from."""


class Download:
    """A group on its way to the host. Made on the thread of the network, waited for on any other.

    Args:
        made: the group.
        outputs: the output frames that are wanted of it.
    """

    def __init__(self, made: Made, outputs: Sequence[int]) -> None:
        from vs_sr.runtime import torch

        distinct: dict[int, int] = {}  # of the images, and the first output that has it
        for output in outputs:
            distinct.setdefault(id(made.images[output]), output)
        images = [made.images[output] for output in distinct.values()]
        self._places = [(output, list(distinct).index(id(made.images[output]))) for output in outputs]
        self._before, self._after = (
            [(name, finite(part)) for name, parts in states.items() for part in parts]
            for states in (made.before, made.after)
        )
        self._done = None
        if images[0].device.type == "cpu":
            self._images = [image.float() for image in images]
            return
        whole = torch.stack(images).float()
        self._images = list(park(whole))
        self._before, self._after = (
            [(name, flag.to("cpu", non_blocking=True)) for name, flag in flags] for flags in (self._before, self._after)
        )
        self._done = torch.cuda.Event()
        self._done.record(torch.cuda.current_stream(whole.device))

    def wait[T](self, take: Callable[[int, Tensor], T]) -> list[T]:
        """What ``take`` makes of the images, in the order in which they were wanted.

        Args:
            take: is given an output frame's number and its image, (C, H, W) float32 in host memory. Whether an image is
                finite is its business, since it reads all of it: :func:`checked`. An image that repeats is the same
                tensor.

        Raises:
            NotFiniteError: a state has NaN or infinity in it, or ``take`` says so of an image.
        """
        if self._done is not None:
            self._done.synchronize()
        _check(self._before)
        taken = [take(output, self._images[place]) for output, place in self._places]
        _check(self._after)
        return taken


def _check(flags: Sequence[tuple[str, Tensor]]) -> None:
    for name, well in flags:
        if not well:
            raise NotFiniteError(name)


def checked(output: int, image: Tensor) -> Tensor:
    """The image of an output frame.

    Raises:
        NotFiniteError: it has NaN or infinity in it.
    """
    _check([(f"frame {output}", finite(image))])
    return image


def park(part: Tensor) -> Tensor:
    """A tensor's copy in host memory; itself where it is there. It can be used at once on the device that it is from;
    elsewhere after :func:`arrive`."""
    from vs_sr.runtime import torch

    if part.device.type == "cpu":
        return part
    return torch.empty_like(part, device="cpu", pin_memory=True).copy_(part, non_blocking=True)


def arrive(device: str) -> None:
    """Wait until all that was parked from a device is there."""
    if device != "cpu":
        from vs_sr.runtime import torch

        torch.cuda.current_stream(device).synchronize()


def finite(part: Tensor) -> Tensor:
    """Whether there is no NaN and no infinity in a tensor, found out on its device: one truth value.

    A sum has one where a part has. Where the sum leaves the range by itself every number is looked at, on a GPU in any
    case: it is quick there, and to look at the sum would be to wait for it.
    """
    from vs_sr.runtime import torch

    if part.device.type == "cpu" and (whole := part.sum(dtype=torch.float32).isfinite()):
        return whole
    return part.isfinite().all()
