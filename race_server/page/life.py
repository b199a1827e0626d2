"""One life of the process of the page, at the racer's end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from donkey_rl.pipe_frames import BrokenFrameError, read_frame, write_frame
from donkey_rl.race_server.page import messages
from donkey_rl.race_server.page.messages import Hello, OrderRequest

_END_S = 2.0


class Life:
    """A process that serves the page, from its start to its end.

    Attributes:
        port: Port that it serves on, 0 before it does.
        failure: Why it cannot serve, empty if it has not said so.
        ready: Set once it serves, or has ended.
        ended: Set once it has ended.
    """

    def __init__(
        self, hello: Hello, order: Callable[[OrderRequest], None], note: Callable[[str], None]
    ) -> None:
        """Starts it.

        Args:
            hello: How to serve.
            order: Takes each order, in a thread of its own.
            note: Takes what the page wants to have in the log.

        Raises:
            OSError: The system starts no process.
        """
        self.port = 0
        self.failure = ""
        self.ready = threading.Event()
        self.ended = threading.Event()
        self._order, self._note = order, note
        self._writing_since: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "donkey_rl.race_server.page"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        threading.Thread(target=self._listen, name="race page orders", daemon=True).start()
        with contextlib.suppress(OSError):
            self.write(messages.HELLO, hello.model_dump_json().encode())

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def blocked_s(self) -> float:
        """How long it has not taken what is being written (s)."""
        since = self._writing_since
        return 0.0 if since is None else time.perf_counter() - since

    def write(self, kind: bytes, content: bytes) -> None:
        """Writes a frame, and waits until the process takes it; one thread may do so.

        Raises:
            OSError: It has ended.
        """
        if self._process.stdin is None:
            return
        self._writing_since = time.perf_counter()
        try:
            write_frame(self._process.stdin, kind, content)
        except ValueError as error:
            raise BrokenPipeError("It has been ended.") from error
        finally:
            self._writing_since = None

    def kill(self) -> None:
        """Ends it at once; a write that waits fails."""
        self._process.kill()

    def end(self) -> None:
        """Lets it end by itself, and sees to it that it does; nobody may be writing."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.ended.wait(_END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self) -> None:
        """Takes frames until there are none."""
        stream = self._process.stdout
        with contextlib.suppress(BrokenFrameError, OSError, ValueError):
            while stream is not None:
                self._take(*read_frame(stream, messages.MOST_ANSWER_BYTES))
        self.ended.set()
        self.ready.set()

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == messages.READY:
            self.port = int(json.loads(content)["port"])
            self.ready.set()
        elif kind == messages.FAILED:
            self.failure = content.decode(errors="replace")
        elif kind == messages.ORDER:
            self._order(OrderRequest.model_validate_json(content))
        elif kind == messages.NOTE:
            self._note(content.decode(errors="replace"))
