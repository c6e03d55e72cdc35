"""Models and backends from packages: found, named when broken, refused when doubled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.packages import installed, with_packages
from helpers.support import ROOT, python, vspipe

from vs_sr import registry
from vs_sr.errors import ArgumentError

if TYPE_CHECKING:
    pass


def package(folder: Path, name: str, entries: str, module: str) -> None:
    """An installed package, as pip would leave it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    (folder / f"{name}.py").write_text(module, encoding="utf-8")


MODEL = """
from vs_sr import Backend, Model, Variant, hookimpl

def build(variant):
    import torch
    class Repeat(torch.nn.Module):
        def forward(self, x):
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return Repeat()

@hookimpl
def vs_sr_models():
    return [Model(name="{name}", summary="repeats", paper="", kind="image", build=build, fixed=Variant(scale=2))]
"""

SCRIPT = """
import vapoursynth as vs
core = vs.core
clip = core.std.BlankClip(width=16, height=8, format=vs.YUV420P8, length=3, color=[100, 110, 120])
{call}.set_output()
"""


def test_built_in_ones_come_by_the_hooks() -> None:
    assert registry.model("ZoomingSlowMo").name == "ZoomingSlowMo"
    assert registry.backend("eager").name == "eager"
    assert "ZoomingSlowMo" in [model.name for model in registry.models()]


def test_unknown_names() -> None:
    with pytest.raises(ArgumentError, match=r"no model is called 'ZoomingSloMo'; did you mean ZoomingSlowMo\?"):
        registry.model("ZoomingSloMo")
    with pytest.raises(ArgumentError, match=r"no backend is called 'eagre'.*Choices: .*eager"):
        registry.backend("eagre")


@pytest.mark.slow
def test_the_example_package_installed_by_pip(tmp_path: Path) -> None:
    env = installed(ROOT / "examples" / "plugin", tmp_path)
    done = vspipe(SCRIPT.format(call="core.vs_sr.Nearest(clip)"), "-c", "y4m", env=env)
    assert done.returncode == 0, done.stderr.decode()
    assert b" W32 H16 " in done.stdout[:80]
    assert done.stdout.split(b"FRAME\n")[2] == bytes([100]) * 512 + bytes([110]) * 128 + bytes([120]) * 128


COUNTED = """
import gc, logging, threading
closed = threading.Event()
class Closed(logging.Handler):
    def emit(self, record):
        closed.set()
logging.getLogger("vs_sr.counting").addHandler(Closed())

filters = [core.vs_sr.ZoomingSlowMo(clip, backend="counting", multi=multi) for multi in (2, 1)]
for filter in filters:
    for frame in filter.frames():
        frame.close()
del filter
filters.pop()
gc.collect()
assert not closed.wait(0.3), "one filter is left that uses it"
filters.clear()
gc.collect()
assert closed.wait(20), "nobody uses it any more"
core.vs_sr.ZoomingSlowMo(clip, backend="counting").set_output(1)
core.vs_sr.ZoomingSlowMo(clip, backend="eager").set_output(2)
"""


@pytest.mark.slow
def test_the_example_backend_installed_by_pip(tmp_path: Path) -> None:
    """It counts what three frames need, for two filters, and is closed once, when the last of them goes."""
    env = installed(ROOT / "examples" / "backend", tmp_path)
    counting, eager = (
        vspipe(SCRIPT.format(call="clip") + COUNTED, "-c", "y4m", "-o", number, env=env) for number in ("1", "2")
    )
    assert counting.returncode == 0, counting.stderr.decode()
    assert counting.stdout == eager.stdout
    assert counting.stdout.count(b"FRAME\n") == 6
    log = eager.stderr.decode()
    assert "ZoomingSlowMo is run by the backend counting (counting 0.1.0 on eager, torch " in log
    calls = "6 x encode, 4 x between, 10 x backward_step, 10 x forward_step, 8 x reconstruct"
    assert [line for line in log.splitlines() if " x encode" in line] == [f"Information: ZoomingSlowMo: {calls}"]
    doctor = python("from vs_sr.cli import main; main(['doctor'])", env=env)
    summary = "eager, with the number of calls in the log (an example) (cpu: works)"
    assert f"{'ok      backend counting':30} {summary}\n" in doctor.stdout


