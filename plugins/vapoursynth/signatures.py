"""Write the C++ table of the built-in filters: ``signatures.py vs_sr signatures.hpp``."""

import json
import runpy
import sys
from pathlib import Path

HEADER = """\
// Generated from vs_sr/_names.py and vs_sr/arguments.py.
#pragma once

#include "registration.hpp"

namespace vssr {

inline constexpr Signature builtinFilters[] = {
%s
};

}  // namespace vssr
"""


def main(package: str, target: str) -> None:
    """Write the header ``target`` from two files of the folder ``package``, which need not be installed."""
    builtin = runpy.run_path(f"{package}/_names.py")["BUILTIN"]
    signature = runpy.run_path(f"{package}/arguments.py")["signature"]
    rows = [f"    {{{json.dumps(name)}, {json.dumps(signature(entry.kind))}}}," for name, entry in builtin.items()]
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER % "\n".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
