"""Write the C++ table of the built-in filters: ``signatures.py vs_sr/_names.py signatures.hpp``."""

import importlib.util
import json
import sys
from pathlib import Path

HEADER = """\
// Generated from vs_sr/_names.py.
#pragma once

#include "registration.hpp"

namespace vssr {

inline constexpr Signature builtinFilters[] = {
%s
};

}  // namespace vssr
"""


def main(source: str, target: str) -> None:
    """Read ``BUILTIN`` from the file ``source`` and write the header ``target``."""
    spec = importlib.util.spec_from_file_location("_names", source)
    if spec is None or spec.loader is None:
        raise SystemExit(f"cannot load {source}")
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    rows = [f"    {{{json.dumps(name)}, {json.dumps(builtin.signature)}}}," for name, builtin in names.BUILTIN.items()]
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER % "\n".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
