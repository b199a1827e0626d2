"""A Ray cluster of two nodes on the loopback of this machine, with token authentication."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "a-token-of-the-tests-" + "0123456789abcdef" * 2
_TRIES = 3
ROOT = Path(__file__).parents[1]


class TwoNodes:
    """Two nodes with one core each; the second one can be killed and replaced.

    Attributes:
        address: Of the head node.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._add(include_dashboard=False)
        self._second: Any = None
        self.address = str(self._cluster.address)
        self.add_second()

    def _add(self, **more: Any) -> Any:
        """Adds a node, again where Ray found it too slow: it gives each half a minute."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(Exception):
                return self._cluster.add_node(**self._settings(), **more)
        return self._cluster.add_node(**self._settings(), **more)

    def _settings(self) -> dict[str, Any]:
        return {
            "num_cpus": 1,
            "object_store_memory": 80_000_000,
            "node_ip_address": "127.0.0.1",
        }

    def add_second(self) -> None:
        """Adds the second node, where there is none."""
        if self._second is None:
            self._second = self._add()

    def kill_second(self) -> None:
        """Kills the second node with everything on it, as a power cut does."""
        [raylet] = self._second.all_processes["raylet"]
        doomed = [raylet.process.pid, *descendants(raylet.process.pid)]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raylet.process.wait()
        self._cluster.worker_nodes.discard(self._second)
        self._second = None

    def close(self) -> None:
        """Ends all processes of the cluster."""
        self._cluster.shutdown()


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process has started, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


@contextlib.contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Starts the cluster, and ends it afterwards."""
    # Sockets of Ray must have short paths.
    folder = tempfile.mkdtemp(prefix="dr-")
    (Path(folder) / "ray").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's workers would stand behind everything else on the machine.
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        cluster = TwoNodes()
        try:
            yield cluster
        finally:
            cluster.close()
            shutil.rmtree(folder, ignore_errors=True)
