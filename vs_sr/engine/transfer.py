"""Between host memory and the device: frames go up, and the images of a group come down, waited for where nobody else
waits.

Where the device can (:attr:`vs_sr.engine.pipeline.Pipeline.converts`), both are YUV as videos have it, a fourth to an
eighth of the bytes of RGB in float. Its memory is pinned, from the ring that torch keeps of such buffers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vs_sr.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from vs_sr.color import Coding


class NotFiniteError(FrameError):
    """A network gives NaN or infinity of a clip that has none."""


@dataclass(frozen=True)
class Made:
    """What a scheduler makes of a group, on the device, where it may still be being computed."""

    images: Mapping[int, Tensor | NDArray[np.float32]]
    """Output frame to its image (C, H, W). An output that repeats another has the same tensor."""
    before: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """States that the images are made from, which have to be finite, too, by what they are called in an error."""
    after: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """States that the next group is made from."""


class Planes:
    """A frame in host memory as integers of YUV.

    Args:
        parts: Y (H, W), U and V, each (H or H/2, W or W/2), uint8 for 8 bits and uint16 otherwise.
        coding: what they stand for.
    """

    def __init__(self, parts: tuple[Tensor, Tensor, Tensor], coding: Coding) -> None:
        self.parts = parts
        self.coding = coding
        self._rgb: Tensor | None = None

    @classmethod
    def of(cls, image: Tensor, coding: Coding) -> Planes:
        """The YUV of an image (3, H, W), converted where that is; parked (:func:`park`)."""
        from vs_sr import ops

        y, u, v = ops.rgb_to_yuv(
            image.float(),
            bits=coding.bits,
            subsampling=coding.subsampling,
            matrix=coding.matrix,
            full=coding.full,
            location=coding.location,
        )
        return cls((park(y), park(u), park(v)), coding)

    def rgb(self, device: str) -> Tensor:
        """RGB (3, H, W), float32, on a device; computed once. On the thread of the network."""
        if self._rgb is None:
            from vs_sr import ops

            how = self.coding
            y, u, v = (part.to(device, non_blocking=True) for part in self.parts)
            self._rgb = ops.yuv_to_rgb(y, u, v, bits=how.bits, matrix=how.matrix, full=how.full, location=how.location)
        return self._rgb


type Image = Tensor | NDArray[np.float32] | Planes
"""A frame or an image in host memory: (C, H, W) float32, of torch's or of NumPy's, or planes of integers."""


@dataclass(frozen=True)
class OnArrays:
    """A network that takes and gives NumPy arrays, see :attr:`vs_sr.spec.Backend.arrays`."""

    network: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, C, H, W) -> (B, C, scale*H, scale*W)."""
        return self.network(image)


class Download:
    """A group on its way to the host. Made on the thread of the network, waited for on any other.

    Args:
        made: the group.
        outputs: the output frames that are wanted of it.
        coding: by output frame, the YUV that is made of its image on the device; None: the image goes as it is.
    """

    def __init__(self, made: Made, outputs: Sequence[int], coding: Callable[[int], Coding | None]) -> None:
        import numpy as np

        self._before = [(name, park(finite(part))) for name, parts in made.before.items() for part in parts]
        self._after = [(name, park(finite(part))) for name, parts in made.after.items() for part in parts]
        self._images: dict[int, Image] = {}
        self._done: torch.cuda.Event | None = None
        arrived: dict[tuple[int, Coding | None], Image] = {}
        for output in outputs:
            image, how = made.images[output], coding(output)
            key = id(image), how
            if key not in arrived:
                if isinstance(image, np.ndarray):
                    arrived[key] = image
                elif how is None:
                    arrived[key] = park(image.float())
                else:  # integers cannot say that they are none
                    self._before.append((f"frame {output}", park(finite(image))))
                    arrived[key] = Planes.of(image, how)
            self._images[output] = arrived[key]
        if not isinstance(image, np.ndarray) and image.device.type != "cpu":
            from vs_sr.runtime import torch

            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(image.device))

    def wait[T](self, take: Callable[[int, Image], T]) -> list[T]:
        """What ``take`` makes of the images, in the order in which they were wanted.

        Args:
            take: is given an output frame's number and its image. Whether one in floating point is finite is its
                business, since it reads all of it: :func:`checked`. An image that repeats is the same object.

        Raises:
            NotFiniteError: a state has NaN or infinity in it, or ``take`` says so of an image.
        """
        if self._done is not None:
            self._done.synchronize()
        _check(self._before)
        taken = [take(output, arrived) for output, arrived in self._images.items()]
        _check(self._after)
        return taken


def as_float(output: int) -> None:
    """No output is converted on the device."""


def _check(flags: Sequence[tuple[str, Tensor | np.bool]]) -> None:
    for name, well in flags:
        if not well:
            raise NotFiniteError(name)


def checked(output: int, image: Image) -> Tensor | NDArray[np.float32]:
    """The image of an output frame, which was asked for in floating point.

    Raises:
        NotFiniteError: it has NaN or infinity in it.
    """
    import numpy as np

    assert not isinstance(image, Planes)
    well = np.isfinite(image).all() if isinstance(image, np.ndarray) else finite(image)
    _check([(f"frame {output}", well)])
    return image


def park(part: Tensor) -> Tensor:
    """A tensor's copy in host memory; itself where it is there. It can be used at once on the device that it is from;
    elsewhere after :func:`arrive`."""
    from vs_sr.runtime import torch

    if part.device.type == "cpu":
        return part
    return torch.empty_like(part, device="cpu", pin_memory=True).copy_(part, non_blocking=True)


def pinned(samples: NDArray[np.integer]) -> Tensor:
    """A copy of a frame's plane from which a device reads by itself, where there is one that does."""
    from vs_sr.runtime import torch

    dtype = torch.uint8 if samples.itemsize == 1 else torch.uint16
    made = torch.empty(samples.shape, dtype=dtype, device="cpu", pin_memory=torch.cuda.is_available())
    made.numpy()[:] = samples
    return made


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
