"""Ctrl-C that ends a training at a safe point.

Python raises `KeyboardInterrupt` wherever it happens to be, also inside callbacks of compiled
libraries that swallow it. Here the first Ctrl-C is only remembered, and raised by `check`, which
the training calls between two steps. A second Ctrl-C is raised at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Remembers Ctrl-C while it is entered; outside the main thread it does nothing."""

    def __init__(self) -> None:
        """Prepares; nothing is caught yet."""
        self.requested = False
        self._before: Any = None

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if Ctrl-C was pressed."""
        if self.requested:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> Self:
        """Starts to catch Ctrl-C."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives Ctrl-C back its meaning."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
