"""Small EDVRs and BasicVSRs, their files, and what they give when they are run by hand, for the tests."""

from __future__ import annotations

import functools
import re
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from vs_sr import registry
from vs_sr.engine import recurrence
from vs_sr.spec import Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor, nn

_EDVR = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1, "hr_channels": 8}
CONFIGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "5 frames": ("EDVR", {**_EDVR, "frames": 5}),
    "7 frames": ("EDVR", {**_EDVR, "frames": 7, "tsa": False}),
    "predeblur": ("EDVR", {**_EDVR, "predeblur": True}),
    "deblurring": ("EDVR", {**_EDVR, "predeblur": True, "hr_in": True}),
    "BasicVSR": ("BasicVSR", {"channels": 8, "blocks": 1, "hr_channels": 8}),
    "still": ("BasicVSR", {"channels": 8, "blocks": 1, "hr_channels": 8}),
}
"""Name in the tests to model and to its network's arguments. "still" sees no motion: all of its flows are zero."""


_GAINS = {
    r"^conv_last": 0.2,  # of what is added to the base
    r"conv2\.weight": 0.4,  # of a residual block: else the features of many blocks grow without end
    r"conv_offset": 0.3,  # displacements
}
"""Factors to the range of random weights, by the name of the layer."""


@functools.cache
def network(name: str) -> nn.Module:
    """The same each time, and far from doing nothing: displacements of pixels, results in and about 0..1."""
    model, config = CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(list(CONFIGS).index(name))
        net = registry.model(model).build(Variant(scale=4, config=config)).eval().requires_grad_(False)
        for key, value in net.state_dict().items():
            if value.dim() == 1:
                value.uniform_(-0.05, 0.05)
            else:
                value.uniform_(-1, 1).mul_((6 / value[0].numel()) ** 0.5)
                value *= next((factor for part, factor in _GAINS.items() if re.search(part, key)), 1)
            if name == "still" and key.startswith("spynet."):
                value.zero_()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vs_sr-test-weights-")


@functools.cache
def weights(name: str, **metadata: str) -> str:
    """The file of :func:`network`, as published ones are, or with something that it says of itself."""
    told = "".join(f" {key}={value}" for key, value in metadata.items())
    path = Path(_folder().name) / f"{name}{told}.safetensors"
    save_file({key: value.contiguous() for key, value in network(name).state_dict().items()}, path, metadata)
    return str(path)


FRONT: Mapping[tuple[str, int], Sequence[tuple[int, ...]]] = {
    ("replicate", 5): [(0, 0, 0, 1, 2), (0, 0, 1, 2, 3)],
    ("replicate", 7): [(0, 0, 0, 0, 1, 2, 3), (0, 0, 0, 1, 2, 3, 4), (0, 0, 1, 2, 3, 4, 5)],
    ("reflection", 5): [(2, 1, 0, 1, 2), (1, 0, 1, 2, 3)],
    ("reflection", 7): [(3, 2, 1, 0, 1, 2, 3), (2, 1, 0, 1, 2, 3, 4), (1, 0, 1, 2, 3, 4, 5)],
    ("reflection_circle", 5): [(4, 3, 0, 1, 2), (4, 0, 1, 2, 3)],
    ("reflection_circle", 7): [(6, 5, 4, 0, 1, 2, 3), (6, 5, 0, 1, 2, 3, 4), (6, 0, 1, 2, 3, 4, 5)],
    ("circle", 5): [(3, 4, 0, 1, 2), (4, 0, 1, 2, 3)],
    ("circle", 7): [(4, 5, 6, 0, 1, 2, 3), (5, 6, 0, 1, 2, 3, 4), (6, 0, 1, 2, 3, 4, 5)],
}
"""The windows around the first frames of a scene, written down as BasicSR has them; the last ones are their mirror."""


def around(frame: int, length: int, size: int, ends: str) -> list[int]:
    """The frames of the window around a frame of a scene of ``length``."""
    half = size // 2
    asked = range(frame - half, frame + half + 1)
    if length < size:
        if ends == "reflection" and length > half:
            return [length - 1 - abs(length - 1 - abs(at)) for at in asked]
        return [min(max(at, 0), length - 1) for at in asked]
    if frame < half:
        return [*FRONT[ends, size][frame]]
    if frame >= length - half:
        return [length - 1 - at for at in reversed(FRONT[ends, size][length - 1 - frame])]
    return [*asked]


def scenes(length: int, cuts: Collection[int]) -> list[range]:
    """The scenes of a clip; a cut i lies between the frames i and i+1."""
    borders = [0, *(cut + 1 for cut in sorted(cuts)), length]
    return [range(start, stop) for start, stop in pairwise(borders)]


def edvr_by_hand(name: str, frames: Tensor, ends: str, cuts: Collection[int] = ()) -> Tensor:
    """(T, 3, H, W) -> (T, 3, scale*H, scale*W), by the network as a whole on windows as a list has them."""
    net: Any = network(name)
    made = []
    with torch.inference_mode():
        for scene in scenes(len(frames), cuts):
            for n in range(len(scene)):
                numbers = [scene[at] for at in around(n, len(scene), net.frames, ends)]
                made.append(recurrence.multi_frame(net, frames[numbers][None])[0])
    return torch.stack(made)


def basicvsr_by_hand(
    frames: Tensor,
    *,
    window: int = 15,
    segment: int = 4,
    carry: bool = True,
    lookahead: int = 0,
    cuts: Collection[int] = (),
) -> Tensor:
    """(T, 3, H, W) -> (T, 3, 4H, 4W), frame by frame, by the definition.

    Forward: over everything since the segment's beginning or the cut. Backward: from the end of the frames that
    the frame's window looks at, or from the cut; a frame alone there is seen twice.
    """
    net: Any = network("BasicVSR")
    images = list(frames[:, None])
    step = window - 1
    groups = max(1, -(-(len(frames) - 1) // step))

    @functools.cache
    def past(first: int, n: int) -> tuple[Tensor, ...]:
        return net.forward_step(images[n], past(first, n - 1) if n > first else None)  # type: ignore[no-any-return]

    @functools.cache
    def future(n: int, last: int) -> tuple[Tensor, ...]:
        return net.backward_step(images[n], future(n + 1, last) if n < last else None)  # type: ignore[no-any-return]

    made = []
    with torch.inference_mode():
        for scene in scenes(len(frames), cuts):
            for n in scene:
                group = min(n // step, groups - 1)
                beginning = group - (group % segment if segment else group) if carry else group
                before = past(max(beginning * step, scene.start), n)
                first, last = max(group * step, scene.start), min((group + 1) * step + lookahead, scene[-1])
                after = future(n, last)
                if first == last:
                    after = net.backward_step(images[n], after)
                made.append(net.reconstruct(images[n], before[0], after[0])[0])
    return torch.stack(made)
