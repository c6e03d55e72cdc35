"""What differs from one operating system to the next; nothing else in vs_sr asks which one it is on.

One implementation each, in ``posix`` (Linux, macOS) and ``windows``, with the same names; ``mypy --platform`` checks
both.
"""

import sys

if sys.platform == "win32":
    from vs_sr.system.windows import (
        APPLE,
        CACHE,
        COMPILER,
        NVIDIA,
        end,
        is_private,
        named,
        nobody_reads,
        open_new,
        open_read,
        peak_memory,
        physical_memory,
        replace,
        together,
    )
else:
    from vs_sr.system.posix import (
        APPLE,
        CACHE,
        COMPILER,
        NVIDIA,
        end,
        is_private,
        named,
        nobody_reads,
        open_new,
        open_read,
        peak_memory,
        physical_memory,
        replace,
        together,
    )

__all__ = [
    "APPLE",
    "CACHE",
    "COMPILER",
    "NVIDIA",
    "end",
    "is_private",
    "named",
    "nobody_reads",
    "open_new",
    "open_read",
    "peak_memory",
    "physical_memory",
    "replace",
    "together",
]
