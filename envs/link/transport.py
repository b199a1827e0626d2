"""Bytes to and from a simulator: one socket and the thread that reads it."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable

_CHUNK = 256 * 1024
_JOIN_S = 5.0
_SEND_BUFFER = 16 * 1024
"""Bytes: commands must not queue where nobody reads, to be obeyed when they are old."""

_SHORTEST_TRY_S = 0.05
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class Pauses:
    """Pauses between attempts to connect: doubled each time, with jitter."""

    def __init__(self, seed: int | None = None, longest_s: float = _LONGEST_PAUSE_S) -> None:
        """Starts the random stream of the jitter.

        Args:
            seed: Of the stream; None: another one each time, so that the cars of many programs
                do not all come back at once.
            longest_s: No pause is longer.
        """
        self._random = random.Random(seed)
        self._longest = longest_s

    def before(self, attempt: int) -> float:
        """Returns the pause before the n-th new attempt (s), n from 0."""
        longest = min(self._longest, _FIRST_PAUSE_S * 2.0 ** min(attempt, 10))
        return longest * self._random.uniform(0.5, 1.0)


class Transport:
    """An open connection.

    A thread receives and hands on what comes, until either end closes.
    """

    def __init__(
        self,
        link: socket.socket,
        receive: Callable[[bytes], None],
        end: Callable[[str], None],
        send_timeout_s: float,
    ) -> None:
        """Starts to receive.

        Args:
            link: A connected socket, which is closed with this.
            receive: Called with what came, in the reading thread.
            end: Called once, in the reading thread, with why no more will come.
            send_timeout_s: How long the peer may take to accept what is sent.
        """
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        link.settimeout(send_timeout_s)
        self._socket = link
        self._receive = receive
        self._end = end
        self._closing = False
        self._thread = threading.Thread(target=self._read, name="simulator link", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Sends at once.

        Raises:
            TimeoutError: The peer takes nothing.
            OSError: The connection is broken.
        """
        self._socket.sendall(data)

    def close(self) -> None:
        """Closes the connection and waits for the thread; may be called again."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
        self._socket.close()

    def _read(self) -> None:
        reason = "The connection was closed by this program"
        try:
            while not self._closing:
                try:
                    data = self._socket.recv(_CHUNK)
                except TimeoutError:
                    continue
                if not data:
                    reason = "The simulator closed the connection"
                    break
                self._receive(data)
        except OSError as error:
            reason = f"The connection broke: {error.strerror or error}"
        finally:
            self._end(reason)


def connect(
    host: str, port: int, timeout_s: float, pauses: Callable[[int], float]
) -> socket.socket:
    """Connects, trying again until somebody answers.

    Args:
        host: Name or address.
        port: Its port.
        timeout_s: How long to try.
        pauses: Seconds before the n-th new attempt, n from 0.

    Raises:
        OSError: Nobody answered; the last attempt's error.
    """
    deadline = time.perf_counter() + timeout_s
    attempt = 0
    while True:
        left = deadline - time.perf_counter()
        try:
            return _connected(host, port, left)
        except OSError:
            pause = pauses(attempt)
            if time.perf_counter() + pause >= deadline:
                raise
        threading.Event().wait(pause)
        attempt += 1


def _connected(host: str, port: int, timeout_s: float) -> socket.socket:
    """Connects to the first address of a host that answers, all of them within the time.

    A name server may take longer than that, each time; the time begins when it has answered.
    """
    addresses = [each[4] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    deadline = time.perf_counter() + timeout_s
    for tried, address in enumerate(addresses, start=1):
        left = (deadline - time.perf_counter()) / (len(addresses) - tried + 1)
        try:
            return socket.create_connection((str(address[0]), port), max(left, _SHORTEST_TRY_S))
        except OSError:
            if tried == len(addresses):
                raise
    raise OSError(f"{host} has no address")
