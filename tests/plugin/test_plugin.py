"""``core.vs_sr``: how it is found, which names it has, how a call gets to Python and its error back."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vapoursynth as vs
from helpers.support import ROOT, environment, numbered, pixel, python, vspipe

from vs_sr import _bridge, _names, arguments, filters
from vs_sr.errors import ArgumentError, WeightsError

core = vs.core

LIBRARY = Path(vs.__file__).parent / "plugins" / "vs_sr" / "libvs_sr.so"

LIST = """\
import vapoursynth as vs
names = {f.name: f.signature for f in vs.core.vs_sr.functions()}
"""


def names() -> dict[str, str]:
    return {function.name: function.signature for function in core.vs_sr.functions()}


def test_a_script_needs_no_import_and_no_path() -> None:
    """Built-in filters have the arguments of vs_sr/arguments.py, in Python and in vspipe."""
    code = LIST + "import json, sys; json.dump(names, sys.stderr)\n"
    by_python = json.loads(python(code).stderr)
    piped = vspipe(code + "vs.core.std.BlankClip(length=1).set_output()\n", "--info")
    by_vspipe = json.loads(piped.stderr.decode().splitlines()[0])
    assert piped.returncode == 0
    assert by_python == by_vspipe
    assert set(by_python) == set(_names.BUILTIN) | _names.HELPERS
    assert all(by_python[name] == arguments.signature(builtin.kind) for name, builtin in _names.BUILTIN.items())


def test_the_plugin_is_loaded_without_the_rest() -> None:
    """Listing functions imports nothing heavy, nor the registry, nor any plugin package."""
    code = LIST + "import sys; print(*sys.modules, file=sys.stderr)\n"
    modules = set(python(code).stderr.split())
    assert {name for name in modules if name.startswith("vs_sr")} == {"vs_sr", "vs_sr._names"}
    assert not modules & {"torch", "numpy", "pluggy", "cupy", "importlib.metadata"}


def test_a_core_without_vs_sr_in_python_is_told() -> None:
    """The library alone, vs_sr not importable: VapourSynth starts; stderr says why, and so does a call."""
    code = (
        "import sys\n"
        "import vapoursynth as vs\n"
        "class Broken:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'vs_sr': raise ImportError('half an installation')\n"
        "sys.meta_path.insert(0, Broken)\n"
        "clip = vs.core.std.BlankClip(length=1)\n"
        "try: vs.core.vs_sr.ZoomingSlowMo(clip)\n"
        "except vs.Error as error: print(error)\n"
    )
    done = python(code)
    reason = "ImportError: half an installation\n"
    assert done.returncode == 0
    assert done.stdout == f"ZoomingSlowMo: {reason}"
    assert done.stderr == f"vs_sr: installed models are not listed: {reason}"


def declare(folder: Path, package: str, *lines: str, group: str = "vs_sr.models", suffix: str = ".dist-info") -> None:
    metadata = folder / f"{package}{suffix}"
    metadata.mkdir(parents=True)
    text = "\n".join(["[console_scripts]", "Decoy = decoy:main", "", f"[{group}]", *lines, "", "[other]", "No = no"])
    (metadata / "entry_points.txt").write_text(text + "\n", encoding="utf-8")


def test_installed_models_are_functions_at_once(tmp_path: Path) -> None:
    """Found by their metadata alone: the module that is named does not even exist."""
    declare(tmp_path, "some_models-1.0", "SomeModel = missing.module", "Other2 = missing:thing [extra]")
    path = f"{tmp_path}:{ROOT}"
    code = (
        LIST
        + "import sys\n"
        + "print(*sorted(n for n, s in names.items() if s == 'clip:vnode;any'), file=sys.stderr)\n"
    )
    assert python(code, env=environment(PYTHONPATH=path)).stderr == "Other2 SomeModel\n"
    script = code + "vs.core.std.BlankClip(length=1).set_output()\n"
    assert vspipe(script, "--info", env=environment(PYTHONPATH=path)).stderr.startswith(b"Other2 SomeModel\n")


def test_the_scan_of_metadata(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    declare(first, "good-1.0", "# a comment", "Good = good.module", "  Spaced   =   spaced:thing  ", "", "noise")
    declare(first, "Old.Style-2.0-py3.12", "Old = old", suffix=".egg-info")
    declare(first, "backend-1", "fast = backend", "auto = backend", group="vs_sr.backends")
    declare(second, "good-0.9", "Stale = good.stale")
    declare(
        second,
        "bad-1",
        "2Fast = bad",
        "with-dash = bad",
        "Ümlaut = bad",
        "ZoomingSlowMo = bad",
        "XCall = bad",
    )
    declare(second, "rival_one-1", "Contested = one", "Twice = one", "Twice = two")
    declare(third, "rival-two-1", "Contested = two")
    (third / "broken-1.dist-info").mkdir()
    (third / "broken-1.dist-info" / "entry_points.txt").write_bytes(b"[vs_sr.models]\nBroken\xff = x\n")
    path = [str(first), str(tmp_path / "absent"), str(second), str(third), str(first)]
    found = _names.declared("model", path)
    assert [tuple(entry) for entry, reason in found.items() if not reason] == [
        ("Old", "old", "old_style"),
        ("Good", "good.module", "good"),
        ("Spaced", "spaced:thing", "good"),
        ("Twice", "one", "rival_one"),
    ]
    illegal = "is not a legal name; use letters, digits and _, a letter first"
    own = "has a name of vs_sr itself; the package must choose another"
    assert list(filter(None, found.values())) == [
        f"bad: model '2Fast' {illegal}",
        f"bad: model 'with-dash' {illegal}",
        f"bad: model 'Ümlaut' {illegal}",
        f"bad: model 'ZoomingSlowMo' {own}",
        f"bad: model 'XCall' {own}",
        "rival_one: model 'Contested' is also claimed by rival; uninstall all but one of them",
        "rival_one: model 'Twice' is declared twice; the first one is used",
        "rival: model 'Contested' is also claimed by rival_one; uninstall all but one of them",
    ]
    assert {entry.name: reason for entry, reason in _names.declared("backend", path).items()} == {
        "fast": "",
        "auto": "backend: backend 'auto' has a name of vs_sr itself; the package must choose another",
    }


def test_scan_agrees_with_importlib() -> None:
    """On the environment that runs this test, with the entry points that it has."""
    from importlib.metadata import entry_points

    theirs = {(e.name, e.value.partition("[")[0].strip()) for e in entry_points(group="console_scripts")}
    assert ("vspipe", "vapoursynth:vspipe") in theirs
    assert {(e.name, e.target) for e in _names.entries("console_scripts")} == theirs


def test_late_registration() -> None:
    _bridge.register("LateOne", "clip:vnode;strength:float:opt;flags:int[]:opt:empty;")
    assert names()["LateOne"] == "clip:vnode;strength:float:opt;flags:int[]:opt:empty;"
    _bridge.register("LateOne", "clip:vnode;strength:float:opt;flags:int[]:opt:empty;")
    with pytest.raises(ArgumentError, match=r"core.vs_sr.LateOne exists in this core with the arguments of another"):
        _bridge.register("LateOne", "clip:vnode;any")  # which VapourSynth could not change
    assert names()["LateOne"] == "clip:vnode;strength:float:opt;flags:int[]:opt:empty;"


@pytest.mark.parametrize(
    ("name", "signature", "text"),
    [
        (
            "2Late",
            "clip:vnode;",
            "'2Late' cannot be a filter's name; use letters, digits and _, a letter first",
        ),
        ("Läte", "clip:vnode;", "'Läte' cannot be a filter's name"),
        ("", "clip:vnode;", "'' cannot be a filter's name"),
        ("Late2", "clip", "the signature 'clip' of 'Late2' is not VapourSynth's; it reads like"),
        ("Late2", "clip:video;", "the signature 'clip:video;' of 'Late2' is not VapourSynth's"),
        ("Late2", "clip:vnode;;", "the signature 'clip:vnode;;' of 'Late2' is not VapourSynth's"),
    ],
)
def test_late_registration_refuses(name: str, signature: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        _bridge.register(name, signature)
    assert text in str(caught.value)
    assert name not in names()
    assert capfd.readouterr() == ("", ""), "VapourSynth itself is not even asked"


def test_the_plugin_refuses_a_name_twice(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(vs.Error, match=r"^XRegister: core.vs_sr has a function 'ZoomingSlowMo' already; choose "):
        core.vs_sr.XRegister("ZoomingSlowMo", "clip:vnode;")
    assert capfd.readouterr() == ("", "")


Create = Callable[[str, dict[str, Any]], object]


@pytest.fixture
def creating(monkeypatch: pytest.MonkeyPatch) -> Callable[[Create], None]:
    """Replaces what makes filters, so that the way of a call is seen without networks and weights."""
    return lambda create: monkeypatch.setattr(filters, "create", create)


def test_arguments_and_clips_come_through_as_they_are(creating: Callable[[Create], None]) -> None:
    calls = []

    def create(name: str, arguments: dict[str, Any]) -> vs.VideoNode:
        calls.append((name, arguments))
        clip: vs.VideoNode = arguments["clip"]
        return clip[2:4]

    creating(create)
    clip = numbered(5)
    made = core.vs_sr.ZoomingSlowMo(clip, window=3, weights="häuser.safetensors", range_in=0)
    assert [pixel(frame) for frame in made.frames()] == [2, 3]
    [(name, arguments)] = calls
    assert name == "ZoomingSlowMo"
    assert isinstance(arguments.pop("clip"), vs.VideoNode)
    assert arguments == {"window": 3, "weights": "häuser.safetensors", "range_in": 0}


def test_filters_within_filters(creating: Callable[[Create], None]) -> None:
    """A filter that is built of others of ours, which fail or not on their own."""
    _bridge.register("InnerOne", "clip:vnode;fail:int:opt;")
    seen = []

    def create(name: str, arguments: dict[str, Any]) -> vs.VideoNode:
        clip: vs.VideoNode = arguments["clip"]
        if name == "ZoomingSlowMo":
            with pytest.raises(vs.Error, match=r"^InnerOne: no such thing$"):
                core.vs_sr.InnerOne(clip, fail=1)
            outer: vs.VideoNode = core.vs_sr.InnerOne(core.vs_sr.InnerOne(clip))
            seen.append(outer.num_frames)
            return outer + clip
        if arguments.get("fail"):
            raise WeightsError("no such thing")
        return clip * 2

    creating(create)
    assert core.vs_sr.ZoomingSlowMo(numbered(3)).num_frames == 15
    assert seen == [12]


def test_a_filter_made_in_a_callback(creating: Callable[[Create], None]) -> None:
    """Scripts make filters for each scene: on VapourSynth's threads, inside a call of std.FrameEval."""
    made = []

    def create(name: str, arguments: dict[str, Any]) -> vs.VideoNode:
        made.append(threading.get_ident())
        clip: vs.VideoNode = arguments["clip"]
        return clip.std.Invert()

    creating(create)
    source = numbered(20)
    clip = source.std.FrameEval(lambda n: core.vs_sr.ZoomingSlowMo(source))
    assert [pixel(frame) for frame in clip.frames()] == [65535 - n for n in range(20)]
    assert len(made) == 20
    assert threading.get_ident() not in made


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ArgumentError("clip is of no use"), "ZoomingSlowMo: clip is of no use"),
        (vs.Error("Resize: no path"), "ZoomingSlowMo: Resize: no path"),
        (vs.Error("ZoomingSlowMo: said already"), "ZoomingSlowMo: said already"),
        (KeyError("weights"), "ZoomingSlowMo: KeyError: 'weights'"),
        (ValueError("größer"), "ZoomingSlowMo: ValueError: größer"),
        (MemoryError(), "ZoomingSlowMo: MemoryError: "),
    ],
)
def test_an_error_is_one_line_with_the_name_in_front(
    error: Exception, text: str, creating: Callable[[Create], None]
) -> None:
    def create(name: str, arguments: dict[str, Any]) -> object:
        raise error

    creating(create)
    with pytest.raises(vs.Error) as caught:
        core.vs_sr.ZoomingSlowMo(numbered(3))
    assert str(caught.value) == text


