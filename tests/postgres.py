"""A PostgreSQL server of the tests' own, on the loopback, in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from donkey_rl.envs.link.executable import free_port

INSTALLED = Path("/usr/lib/postgresql")
START_S = 300.0


class Server:
    """A server that is run by the process that made it.

    Attributes:
        port: Its port on 127.0.0.1.
        password: That of the user `sweeper`.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.password = f"p@ss:w%rd/{secrets.token_hex(8)}"
        self.port = 0
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Makes the files of the server, owned by whom it runs as: it refuses to run as root."""
        self._folder.chmod(0o755)
        secret = self._folder / "password"
        secret.write_text(self.password)
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        for path in (secret, data):
            os.chown(path, _as().get("user", -1), _as().get("group", -1))
        subprocess.run(
            [
                self._programs / "initdb",
                *("--pgdata", data, "--username", "sweeper", "--pwfile", secret),
                *("--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **_as(),
        )

    def start(self) -> None:
        """Starts it, on the port that it had before if it had one."""
        if not self.port:
            # None that the system gives to connections of others while the server is away.
            self.port = free_port(20_000 + secrets.randbelow(10_000))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", self._folder / "data", "-p", str(self.port), "-k", ""),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
                **_as(),
            )
        until = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                said = (self._folder / "log").read_text()
                assert self._process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.1)

    def stop(self) -> None:
        """Stops it at once, as a machine that is switched off; its files stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def url(self, database: str, password: str | None = None) -> str:
        """Returns the address of a database, with the password."""
        word = urllib.parse.quote(self.password if password is None else password, safe="")
        return f"postgresql://sweeper:{word}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Makes an empty database and returns its address."""
        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Runs a server; skips where PostgreSQL is not installed, but not in CI."""
    found = sorted(INSTALLED.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql.")
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="donkey-rl-postgres-"))
    server = Server(found[-1], folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as() -> dict[str, Any]:
    """Returns whom the server runs as, arguments of `subprocess.Popen`."""
    if os.geteuid() != 0:
        return {}
    import pwd

    names = {each.pw_name: each for each in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
