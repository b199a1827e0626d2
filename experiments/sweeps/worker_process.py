"""The process of a worker; `engine.LocalEngine` is the other end.

On standard input it gets one line, a `Start`. Its end, whether it is closed or the other process
has died, means: hand back what you have, and end. On standard output it writes one `Event` a line;
whatever else is printed goes to standard error.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import IO

import optuna
import pydantic

from donkey_rl import standard_error
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.worker import Order, WorkerReport, work
from donkey_rl.pipe_frames import taken_input

MOST_LINE = 1_000_000
"""Bytes of a line, in either direction."""


class Start(Config):
    """What a process starts from.

    Attributes:
        order: What to do.
        owner: The worker's name.
        cores: The cores that it is held to, where the system can do that; empty for all.
    """

    order: Order
    owner: str
    cores: tuple[int, ...] = ()


class Failure(Config):
    """An error that ends a worker and that starting it again would not mend.

    Attributes:
        message: What it says.
        by_input: Whether the user can mend it.
    """

    message: str
    by_input: bool


class Event(Config):
    """What a worker tells: one of these.

    Attributes:
        taken: The number of the trial that it has taken.
        report: What it did, at its end.
        failure: Why it ends.
    """

    taken: int | None = None
    report: WorkerReport | None = None
    failure: Failure | None = None


def environment(threads: int) -> dict[str, str]:
    """Returns the environment variables that hold a process to some threads.

    They have to be there before its libraries are imported.

    Args:
        threads: How many threads each of its libraries may start.
    """
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
    )
    return dict.fromkeys(names, str(threads))


def hold_to(cores: Sequence[int]) -> None:
    """Holds this process to some cores, on Linux; elsewhere only its threads are limited."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def main() -> int:
    """Runs the worker and returns the exit code."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    standard_error.make_patient()
    # It may have been started where Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _stop)
    # Without a buffer, whose lock a thread that waits would hold at the end.
    stdin = io.FileIO(taken_input())
    try:
        start = Start.model_validate_json(stdin.readline(MOST_LINE))
    except pydantic.ValidationError:
        _tell(events, Event(failure=Failure(message="No order came.", by_input=True)))
        return 2
    hold_to(start.cores)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    threading.Thread(target=_watch, args=(stdin,), daemon=True).start()
    try:
        with ProgressDisplay() as progress:
            report = work(
                start.order,
                progress,
                owner=start.owner,
                taken=lambda number: _tell(events, Event(taken=number)),
            )
    except KeyboardInterrupt:
        report = WorkerReport(owner=start.owner, interrupted=True)
    except DonkeyRLError as error:
        by_input = isinstance(error, InputError)
        _tell(events, Event(failure=Failure(message=str(error), by_input=by_input)))
        return 2 if by_input else 1
    except Exception:
        traceback.print_exc()
        return 1
    _tell(events, Event(report=report))
    return 0


def _tell(events: IO[str], event: Event) -> None:
    """Writes an event, unless nobody is there to read it."""
    try:
        events.write(event.model_dump_json(exclude_none=True) + "\n")
        events.flush()
    except OSError:
        return


def _watch(stream: io.FileIO) -> None:
    """Stops the worker when the process that started it closes the stream, or has died."""
    while stream.read(1):
        pass
    if os.name == "nt":
        signal.raise_signal(signal.SIGINT)
    else:
        # A signal proper: it also wakes what waits in the system.
        os.kill(os.getpid(), signal.SIGINT)


def _stop(number: int, frame: FrameType | None) -> None:
    """Has whoever waits for Ctrl-C see one."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
