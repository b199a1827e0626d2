"""Worker processes on this machine, and what is done when one of them dies."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

import pydantic

from donkey_rl import process_groups
from donkey_rl.cores import usable
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import worker_process
from donkey_rl.experiments.sweeps.queue import Queue, owner_name
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport
from donkey_rl.experiments.sweeps.worker_process import Event, Failure, Start

MOST_BARREN = 3
"""How often in a row a worker may die before it has taken a trial."""

_PAUSE_S = 0.5
_LAST_LINES_S = 2.0
_NEW_GROUP = 0x200
"""Windows: `CREATE_NEW_PROCESS_GROUP`, so that Ctrl-C reaches this process alone."""

Tell = Callable[["Member", Event | str | int], None]


class Member:
    """The place of one worker: the process that fills it now, and how it fared.

    Attributes:
        number: From 1.
        owner: The worker's name in leases.
        barren: Processes in a row that have taken no trial.
        has_grown: Whether the process has asked to be started again.
    """

    def __init__(self, number: int, cores: Sequence[int], *, hold: bool) -> None:
        """Prepares a place; see `start`.

        Args:
            number: From 1.
            cores: Its share of the cores.
            hold: Whether it is held to them.
        """
        self.number = number
        self.owner = ""
        self.barren = 0
        self.has_grown = False
        self._cores = tuple(cores)
        self._hold = hold
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, order: Order, tell: Tell) -> None:
        """Starts a process.

        Args:
            order: What it does.
            tell: Called from threads: with events, with lines, at last with the exit code.
        """
        self.owner = owner_name()
        self.barren += 1
        self.has_grown = False
        process = subprocess.Popen(
            [sys.executable, "-m", worker_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | worker_process.environment(len(self._cores)),
            # Ctrl-C reaches this process alone, which passes it on once.
            start_new_session=os.name != "nt",
            creationflags=_NEW_GROUP if os.name == "nt" else 0,
        )
        self._process = process
        start = Start(order=order, owner=self.owner, cores=self._cores if self._hold else ())
        with contextlib.suppress(OSError):
            _pipe(process.stdin).write(start.model_dump_json().encode() + b"\n")
            _pipe(process.stdin).flush()
        readers = [
            _thread(lambda: self._read_events(_pipe(process.stdout), tell)),
            _thread(lambda: self._read_lines(_pipe(process.stderr), tell)),
        ]
        _thread(lambda: tell(self, _ended(process, readers)))

    def ask_to_end(self) -> None:
        """Has the process hand back what it has, and end."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                _pipe(self._process.stdin).close()

    def kill(self) -> None:
        """Ends the process if it lives, and those that it has started and left."""
        if self._process is None:
            return
        process_groups.kill(self._process)
        self._process.wait()
        self.ask_to_end()
        self._process = None

    def _read_events(self, stream: IO[bytes], tell: Tell) -> None:
        with stream:
            while line := stream.readline(worker_process.MOST_LINE):
                with contextlib.suppress(pydantic.ValidationError):
                    tell(self, Event.model_validate_json(line))

    def _read_lines(self, stream: IO[bytes], tell: Tell) -> None:
        with stream:
            while line := stream.readline(worker_process.MOST_LINE):
                tell(self, line.decode(errors="replace").rstrip())


