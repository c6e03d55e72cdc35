"""The public surface: a sorted list, each name documented, functions equal to the filters, types for checkers."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from typing import TYPE_CHECKING, get_type_hints

import pytest
import vapoursynth as vs
from helpers.support import ROOT, environment

import vs_sr
from vs_sr import _names, arguments, registry

if TYPE_CHECKING:
    from pathlib import Path


def test_all_is_sorted_and_complete() -> None:
    assert vs_sr.__all__ == sorted(vs_sr.__all__)
    assert set(_names.BUILTIN) < set(vs_sr.__all__) <= set(dir(vs_sr))


@pytest.mark.parametrize("name", vs_sr.__all__)
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(vs_sr, name))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        vs_sr.Nonsense  # noqa: B018


def test_arguments_have_the_types_that_are_written() -> None:
    """The table of arguments against signatures written by hand."""
    common = (
        "weights:data:opt;backend:data:opt;device_id:int:opt;precision:data:opt;"
        "matrix_in:int:opt;range_in:int:opt;matrix:int:opt;range:int:opt;format:int:opt;dither:data:opt;"
    )
    repeats = "repeats:int:opt;repeats_threshold:float:opt;"
    image = f"clip:vnode;scale:int:opt;{common}tilesize:int[]:opt;overlap:int[]:opt;num_streams:int:opt;{repeats}"
    assert arguments.signature("image") == image
    cuts, tiles = "sc:int:opt;sc_threshold:float:opt;", "tilesize:int[]:opt;overlap:int[]:opt;"
    assert arguments.signature("multi-frame") == f"clip:vnode;{cuts}{common}{tiles}"
    own = (
        "window:int:opt;multi:int:opt;fps_num:int:opt;fps_den:int:opt;carry:int:opt;segment:int:opt;lookahead:int:opt;"
    )
    states = "checkpoint:int:opt;state_memory:int:opt;state_in:data:opt;state_out:data:opt;"
    assert arguments.signature("sequence") == f"clip:vnode;{own}{cuts}{common}{tiles}{repeats}{states}"


@pytest.mark.parametrize("name", _names.BUILTIN)
def test_python_function_and_filter_take_the_same_arguments(name: str) -> None:
    builtin = _names.BUILTIN[name]
    assert builtin.kind == registry.model(name).kind
    assert {f.name: f.signature for f in vs.core.vs_sr.functions()}[name] == arguments.signature(builtin.kind)
    parameters = inspect.signature(getattr(vs_sr, name)).parameters
    own = [argument.name for argument in arguments.of(builtin.kind)]
    aliases = [argument.alias for argument in arguments.of(builtin.kind) if argument.alias]
    assert list(parameters) == ["clip", *own, *aliases]
    assert {parameter.kind for parameter in list(parameters.values())[1:]} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", _names.BUILTIN)
def test_functions_are_like_any_other(name: str) -> None:
    function = getattr(vs_sr, name)
    assert function is getattr(vs_sr, name)
    assert pickle.loads(pickle.dumps(function)) is function
    hints = get_type_hints(function)
    assert hints["clip"] is hints["return"] is vs.VideoNode
    assert hints["device_id"] == int | None
    text = inspect.getdoc(function)
    assert registry.model(name).summary in text
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in text
    with pytest.raises(TypeError, match="'clip'"):
        function()
    with pytest.raises(TypeError, match="too many positional"):
        function(vs.core.std.BlankClip(length=1), 2)


def test_type_checkers_see_the_functions(tmp_path: Path) -> None:
    """Calls in a script of a user, under mypy --strict."""
    lines = {
        'vs_sr.EDSR(clip, scale=2, weights="edsr.pth", tilesize=[64, 48], fp16=True)': "",
        "vs_sr.ZoomingSlowMo(clip, multi=1, sc=False, device_index=0)": "",
        'vs_sr.EDSR(clip, scale="2")': 'Argument "scale" to "EDSR" has incompatible type "str"; expected "int | None"',
        "vs_sr.EDSR(clip, 2)": 'Too many positional arguments for "EDSR"',
        "vs_sr.EDSR(clip, tilsize=2)": 'Unexpected keyword argument "tilsize" for "EDSR"',
        "vs_sr.ZoomingSlowMo(clip, num_streams=2)": 'Unexpected keyword argument "num_streams" for "ZoomingSlowMo"',
        'vs_sr.SRCNN(clip, precision="fp8")': 'Argument "precision" to "SRCNN" has incompatible type',
        "vs_sr.Nonsense": 'Module has no attribute "Nonsense"',
    }
    script = tmp_path / "script.py"
    script.write_text("\n".join(["import vapoursynth as vs", "import vs_sr", "clip: vs.VideoNode", *lines]) + "\n")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-vapoursynth]\nignore_missing_imports = true\n"
        "[mypy-torch.*,numpy.*,pluggy.*]\nfollow_imports = skip\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", script.name],
        cwd=tmp_path,
        env=environment(MYPYPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    for number, (line, message) in enumerate(lines.items(), 4):
        found = [text for text in done.stdout.splitlines() if text.startswith(f"script.py:{number}: error")]
        if message:
            assert any(message in text for text in found), f"{line}\n{done.stdout}{done.stderr}"
        else:
            assert not found, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", _names.BUILTIN)
def test_every_argument_stands_in_the_readme(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| \[{name}\]\(docs/models/", readme, re.M)
    for argument in arguments.of(_names.BUILTIN[name].kind):
        assert f"| `{argument.name}` |" in readme, f"README.md does not explain {argument.name}"


def test_version_is_that_of_the_package() -> None:
    import importlib.metadata

    assert vs_sr.__version__ == importlib.metadata.version("vs-sr")
