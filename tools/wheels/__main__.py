"""Build the wheels of all platforms, or of some, and the source archive, and check them."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tools.wheels import build
from tools.wheels.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE = 2
"""Builds at a time: by itself one keeps little more than one core busy."""


def main() -> int:
    """Run ``python -m tools.wheels``."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheels", description=__doc__)
    names = [target.platform for target in TARGETS]
    parser.add_argument("--platform", action="append", choices=names, help="build for this one; can be repeated")
    parser.add_argument("--out", type=Path, default=build.ROOT / "dist", help="folder for what is built")
    options = parser.parse_args()
    wanted = [target for target in TARGETS if options.platform is None or target.platform in options.platform]
    folder = options.out.resolve()
    parts = {"sdist": partial(build.sdist, folder)}
    parts |= {target.platform: partial(build.wheel, target, folder) for target in wanted}
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for made in [pool.submit(report, name, make) for name, make in parts.items()]:
                made.result()
    except build.BuildError as error:
        print(f"wheels: {error}", file=sys.stderr)
        return 1
    return 0


def report(name: str, make: Callable[[], Path]) -> None:
    """Make something, and say how long that took and what came of it."""
    begin = time.monotonic()
    path = make()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    seconds = time.monotonic() - begin
    print(
        f"{name:24} {seconds:5.0f} s  {path.stat().st_size:>10,} bytes  sha256 {digest[:16]}  {path.name}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
