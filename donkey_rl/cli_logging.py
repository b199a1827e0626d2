"""What the package logs, on standard error: from warnings on, or as DONKEY_RL_LOG says."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator

import typer

from donkey_rl import formatting
from donkey_rl.errors import UnknownNameError

VARIABLE = "DONKEY_RL_LOG"
LEVELS = ("debug", "info", "warning", "error")

_ROOT = "donkey_rl"
_PATIENCE_S = 0.2
_LAST_S = 1.0
"""So long a process that ends waits for its last line."""

_MOST_WAITING = 1000
"""Lines that wait for standard error; further ones are dropped."""


class _StandardError(logging.Handler):
    """Writes one line for each record to what is standard error by then.

    A terminal may take nothing for a while (Ctrl-S, text that is selected in it, a pager). Who
    logs waits for it once and shortly: cars are driven by threads and event loops that log.
    """

    def __init__(self) -> None:
        """Begins without a thread; the first record starts it."""
        super().__init__()
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = formatting.one_line(record.getMessage())
            when = time.strftime("%H:%M:%S", time.localtime(record.created))
            named = record.levelno >= logging.WARNING or record.levelno < logging.INFO
            level = f"{record.levelname.lower()}: " if named else ""
            self._hand_over(f"{when} {level}{text}")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Waits shortly for what was handed over: a process that ends takes the thread along."""
        if self._newest is not None:
            self._newest.wait(_LAST_S)

    def _begin(self) -> None:
        self._lines: queue.Queue[tuple[str, threading.Event]] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._newest: threading.Event | None = None
        self._is_stuck = False

    def _hand_over(self, line: str) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._write, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter ends: no thread begins any more.
                say(line)
                return
            self._thread = thread
        written = threading.Event()
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait((line, written))
            self._newest = written
        if not self._is_stuck and not written.wait(_PATIENCE_S):
            self._is_stuck = True

    def _write(self) -> None:
        while True:
            line, written = self._lines.get()
            # Nobody can be told that nobody can be told.
            with contextlib.suppress(Exception):
                say(line)
            self._is_stuck = False
            written.set()


def say(line: str) -> None:
    """Writes a line to what is standard error now; may be called by a thread that may be left.

    Past its buffer where that is Python's own: a thread that waits in it would hold its lock when
    the interpreter ends, which is an abort.
    """
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.BufferedWriter):
        stream.flush()
        stream.buffer.raw.write(f"{line}\n".encode(stream.encoding, "backslashreplace"))
        return
    typer.echo(line, err=True)


def set_up() -> None:
    """Shows what this package logs, from the level on that DONKEY_RL_LOG names.

    Raises:
        UnknownNameError: It names none.
    """
    name = os.environ.get(VARIABLE, "").strip().lower() or "warning"
    if name not in LEVELS:
        raise UnknownNameError(f"{VARIABLE}, a level of logs,", name, LEVELS)
    logger = logging.getLogger(_ROOT)
    logger.setLevel(name.upper())
    if not any(isinstance(each, _StandardError) for each in logger.handlers):
        logger.addHandler(_StandardError())


@contextlib.contextmanager
def at_least_info(part: str) -> Iterator[None]:
    """Shows what a part of the package tells beside warnings, unless DONKEY_RL_LOG says else.

    Args:
        part: Name of its logger, such as `"donkey_rl.serving"`.
    """
    logger = logging.getLogger(part)
    before = logger.level
    if not os.environ.get(VARIABLE):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
