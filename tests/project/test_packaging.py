"""The package as strangers get it: source archive, wheel and editable installs, in fresh environments.

Dependencies are left out, but for VapourSynth, so torch is not downloaded; the plugin is tried without it.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from helpers.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="built on Linux so far")]

CLIP = """\
import sys
import vapoursynth as vs
source = vs.core.std.BlankClip(length=5, width=16, height=16, format=vs.GRAY8)

def callback(g, want, n, f):
    return {"val": [frame for frame in f for _ in range(2)][:want]}

clip = vs.core.vs_sr.XTemporal(source, func=callback, width=16, height=16, format=vs.GRAY8,
                               step=2, multi=2, groups=2, before=0, after=0)
"""

REPORT = """\
import vs_sr
assert len(list(clip.frames())) == 10
try:
    vs.core.vs_sr.ZoomingSlowMo(source, window=1)
except vs.Error as error:
    assert str(error).startswith("ZoomingSlowMo: "), error
print(vs_sr.__file__, vs.core.vs_sr.plugin_path, sep="\\n")
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Stdout of a command that must succeed; the surroundings' Python settings do not reach it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "PIP_", "UV_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A virtual environment with pip, VapourSynth and what the build needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        tools = [name for name in ("cmake", "ninja") if shutil.which(name) is None]
        requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        try:
            self.pip("install", *requires, *tools)
        except AssertionError as error:
            pytest.skip(f"the build's tools cannot be downloaded: {str(error).splitlines()[-1]}")

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @functools.cached_property
    def site(self) -> Path:
        return Path(self.python("import sysconfig; print(sysconfig.get_path('purelib'))").strip())

    def pip(self, *arguments: str | Path) -> str:
        return run(self.bin / "python", "-m", "pip", "-q", *arguments, cwd=self.folder)

    def python(self, code: str) -> str:
        return run(self.bin / "python", "-c", code, cwd=self.folder)

    def check(self) -> tuple[Path, Path]:
        """Make frames with the plugin, in Python and in vspipe; the places of vs_sr and of the library."""
        script = self.folder / "script.vpy"
        script.write_text(CLIP + "clip.set_output()\n")
        settings = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }
        info = run(self.bin / "vspipe", "--info", script, cwd=self.folder, **settings)
        assert "Frames: 10" in info
        package, library = self.python(CLIP + REPORT).split()
        return Path(package), Path(library)

    def uninstall(self) -> None:
        self.pip("uninstall", "-y", "vs-sr")
        assert not (self.site / "vapoursynth" / "plugins" / "vs_sr").exists()
        assert not (self.site / "vs_sr").exists()


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("packaging") / "venv")


@pytest.fixture(scope="module")
def sdist(env: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, made by the backend as `python -m build --sdist` does."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(folder)!r}))"
    name = run(env.bin / "python", "-c", code, cwd=ROOT).split()[-1]
    return folder / name


@pytest.fixture
def tree(sdist: Path, tmp_path: Path) -> Path:
    """The archive, unpacked: a copy of the project to build in."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    return next(tmp_path.glob("vs_sr-*"))


def test_the_archive_has_what_a_build_needs_and_no_more(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
    assert {"vs_sr/_names.py", "vs_sr/arguments.py", "vs_sr/__init__.pyi", "vs_sr/py.typed"} <= names
    sources = {f"plugins/vapoursynth/{p.relative_to(ROOT / 'plugins/vapoursynth')}" for p in plugin_sources()}
    kernels = {f"kernels/{path.name}" for path in (ROOT / "kernels").glob("*.cu*")}
    assert sources | kernels <= names
    assert not [name for name in names if name.startswith(("build/", "dist/")) or name.endswith((".so", ".pyc"))]


def plugin_sources() -> list[Path]:
    folder = ROOT / "plugins" / "vapoursynth"
    return [folder / "CMakeLists.txt", folder / "manifest.vs", *folder.glob("src/*")]


def test_wheel(env: Environment, tree: Path, tmp_path: Path) -> None:
    """`pip install <project>`: one wheel for every Python 3, the library where VapourSynth looks for it."""
    env.pip("wheel", "--no-deps", "-w", tmp_path / "dist", tree)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert re.fullmatch(r"vs_sr-[\w.]+-py3-none-linux_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folder = "vapoursynth/plugins/vs_sr"
    library = {f"{folder}/libvs_sr.so", f"{folder}/manifest.vs"}
    kernels = {f"vs_sr/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.cu*")}
    package = {
        str(path.relative_to(tree))
        for path in (tree / "vs_sr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = {name for name in names if ".dist-info/" in name}
    script = {"vs_sr/examples/slowmo.vpy"}
    assert names == library | kernels | script | package | metadata

    env.pip("install", "--no-deps", wheel)
    try:
        assert env.check() == (env.site / "vs_sr" / "__init__.py", env.site / folder / "libvs_sr.so")
    finally:
        env.uninstall()


def editable_behaves(env: Environment, tree: Path) -> None:
    package, library = env.check()
    assert package == tree / "vs_sr" / "__init__.py"
    assert library == env.site / "vapoursynth" / "plugins" / "vs_sr" / "libvs_sr.so"
    (tree / "vs_sr" / "added_later.py").write_text("VALUE = 7\n")
    assert env.python("from vs_sr.added_later import VALUE; print(VALUE)") == "7\n"


def test_editable_install(env: Environment, tree: Path) -> None:
    """`pip install -e <project>`: Python from the tree, files added later among it; the library copied."""
    env.pip("install", "--no-deps", "-e", tree)
    try:
        editable_behaves(env, tree)
    finally:
        env.uninstall()


@functools.cache
def uv() -> str | None:
    """A uv that runs here; some version managers put a placeholder on PATH."""
    found = shutil.which("uv")
    if found is None or subprocess.run([found, "--version"], cwd="/", capture_output=True, check=False).returncode:
        return None
    return found


needs_uv = pytest.mark.skipif(uv() is None, reason="needs uv")


@needs_uv
def test_editable_install_by_uv(env: Environment, tree: Path) -> None:
    run(uv() or "", "pip", "install", "--python", env.bin / "python", "--no-deps", "-e", tree, cwd=Path("/"))
    try:
        editable_behaves(env, tree)
    finally:
        env.uninstall()


@needs_uv
def test_uv_sync_builds_anew_when_the_sources_change(tree: Path) -> None:
    """`uv sync` in the project; its dependencies but VapourSynth are cut off, since torch is large."""
    project = tree / "pyproject.toml"
    text = re.sub(
        r"^dependencies = \[.*?^\]",
        'dependencies = ["vapoursynth>=74"]',
        project.read_text(),
        flags=re.M | re.S,
    )
    text = re.sub(r"^\[project\.optional-dependencies\].*?(?=^\[)", "", text, flags=re.M | re.S)
    project.write_text(text)
    command: list[str | Path] = [uv() or "", "sync", "--project", tree, "--python", sys.executable]
    run(*command, cwd=Path("/"))
    python = tree / ".venv" / "bin" / "python"
    package, _ = run(python, "-c", CLIP + REPORT, cwd=Path("/")).split()
    assert Path(package) == tree / "vs_sr" / "__init__.py"

    names = tree / "vs_sr" / "_names.py"
    names.write_text(names.read_text().replace('    "ZoomingSlowMo": ', '    "FreshlyAdded": ', 1))
    run(*command, cwd=Path("/"))
    code = "import vapoursynth as vs; print('FreshlyAdded' in [f.name for f in vs.core.vs_sr.functions()])"
    assert run(python, "-c", code, cwd=Path("/")) == "True\n"
