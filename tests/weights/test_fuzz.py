"""Two thousand damaged and hostile files: each is read or refused in our words, in little time and memory.

What is random is seeded: a failure names its mutation, and the same one comes again.
"""

from __future__ import annotations

import gc
import io
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import hostile, image_models, image_networks
from safetensors.torch import save

from vs_sr.engine.scheduler.state import State
from vs_sr.errors import VsSrError
from vs_sr.weights import checkpoint, convert, recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS, BYTES = 0.1, 64 << 20
"""What a file may cost; of a large one, twice its size in memory."""
LONGEST = 500
"""Characters of a message."""

pytestmark = [
    pytest.mark.skipif(not hostile.can_measure(), reason="this system cannot tell a process's peak of memory"),
]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """Collections look at what the tests make, not at all of torch; what is imported at first use is here."""
    convert.describe(Path(image_networks.weights("ESRGAN")))
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def contents(kind: str) -> bytes:
    """A whole file: a small network in one format, or a state."""
    state = image_networks.network("ESRGAN").state_dict()
    made = io.BytesIO()
    if kind == "safetensors":
        return save({name: tensor.contiguous() for name, tensor in state.items()}, {"licence": "MIT"})
    torch.save({"params": state, "params_ema": state, "epoch": 3}, made, _use_new_zipfile_serialization=kind == "zip")
    return made.getvalue()


def kept(folder: Path) -> bytes:
    """The file of a state."""
    tensors = (torch.rand(1, 4, 6, 8), torch.rand(1, 4, 6, 8).half())
    facts = {"model": "X", "window": "4"}
    path = folder / "whole.state"
    State(window=3, past=1, frames=20, final=False, fingerprint=facts, tiles=(tensors, None)).save(path)
    return path.read_bytes()


def show(path: Path) -> None:
    text = convert.describe(path, models=image_models.models().values())
    assert max(map(len, text.splitlines())) <= LONGEST
    assert len(text) < 20_000


def load(path: Path) -> None:
    file = checkpoint.read(path)
    found = recognition.recognize(file, models=image_models.models().values())
    recognition.network(file, found)


def go_on(path: Path) -> None:
    State.load(path)


def survive(work: Callable[[Path], None], path: Path, content: bytes, what: str) -> bool:
    """Whether the file is read; fails where it costs too much, or fails in other words than ours."""
    path.write_bytes(content)
    for attempt in range(3):  # the work is the same each time; what is measured depends on the neighbors, too
        with hostile.measured() as cost:
            try:
                work(path)
                read = True
            except VsSrError as error:
                read, text = False, str(error)
        if cost.seconds < SECONDS and cost.bytes < max(BYTES, 2 * len(content)):
            break
        assert attempt < 2, f"{what}: {cost.seconds:.2f} s, {cost.bytes >> 20} MiB for {len(content)} bytes"
    if not read:
        assert 10 < len(text) <= LONGEST, what
        assert "Error:" not in text, what
    return read


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pickle could call."""

    def called(*_: object) -> None:
        raise AssertionError("the file's code was run")

    monkeypatch.setattr(os, "system", called)
    monkeypatch.setattr("builtins.eval", called)


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_changed_bytes(kind: str, tmp_path: Path) -> None:
    whole = contents(kind)
    assert survive(load, tmp_path / "whole", whole, "whole"), "the file that is mutated is a good one"
    mutations = (*hostile.BYTES, hostile.header) if kind == "safetensors" else hostile.BYTES
    for seed in range(400):
        rng = random.Random(f"{kind} {seed}")
        mutate = mutations[seed % len(mutations)]
        content = mutate(whole, rng)
        what = f"{kind}, seed {seed}, {mutate.__name__}"
        survive(show if seed % 4 else load, tmp_path / "file", content, what)


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_pickles_of_chance(kind: str, tmp_path: Path) -> None:
    wrap = hostile.in_zip if kind == "zip" else hostile.in_legacy
    for seed in range(200):
        rng = random.Random(f"pickle {kind} {seed}")
        make = hostile.PICKLES[seed % len(hostile.PICKLES)]
        survive(show, tmp_path / "file", wrap(make(rng)), f"{kind}, seed {seed}, {make.__name__}")


def test_archives_without_end(tmp_path: Path) -> None:
    for seed in range(20):
        survive(show, tmp_path / "file", hostile.many_members(random.Random(seed)), f"seed {seed}")


def test_states(tmp_path: Path) -> None:
    """A change anywhere in a state is seen."""
    whole = kept(tmp_path)
    for seed in range(380):
        rng = random.Random(f"state {seed}")
        mutate = (*hostile.BYTES, hostile.header)[seed % 5]
        content = mutate(whole, rng)
        read = survive(go_on, tmp_path / "file", content, f"state, seed {seed}, {mutate.__name__}")
        assert read == (content == whole), f"state, seed {seed}, {mutate.__name__}"
