"""The extension points of vs_sr: what a package implements to add models and backends (pluggy).

A package names its module in the entry-point group ``vs_sr.models`` (one entry per filter, the entry's name
is the filter's name) or ``vs_sr.backends``, and implements the hook there::

    from vs_sr.hookspecs import hookimpl

    @hookimpl
    def vs_sr_models():
        return [Model(name="SomeModel", ...)]

A hook is called once, when the package is first asked for something. What a backend guarantees: ``docs/backends.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vs_sr.spec import Backend, Model

hookspec = pluggy.HookspecMarker("vs_sr")
hookimpl = pluggy.HookimplMarker("vs_sr")


@hookspec
def vs_sr_models() -> Sequence[Model]:  # type: ignore[empty-body]
    """The models that this plugin provides."""


@hookspec
def vs_sr_backends() -> Sequence[Backend]:  # type: ignore[empty-body]
    """The backends that this plugin provides."""
