"""The cluster that a film is rendered on, of Ray's: one that there is, or one of this machine alone; and what each
worker takes of it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from vs_sr import machine, settings
from vs_sr.errors import ArgumentError, VsSrError, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_STORE = 256 << 20
"""Bytes of the object store on this machine, which segments pass where the folder is out of a worker's reach."""
_INSTALL = "pip install 'vs-sr[render,ray]'"


def load() -> Any:
    """Ray.

    Raises:
        VsSrError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise VsSrError(f"--workers and --ray need Ray: {_INSTALL}") from None
    return ray


@dataclass(frozen=True)
class Team:
    """Workers, and what each of them takes of a cluster."""

    workers: int
    threads: int
    """Cores of each, and threads that its network and its graph compute with."""
    cards: int = 0
    """NVIDIA cards of each: one, or none."""


@contextmanager
def connected(address: str | None, workers: int | None, threads: int | None, *, cards: bool = True) -> Iterator[Team]:
    """Be connected to a cluster: one that there is, or one of this machine alone that ends with the block.

    Args:
        address: of the cluster, as Ray has it: "auto" or HOST:PORT; None: this machine.
        workers: how many; None: as many as there are cards, or else one on each machine.
        threads: cores of each; None: those that there are, divided among them.
        cards: whether the networks may run on cards.

    Raises:
        VsSrError: Ray is not installed, no cluster is found, or it has no room for so many workers.
    """
    if address is not None and address.startswith("ray://"):
        raise ArgumentError(f"--ray {address}: run vs-sr on a machine of the cluster, with --ray auto")
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()} if address is None else {}
    with ExitStack() as stack:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0",
            **own,
        }.items():  # read where Ray is loaded, and by its parts
            stack.enter_context(settings.lent(name, value))
        ray = load()
        if address is None:
            threads = threads or settings.threads() or max(1, machine.cores() // (workers or 1))
            folder = tempfile.mkdtemp(prefix="vs-sr-")  # short: sockets lie in it
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            how = _here_alone(threads * (workers or 1), folder)
        else:
            how = {"address": address}
        stack.callback(ray.shutdown)
        try:
            ray.init(log_to_driver=False, logging_level="error", **how)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            what = f"--ray {address}: no cluster is there" if address else "Ray does not start on this machine"
            raise VsSrError(f"{what}: {described(error)}") from None
        yield _room([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, threads, cards=cards)


def _here_alone(cores: int, folder: str) -> dict[str, Any]:
    """A cluster of this machine that nobody else reaches, with nothing that watches it, in a folder of its own."""
    return {
        "address": "local",
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": _STORE,
        "_temp_dir": folder,
        "_node_ip_address": "127.0.0.1",
    }


@cache
def _token() -> str:
    """Who may use a cluster of this machine; Ray's client keeps it as long as the process lives."""
    return secrets.token_hex(32)


def _room(machines: Sequence[Mapping[str, float]], workers: int | None, threads: int | None, *, cards: bool) -> Team:
    """What workers take of machines, by their resources as Ray names them.

    Raises:
        ArgumentError: they do not fit.
    """
    cores = [int(each.get("CPU", 0)) for each in machines]
    there = [int(each.get("GPU", 0)) if cards else 0 for each in machines]
    if any(there):
        number = workers or sum(there)
        fair = min(core // card for core, card in zip(cores, there, strict=True) if card)
        takes = max(1, threads or fair)
        fit = sum(min(card, core // takes) for core, card in zip(cores, there, strict=True))
        if fit < number:
            raise ArgumentError(
                f"--workers {number}: the cluster has room for {fit} with a card and {takes} cores each; "
                "ask for fewer, for fewer --worker-threads, or for the CPU with device_id=-1"
            )
        return Team(number, takes, 1)
    number = workers or sum(1 for core in cores if core)
    takes = threads or next((n for n in range(max(cores, default=0), 0, -1) if sum(c // n for c in cores) >= number), 1)
    fit = sum(core // takes for core in cores)
    if not number or fit < number:
        raise ArgumentError(
            f"--workers {number}: the cluster has room for {fit} with {takes} cores each; ask for fewer, or for fewer "
            "--worker-threads"
        )
    return Team(number, takes)
