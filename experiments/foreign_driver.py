"""A stranger's driver in a process of its own, under the rules of a race.

What a race does with a driver that is late: the command before stays in force. What it does with
one that says nothing: it is lost.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl import pipe_frames, process_groups
from donkey_rl.envs.observing import Observation
from donkey_rl.envs.tasks import STEP_S
from donkey_rl.errors import DriverError
from donkey_rl.experiments import driver_process as process
from donkey_rl.experiments.pilots import Actions, Flags, Pilot

START_S = 60.0
"""Time to import a driver, to make its instances, and for the first command of each race."""

SILENCE_S = 5.0
"""A driver that has not answered a frame after this time is taken for dead, and ended."""

_WATCH_S = 0.05
_STANDSTILL_S = 0.5
"""A watch that turns so late has stood still with this process."""

_COMMAND_BYTES = 16
_LINES_KEPT = 20
_LONGEST_LINE = 1000


class Failure(NamedTuple):
    """A race that a driver lost by its own fault.

    Attributes:
        race: Number of the race, from 0.
        step: Control step in which it happened.
        reason: What happened, one line without its stop.
    """

    race: int
    step: int
    reason: str


class ForeignPilot(Pilot):
    """Drives each car by an instance of a class in somebody's file.

    Each car's driver is asked in turn, and its time is taken alone. In the embedded simulator,
    which waits, an answer that took k frames too long is held back for k steps: the command
    before stays in force, and the driver does not see the frames in between. The first command of
    a race may take `START_S`; the car stands on the grid until then.

    Attributes:
        failures: What went wrong, at most once in a race.
    """

    def __init__(
        self,
        path: pathlib.Path,
        name: str,
        space: spaces.Dict,
        standing: Actions,
        *,
        limit_s: float = STEP_S,
        waits: bool = True,
    ) -> None:
        """Remembers what to start; `begin` starts it.

        Args:
            path: The file.
            name: Class, or function without arguments, that makes a driver.
            space: What one driver sees.
            standing: Action of a car that has no command yet, (2,).
            limit_s: Time to answer a frame (s).
            waits: Whether the simulator waits for the driver; where it does not, being late shows
                by itself.
        """
        self.failures: list[Failure] = []
        self._path, self._name, self._space = path, name, space
        self._standing, self._limit_s, self._waits = standing, limit_s, waits
        self._process: _DriverProcess | None = None
        self._steps = self._raced = 0
        super().begin(0)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.end()

    def begin(self, cars: int) -> None:
        """Starts the process where there is none, and tells the drivers that a race begins.

        Raises:
            DriverError: The file cannot be imported, has no such class, or what it makes is no
                driver.
        """
        self._raced += len(self.lost)
        super().begin(cars)
        self._steps = 0
        self._held = np.tile(self._standing, (cars, 1)).astype(np.float32)
        self._next = self._held.copy()
        self._late = np.zeros(cars, np.int64)
        try:
            if self._process is None or not self._process.alive:
                self._process = _DriverProcess()
                self._process.ask(process.HELLO, self._hello(cars), START_S)
            self._process.ask(process.BEGIN, b"", START_S)
        except _DriverFailed as failure:
            raise DriverError(f"The driver {self._path}:{self._name}: {failure}.") from None

    def _hello(self, cars: int) -> bytes:
        parts = [[k, list(v.shape or ()), np.dtype(v.dtype).str] for k, v in self._space.items()]
        hello = {"path": str(self._path.absolute()), "name": self._name, "cars": cars}
        return json.dumps(hello | {"parts": parts}).encode()

    def drive(self, observation: Observation, driving: Flags) -> Actions:
        """Returns the commands in force, (N, 2); see `Pilot.drive`."""
        self.missed = np.zeros(len(driving), np.bool_)
        for car in np.flatnonzero(driving):
            if self.lost[car]:
                continue
            if self._late[car]:
                self._late[car] -= 1
            else:
                self._ask(int(car), observation, driving)
            if self._late[car]:
                self.missed[car] = True
            else:
                self._held[car] = self._next[car]
        self._steps += 1
        return self._held.copy()

    def _ask(self, car: int, observation: Mapping[str, npt.NDArray[Any]], driving: Flags) -> None:
        """Asks the driver of one car, and notes how late its answer is."""
        if self._process is None:
            return
        first = self._steps == 0
        parts = {name: observation[name] for name in self._space}
        self._process.turn()
        began, stood_s = time.perf_counter(), self._process.stood_s
        try:
            content = process.pack_observation(car, parts)
            answer = self._process.ask(process.ACT, content, START_S if first else SILENCE_S)
            self._next[car] = np.clip(np.frombuffer(answer, np.float64), -1.0, 1.0)
        except _DriverFailed as failure:
            # All cars have their drivers in the one process.
            over = [car] if self._process.alive else np.flatnonzero(driving & ~self.lost)
            self.failures += [
                Failure(self._raced + int(each), self._steps, str(failure)) for each in over
            ]
            self.lost[over] = True
            return
        took = max(0.0, time.perf_counter() - began - (self._process.stood_s - stood_s))
        self.latency_ms[car] = 1000.0 * took
        if self._waits and not first:
            self._late[car] = max(0, math.ceil(took / self._limit_s) - 1)


class _DriverFailed(Exception):  # noqa: N818
    """What the stranger's code did, one line without its stop."""


