"""Messages to a simulator: each in a send of its own, configuration with pauses around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from donkey_rl.envs.link import commands


class Sender:
    """Writes messages one after the other; none ever replaces another."""

    def __init__(self, write: Callable[[bytes], None], spacing_s: float) -> None:
        """Starts with nothing sent.

        Args:
            write: Sends bytes; returns when they are on their way.
            spacing_s: Pause before and after a message that configures something.
        """
        self.sent_bytes = 0
        self._write = write
        self._spacing = spacing_s
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._last_set_up = False

    def send(
        self,
        command: commands.Command,
        *,
        spaced: bool | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Sends one message.

        Args:
            command: The message.
            spaced: Whether to keep the pauses; by default those messages that configure something
                do, and whatever follows them.
            before: Called when all pauses are over, right before it is written.
        """
        data = commands.encode(command)
        sets_up = command.SETS_UP if spaced is None else spaced
        with self._lock:
            if sets_up or self._last_set_up:
                left = self._last + self._spacing - time.perf_counter()
                if left > 0:
                    time.sleep(left)
            if before is not None:
                before()
            self._write(data)
            self._last = time.perf_counter()
            self._last_set_up = sets_up
            self.sent_bytes += len(data)
