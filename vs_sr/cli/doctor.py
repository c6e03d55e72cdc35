"""Check the installation: versions, autoload, weights, GPU, plugins."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr.errors import described

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from vs_sr.spec import Backend

_PACKAGES = ("vs-sr", "vapoursynth", "torch", "numpy", "pluggy", "safetensors", "av")
_CUPY = ("cupy-cuda13x", "cupy-cuda12x")
_OPTIONAL = (*_CUPY, "vapoursynth-bestsource", "pillow")

type Finding = tuple[bool, str, str]
"""(is it well, what was looked at, what was found and what to do)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to set."""


def run(options: argparse.Namespace) -> int:
    """Print a line per check; exit code 1 where something does not work."""
    broken = False
    for check in (_versions, _autoload, _weights, _devices, _plugins):
        try:
            findings = list(check())
        except Exception as error:
            findings = [(False, check.__name__.strip("_"), described(error))]
        for well, subject, text in findings:
            broken |= not well
            print(f"{'ok     ' if well else 'BROKEN '} {subject:22} {text}")
    return int(broken)


def _versions() -> Iterator[Finding]:
    yield sys.version_info >= (3, 12), "python", f"{platform.python_version()} ({platform.platform()})"
    for name in _PACKAGES:
        version = _version(name)
        yield version is not None, name, version or f"not installed: pip install {name}"
    for name in _OPTIONAL:
        version = _version(name)
        if version is not None:
            yield True, name, version


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _autoload() -> Iterator[Finding]:
    import vapoursynth as vs

    from vs_sr import _names

    yield True, "vapoursynth core", f"{vs.core.core_version}, {vs.core.num_threads} threads"
    folder = Path(vs.get_plugin_dir()) / "vs_sr"
    libraries = [path for path in folder.glob("*vs_sr*") if path.suffix in {".so", ".dll", ".dylib"}]
    library = min(libraries, default=None)
    if hasattr(vs.core, "vs_sr"):
        names = {function.name for function in vs.core.vs_sr.functions()}
        filters = ", ".join(sorted(names - _names.HELPERS))
        yield True, "core.vs_sr", f"{filters} ({library or 'loaded from another folder'})"
    elif library is None:
        yield False, "core.vs_sr", f"there is no plugin in {folder}: pip install --force-reinstall vs-sr"
    else:
        try:
            vs.core.std.LoadPlugin(str(library))
            reason = "it loads by hand; VapourSynth did not look there: is another VapourSynth installed?"
        except vs.Error as error:
            reason = str(error)
        yield False, "core.vs_sr", f"{library} was not loaded: {reason}"


def _weights() -> Iterator[Finding]:
    from vs_sr.errors import WeightsError
    from vs_sr.weights import store

    for entry in store.index().values():
        try:
            source = store.shipped(entry.name)
            problem = store.damage(source)
        except WeightsError as error:
            problem = str(error)
        yield problem is None, f"weights {entry.name}", problem or f"{source.path} ({entry.model})"


def _devices() -> Iterator[Finding]:
    from vs_sr import machine, nvidia, threads
    from vs_sr.ops import kernel_status
    from vs_sr.runtime import torch

    memory = f"{machine.memory() >> 20} MiB"
    yield True, "cpu", f"{threads.count()} threads, {torch.backends.cpu.get_cpu_capability()}, {memory}"
    yield True, "cpu threads", threads.describe()
    driver, built = nvidia.driver(), torch.version.cuda
    if torch.cuda.is_available():
        installed = next((name for name in _CUPY if _version(name)), None)
        if driver and (advice := nvidia.cupy(driver, built, installed)):
            yield installed is None, "cupy", advice
    elif driver:
        yield False, "gpu", nvidia.idle(driver, sys.executable, built)
    elif torch.backends.mps.is_available():
        yield True, "gpu", "Apple's (MPS) is not supported: filters run on the CPU"
    else:
        reason = f"torch is built for CUDA {built}" if built else "torch has no CUDA"
        yield True, "gpu", f"none found ({reason}): filters run on the CPU"
    for line in kernel_status().splitlines():
        subject, _, text = line.partition(": ")
        yield True, subject, text
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        text = f"{properties.name}, {properties.total_memory >> 20} MiB, sm_{properties.major}{properties.minor}"
        yield True, f"gpu device_id={number}", text


def _plugins() -> Iterator[Finding]:
    from vs_sr import registry
    from vs_sr.runtime import torch

    for model in registry.models():
        yield True, f"model {model.name}", model.summary
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    for backend in registry.backends():
        tried = {device: _trial(backend, device) for device in devices}
        found = "; ".join(f"{device}: {text}" for device, (_, text) in tried.items())
        yield all(well for well, _ in tried.values()), f"backend {backend.name}", f"{backend.summary} ({found})"
    for problem in (*registry.problems("model"), *registry.problems("backend")):
        yield False, "package", problem


def _trial(backend: Backend, device: str) -> tuple[bool, str]:
    """Whether a backend opens a network of one layer; the shipped one, where it runs only models that it knows."""
    from vs_sr import registry
    from vs_sr.arguments import Arguments
    from vs_sr.engine import choice, session
    from vs_sr.engine.device import choose_precision
    from vs_sr.engine.pipeline import Pipeline
    from vs_sr.runtime import torch
    from vs_sr.spec import Model, Variant
    from vs_sr.weights import store
    from vs_sr.windows import Grid

    any_size = Variant(scale=1)
    layer = Pipeline(
        model=Model(name="layer", summary="", paper="", kind="image", build=lambda _: torch.nn.Conv2d(3, 3, 1)),
        variant=any_size,
        source=None,
        size=(64, 64),
        grid=Grid(frames=1, window=1),
        options=Arguments(backend=backend.name),
        device=device,
        precision=choose_precision("auto", device, any_size.precisions, float_clip=False),
    )
    shipped = next(iter(store.index().values()))
    model, source = registry.model(shipped.model), store.shipped(shipped.name)
    known = replace(layer, model=model, source=source, variant=store.recognize(model, source).variant)
    for tried in (layer, known):
        reason = choice.obstacle(backend, tried.model, tried.variant, device, tried.precision)
        if reason is None:
            if backend.per_size and backend.priority < 0:
                return True, "can, and is not tried: it would compile, and is only run when it is asked for"
            try:
                session.acquire(tried).call(lambda network: None)
            except Exception as error:
                return False, str(error)
            return True, "works"
    return True, f"no, {reason}"
