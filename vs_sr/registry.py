"""Lookup of models and backends by name. Built-in ones come in by the hooks that packages use.

Nothing is imported before it is asked for: a filter's name is known from package metadata (``vs_sr._names``).
A package that cannot be loaded is an error for those who ask for its filter, and a line in ``failures``.
"""

from __future__ import annotations

import difflib
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

from vs_sr import _names, hookspecs, threads
from vs_sr.errors import ArgumentError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vs_sr.spec import Backend, Model

BUILTIN_BACKENDS = {"eager": "vs_sr.backends.eager"}
"""Backend name to the module that provides it."""

_lock = threading.RLock()
_manager = pluggy.PluginManager("vs_sr")
_manager.add_hookspecs(hookspecs)
_models: dict[str, Model] = {}
_backends: dict[str, Backend] = {}
_origin: dict[tuple[str, str], str] = {}
_failures: dict[str, str] = {}


def model(name: str) -> Model:
    """The model of the filter ``name``, its package imported where that is still to be done.

    Raises:
        ArgumentError: no package provides it.
        PluginError: its package cannot be loaded, or does not provide what its metadata declares.
    """
    return _find("model", name, _models, _declared("model"))


def backend(name: str) -> Backend:
    """The backend ``name``; raises as :func:`model` does."""
    return _find("backend", name, _backends, _declared("backend"))


def models() -> list[Model]:
    """Every model there is, by name; packages that cannot be loaded are left out (see :func:`failures`)."""
    _load_all("model")
    return [_models[name] for name in sorted(_models)]


def backends() -> list[Backend]:
    """Every backend there is, by name."""
    _load_all("backend")
    return [_backends[name] for name in sorted(_backends)]


def is_model(name: str) -> bool:
    """Whether a model has this name; its package is not imported."""
    return name in _models or name in _declared("model")


def failures() -> dict[str, str]:
    """Module to reason, for the packages that could not be loaded so far."""
    return dict(_failures)


def add(model: Model, file: str) -> None:
    """Add a model that no package declares. The same model a second time changes nothing.

    One that the same file has registered before gives way: previewers load a script again and again in one process.
    Filters that were made of it go on with it.

    Args:
        model: to be found by its name from now on.
        file: that registers it.

    Raises:
        PluginError: see :func:`check`.
    """
    with _lock:
        check(model, file)
        if _models.get(model.name) == model:
            return
        _models[model.name] = model
        _origin["model", model.name] = _call(file)


def check(model: Model, file: str) -> None:
    """Refuse a model for :func:`add`.

    Raises:
        PluginError: a model of another file, of a package or of vs_sr has its name.
    """
    with _lock:
        if _models.get(model.name) != model and _origin.get(("model", model.name)) != _call(file):
            _refuse("model", _models, model.name, _call(file))


def _call(file: str) -> str:
    return f"a call of register() in {file}"


def _declared(kind: str) -> dict[str, str]:
    """Name to module, of everything that is built in or declared in package metadata."""
    if kind == "backend":
        found: Iterable[_names.Entry] = _names.entries(_names.BACKENDS)
        builtin = BUILTIN_BACKENDS
    else:
        found, _ = _names.models()
        builtin = {name: entry.module for name, entry in _names.BUILTIN.items()}
    return {entry.name: entry.target for entry in found} | builtin


def _find[T](kind: str, name: str, known: dict[str, T], declared: dict[str, str]) -> T:
    with _lock:
        if name not in known and name in declared:
            _load(kind, declared[name])
            if name not in known:
                reason = _failures.get(declared[name], f"its hook vs_sr_{kind}s gives none of that name")
                raise PluginError(f"{kind} {name!r} of {declared[name]} cannot be used: {reason}")
        if name in known:
            return known[name]
        choices = sorted({*known, *declared})
        close = difflib.get_close_matches(name, choices, 1)
        hint = f"; did you mean {close[0]}? Choices" if close else "; choices"
        raise ArgumentError(f"no {kind} is called {name!r}{hint}: {', '.join(choices)}")


def _load_all(kind: str) -> None:
    for module in dict.fromkeys(_declared(kind).values()):
        _load(kind, module)


def _load(kind: str, target: str) -> None:
    """Import a module, register it as a plugin, and take in what its hooks give."""
    module_name, _, attribute = target.partition(":")
    with _lock:
        if _manager.has_plugin(target):
            return
        try:
            with threads.asleep():  # many import torch
                plugin = import_module(module_name)
            for part in filter(None, attribute.split(".")):
                plugin = getattr(plugin, part)
            _manager.register(plugin, name=target)
            for hook, known in (
                (_manager.hook.vs_sr_models, _models),
                (_manager.hook.vs_sr_backends, _backends),
            ):
                for implementation in hook.get_hookimpls():
                    if implementation.plugin is plugin:
                        kind = "model" if known is _models else "backend"
                        _enter(kind, known, implementation.function(), target)
            _failures.pop(target, None)
        except Exception as error:
            if _manager.has_plugin(target):
                _manager.unregister(name=target)
            _failures[target] = f"{type(error).__name__}: {error}"


def _enter(kind: str, known: Any, items: Any, origin: str) -> None:
    items = list(items)
    for item in items:
        _refuse(kind, known, item.name, origin)
    for item in items:
        known[item.name] = item
        _origin[kind, item.name] = origin


def _refuse(kind: str, known: Any, name: str, origin: str) -> None:
    """Refuse a name that something else provides."""
    owner = _origin.get((kind, name)) or _declared(kind).get(name, origin)
    if name in known or owner != origin:
        raise PluginError(f"{kind} {name!r} of {origin} is provided by {owner} already")
