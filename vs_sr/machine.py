"""What this process may use of the machine: memory and cores, as far as its container lets it (cgroups v1 and v2)."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vs_sr import system

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")


def memory(root: Path = _ROOT) -> int:
    """Bytes of memory, used or not: the machine's, or the container's limit where that is less.

    Args:
        root: of the file system that the limits are read from, for tests.
    """
    limits = [system.physical_memory()]
    for text in _control(root, "memory", "memory.max", "memory.limit_in_bytes"):
        if text.isdecimal():  # "max" is no limit
            limits.append(int(text))
    return min(limits)


def cores(root: Path = _ROOT) -> int:
    """Physical cores that this process may run on, at least 1: two threads of one core share its arithmetic.

    Args:
        root: as for :func:`memory`.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    siblings = {_siblings(root, number) for number in allowed}
    return max(1, min([len(siblings), *_quotas(root)]))


def _siblings(root: Path, number: int) -> str:
    """What is the same for all logical processors of a core."""
    place = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
    return _read(place) or str(number)


def _quotas(root: Path) -> Iterator[int]:
    """Processor time per time that the container may take, rounded up."""
    for text in _control(root, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and int(quota):  # "max" and -1 are no limit
            yield math.ceil(int(quota) / int(period or 100_000))


def _control(root: Path, controller: str, new: str, old: str) -> Iterator[str]:
    """What a file of the process's control group says, and of every group above it; v1's is called otherwise.

    Inside a container the group's own path is often not to be seen, and its limits stand at the top.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, name = root / "sys/fs/cgroup", new
        elif controller in controllers.split(","):
            top, name = root / "sys/fs/cgroup" / controller, old
        else:
            continue
        group = Path(path.lstrip("/"))
        for part in (group, *group.parents):
            text = _read(top / part / name)
            if text and name == "cpu.cfs_quota_us":
                text = f"{text} {_read(top / part / 'cpu.cfs_period_us')}".strip()
            if text:
                yield text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
