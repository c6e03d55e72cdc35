"""CONTRIBUTING's example of a new architecture: one file and one line, and the filter is there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from helpers.support import ROOT, environment, python

if TYPE_CHECKING:
    from pathlib import Path

COPY = """
import sys
# an editable installation would be found before the copy
sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
copy = sys.argv[1]
sys.path.insert(0, copy)
import vs_sr
assert vs_sr.__file__.startswith(copy), vs_sr.__file__
"""

PLUGIN = """
from vs_sr import _bridge, _names, arguments
# what the plugin does with its table, which is generated when it is built
_bridge.register("ESPCN", arguments.signature(_names.BUILTIN["ESPCN"].kind))
"""

RUN = """
import vapoursynth as vs
weights = sys.argv[2]
core = vs.core
clip = core.std.BlankClip(width=30, height=20, format=vs.YUV420P8, length=2, color=[120, 90, 150])
out = core.vs_sr.ESPCN(clip, weights=weights, tilesize=16, num_streams=2)
by_function = vs_sr.ESPCN(clip, model_path=weights, tile=[16], num_streams=2)
assert "torch" not in sys.modules, "detect imports torch"
import numpy as np
for frame, same in zip(out.frames(), by_function.frames()):
    assert (frame.width, frame.height, frame.format.id) == (90, 60, vs.YUV420P8)
    luma, u, v = (np.asarray(plane) for plane in frame)
    assert all(np.array_equal(*planes) for planes in zip(frame, same))
    print(luma[12:-12, 12:-12].min(), luma[12:-12, 12:-12].max(), u.min(), u.max(), v.min(), v.max())
from vs_sr.cli import main
main(["weights", "show", weights])
main(["models"])
help(vs_sr.ESPCN)
try:
    core.vs_sr.ESPCN(clip)
except vs.Error as error:
    print(error)
"""

GENERATE = """
from tools import generate
assert generate.__file__.startswith(copy), generate.__file__
generate.main()
"""

SUITE = """
import pytest
tests = ("tests/project/test_public_api.py", "tests/project/test_docs.py", "tests/project/test_layers.py")
options = ["-p", "no:cacheprovider", f"--rootdir={copy}", *sys.argv[2:]]
sys.exit(pytest.main([*options, *(f"{copy}/{test}" for test in tests)]))
"""


def blocks() -> list[str]:
    """The Python blocks of the section "A model"."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(r"^## A model$(.*?)^## ", text, re.M | re.S)
    assert section is not None
    return re.findall(r"^```python\n(.*?)^```$", section[1], re.M | re.S)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the example's file and line."""
    copy = tmp_path_factory.mktemp("project") / "copy"
    left = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.so", "data", ".*", "build", "demo")
    shutil.copytree(ROOT, copy, ignore=left)
    file, line = blocks()
    assert len(line.splitlines()) == 1
    (copy / "vs_sr" / "models" / "espcn.py").write_text(file, encoding="utf-8")
    names = copy / "vs_sr" / "_names.py"
    text = names.read_text(encoding="utf-8")
    assert text.count("BUILTIN = {\n") == 1
    names.write_text(text.replace("BUILTIN = {\n", "BUILTIN = {\n" + line), encoding="utf-8")
    return copy


def test_the_example_becomes_a_filter(copy: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    state = {
        "first_part.0.weight": torch.randn(6, 1, 5, 5) * 0.2,
        "first_part.0.bias": torch.zeros(6),
        "first_part.2.weight": torch.randn(4, 6, 3, 3) * 0.1,
        "first_part.2.bias": torch.zeros(4),
        "last_part.0.weight": torch.zeros(9, 4, 3, 3),
        "last_part.0.bias": torch.full((9,), 0.5),
    }
    state["last_part.0.weight"][:, 0, 1, 1] = 0.8
    # a flat clip stays flat inside: the network by hand on one value
    x = (16 + 219 * (120 - 16) / 219) / 255
    first = torch.tanh(x * state["first_part.0.weight"].sum((1, 2, 3)))
    second = torch.tanh((state["first_part.2.weight"].sum((2, 3)) * first).sum(1))
    luma = round(float(255 * (0.5 + 0.8 * second[0])))
    assert abs(luma - 255 * 0.5) > 2, "the first layers count"
    weights = tmp_path / "espcn_x3.pth"
    torch.save(state, weights)
    done = python(COPY + PLUGIN + RUN, str(copy), str(weights), env=environment())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"{luma} {luma} 90 90 150 150"] * 2
    assert "network   ESPCN: x2, x3 or x4; three layers, luma only" in lines
    assert "ESPCN: x2, x3 or x4; three layers, luma only" in lines, "vs-sr models"
    assert lines.count("ESPCN: x2, x3 or x4; three layers, luma only") == 1
    assert any(line.startswith("ESPCN(clip: vapoursynth.VideoNode, *, scale: int | None = None,") for line in lines)
    assert "get espcn_x3.pth of the repository yjn870/ESPCN-pytorch (linked in its README)" in lines[-1]


def test_the_line_reaches_the_plugin(copy: Path, tmp_path: Path) -> None:
    header = tmp_path / "signatures.hpp"
    script = copy / "plugins" / "vapoursynth" / "signatures.py"
    subprocess.run([sys.executable, script, copy / "vs_sr", header], check=True)
    assert '{"ESPCN", "clip:vnode;scale:int:opt;weights:data:opt;' in header.read_text(encoding="utf-8")


@pytest.mark.slow
def test_types_and_documentation_follow(copy: Path) -> None:
    """The one command, and then the tests of the public surface and of the documentation, in the copy."""
    env = environment(PYTHONPATH="")
    before = python(COPY + PLUGIN + SUITE, str(copy), "-k", "up_to_date", env=env, cwd=copy)
    assert "python -m tools.generate brings it up to date" in before.stdout, "a forgotten command is noticed"
    done = python(COPY + GENERATE, str(copy), env=env, cwd=copy)
    assert done.returncode == 0, done.stderr
    after = python(COPY + PLUGIN + SUITE, str(copy), env=env, cwd=copy)
    assert after.returncode == 0, after.stdout
    assert "\n| [ESPCN](docs/models/espcn.md) | x2, x3 or x4; three" in (copy / "README.md").read_text(encoding="utf-8")
    assert "\ndef ESPCN(clip: vs.VideoNode, " in (copy / "vs_sr" / "__init__.pyi").read_text(encoding="utf-8")


def names(tree: ast.Module) -> set[str]:
    """Functions and classes of a module; methods as ``Class.method``."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_the_way_of_a_frame_names_what_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    way = " ".join(text[text.index("### A frame's way") : text.index("## A model")].split())
    steps = re.findall(r"`([\w/]+/[\w/]+\.\w+)`(?: `([\w.]+)`)?", way)
    assert len(steps) > 15
    for file, name in steps:
        path = ROOT / file
        assert path.is_file(), file
        if name:
            assert name in names(ast.parse(path.read_text(encoding="utf-8"))), f"{file}: {name}"