def _line(content: bytes) -> str:
    """Returns what a stranger's code says as one line that a terminal takes as it is."""
    text = content[:_LONGEST_LINE].decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _is_answer(kind: bytes, told: bytes, content: bytes) -> bool:
    """Whether a frame answers a request; the stranger's code may have sent it itself."""
    if kind != process.ACT:
        return told == process.DONE
    if told != process.ACTION or len(content) != _COMMAND_BYTES:
        return False
    return bool(np.isfinite(np.frombuffer(content, np.float64)).all())


class _DriverProcess:
    """The process, with a watch that ends it when an answer is overdue.

    Attributes:
        stood_s: How long this process itself has stood still (Ctrl-Z, a debugger), as far as that
            was noticed (s); it is no time of the driver's.
    """

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._said: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._deadline = math.inf
        self._overdue = self._ended = False
        self.stood_s = 0.0
        self._turning = threading.Lock()
        self._turned = time.monotonic()
        self._watch = threading.Thread(target=self._keep_watch, daemon=True)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._watch.start()
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended and self._process.poll() is None

    def ask(self, kind: bytes, content: bytes, limit_s: float) -> bytes:
        """Sends a request and returns the content of the answer.

        Raises:
            _DriverFailed: The stranger's code failed, answered too late, or ended the process.
        """
        self.turn()
        self._deadline = time.monotonic() + limit_s
        try:
            if self._process.stdin is None or self._process.stdout is None:
                raise pipe_frames.BrokenFrameError("no pipes")
            pipe_frames.write_frame(self._process.stdin, kind, content)
            told, answer = pipe_frames.read_frame(self._process.stdout, process.MOST_ANSWER)
        except (OSError, pipe_frames.BrokenFrameError) as error:
            raise _DriverFailed(self._death(limit_s)) from error
        finally:
            self.turn()
            self._deadline = math.inf
        if told == process.FAILURE:
            raise _DriverFailed(_line(answer).rstrip("."))
        if not _is_answer(kind, told, answer):
            # What follows would be taken for the answers to other frames.
            self.end()
            raise _DriverFailed("its process sent what is no answer, and was ended")
        return answer

    def _death(self, limit_s: float) -> str:
        """Says how it ended."""
        self.end()
        if self._overdue:
            return f"no answer within {limit_s:g} s"
        self._reader.join(3.0)
        code = self._process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        last = f"; its last words: {self._said[-1]}" if self._said else ""
        return f"its process ended {how}{last}"

    def end(self) -> None:
        """Ends the process and what it has started."""
        self._ended = True
        if self._process.poll() is None:
            process_groups.kill(self._process)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _keep_watch(self) -> None:
        while not self._ended:
            self.turn()
            if self._turned > self._deadline:
                self._overdue = True
                process_groups.kill(self._process)
                return
            time.sleep(_WATCH_S)

    def turn(self) -> None:
        """Notes that this process runs: whoever is first after a standstill takes it off."""
        with self._turning:
            now = time.monotonic()
            gap, self._turned = now - self._turned - _WATCH_S, now
            if gap > _STANDSTILL_S:
                self.stood_s += gap
                self._deadline += gap

    def _listen(self) -> None:
        """Keeps the last lines that the driver printed, and lets no pipe fill up."""
        if self._process.stderr is None:
            return
        with self._process.stderr as stream, contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_LONGEST_LINE):
                if text := _line(line):
                    self._said.append(text)