class Crew:
    """All workers of an order on this machine.

    Attributes:
        reports: The reports of those that came to their end.
    """

    def __init__(
        self, order: Order, trials: Queue, progress: ProgressDisplay, cores_each: int | None
    ) -> None:
        """Prepares the places.

        Args:
            order: What the workers do.
            trials: The queue that they take from.
            progress: Shows what they say.
            cores_each: Cores that each is held to; None shares all.
        """
        self.reports: list[WorkerReport] = []
        self._order = order
        self._trials = trials
        self._progress = progress
        self._began = time.monotonic()
        self._told: queue.SimpleQueue[tuple[Member, Event | str | int]] = queue.SimpleQueue()
        self._working: set[Member] = set()
        self._failures: list[Failure] = []
        hold = cores_each is not None or order.workers > 1
        self._members = [
            Member(number, cores, hold=hold)
            for number, cores in enumerate(shares(usable(), order.workers, cores_each), start=1)
        ]

    def start(self) -> None:
        """Starts the workers."""
        for member in self._members:
            self._start(member)

    def watch(self) -> None:
        """Looks after the workers until all have ended.

        Raises:
            InputError: A worker refused the order.
            DonkeyRLError: A worker could not go on, and trials are left.
        """
        while self._working:
            try:
                # Where a wait has no end, Ctrl-C does not come through on Windows.
                member, said = self._told.get(timeout=1.0)
            except queue.Empty:
                continue
            if isinstance(said, str):
                name = f"worker {member.number}: " if len(self._members) > 1 else ""
                self._progress.message(name + said)
            elif isinstance(said, Event):
                self._note(member, said)
            else:
                self._ended(member, said)
        if self._failures:
            worst = self._failures[0]
            raise (InputError if worst.by_input else DonkeyRLError)(worst.message)

    def stop(self) -> None:
        """Has all workers hand back what they have, and waits for them."""
        self._order = self._order.model_copy(update={"take_for_s": 0.0})
        for member in self._members:
            member.ask_to_end()
        with contextlib.suppress(DonkeyRLError):
            self.watch()

    def kill(self) -> None:
        """Ends what still runs."""
        for member in self._members:
            member.kill()

    def _start(self, member: Member) -> None:
        order = self._order
        if order.take_for_s is not None:
            left = order.take_for_s - (time.monotonic() - self._began)
            order = order.model_copy(update={"take_for_s": max(0.0, left)})
        member.start(order, lambda who, said: self._told.put((who, said)))
        self._working.add(member)

    def _note(self, member: Member, event: Event) -> None:
        if event.taken is not None:
            member.barren = 0
        if event.report is not None:
            self.reports.append(event.report)
            member.has_grown = event.report.has_grown
        if event.failure is not None:
            self._failures.append(event.failure)

    def _ended(self, member: Member, code: int) -> None:
        """Starts a worker again that died while something is left to do."""
        member.kill()
        self._working.discard(member)
        if member.has_grown and not self._is_late():
            self._start(member)
            return
        if code == 0 or self._failures:
            return
        how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._trials.bury(member.owner, f"lost: worker {member.owner} {how}")
        if self._is_late() or not self._trials.has_more():
            return
        if member.barren >= MOST_BARREN:
            message = (
                f"Worker {member.number} {how} {member.barren} times before it took a trial. "
                "All results are kept. Read its last lines above, and type the same command again."
            )
            self._failures.append(Failure(message=message, by_input=False))
            return
        self._progress.message(f"worker {member.number} {how}: started again")
        time.sleep(_PAUSE_S)
        self._start(member)

    def _is_late(self) -> bool:
        limit = self._order.take_for_s
        return limit is not None and time.monotonic() - self._began >= limit


def shares(
    cores: Sequence[int], workers: int, each: int | None = None
) -> tuple[tuple[int, ...], ...]:
    """Deals cores out to workers, at least one to each.

    >>> shares([0, 1, 2, 3, 4], workers=2)
    ((0, 1), (2, 3))
    >>> shares([0, 1], workers=3)
    ((0,), (1,), (0,))

    Args:
        cores: The cores there are.
        workers: How many workers.
        each: Cores of each; None shares all.
    """
    size = min(len(cores), each or max(1, len(cores) // workers))
    return tuple(
        tuple(cores[(number * size + core) % len(cores)] for core in range(size))
        for number in range(workers)
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise DonkeyRLError("A worker was started without pipes.")
    return stream


def _thread(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _ended(process: subprocess.Popen[bytes], readers: Sequence[threading.Thread]) -> int:
    """Waits for a process and for its last lines; its own children may hold the pipes open."""
    code = process.wait()
    for reader in readers:
        reader.join(_LAST_LINES_S)
    return code
