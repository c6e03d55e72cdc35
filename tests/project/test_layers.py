"""The architecture as a test: imports run one way, and heavy ones stay where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from helpers.support import ROOT, python

LAYERS = (
    ("errors", "system", "files", "spec", "settings", "cache", "machine", "threads", "messages", "_names", "arguments"),
    ("windows", "tiles", "scenes", "color"),
    ("hookspecs", "registry"),
    ("runtime", "isolation"),
    ("conversion",),
    ("ops",),
    ("models",),
    ("backends",),
    ("weights",),
    ("nvidia",),
    ("engine",),
    ("_log",),
    ("_bridge",),
    ("frames",),
    ("cuts",),
    ("renderer",),
    ("filters",),
    ("functions", "_entry"),
    ("training", "evaluation", "render"),
    ("cli", "__main__"),
)
"""Bottom to top: a module imports from its own layer and from those before it."""

POLICY = tuple(name for layer in LAYERS[:3] for name in layer)
"""Neither torch nor VapourSynth."""
ARRAYS = {"scenes": {"numpy"}}
"""Policy on small arrays; numpy is imported where it is used, so that importing the package stays light."""
EDGE = ("_log", "_bridge", "frames", "cuts", "renderer", "filters", "functions", "_entry", "render", "cli")

TORCH_AT_WILL = ("ops", "models", "backends", "training")
"""These are imported where torch is there already (``vs_sr.ops`` sees to it), or are programs of their own; everybody
else takes it from ``vs_sr.runtime``."""

PACKAGE = ROOT / "vs_sr"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    """The first name below the package: ``vs_sr/models/edsr.py`` belongs to ``models``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if name in names)


def imports(path: Path) -> set[str]:
    """The modules that a file imports when it runs, at its top and inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "vs_sr" else {module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = layer(part(path))
    for module in imports(path):
        names = module.split(".")
        if names[0] != "vs_sr" or names[1:] in ([], ["__version__"]):
            continue
        assert layer(names[1]) <= own, f"{path.relative_to(ROOT)} imports {module}, which lies above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports(path)}
    if part(path) in POLICY:
        assert not roots & ({"torch", "numpy", "cupy", "vapoursynth", "av"} - ARRAYS.get(part(path), set()))
    if part(path) not in EDGE:
        assert "vapoursynth" not in roots, "only the edge knows VapourSynth"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_loaded_in_one_place(path: Path) -> None:
    """Whose threads sleep: what decides that is read when torch is loaded, and never again."""
    if part(path) not in (*TORCH_AT_WILL, "runtime"):
        roots = {module.split(".")[0] for module in imports(path)}
        assert "torch" not in roots, "from vs_sr.runtime import torch"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_file_reads_the_environment(path: Path) -> None:
    if part(path) == "settings":
        return
    reads = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        assert name not in reads, f"line {node.lineno}: a function of vs_sr/settings.py"  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not reads & {alias.name for alias in node.names}


def test_no_star_imports() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        stars = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
        assert not stars, path


def test_importing_the_package_is_light_and_silent() -> None:
    done = python(
        "import sys; import vs_sr; import vs_sr._names;"
        "heavy = {'torch', 'numpy', 'cupy', 'vapoursynth', 'pluggy', 'av'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_test_module_imports_another() -> None:
    """What two of them need is in ``tests/helpers``."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        others = {module for module in imports(path) if any(part.startswith("test_") for part in module.split("."))}
        assert not others, f"{path.relative_to(ROOT)}: {others}"
