"""A simulator that this process starts, and stops."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import tempfile
from types import TracebackType
from typing import Self

from donkey_rl import process_groups
from donkey_rl.errors import ConfigurationError, LinkRefused

_GRACE_S = 5.0
"""Time to end after being asked to."""

_TAIL_BYTES = 400
FIRST_PORT = 9091


def free_port(first: int = FIRST_PORT) -> int:
    """Returns the first port from `first` on that nobody listens on, and whose next is free.

    The simulator's private API takes the port behind its own.
    """
    for port in range(first, first + 500, 2):
        if _is_free(port) and _is_free(port + 1):
            return port
    raise ConfigurationError(f"No free port from {first} on. Close other simulators first.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            # Windows would say of a port that is taken that it is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Executable:
    """A running simulator program.

    It is started with gym-donkeycar's arguments, ``--port P --host 127.0.0.1 -logFile FILE``, in
    a process group of its own, and the whole group ends with it.

    Attributes:
        port: Where it listens, once it does.
    """

    def __init__(self, program: pathlib.Path, port: int) -> None:
        """Starts the program.

        Raises:
            ConfigurationError: It cannot be started.
        """
        self.port = port
        self._program = program
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        words = [str(program.resolve()), "--port", str(port), "--host", "127.0.0.1"]
        try:
            self._process = subprocess.Popen(
                [*words, "-logFile", os.devnull if os.name == "nt" else "/dev/stdout"],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name != "nt",
            )
        except OSError as error:
            self._log.close()
            raise ConfigurationError(
                f"The simulator {program} cannot be started: {error.strerror or error}. "
                f"{_remedy(program)}"
            ) from error

    def check(self) -> None:
        """Looks whether the program still runs.

        Raises:
            LinkRefused: It has ended; says how, and its last words.
        """
        code = self._process.poll()
        if code is None:
            return
        # At once, since its number can be another program's later.
        process_groups.kill(self._process)
        raise LinkRefused(
            f"The simulator {self._program} ended with exit code {code}{self._last_words()}",
            host="127.0.0.1",
            port=self.port,
            scene=None,
            awaited="an open port",
            remedy="Start it by hand to see what it misses (a display, a graphics driver).",
        )

    def listens(self, wait_s: float) -> bool:
        """Waits a moment; returns whether the program takes connections."""
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        return not _is_free(self.port)

    def _last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _TAIL_BYTES))
        tail = self._log.read().decode("utf-8", "replace").split()
        return f", saying: {' '.join(tail)}" if tail else ""

    def close(self) -> None:
        """Ends the program and everything that it started; may be called twice."""
        if self._process.returncode is None:
            process_groups.end(self._process, _GRACE_S)
        self._log.close()

    def __enter__(self) -> Self:
        """Returns the running program."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the program."""
        self.close()


def _remedy(program: pathlib.Path) -> str:
    if os.name != "nt" and not os.access(program, os.X_OK):
        return f"Make it executable: chmod +x {program}"
    return "Name the program itself, such as donkey_sim.x86_64."
