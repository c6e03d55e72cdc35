"""The filters as Python functions with signatures and docstrings, and :func:`register`.

A function is made of what its model and ``vs_sr/arguments.py`` say, and calls ``core.vs_sr``: one path for all.
It takes the names that other filters have for arguments as well (``device_index``, ``model_path``, ``fp16``,
``tile``, ``tile_pad``). Type checkers see the same functions in ``vs_sr/__init__.pyi``.
"""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any

import vapoursynth as vs

from vs_sr import _bridge, arguments, registry
from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vs_sr.arguments import Argument
    from vs_sr.spec import Model

_WIDTH = 110
"""Of docstrings, in characters."""


@cache
def function(name: str) -> Callable[..., vs.VideoNode]:
    """The filter ``core.vs_sr.<name>`` as a function, the same one each time.

    Raises:
        ArgumentError: there is no such model.
        PluginError: its package cannot be loaded.
    """
    model = registry.model(name)
    signature = signature_of(model)

    def call(*args: Any, **kwargs: Any) -> vs.VideoNode:
        for key in kwargs:
            if key not in signature.parameters:
                raise ArgumentError(f"{name}: there is no argument {key!r}; choices: {', '.join(signature.parameters)}")
        bound = signature.bind(*args, **kwargs)
        node: vs.VideoNode = getattr(vs.core.vs_sr, name)(**_own_names(model, bound.arguments))
        return node

    call.__name__ = call.__qualname__ = name
    call.__module__ = "vs_sr"
    call.__doc__ = docstring_of(model)
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {key: parameter.annotation for key, parameter in signature.parameters.items()}
    call.__annotations__["return"] = signature.return_annotation
    return call


def signature_of(model: Model) -> inspect.Signature:
    """The clip first, everything else by name; aliases after the arguments themselves."""
    clip = inspect.Parameter("clip", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=vs.VideoNode)
    own = [_parameter(argument.name, argument.python, argument.default) for argument in arguments.of(model.kind)]
    aliases = [_parameter(alias, alias_type(argument), None) for alias, argument in _aliases(model).items()]
    return inspect.Signature([clip, *own, *aliases], return_annotation=vs.VideoNode)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _aliases(model: Model) -> dict[str, Argument]:
    """Other filters' names of arguments that this model's filter has."""
    return {argument.alias: argument for argument in arguments.of(model.kind) if argument.alias}


def alias_type(argument: Argument) -> Any:
    """The type of an argument's other name."""
    return bool | None if argument.alias == "fp16" else argument.python | None


def _own_names(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, aliases under our names; None is "not given"."""
    aliases = _aliases(model)
    named = {key: value for key, value in given.items() if value is not None}
    for alias in [key for key in named if key in aliases]:
        own, value = aliases[alias].name, named.pop(alias)
        if own in named:
            raise ArgumentError(f"{model.name}: {alias} and {own} are the same argument; give one")
        named[own] = ("fp16" if value else "fp32") if alias == "fp16" else value
    return named


def meanings(model: Model) -> dict[str, tuple[str, str]]:
    """Every argument of the model's filter: its default and its meaning, in Markdown."""
    lines = {"clip": ("", model.arguments.get("clip", arguments.CLIP))}
    defaults = {"weights": model.weights, "multi": model.multi[0]}
    defaults |= {name: getattr(model, name) for name in ("window", "carry", "segment", "lookahead")}
    for argument in arguments.of(model.kind):
        default = argument.default if argument.default is not None else defaults.get(argument.name)
        own = model.arguments.get(argument.name)
        absent = "" if own else argument.absent
        lines[argument.name] = (absent if default is None else f"`{default}`", own or argument.meaning)
    return lines


def docstring_of(model: Model) -> str:
    """What ``help()`` shows."""
    lines = [f"{model.name}: {model.summary}.", ""]
    if model.paper:
        lines += [f"{model.paper}.", ""]
    lines.append("Args:")
    for name, (default, meaning) in meanings(model).items():
        lines += _item(name, f"{meaning}. Default: {default}." if default else f"{meaning}.")
    for alias, argument in _aliases(model).items():
        lines += _item(alias, f"`{argument.name}`, as other filters call it.")
    rate = max(model.multi) > 1
    made = (
        "As many frames as the rate asks for; the last is repeated, so that durations add up"
        if rate
        else "As many frames"
    )
    lines += ["", "Returns:", f"    {made}, at the new size.", "", "Raises:"]
    lines += _item("vapoursynth.Error", "an argument or the clip cannot be taken.")
    lines += _item("ArgumentError", "there is no such argument, or an alias is given beside the argument itself.")
    return "\n".join(lines)


def _item(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{name}: {text}", _WIDTH, initial_indent=4 * " ", subsequent_indent=8 * " ", break_on_hyphens=False
    )


def register(model: Model) -> None:
    """Make ``core.vs_sr.<model.name>`` in the current core, for a model that no installed package declares.

    A file that is loaded again (previewers do that with scripts) may register its models again: filters that are
    made from then on are of the newer one. In a core that has the filter already, the model's kind must be what it
    was, as the filter's arguments follow from that.

    Raises:
        PluginError: a model from elsewhere has this name.
        ArgumentError: the name is not a legal one, or this core has the filter with other arguments.
    """
    origin = f"a call of register() in {_file(sys._getframe(1).f_globals)}"
    signature = arguments.signature(model.kind)
    registry.check(model, origin)
    _bridge.has(model.name, signature)  # before anything changes
    registry.add(model, origin)
    _bridge.register(model.name, signature)


def _file(module: Mapping[str, Any]) -> str:
    """The file of a module's variables; its name where it has no file, as in a notebook or after ``-c``."""
    file = module.get("__file__")
    return os.path.abspath(file) if file else str(module.get("__name__"))  # noqa: PTH100 - not to follow links