def test_a_filter_that_gives_no_clip_is_an_error(creating: Callable[[Create], None]) -> None:
    def create(name: str, arguments: dict[str, Any]) -> object:
        return 5

    creating(create)
    with pytest.raises(vs.Error, match=r"^ZoomingSlowMo: vs_sr._entry answered without a clip$"):
        core.vs_sr.ZoomingSlowMo(numbered(3))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_turned_into_an_error(
    error: type[BaseException], creating: Callable[[Create], None]
) -> None:
    def create(name: str, arguments: dict[str, Any]) -> object:
        raise error("now")

    creating(create)
    with pytest.raises(error):
        core.vs_sr.ZoomingSlowMo(numbered(3))


def test_the_inner_function_refuses_to_be_called_by_others() -> None:
    with pytest.raises(vs.Error, match=r"^XCall: no filter is being created on this thread"):
        core.vs_sr.XCall(func=lambda **_: None)


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_the_library_exports_its_entry_and_needs_no_python() -> None:
    listing = subprocess.run(["nm", "-D", str(LIBRARY)], capture_output=True, text=True, check=True).stdout
    symbols = [line.split() for line in listing.splitlines()]
    assert [s[-1] for s in symbols if s[-2] in "TBDR"] == ["VapourSynthPluginInit2"]
    assert not [s[-1] for s in symbols if s[-1].startswith(("Py", "_Py"))]
