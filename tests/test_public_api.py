"""The public surface: a sorted list, each name documented, typed functions equal to the filters."""

from __future__ import annotations

import inspect

import pytest
import vapoursynth as vs
from support import ROOT

import vs_sr
from vs_sr import _names, functions


def test_all_is_sorted_and_complete() -> None:
    assert vs_sr.__all__ == sorted(vs_sr.__all__)
    assert set(vs_sr.__all__) == {name for names in vs_sr._HOMES.values() for name in names}
    assert set(vs_sr.__all__) <= set(dir(vs_sr))


@pytest.mark.parametrize("name", vs_sr.__all__)
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(vs_sr, name))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        vs_sr.Nonsense  # noqa: B018


@pytest.mark.parametrize("name", _names.BUILTIN)
def test_python_function_and_filter_take_the_same_arguments(name: str) -> None:
    signature = _names.BUILTIN[name].signature
    assert {f.name: f.signature for f in vs.core.vs_sr.functions()}[name] == signature
    parameters = inspect.signature(getattr(functions, name)).parameters
    assert [p for p in parameters if p != "aliases"] == list(_names.arguments(signature))


@pytest.mark.parametrize("name", _names.BUILTIN)
def test_every_argument_stands_in_the_readme(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in readme
    for argument in _names.arguments(_names.BUILTIN[name].signature):
        assert f"`{argument}`" in readme, f"README.md does not explain {argument}"


def test_version_is_that_of_the_package() -> None:
    import importlib.metadata

    assert vs_sr.__version__ == importlib.metadata.version("vs-sr")
