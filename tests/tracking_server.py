"""A real MLflow server on the loopback that can be stopped and started again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from donkey_rl.envs.link.executable import free_port

_START_S = 300.0
"""9 s of a processor's time, where there is one."""


class TrackingServer:
    """Serves a store in a folder; what it stores outlives its process.

    Attributes:
        uri: Its address, the same each time it is started.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # None that the system gives to connections of others while the server is away.
        self._port = free_port(20_000 + secrets.randbelow(10_000))
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = self._folder / "mlflow.db"
        log = self._folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                    *("--port", str(self._port), "--workers", "1"),
                    *("--backend-store-uri", f"sqlite:///{store}"),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                ],
                env=os.environ
                | {
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                },
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + _START_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                assert self._process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        """Kills it with its workers, as a machine that fails does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            # What it has started holds the port until it is dead as well.
            end = time.monotonic() + _START_S
            while self._answers():
                assert time.monotonic() < end, "the killed server still listens"
                time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[TrackingServer]:
    """Runs a server inside a ``with`` block."""
    server = TrackingServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