def test_arguments_of_package_models_are_checked(tmp_path: Path) -> None:
    package(tmp_path, "good", "[vs_sr.models]\nGood = good\n", MODEL.format(name="Good"))
    for call, text in (
        ("core.vs_sr.Good(clip, tiles=2)", "Good: there is no argument 'tiles'; choices: clip, scale, weights"),
        ("core.vs_sr.Good(clip, device_id='x')", "Good: device_id must be int; got 'x'"),
        ("core.vs_sr.Good(clip, weights='x')", "Good: weights cannot be given: this model has none"),
    ):
        done = vspipe(SCRIPT.format(call=call), "-i", env=with_packages(tmp_path))
        assert done.returncode == 1
        assert text in done.stderr.decode()


BROKEN = {
    "Missing": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "Raising": ("raise SystemError('bad day')", "SystemError: bad day"),
    "Empty": ("x = 1", "its hook vs_sr_models gives none of that name"),
    "Misnamed": (MODEL.format(name="Other"), "model 'Other' of misnamed is not among the entry points of its package"),
    "Taken": (MODEL.format(name="ZoomingSlowMo"), "is provided by vs_sr.models.zooming_slow_mo already"),
}


def test_a_broken_package_is_named_and_breaks_nothing_else(tmp_path: Path) -> None:
    for name, (module, _) in BROKEN.items():
        package(tmp_path, name.lower(), f"[vs_sr.models]\n{name} = {name.lower()}\n", module)
    package(tmp_path, "good", "[vs_sr.models]\nGood = good\n", MODEL.format(name="Good"))
    env = with_packages(tmp_path)
    code = "import sys\nfrom vs_sr import registry; registry.model('ZoomingSlowMo')\n"
    code += "import vapoursynth as vs; clip = vs.core.std.BlankClip(width=16, height=8, format=vs.RGBS, length=1)\n"
    code += "assert vs.core.vs_sr.Good(clip).width == 32\n"
    code += "for name in sys.argv[1:]:\n"
    code += "    try: getattr(vs.core.vs_sr, name)(clip)\n    except vs.Error as error: print(error)"
    done = python(code, *BROKEN, env=env)
    assert done.returncode == 0, done.stderr
    doctor = python("import sys; from vs_sr.cli import main; sys.exit(main(['doctor']))", env=env)
    assert doctor.returncode == 1
    assert "model Good" in doctor.stdout
    for line, (name, (_, reason)) in zip(done.stdout.splitlines(), BROKEN.items(), strict=True):
        assert line.startswith(f"{name}: model '{name}' of {name.lower()} cannot be used: ")
        assert reason in line
        assert f"BROKEN  package                {line.removeprefix(f'{name}: ')}\n" in doctor.stdout


BACKEND = """
from vs_sr import Backend, Runner, hookimpl

def open(request):
    network = request.network
    return Runner(network=lambda x: 1 - network(x), identity="negative 1.0")

@hookimpl
def vs_sr_backends():
    return [Backend(**dict(name="{name}", summary="", contract=1, open=open, priority=9) | dict({given}))]
"""


