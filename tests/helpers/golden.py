"""Golden vectors: where they lie, and the rule that makes their weights and inputs out of parameter names.

A vector stores a network's output; its weights are numbers drawn from a generator seeded with each
parameter's name, so nothing but the names, the shapes and a few bounds has to be kept. Two sets exist:
``golden/`` (video networks, bounds by regular expression in ``rule.json``) and ``golden_image/`` (image
networks, a kind of fill per tensor and a gain per vector, in ``index.json`` and ``keys/``).

The vectors in use lie in ``tests/data``; the others are found in ``reference/`` of the folder that the
environment variable ``VS_SR_TEST_DATA`` names, and a test that needs one is skipped without it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4
"""Largest absolute difference allowed from a vector of ``golden/``, in float32."""

_GAINS = {"1": 1.0, "sqrt(3)": math.sqrt(3), "2": 2.0, "sqrt(6)": math.sqrt(6)}


def find(relative: str) -> Path:
    """The file ``golden/...`` or ``golden_image/...``; skips the test where it is nowhere."""
    roots = [DATA]
    if folder := os.environ.get("VS_SR_TEST_DATA"):
        roots.append(Path(folder) / "reference")
    for root in roots:
        if (root / relative).exists():
            return root / relative
    pytest.skip(f"{relative} is neither in tests/data nor in $VS_SR_TEST_DATA/reference")


def test_data(relative: str) -> Path:
    """A file of the folder that VS_SR_TEST_DATA names (weights/..., footage/...); skips without it."""
    folder = os.environ.get("VS_SR_TEST_DATA")
    if not folder:
        pytest.skip(f"VS_SR_TEST_DATA is not set: {relative} is not at hand")
    path = Path(folder) / relative
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    return path


test_data.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name says


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: on a busy machine networks of this size run three times as fast."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# The generator


def _rng(key: str) -> np.random.Generator:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed))


def draw01(key: str, shape: Sequence[int]) -> Tensor:
    """Uniform in [0, 1), determined by ``key`` (and shape) alone."""
    return torch.from_numpy(_rng(key).random(tuple(shape), dtype=np.float32))


def draw(key: str, shape: Sequence[int], bound: float) -> Tensor:
    """Uniform in [-bound, bound), determined by ``key`` (and shape) alone."""
    uniform = _rng(key).random(tuple(shape), dtype=np.float32)
    return torch.from_numpy(uniform * np.float32(2 * bound) - np.float32(bound))


# golden/: video networks


@functools.cache
def rule() -> Mapping[str, Any]:
    """``golden/rule.json``: the bounds, and numbers to check an implementation of the rule with."""
    return json.loads(find("golden/rule.json").read_text())  # type: ignore[no-any-return]


def bound(key: str, shape: Sequence[int]) -> float:
    """Half the width of the values of the parameter ``key``: the first matching row of the rule."""
    row = next(row for row in rule()["bounds"] if re.search(row["regex"], key))
    value = float(row["value"])
    return value if row["kind"] == "abs" else value / math.sqrt(math.prod(shape[1:]))


def state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The values of parameters: name to shape -> name to tensor."""
    return {key: draw(key, shape, bound(key, shape)) for key, shape in shapes.items()}


def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """Give a network the rule's weights, in evaluation mode; buffers keep their values.

    ``prefix`` goes before the parameter names: a part is filled as it is inside its network.
    """
    shapes = {prefix + key: tuple(p.shape) for key, p in module.named_parameters()}
    values = {key.removeprefix(prefix): value for key, value in state(shapes).items()}
    unfilled = module.load_state_dict(values, strict=False)
    assert not unfilled.unexpected_keys
    assert set(unfilled.missing_keys) <= {key for key, _ in module.named_buffers()}
    return module.eval().requires_grad_(False)


def load(name: str) -> dict[str, NDArray[np.float32]]:
    """The arrays of ``golden/<name>.npz``, under their names with the index they were sampled at."""
    with np.load(find(f"golden/{name}.npz")) as arrays:
        return dict(arrays)


def sample(array: Tensor, name: str) -> Tensor:
    """What of ``array`` is stored under ``name``: ``out[...,::3,::3]`` stores that index of it.

    ``[...,::8ch,:,:]`` means every eighth channel of reshape(-1, C, H, W).
    """
    index = re.search(r"\[(.*)\]$", name)
    if index is None:
        return array
    parts = index[1].split(",")
    if channels := re.fullmatch(r"::(\d+)ch", parts[1]):
        return array.reshape(-1, *array.shape[-3:])[:, :: int(channels[1])]
    steps = tuple(... if p == "..." else slice(None, None, int(p.removeprefix("::") or 1)) for p in parts)
    return array[steps]


