"""An emulator in a card's place: operators launch their kernels on CPU tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.emulation import emulator as emulation
from vs_sr.ops import color, fused, recurrent, sample, shuffle

if TYPE_CHECKING:
    import pytest
    import torch

    from vs_sr.ops._launch import Launch


def insert(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let operators find a card that is an emulator; gives the names of the kernels that it has run."""
    emulator = emulation.shared()
    names: list[str] = []

    def run(launch: Launch, device: torch.device) -> None:
        names.append(launch.kernel.name)
        emulator.run(launch, "shuffled")

    for module in (fused, sample, recurrent, shuffle, color):
        monkeypatch.setattr(module, "usable", lambda kernel, device: True)
        monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(fused, "multiprocessors", lambda device: 1000)
    return names