def test_backends_from_packages(tmp_path: Path) -> None:
    package(tmp_path, "good", "[vs_sr.models]\nGood = good\n", MODEL.format(name="Good"))
    module = BACKEND.format(name="negative", given="")
    package(tmp_path, "turned", "[vs_sr.backends]\nnegative = turned\n", module)
    code = (
        "import sys, vapoursynth as vs, numpy as np\n"
        "clip = vs.core.std.BlankClip(width=16, height=8, format=vs.RGBS, length=1, color=[0.25, 0.5, 1])\n"
        "made = [vs.core.vs_sr.Good(clip, backend=backend) for backend in ('negative', 'auto', 'eager')]\n"
        "assert 'torch' not in sys.modules, 'a backend is asked for: that is no reason to import torch'\n"
        "for clip in made: print([float(np.asarray(p)[3, 3]) for p in clip.get_frame(0)])"
    )
    done = python(code, env=with_packages(tmp_path))
    assert done.stdout == 2 * "[0.75, 0.5, 0.0]\n" + "[0.25, 0.5, 1.0]\n", done.stderr


NOT_LOADED = {
    "missing": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "raising": ("raise SystemError('bad day')", "SystemError: bad day"),
    "leaving": ("raise SystemExit(3)", "SystemExit: 3"),
    "older": (BACKEND.format(name="older", given="prepare=open"), "unexpected keyword argument 'prepare'"),
    "future": (BACKEND.format(name="future", given="contract=2"), "is written for contract 2; this vs_sr has 1"),
    "ranked": (BACKEND.format(name="ranked", given="priority='x'"), "a whole number for its priority; got 'x'"),
    "texts": ("from vs_sr import hookimpl\n@hookimpl\ndef vs_sr_backends(): return 'a'", "a str in place of a Backend"),
    "rival": (BACKEND.format(name="eager", given=""), "backend 'eager' of rival is provided by vs_sr.backends.eager"),
    "other": (BACKEND.format(name="another", given=""), "backend 'another' of other is not among the entry points"),
    "typo": (BACKEND.format(name="typo", given="").replace("vs_sr_b", "vs_sr_B"), "unknown hook 'vs_sr_Backends'"),
    "curious": (
        BACKEND.format(name="curious", given="").replace("ds()", "ds(core)"),
        "Argument(s) {'core'} are",
    ),
    "empty": ("x = 1", "its hook vs_sr_backends gives none of that name"),
}
"""Name and module of a backend, the code, and what is said."""

REFUSING = {
    "picky": ("obstacle=lambda device: f'{device} is no card'", "cpu is no card"),
    "choosy": ("supports=lambda model, variant, precision: False", "it does not run {model} in fp32"),
    "asking": ("obstacle=lambda device: 1 / 0", "ZeroDivisionError: division by zero"),
}
"""Those that run on no device here: the arguments, and what is said."""

NOT_OPENED = {
    "failing": ("open=lambda request: 1 / 0", "ZeroDivisionError: division by zero"),
    "given": ("open=lambda request: request.network", "it gives a "),
    "bare": (
        "open=lambda request: Runner(network=1, identity='')",
        "its network lacks __call__, ",
    ),
}

WORKING_ON = """
import sys
for name in {names}:
    try:
        core.vs_sr.Good(clip, backend=name).get_frame(0)
    except vs.Error as error:
        print(error, file=sys.stderr)
# one works by its name, and where nobody is asked for
core.vs_sr.Good(clip, backend="eager").get_frame(0)
core.vs_sr.Good(clip).set_output()
"""


