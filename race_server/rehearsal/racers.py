"""Cars of a team in a process of its own, as on the evening, with a way in for faults."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets import exceptions
from websockets.sync import client

from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal import racer_process
from donkey_rl.race_server.rehearsal.faults import Stall

_START_S = 180.0
_END_S = 40.0
_GO_S = 10.0
_GO = {"angle": 0.0, "throttle": 0.0, "drive_mode": "local", "recording": False}


class Racers:
    """A process that races until it is ended.

    Attributes:
        page: Address of its page, empty without one.
        ports: Of its `/wsDrive`s.
        results: What each car has done, once it has ended.
    """

    def __init__(self, configs: Sequence[RaceConfig], log: Path) -> None:
        """Prepares a process; `with` starts it and waits until its drivers are loaded.

        Args:
            configs: One for each car.
            log: File that takes what it says.
        """
        self.page = ""
        self.ports: list[int] = []
        self.results: list[Mapping[str, Any]] = []
        self._configs = list(configs)
        self._log = log
        self._said: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            InputError: A driver or a configuration does not fit.
            DonkeyRLError: It does not come up.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", racer_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C ends the rehearsal, and that ends the racers as it should be.
            start_new_session=True,
        )
        try:
            for work in (self._read, self._keep):
                thread = threading.Thread(target=work, name="racers' words", daemon=True)
                thread.start()
                self._threads.append(thread)
            self._say({"configs": [each.model_dump(mode="json") for each in self._configs]})
            up = self._await("up", _START_S)
        except BaseException:
            # Who has not entered is not left either.
            self._kill()
            raise
        self.page, self.ports = up["page"], up["ports"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it: cars brake, records are closed."""
        try:
            self.end()
        except DonkeyRLError:
            # What went wrong first is told.
            if error is None:
                raise
        finally:
            self._kill()

    def end(self) -> None:
        """Ends the race and takes the results; may be called again.

        Raises:
            DonkeyRLError: It does not end as it should.
        """
        if self._process is None or self._process.stdin is None or self.results:
            return
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()
        self.results = list(self._await("results", _END_S))

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_S)
        for thread in self._threads:
            thread.join(_END_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _say(self, words: Mapping[str, Any]) -> None:
        """Tells the process something; see `racer_process`.

        Raises:
            DonkeyRLError: It has ended.
        """
        if self._process is None or self._process.stdin is None:
            raise DonkeyRLError("The racers' process does not run.")
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise DonkeyRLError(f"The racers' process has ended: see '{self._log}'.") from error

    def go(self) -> None:
        """Gives the cars GO, as the organiser of a hosted race does.

        Raises:
            DonkeyRLError: One takes no orders.
        """
        for port in self.ports:
            try:
                with _connected(port) as link:
                    link.send(json.dumps(_GO))
            except (OSError, TimeoutError, exceptions.WebSocketException) as error:
                raise DonkeyRLError(
                    f"/wsDrive on port {port} takes no orders: {error}. See '{self._log}'."
                ) from error

    def stall(self, how: Stall, seconds: float) -> None:
        """Has the drivers stall."""
        self._say({"stall": how, "seconds": seconds})

    def limit_files(self, most: int | None) -> None:
        """Has the process's writes fail that would make a file longer than so many bytes.

        The system itself refuses them, as on a full disk, but for the number of the error (EFBIG
        in place of ENOSPC).

        Args:
            most: How long files may be; None: as long as ever.

        Raises:
            InputError: The system cannot do that (it is no Linux).
        """
        if sys.platform != "linux" or self._process is None:
            raise InputError("A full disk can be rehearsed on Linux only.")
        import resource

        soft, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        soft = hard if most is None else most
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def _await(self, key: str, within_s: float) -> Any:
        """Returns what the process says under a key.

        Raises:
            InputError: It could not use what it was given.
            DonkeyRLError: It says nothing in time, or has failed.
        """
        deadline = time.perf_counter() + within_s
        while True:
            try:
                said = self._said.get(timeout=max(0.0, deadline - time.perf_counter()))
            except queue.Empty:
                raise DonkeyRLError(
                    f"The racers' process has not told its {key} within {within_s:g} s: "
                    f"see '{self._log}'."
                ) from None
            if "refused" in said:
                raise InputError(str(said["refused"]))
            if "failed" in said:
                raise DonkeyRLError(str(said["failed"]))
            if "ended" in said:
                raise DonkeyRLError(f"The racers' process has ended: see '{self._log}'.")
            if key in said:
                return said[key]

    def _read(self) -> None:
        """Takes what the process says, one JSON object a line."""
        if self._process is None or self._process.stdout is None:
            return
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._said.put(json.loads(line))
        self._said.put({"ended": True})

    def _keep(self) -> None:
        """Keeps what it logs; through a pipe, which a full disk does not touch."""
        if self._process is None or self._process.stderr is None:
            return
        with self._log.open("a", encoding="utf-8") as log:
            for line in self._process.stderr:
                log.write(line)
                log.flush()


def _connected(port: int) -> client.ClientConnection:
    """Connects to a `/wsDrive` on this machine."""
    return client.connect(f"ws://127.0.0.1:{port}/wsDrive", open_timeout=_GO_S, proxy=None)
