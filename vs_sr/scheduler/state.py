"""The forward state of a clip at the beginning of a window, as a value that can be kept in a file."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import ArgumentError, WeightsError
from vs_sr.weights import checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vs_sr.scheduler.checkpoints import States

_KIND = "vs_sr state 1"
_PARTS = ("hidden", "cell")
"""Names of a state's tensors; further ones are numbered."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What the forward direction knows at the beginning of a window, before it steps over its first position.

    It belongs to one clip, model, weights, arguments, plan and device: bits stay what they are only there.
    """

    window: int
    """The window of the clip at whose beginning this is, from 0."""
    past: int
    """Windows of the film in front of the clip."""
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
        """Write it as safetensors, whole or not at all.

        Raises:
            OSError: the file cannot be written; what was there before is still there.
        """
        import torch
        from safetensors.torch import save

        tensors = {
            _name(tile, part): tensor.contiguous()
            for tile, state in enumerate(self.tiles)
            for part, tensor in enumerate(state or ())
        }
        tensors["known"] = torch.tensor([state is not None for state in self.tiles])  # a file without tensors is none
        facts = {"window": self.window, "past": self.past, "frames": self.frames, "final": int(self.final)}
        metadata = {
            "kind": _KIND,
            **{key: str(value) for key, value in facts.items()},
            "fingerprint": json.dumps(dict(self.fingerprint), sort_keys=True),
        }
        path = Path(path)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(save(tensors, metadata))
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(part).unlink()
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read what :meth:`save` wrote.

        Raises:
            ArgumentError: there is no such file, or it is something else or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        facts = cls.peek(path)
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ArgumentError(f"the state {path} cannot be read: {error}") from None
        states = [
            tuple(tensors[name] for part in range(len(tensors)) if (name := _name(tile, part)) in tensors) or None
            for tile in range(len(facts.tiles))
        ]
        return replace(facts, tiles=tuple(states))

    @classmethod
    def peek(cls, path: str | os.PathLike[str]) -> State:
        """As :meth:`load`, from the file's header alone: without numbers, and without importing torch."""
        try:
            file = checkpoint.read(Path(path))
        except WeightsError as error:
            raise ArgumentError(f"the state cannot be read: {error}") from None
        metadata = file.metadata
        if metadata.get("kind") != _KIND:
            raise ArgumentError(f"{path} is no state; a run with state_out= writes one")
        try:
            return cls(
                window=int(metadata["window"]),
                past=int(metadata["past"]),
                frames=int(metadata["frames"]),
                final=metadata["final"] == "1",
                fingerprint=dict(json.loads(metadata["fingerprint"])),
                tiles=(None,) * file.shapes["known"][0],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ArgumentError(f"the state {path} is damaged: {error!r}") from None

    def check(self, fingerprint: Mapping[str, str]) -> None:
        """Compare with the fingerprint of a run that is to go on from here.

        Raises:
            ArgumentError: they differ; the message says in what.
        """
        keys = sorted({*self.fingerprint, *fingerprint})
        pairs = [(key, self.fingerprint.get(key, "-"), fingerprint.get(key, "-")) for key in keys]
        different = [f"{key} {then!r}, now {now!r}" for key, then, now in pairs if then != now]
        if different:
            raise ArgumentError(
                f"the state was made with {'; '.join(different)}; it continues the same run only: "
                "give the same arguments and weights on the same device, or start without state_in"
            )


def _name(tile: int, part: int) -> str:
    return f"forward.{tile}.{_PARTS[part] if part < len(_PARTS) else f'part{part}'}"
