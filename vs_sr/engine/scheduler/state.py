"""The forward state of a clip at the beginning of a window, as a value that can be kept in a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vs_sr import files
from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.weights import checkpoint, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from vs_sr.engine.scheduler.checkpoints import States
    from vs_sr.weights.checkpoint import Checkpoint

_KIND = "vs_sr state 2"
_PARTS = ("hidden", "cell")
"""Names of a state's tensors; further ones are numbered."""
_FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
_LARGEST = (1 << 31) - 1
"""Of the numbers of windows and frames, as of VapourSynth's."""
_TILES = 1 << 16
"""Of a frame, at most."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What the forward direction knows at the beginning of a window, before it steps over its first timestep.

    It belongs to one clip, model, weights, arguments, plan and device: bits stay what they are only there.
    """

    window: int
    """The window of the clip at whose beginning this is, from 0."""
    past: int
    """Windows of the film before the clip."""
    frames: int
    """Input frames of the clip."""
    final: bool
    """Whether the clip ends here, at the first frame of that window: another clip can go on from it, whose first
    frame is this one's last."""
    fingerprint: Mapping[str, str]
    """Everything that decides the numbers: model, weights, arguments, plan, device."""
    tiles: States
    """Of each tile: the tensors, the hidden state first, or None for zero."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as safetensors, whole or not at all, with checksums of all that it says.

        Raises:
            OSError: the file cannot be written; what was there before is still there.
            ArgumentError: no file can have this name.
        """

        from vs_sr.runtime import torch

        tensors = {
            _name(tile, part): tensor.cpu()
            for tile, state in enumerate(self.tiles)
            for part, tensor in enumerate(state or ())
        }
        # a file without tensors is none
        tensors["known"] = torch.tensor([state is not None for state in self.tiles], device="cpu")
        digest = hashlib.sha256()
        for piece in writing.numbers(tensors):
            digest.update(piece)
        facts = {"window": self.window, "past": self.past, "frames": self.frames, "final": int(self.final)}
        metadata = {
            "kind": _KIND,
            **{key: str(value) for key, value in facts.items()},
            "fingerprint": json.dumps(dict(self.fingerprint), sort_keys=True),
            "numbers": digest.hexdigest(),
        }
        described = [
            (name, str(tensors[name].dtype).removeprefix("torch."), tuple(tensors[name].shape))
            for name in writing.ordered(tensors)
        ]
        writing.save(files.resolve(path), tensors, {**metadata, "header": _seal(metadata, described)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read what :meth:`save` wrote.

        Raises:
            ArgumentError: there is no such file, or it is something else or damaged.
        """
        return Kept.open(path).load()

    def check(self, fingerprint: Mapping[str, str]) -> None:
        """Compare with the fingerprint of a run that is to go on from here.

        Raises:
            ArgumentError: they differ; the message says in what.
        """
        compare(self.fingerprint, fingerprint)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A state in a file, its numbers apart: as much as has to be known of it when a filter is made."""

    window: int
    past: int
    frames: int
    final: bool
    fingerprint: Mapping[str, str]
    parts: tuple[int, ...]
    """Tensors of each tile; none: zero."""
    file: Checkpoint

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Kept:
        """Read the header of a file that :meth:`State.save` wrote, without importing torch.

        Raises:
            ArgumentError: there is no such file, or it is something else or damaged.
        """
        try:
            file = checkpoint.read(files.resolve(path))
        except ArgumentError as error:
            raise ArgumentError(f"the name of the state {error}") from None
        except WeightsError as error:
            raise ArgumentError(f"the state {error}") from None
        metadata = dict(file.metadata)
        kind = metadata.get("kind", "")
        if kind != _KIND:
            older = kind.startswith("vs_sr state ")
            what = "a state of another version of vs_sr" if older else "no state"
            raise ArgumentError(f"{file.path} is {what}; a run with state_out= writes one")
        header = metadata.pop("header", "")
        described = [(name, place.dtype, place.shape) for name, place in file.places.items()]
        if header != _seal(metadata, described):
            raise _damaged(file)
        try:
            facts = {key: int(metadata[key]) for key in ("window", "past", "frames", "final")}
            fingerprint = json.loads(metadata["fingerprint"])
        except (KeyError, ValueError, RecursionError):
            raise _damaged(file) from None
        if (
            not isinstance(fingerprint, dict)
            or not all(isinstance(value, str) for value in fingerprint.values())
            or not all(0 <= value <= _LARGEST for value in facts.values())
        ):
            raise _damaged(file)
        return cls(
            window=facts["window"],
            past=facts["past"],
            frames=facts["frames"],
            final=facts["final"] == 1,
            fingerprint=fingerprint,
            parts=_parts(file),
            file=file,
        )

    def load(self) -> State:
        """The state with its numbers.

        Raises:
            ArgumentError: the file is damaged, or has changed since it was opened.
        """
        try:
            if self.file.digest() != self.file.metadata["numbers"]:
                raise _damaged(self.file)
            tensors = dict(self.file.stream(self.file.places, exact=True))
        except WeightsError as error:
            raise ArgumentError(f"the state {error}") from None
        return State(
            window=self.window,
            past=self.past,
            frames=self.frames,
            final=self.final,
            fingerprint=self.fingerprint,
            tiles=tuple(
                tuple(tensors[_name(tile, part)] for part in range(count)) or None
                for tile, count in enumerate(self.parts)
            ),
        )


def compare(then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Compare a state's fingerprint with that of a run that is to go on from there, as far as both are known.

    Raises:
        ArgumentError: they differ; the message says in what.
    """
    pairs = [(key, then.get(key, "-"), now.get(key, "-")) for key in sorted(now)]
    different = [f"{key} {before[:80]!r}, now {after[:80]!r}" for key, before, after in pairs if before != after]
    if different:
        raise ArgumentError(
            f"the state was made with {'; '.join(different)}; it continues the same run only: "
            "give the same arguments and weights on the same device, or start without state_in"
        )


def _parts(file: Checkpoint) -> tuple[int, ...]:
    """How many tensors each tile has; raises ArgumentError where the tensors are not those of a state."""
    known = file.places.get("known")
    if known is None or known.dtype != "bool" or len(known.shape) != 1 or not 0 < known.shape[0] <= _TILES:
        raise _damaged(file)
    found = [0] * known.shape[0]
    for tile, given in enumerate(file.raw("known")):
        while given and _name(tile, found[tile]) in file.places:
            found[tile] += 1
        if bool(given) != bool(found[tile]):
            raise _damaged(file)
    dtypes = {place.dtype for name, place in file.places.items() if name != "known"}
    if sum(found) + 1 != len(file.places) or not dtypes <= _FLOATS:
        raise _damaged(file)
    return tuple(found)


def _damaged(file: Checkpoint) -> ArgumentError:
    return ArgumentError(
        f"the state {file.path} is damaged: it is not what state_out wrote; start without state_in, or with "
        "an earlier state"
    )


def _seal(metadata: Mapping[str, str], tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> str:
    """The checksum of a state's header."""
    text = json.dumps([sorted(metadata.items()), [(name, dtype, list(shape)) for name, dtype, shape in tensors]])
    return hashlib.sha256(text.encode()).hexdigest()


def _name(tile: int, part: int) -> str:
    return f"forward.{tile}.{_PARTS[part] if part < len(_PARTS) else f'part{part}'}"
