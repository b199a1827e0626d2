"""Ctrl-C, and what else asks a process to end, that ends a training at a safe point.

Python raises `KeyboardInterrupt` wherever it happens to be, also inside callbacks of compiled
libraries that swallow it. Here the first signal is only remembered, and raised by `check`, which
the training calls between two steps. A second Ctrl-C is raised at once, and so is the first signal
inside `at_once`, where code that never calls `check` is at work.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

from donkey_rl import stop_signals


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Has the first signal raise `KeyboardInterrupt` inside a ``with`` block.

    It is remembered as well, for the next `check`, where something in the block swallows it. Where
    Ctrl-C is ignored, and outside the main thread, nothing changes.
    """
    remember = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(remember):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        remember(number, frame)
        raise KeyboardInterrupt

    with stop_signals.handled(interrupt):
        yield


class Interruption:
    """Remembers the signals while it is entered; outside the main thread it does nothing."""

    def __init__(self) -> None:
        """Prepares; nothing is caught yet."""
        self.requested = False
        self._handling = contextlib.ExitStack()

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if the process was asked to end."""
        if self.requested:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> Self:
        """Starts to catch the signals."""
        self._handling.enter_context(stop_signals.handled(self._remember))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the signals back their meaning."""
        self._handling.close()
