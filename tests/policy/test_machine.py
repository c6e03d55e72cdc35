"""Memory and cores, as a container lets us have them: control groups of both versions, as files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vs_sr import machine

GIB = 1 << 30
WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, WHOLE),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, WHOLE),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": f"{GIB}"}, GIB),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": f"{WHOLE * 4}"}, WHOLE),
        # of the group and those above it, the least
        (
            {
                "proc/self/cgroup": "0::/user/me",
                "sys/fs/cgroup/user/me/memory.max": f"{2 * GIB}",
                "sys/fs/cgroup/user/memory.max": f"{GIB}",
            },
            GIB,
        ),
        # the path is the host's, the files the container's
        ({"proc/self/cgroup": "0::/docker/ab12", "sys/fs/cgroup/memory.max": f"{GIB}"}, GIB),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/ab12\n3:cpu,cpuacct:/",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}",
            },
            GIB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a/b",
                "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{GIB}",
            },
            GIB,
        ),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "\x00 nonsense"}, WHOLE),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert machine.memory(tree(tmp_path, files)) == expected


def test_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cores(tmp_path) == 8, "nothing is known of them"
    siblings = {
        f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 4},{n % 4 + 4}" for n in range(16)
    }
    root = tree(tmp_path, siblings)
    assert machine.cores(root) == 4, "two threads a core"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    assert machine.cores(root) == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 3),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
        ({"proc/self/cgroup": "3:cpu,cpuacct:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, 8),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            },
            2,
        ),
    ],
)
def test_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cores(tree(tmp_path, files)) == expected
