"""Commands of this package, each in a process of its own; those that run are ended together."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import IO, Any, Final

import donkey_rl
from donkey_rl import process_groups
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments import process_clock, provenance, served_simulator
from donkey_rl.experiments.proof.steps import Step
from donkey_rl.experiments.proof.writing import Kept, typed
from donkey_rl.experiments.sweeps import worker_process

_BESIDE: Final = ("torch", "sbx-rl")
"""Packages that something is measured beside; their versions are kept where they are there."""

_GRACE_S = 10.0
"""Time to end after being asked to."""

_LAST_LINES_S = 2.0


@dataclasses.dataclass(frozen=True)
class Order:
    """A command that is to be carried out.

    Attributes:
        step: What it is in its table.
        words: What is typed after `donkey-rl`, with the run of the driver; `{served}` stands.
        reads: What it reads of this package, as `fingerprint.of` returns it.
    """

    step: Step
    words: tuple[str, ...]
    reads: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a command is carried out.

    Attributes:
        machine: What is told of the machine, as `machine` returns it.
        cores: Those that it is held to.
        limits: Whether its libraries start no more threads than these; else as they usually do.
        say: Takes its lines; None where they go where those of this process go.
    """

    machine: str
    cores: tuple[int, ...]
    limits: bool = False
    say: Callable[[str], None] | None = None


class Processes:
    """The processes that run now. Once they were ended no further one starts."""

    def __init__(self) -> None:
        """Begins with none."""
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    @contextlib.contextmanager
    def started(
        self, command: Sequence[str], environment: Mapping[str, str], *, quiet: bool
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a process, and forgets it once it has ended.

        Args:
            command: What is carried out.
            environment: Variables of its environment.
            quiet: Whether its standard error is read here; else it goes where this one's goes.

        Raises:
            DonkeyRLError: All were ended.
        """
        with self._lock:
            if self._ended:
                raise DonkeyRLError("Stopped before it began.")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if quiet else None,
                env=environment,
                # Ctrl-C reaches this process alone, which ends all of them.
                start_new_session=os.name != "nt",
            )
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """Ends what runs, with all that it has started."""
        with self._lock:
            self._ended = True
            running = tuple(self._running)
        try:
            for process in running:
                process_groups.end(process, _GRACE_S)
        finally:
            # Also those whose turn had not come when Ctrl-C came once more.
            for process in running:
                process_groups.kill(process)


def carried_out(order: Order, place: Place, processes: Processes) -> Kept:
    """Carries out a command in a process of its own, with a clock and a memory of its own.

    The calling thread is held to the cores of the place, as is what it starts.

    Args:
        order: The command.
        place: Where.
        processes: Those that run beside it.

    Raises:
        DonkeyRLError: It failed or was stopped, or the simulator that it needs did not come up.
    """
    step, words = order.step, order.words
    worker_process.hold_to(place.cores)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        called = words
        if step.serves is not None:
            port = stack.enter_context(served_simulator.served(*step.serves))
            called = tuple(word.replace("{served}", f"127.0.0.1:{port}") for word in words)
        found = answer(called, place, processes)
    wall_s = round(time.monotonic() - started, 1)
    rows = step.read(found)
    if step.timed:
        rows = [{**row, "whole command (s)": f"{wall_s:.1f}"} for row in rows]
    return Kept(
        command=words,
        serves=step.serves,
        version=donkey_rl.__version__,
        reads=order.reads,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        wall_s=wall_s,
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        machine=place.machine,
        run_id=str(found.get("run_id", "")),
        rows=rows,
    )


def answer(words: tuple[str, ...], place: Place, processes: Processes) -> Mapping[str, Any]:
    """Returns the JSON object that a command of this package prints.

    Args:
        words: What is typed after `donkey-rl`.
        place: Where it is carried out.
        processes: Those that run beside it.

    Raises:
        DonkeyRLError: It failed or was stopped.
    """
    command = [sys.executable, "-m", "donkey_rl", *words]
    limits = worker_process.environment(len(place.cores)) if place.limits else {}
    with processes.started(command, os.environ | limits, quiet=place.say is not None) as process:
        reader = None
        if process.stderr is not None and place.say is not None:
            reader = threading.Thread(target=_say, args=(process.stderr, place.say), daemon=True)
            reader.start()
        printed = b""
        if process.stdout is not None:
            with process.stdout as stream:
                printed = stream.read()
        code = process.wait()
        if reader is not None:
            # What it started and left may hold the pipe open.
            reader.join(_LAST_LINES_S)
    stopped = code != 0
    found: dict[str, Any] = {} if stopped else json.loads(printed)
    if stopped or found.get("stopped"):
        raise DonkeyRLError(
            f"Expected `donkey-rl {typed(words)}` to come to its end. Received: exit code "
            f"{code}{'' if stopped else ', stopped early'}; see above. What was done before it is "
            "kept: the same command goes on there."
        )
    return found


def _say(stream: IO[bytes], say: Callable[[str], None]) -> None:
    with stream:
        while line := stream.readline(worker_process.MOST_LINE):
            say(line.decode(errors="replace").rstrip())


def machine() -> str:
    """Returns this machine and the versions that a command is carried out with."""
    found = process_clock.machine()
    versions = dict(provenance.versions())
    for name in _BESIDE:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return (
        f"{found[process_clock.PROCESSOR_TAG]}, {found[process_clock.CORES_TAG]} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
