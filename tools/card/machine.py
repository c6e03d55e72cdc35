"""The machine that ``make card`` is run on, before anything is installed: its card, and which Python has torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from vs_sr import nvidia

ROOT = Path(__file__).resolve().parents[2]

_ASKED = """
import importlib.util, sys
sys.exit(not (sys.version_info >= (3, 12) and importlib.util.find_spec("torch")))
"""


def has_card(python: Path | None) -> bool:
    """Whether there is a card.

    The driver is asked first, which takes no time. Where its library is not in the loader's path, torch may find it
    all the same: that is asked only where the system has a device of that kind.
    """
    if nvidia.driver() is not None:
        return True
    if python is None or not any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def python_with_torch() -> Path | None:
    """The first Python 3.12 or later that has torch: this one, those on the path, this checkout's."""
    named = (shutil.which(name) for name in ("python3", "python3.12", "python"))
    for name in (sys.executable, *named, str(ROOT / ".venv" / "bin" / "python")):
        if name and Path(name).exists():
            asked = subprocess.run([name, "-c", _ASKED], capture_output=True, check=False)
            if asked.returncode == 0:
                return Path(name)
    return None
