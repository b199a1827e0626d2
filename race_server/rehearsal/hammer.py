"""Hammers a page: requests without end, of which none may do anything.

`python -m donkey_rl.race_server.rehearsal.hammer URL SECONDS` is a process of its own, so that its
work is not the page's, nor the rehearsal's. It prints one JSON object: how often each status came,
and how many orders were taken that should not have been.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
import urllib.parse
from collections import Counter

_THREADS = 8
_TIMEOUT_S = 5.0
_LARGE = 2_000_000
_ORDER = b'{"do": "go"}'
_FOREIGN = {"Origin": "http://elsewhere.example"}

Request = tuple[str, str, dict[str, str], bytes]

REQUESTS: tuple[Request, ...] = (
    ("GET", "/", {}, b""),
    ("GET", "/health", {}, b""),
    ("GET", "/metrics", {}, b""),
    ("GET", "/?token=wrong", {"Cookie": "token=wrong"}, b""),
    ("GET", "/../../../../etc/passwd", {}, b""),
    ("GET", "/static/..%2f..%2fconfig.py", {}, b""),
    ("POST", "/order", _FOREIGN, _ORDER),
    ("POST", "/order", {"Content-Type": "application/json"}, _ORDER),
    ("POST", "/order", {"Authorization": "Bearer wrong"} | _FOREIGN, _ORDER),
    ("POST", "/order", _FOREIGN, b"x" * _LARGE),
    ("DELETE", "/order", {}, b""),
)
"""Some are plain, most are what nobody honest sends."""


class Hammer:
    """Threads that send requests until their time is over.

    Attributes:
        statuses: How often each status came; `none` where no answer did.
        taken: Orders that were answered as if they had been followed.
    """

    def __init__(self, url: str, seconds: float) -> None:
        """Prepares to hammer.

        Args:
            url: Of the page.
            seconds: How long.
        """
        parts = urllib.parse.urlsplit(url)
        self.statuses: Counter[str] = Counter()
        self.taken = 0
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._end = time.perf_counter() + seconds
        self._lock = threading.Lock()

    def run(self) -> None:
        """Hammers, and returns at the end."""
        threads = [threading.Thread(target=self._work, args=(k,)) for k in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, seed: int) -> None:
        rng = random.Random(seed)
        while time.perf_counter() < self._end:
            method, path, headers, body = rng.choice(REQUESTS)
            status = self._ask(method, path, headers, body)
            with self._lock:
                self.statuses[status] += 1
                self.taken += method == "POST" and status.startswith("2")

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> str:
        link = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            link.request(method, path, body or None, headers)
            return str(link.getresponse().status)
        except (OSError, http.client.HTTPException):
            return "none"
        finally:
            link.close()


def main() -> None:
    """Hammers what the command line says."""
    hammer = Hammer(sys.argv[1], float(sys.argv[2]))
    hammer.run()
    sys.stdout.write(json.dumps({"statuses": hammer.statuses, "taken": hammer.taken}) + "\n")


if __name__ == "__main__":
    main()
