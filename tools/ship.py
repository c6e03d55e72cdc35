"""Put weights among those that the package comes with: ``python -m tools.ship runs/x/edsr_compact_x2.safetensors ...``.

A file is copied under its own name and entered into the index; one of that name is replaced. The model's ``weights`` names
which of them is its default, and docs/training.md says what has to be measured again.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tools.pages import ROOT
from vs_sr import registry
from vs_sr.weights import checkpoint, recognition, store

FOLDER = ROOT / "vs_sr" / "weights"


def main() -> int:
    """Copy, and write the index."""
    if len(sys.argv) < 2:
        print(f"usage: python -m tools.ship FILE...\n\n{__doc__}", file=sys.stderr)
        return 2
    index = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    for path in map(Path, sys.argv[1:]):
        found = recognition.recognize(checkpoint.read(path), None, registry.models())
        target = FOLDER / path.name
        shutil.copyfile(path, target)
        entry = {"file": path.name, "sha256": store.digest(store.given(target)), "model": found.model.name}
        index[path.stem] = entry if found.variant.upscaled else entry | {"scale": found.variant.scale}
        print(f"{path.stem}: {found.model.name}, {target.stat().st_size:,} bytes")
    (FOLDER / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