@pytest.fixture(scope="module")
def beside_broken_ones(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What vspipe and the doctor say where every backend but "eager" is broken, each in its own way."""
    folder = tmp_path_factory.mktemp("broken")
    package(folder, "good", "[vs_sr.models]\nGood = good\n", MODEL.format(name="Good"))
    modules = {name: module for name, (module, _) in NOT_LOADED.items()}
    modules |= {name: BACKEND.format(name=name, given=given) for name, (given, _) in (REFUSING | NOT_OPENED).items()}
    for name, module in modules.items():
        package(folder, name, f"[vs_sr.backends]\n{name} = {name}\n", module)
    for name in "taker", "first", "second":
        entry = "eager" if name == "taker" else "claimed"
        package(folder, name, f"[vs_sr.backends]\n{entry} = {name}\n", BACKEND.format(name=entry, given=""))
    script = SCRIPT + WORKING_ON.format(names=[*modules, "claimed"])
    done = vspipe(script.format(call="clip"), "-c", "y4m", env=with_packages(folder))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split(b"FRAME\n")[2] == bytes([100]) * 512 + bytes([110]) * 128 + bytes([120]) * 128
    doctor = python("import sys; from vs_sr.cli import main; sys.exit(main(['doctor']))", env=with_packages(folder))
    assert doctor.returncode == 1
    assert "ok      backend eager" in doctor.stdout
    return done.stderr.decode(), doctor.stdout


def said(text: str, *starts: str) -> str:
    """The end of the one line that starts so."""
    (line,) = (line for line in text.splitlines() if line.startswith("".join(starts)))
    return line.removeprefix("".join(starts))


def chosen(log: str) -> str:
    """What "auto" takes, and why no other; a line says the first part alone where one was asked for by its name."""
    (line,) = (line for line in log.splitlines() if "Good is run by the backend eager" in line and "; not " in line)
    return line


PACKAGE = f"{'BROKEN  package':30} "
"""What a line of the doctor begins with."""


@pytest.mark.parametrize("name", NOT_LOADED)
def test_a_backend_that_cannot_be_loaded(beside_broken_ones: tuple[str, str], name: str) -> None:
    log, doctor = beside_broken_ones
    for text, start in ((log, "Good: "), (log, "Warning: "), (doctor, PACKAGE)):
        reason = said(text, start, f"backend '{name}' of {name} cannot be used: ")
        assert NOT_LOADED[name][1] in reason
        assert reason.endswith("; update or uninstall its package")


def test_a_backend_with_a_name_that_exists(beside_broken_ones: tuple[str, str]) -> None:
    log, doctor = beside_broken_ones
    claimed = "backend 'claimed' is also claimed by second; uninstall all but one of them"
    assert said(log, "Good: first: ") == claimed
    for text, start in ((log, "Warning: "), (doctor, PACKAGE)):
        assert said(text, start, "first: ") == claimed
        assert "has a name of vs_sr itself; the package must choose another" in said(text, start, "taker: ")


@pytest.mark.parametrize("name", REFUSING)
def test_a_backend_that_refuses_every_device(beside_broken_ones: tuple[str, str], name: str) -> None:
    log, doctor = beside_broken_ones
    reason = REFUSING[name][1].format(model="Good")
    assert said(log, f"Good: backend='{name}' ") == f'cannot be used: {reason}; backend="auto" takes one that can'
    assert f"; not {name}: {reason}" in chosen(log)
    line = said(doctor, f"{f'ok      backend {name}':30} ")
    assert line.endswith(f"(cpu: no, {REFUSING[name][1].format(model='ZoomingSlowMo')})")


@pytest.mark.parametrize("name", NOT_OPENED)
def test_a_backend_that_fails_when_it_is_opened(beside_broken_ones: tuple[str, str], name: str) -> None:
    log, doctor = beside_broken_ones
    reason = said(log, f"Warning: backend {name} cannot be opened, another one is taken: ")
    assert reason.startswith(NOT_OPENED[name][1])
    assert said(log, f"Good: backend='{name}' ") == f'cannot be used: {reason}; backend="auto" takes one that can'
    line = said(doctor, f"{f'BROKEN  backend {name}':30} ")
    assert f"(cpu: backend='{name}' cannot be used: {NOT_OPENED[name][1]}" in line


def test_models_registered_by_a_script() -> None:
    script = MODEL.format(name="Mine") + (
        "import vs_sr, vapoursynth as vs\n"
        "mine = vs_sr_models()[0]\n"
        "vs_sr.register(mine); vs_sr.register(mine)\n"
        "core = vs.core\n"
        "clip = core.std.BlankClip(width=16, height=8, format=vs.YUV420P8, length=3)\n"
        "core.vs_sr.Mine(clip).set_output()\n"
        "try: vs_sr.register(Model(name='ZoomingSlowMo', summary='', paper='', kind='image', build=build))\n"
        "except vs_sr.PluginError as error: assert 'provided by vs_sr.models.zooming_slow_mo already' in str(error)\n"
        "else: raise SystemExit('a built-in name was taken')\n"
        "try: vs_sr.register(Model(name='Thirds', summary='', paper='', kind='sequence', build=build, multi=(3, 1)))\n"
        "except vs_sr.PluginError as error: assert 'multi=(3, 1); frame-rate factors are (1, 2, 4, 8)' in str(error)\n"
        "else: raise SystemExit('a rate was taken that no halves give')\n"
    )
    done = vspipe(script, "-i")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Width: 32" in done.stdout


RELOADED = """
import vapoursynth as vs, vs_sr
def build(variant):
    import torch
    class Scaled(torch.nn.Module):
        def forward(self, x):
            return x * {factor}
    return Scaled()
vs_sr.register(vs_sr.Model(name="Mine", summary="", paper="", kind="{kind}", build=build,
                           fixed=vs_sr.Variant(scale=1, channels=1)))
clip = vs.core.vs_sr.Mine(vs.core.std.BlankClip(width=16, height=8, format=vs.RGBS, length=9, color=[1.0] * 3))
"""

LOADS = """
import gc, sys, weakref
import numpy as np
text = sys.argv[1]
def load(file, factor, kind="image"):
    space = {"__name__": "__vapoursynth__", "__file__": file}
    exec(compile(text.replace("{factor}", factor).replace("{kind}", kind), file, "exec"), space)
    return space
def value(space, n):
    return float(np.asarray(space["clip"].get_frame(n)[0])[3, 3])
"""


def loads(code: str) -> str:
    done = python(LOADS + code, RELOADED)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_that_is_loaded_again_takes_the_place_of_its_older_model() -> None:
    """As in previewers. A filter goes on with the model that it was made of, also where its first frame comes later."""
    code = """
first, untouched = load("a.vpy", "0.25"), load("a.vpy", "0.375")
print(value(first, 0))
second = load("a.vpy", "0.5")
print(value(second, 0), value(first, 1), value(untouched, 0), value(second, 2))
print(value(load("a.vpy", "0.75"), 0))
"""
    assert loads(code) == "0.25\n0.5 0.25 0.375 0.5\n0.75\n"


@pytest.mark.slow
def test_the_older_model_goes_with_its_last_filter() -> None:
    code = """
from vs_sr.engine import session
first = load("a.vpy", "0.25")
value(first, 0)
gone = weakref.ref(first["build"])
second = load("a.vpy", "0.5")
value(second, 0)
print(len(session._sessions))
first.clear()
gc.collect()
print(len(session._sessions), gone())
"""
    assert loads(code) == "2\n1 None\n"


def test_another_file_cannot_take_the_name() -> None:
    code = """
load("a.vpy", "0.25")
for file in ("b.vpy", "folder/a.vpy"):
    try: load(file, "0.5")
    except Exception as error: print(type(error).__name__, error)
"""
    first, second = loads(code).splitlines()
    folder = Path(tempfile.gettempdir())
    assert first == (
        f"PluginError model 'Mine' of a call of register() in {folder / 'b.vpy'} is provided by "
        f"a call of register() in {folder / 'a.vpy'} already"
    )
    assert f"register() in {folder / 'folder' / 'a.vpy'} is provided" in second


@pytest.mark.slow
def test_a_model_that_became_another_kind_keeps_the_filter_as_it_is() -> None:
    code = """
first = load("a.vpy", "0.25")
try: load("a.vpy", "0.5", "sequence")
except Exception as error: print(error)
print(value(first, 0), value(load("a.vpy", "0.5"), 0))
"""
    message, values = loads(code).splitlines()
    assert message.startswith("core.vs_sr.Mine exists in this core with the arguments of another kind of model")
    assert values == "0.25 0.5"
