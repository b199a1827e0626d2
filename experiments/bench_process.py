"""Processes beside a measurement: what they say goes over a pipe, as JSON."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Any

from donkey_rl.errors import DonkeyRLError

START_S = 120.0
"""How long one is waited for (s)."""

_MOST_BYTES = 10_000_000


@contextlib.contextmanager
def started(work: Callable[..., None], *arguments: object) -> Iterator[Pipe]:
    """Runs work in a fresh interpreter; yields the pipe to it.

    Args:
        work: Called with the other end of the pipe and the arguments; it ends where that closes.
        arguments: What is handed on.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(START_S)
        process.terminate()
        process.join()


def tell(pipe: Pipe, what: Any) -> None:
    """Says something to the other end, as JSON: `Pipe.send` would pickle it."""
    pipe.send_bytes(json.dumps(what).encode())


def told(pipe: Pipe, patience_s: float = START_S) -> Any:
    """Returns what a process says next.

    Args:
        pipe: To it.
        patience_s: How long that may take (s).

    Raises:
        DonkeyRLError: It says nothing, or has ended.
    """
    try:
        if pipe.poll(patience_s):
            return json.loads(pipe.recv_bytes(_MOST_BYTES))
    except (EOFError, OSError) as error:
        raise DonkeyRLError("A process of the measurement has ended early.") from error
    raise DonkeyRLError(f"A process of the measurement was silent for {patience_s:g} s.")


def heard(pipe: Pipe) -> Any:
    """Returns what the process that measures says, however long it takes.

    Raises:
        EOFError: It has closed the pipe.
    """
    return json.loads(pipe.recv_bytes(_MOST_BYTES))
