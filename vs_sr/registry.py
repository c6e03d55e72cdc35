"""Lookup of models and backends by name. Built-in ones come in by the hooks that packages use.

Nothing is imported before it is asked for: a filter's name is known from package metadata (``vs_sr._names``).
A package that cannot be used is an error for those who ask for what it declares, and a line in :func:`problems`.
"""

from __future__ import annotations

import difflib
import pkgutil
import threading
from typing import TYPE_CHECKING, Any

import pluggy

from vs_sr import _names, hookspecs, threads
from vs_sr.errors import ArgumentError, PluginError, described
from vs_sr.spec import CONTRACT, Backend, Model
from vs_sr.windows import RATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vs_sr._names import Extension

_lock = threading.RLock()
_manager = pluggy.PluginManager("vs_sr")
_manager.add_hookspecs(hookspecs)
_models: dict[str, Model] = {}
_backends: dict[str, Backend] = {}
_known: Mapping[Extension, dict[str, Any]] = {"model": _models, "backend": _backends}
_scripts: dict[str, str] = {}
"""What has added a model, by the model's name."""
_failures: dict[str, str] = {}
"""Why modules cannot be used. They are not tried again: what a process finds once, it finds always."""


def model(name: str) -> Model:
    """The model of the filter ``name``, its package imported where that is still to be done.

    Raises:
        ArgumentError: no package provides it.
        PluginError: its package cannot be used, or does not provide what its metadata declares.
    """
    return _find("model", _models, name)


def backend(name: str) -> Backend:
    """The backend ``name``; raises as :func:`model` does."""
    return _find("backend", _backends, name)


def models() -> list[Model]:
    """Every model there is, by name; those that cannot be used are left out (see :func:`problems`)."""
    return _all("model", _models)


def backends() -> list[Backend]:
    """Every backend there is, by name."""
    return _all("backend", _backends)


def is_model(name: str) -> bool:
    """Whether a model has this name; its package is not imported."""
    return name in _models or name in _targets("model")


def problems(kind: Extension) -> list[str]:
    """What packages declare and nobody can use: a sentence with the reason for each."""
    _all(kind, _known[kind])
    left_out = [reason for reason in _names.declared(kind).values() if reason]
    lacking = [(name, target) for name, target in _targets(kind).items() if name not in _known[kind]]
    return left_out + [_problem(kind, name, target) for name, target in lacking]


def add(model: Model, origin: str) -> None:
    """Add a model that no package declares. The same model a second time changes nothing.

    One of the same origin gives way: previewers load a script again and again in one process. Filters that were made of
    it go on with it.

    Args:
        model: to be found by its name from now on.
        origin: what registers it, for errors.

    Raises:
        PluginError: see :func:`check`.
    """
    with _lock:
        check(model, origin)
        if _models.get(model.name) != model:
            _models[model.name] = model
            _scripts[model.name] = origin


def check(model: Model, origin: str) -> None:
    """Refuse a model for :func:`add`.

    Raises:
        PluginError: a model of another origin, of a package or of vs_sr has its name.
    """
    with _lock:
        if _models.get(model.name) != model:
            _refuse("model", model, origin, script=True)


def _targets(kind: Extension) -> dict[str, str]:
    """Name to module, of everything that is built in or declared in package metadata."""
    builtin = {name: entry.module for name, entry in _names.BUILTIN.items()}
    usable = {entry.name: entry.target for entry, reason in _names.declared(kind).items() if not reason}
    return usable | (builtin if kind == "model" else _names.BUILTIN_BACKENDS)


def _find[T](kind: Extension, known: dict[str, T], name: str) -> T:
    with _lock:
        if name in known:
            return known[name]
        targets = _targets(kind)
        if name in targets:
            _load(targets[name])
            if name in known:
                return known[name]
            raise PluginError(_problem(kind, name, targets[name]))
        for entry, reason in _names.declared(kind).items():
            if entry.name == name and reason:
                raise PluginError(reason)
        choices = sorted({*known, *targets})
        close = difflib.get_close_matches(name, choices, 1)
        hint = f"; did you mean {close[0]}? Choices" if close else "; choices"
        raise ArgumentError(f"no {kind} is called {name!r}{hint}: {', '.join(choices)}")


def _problem(kind: Extension, name: str, target: str) -> str:
    reason = _failures.get(target, f"its hook vs_sr_{kind}s gives none of that name")
    return f"{kind} {name!r} of {target} cannot be used: {reason}; update or uninstall its package"


def _all[T](kind: Extension, known: dict[str, T]) -> list[T]:
    for target in dict.fromkeys(_targets(kind).values()):
        _load(target)
    return [known[name] for name in sorted(known)]


def _load(target: str) -> None:
    """Import a module, register it as a plugin, and take in what its hooks give: all of it, or nothing."""
    with _lock:
        if _manager.has_plugin(target) or target in _failures:
            return
        try:
            with threads.asleep():  # many import torch
                plugin = pkgutil.resolve_name(target if ":" in target else f"{target}:")  # a module for certain
            _manager.register(plugin, name=target)
            _manager.check_pending()
            others = _manager.get_plugins() - {plugin}
            given: list[tuple[Extension, Any]] = []
            for kind in _known:
                own = _manager.subset_hook_caller(f"vs_sr_{kind}s", others)
                given += [(kind, item) for items in own() for item in items]
            for kind, item in given:
                _refuse(kind, item, target)
            for kind, item in given:
                _known[kind][item.name] = item
        except (Exception, SystemExit) as error:
            _manager.unregister(name=target)
            _failures[target] = described(error)


def _refuse(kind: Extension, item: Any, origin: str, *, script: bool = False) -> None:
    """Refuse what is not of its kind, or has a name that something else provides."""
    if not isinstance(item, Model if kind == "model" else Backend):
        raise PluginError(f"vs_sr_{kind}s gives a {type(item).__name__} in place of a {kind.capitalize()}")
    if isinstance(item, Backend) and item.contract != CONTRACT:
        raise PluginError(f"{item.name!r} is written for contract {item.contract!r}; this vs_sr has {CONTRACT}")
    if isinstance(item, Backend) and not isinstance(item.priority, int):
        raise PluginError(f"{item.name!r} must have a whole number for its priority; got {item.priority!r}")
    if isinstance(item, Model) and not set(item.multi) <= set(RATES):
        raise PluginError(f"{item.name!r} has multi={item.multi!r}; frame-rate factors are {RATES}")
    owners = _targets(kind) | (_scripts if kind == "model" else {})
    owner = owners.get(item.name, origin if script else None)
    if owner != origin:
        why = f"is provided by {owner} already" if owner else "is not among the entry points of its package"
        raise PluginError(f"{kind} {item.name!r} of {origin} {why}")