def error(actual: Tensor, name: str, arrays: Mapping[str, NDArray[np.float32]]) -> float:
    """Largest absolute difference of ``actual`` from the array stored as ``name`` (without its index)."""
    stored = next(key for key in arrays if key == name or key.startswith(f"{name}["))
    expected = torch.from_numpy(arrays[stored])
    found = sample(actual.detach(), stored)
    assert found.shape == expected.shape, f"{stored}: {tuple(found.shape)} is not {tuple(expected.shape)}"
    return float((found.double() - expected.double()).abs().max())


# golden_image/: image networks


@dataclass(frozen=True, kw_only=True)
class ImageVector:
    """One vector of ``golden_image/``."""

    name: str
    """Its file's stem: the network and the gain (``edsr_baseline_x2_g3``)."""
    network: str
    """The network alone: ``keys/<network>.json`` lists its tensors."""
    gain: float
    input_scale: float
    """The range of the input: 1 or 255."""
    tolerance: float
    """Largest absolute difference allowed: ten times the reference's own error in float32."""

    @property
    def input(self) -> Tensor:
        """(B, C, H, W), uniform in 0..``input_scale``."""
        return torch.from_numpy(self._arrays["input"])

    @property
    def output(self) -> Tensor:
        """What the network gives for ``input``: computed in float64, rounded to float32."""
        return torch.from_numpy(self._arrays["output"])

    @functools.cached_property
    def _arrays(self) -> dict[str, NDArray[np.float32]]:
        with np.load(find(f"golden_image/vectors/{self.name}.npz")) as arrays:
            return dict(arrays)

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights, under the names of the scheme that the vector was made with."""
        return image_state(self.network, self.gain, rgb_range=self.input_scale)

    def error(self, output: Tensor) -> float:
        """Largest absolute difference of a network's output from the vector's."""
        assert output.shape == self.output.shape, f"{tuple(output.shape)} is not {tuple(self.output.shape)}"
        return float((output.detach().double() - self.output.double()).abs().max())


@functools.cache
def image_index() -> Mapping[str, ImageVector]:
    """Every vector of ``golden_image/`` by name, whether its file is at hand or not."""
    entries = json.loads(find("golden_image/index.json").read_text())
    vectors = [
        ImageVector(
            name=Path(entry["file"]).stem,
            network=Path(entry["keys"]).stem,
            gain=_GAINS[entry["gain"]],
            input_scale=entry["input_scale"],
            tolerance=10 * entry["max_abs_f32_vs_f64"],
        )
        for entry in entries
    ]
    return {vector.name: vector for vector in vectors}


@functools.cache
def image_keys(network: str) -> Mapping[str, tuple[tuple[int, ...], str]]:
    """Tensor name to (shape, kind of fill) of ``golden_image/keys/<network>.json``."""
    entries = json.loads(find(f"golden_image/keys/{network}.json").read_text())["keys"]
    return {entry["key"]: (tuple(entry["shape"]), entry["fill"]) for entry in entries}


def image_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Tensor name to shape: what a checkpoint of that network looks like."""
    return {key: shape for key, (shape, _) in image_keys(network).items()}


def image_state(network: str, gain: float, *, rgb_range: float = 1.0) -> dict[str, Tensor]:
    """The values of all tensors of ``network``, under the names of its scheme."""
    return {key: _fill(key, shape, kind, gain, rgb_range) for key, (shape, kind) in image_keys(network).items()}


def _fill(key: str, shape: tuple[int, ...], kind: str, gain: float, rgb_range: float) -> Tensor:
    match kind:
        case "weight":
            return draw(key, shape, gain / math.sqrt(math.prod(shape[1:])))
        case "bias":
            return draw(key, shape, 0.01)
        case "norm_weight":
            return 1 + draw(key, shape, 0.01)
        case "running_var":
            return 1 + draw(key, shape, 0.01).abs()
        case "prelu_0.25":
            return torch.full(shape, 0.25)
        case "zero":
            return torch.zeros(shape, dtype=torch.int64)
        case "fixed":
            return _mean_shift(key, rgb_range)
    raise ValueError(f"{key}: no rule for a fill of kind {kind!r}")


def _mean_shift(key: str, rgb_range: float) -> Tensor:
    if key.endswith("weight"):
        return torch.eye(3).view(3, 3, 1, 1)
    sign = -1 if key.startswith("sub_mean") else 1
    return sign * rgb_range * torch.tensor([0.4488, 0.4371, 0.4040])


def names(vectors: Iterable[str], *, largest_gain: bool = False) -> list[str]:
    """The given names sorted; ``largest_gain`` keeps the one of each network that shows mistakes best."""
    index = image_index()
    chosen = sorted(vectors)
    if not largest_gain:
        return chosen
    best: dict[str, str] = {}
    for name in chosen:
        network = index[name].network
        if network not in best or index[name].gain > index[best[network]].gain:
            best[network] = name
    return sorted(best.values())
