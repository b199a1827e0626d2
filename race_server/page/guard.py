"""Who gets an answer: the rules for each request, the limit on guesses, the count of refusals."""

from __future__ import annotations

import collections
import hmac
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from donkey_rl.race_server.page.messages import MOST_ORDER_BYTES
from donkey_rl.web_access import Access

KEY_HEADER = "X-Race-Key"
"""What an order must carry beside its origin: the key that the page got over its WebSocket."""

WINDOW_S = 60.0
"""Wrong tokens are counted over so long (s)."""

MOST_WRONG = 20
"""Wrong tokens of one address in that time; after them it gets no answer until it is over."""

MOST_WRONG_IN_ALL = 100
"""Wrong tokens of all addresses; after them only addresses that once had the right one do."""

_ADDRESSES_KEPT = 1024
_KINDS_KEPT = 100
_NOT_ALLOWED = 1008


class Tally:
    """Counts what happens too often for a log: that hears of the 1st, the 10th, the 100th.

    Attributes:
        counts: How often each kind has happened.
    """

    def __init__(self, what: str, note: Callable[[str], None]) -> None:
        """Begins at none.

        Args:
            what: What all kinds are, the first word of a line.
            note: Takes a line for the log.
        """
        self.counts: collections.Counter[str] = collections.Counter()
        self._what, self._note = what, note
        self._lock = threading.Lock()

    def add(self, kind: str, address: str = "") -> None:
        """Counts one.

        Args:
            kind: What happened; one of few, and nothing that a stranger has written.
            address: Who asked.
        """
        with self._lock:
            if len(self.counts) >= _KINDS_KEPT and kind not in self.counts:
                kind = "others"
            self.counts[kind] += 1
            count = self.counts[kind]
        if math.log10(count).is_integer():
            often = "" if count == 1 else f", {count} times so far"
            self._note(f"{self._what}{often}: {kind}{f' ({address})' if address else ''}")


class Complaints(logging.Handler):
    """Counts what the web server itself complains of, by the words of its own source."""

    def __init__(self, tally: Tally) -> None:
        """Takes all loggers' warnings, once it has been added to the root.

        Args:
            tally: Where they are counted.
        """
        super().__init__(logging.WARNING)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Counts a complaint, and names the error that led to it."""
        error = record.exc_info[1] if record.exc_info else None
        told = f" ({type(error).__name__})" if error else ""
        first = str(record.msg).partition("\n")[0][:200].strip()
        self._tally.add(first + told)


class Attempts:
    """Counts wrong tokens, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begins at none.

        Args:
            clock: Returns seconds.
        """
        self._clock = clock
        self._wrong: collections.OrderedDict[str, tuple[float, int]] = collections.OrderedDict()
        self._right: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._in_all = (-math.inf, 0)

    def wait_s(self, address: str) -> float:
        """Returns how long an address has to wait (s) before its token is looked at."""
        waits = [self._left(self._wrong.get(address, (-math.inf, 0)), MOST_WRONG)]
        if address not in self._right:
            waits.append(self._left(self._in_all, MOST_WRONG_IN_ALL))
        return max(waits)

    def wrong(self, address: str) -> None:
        """A wrong token came from an address."""
        self._wrong[address] = self._next(self._wrong.get(address, (-math.inf, 0)))
        _keep(self._wrong, address)
        self._in_all = self._next(self._in_all)

    def right(self, address: str) -> None:
        """The right token came from an address."""
        self._right[address] = None
        _keep(self._right, address)

    def _left(self, window: tuple[float, int], most: int) -> float:
        since, count = window
        return max(0.0, since + WINDOW_S - self._clock()) if count >= most else 0.0

    def _next(self, window: tuple[float, int]) -> tuple[float, int]:
        since, count = window
        now = self._clock()
        return (since, count + 1) if now - since < WINDOW_S else (now, 1)


def _keep(known: collections.OrderedDict[str, Any], address: str) -> None:
    """Makes an address the newest, and forgets the oldest where there are too many."""
    known.move_to_end(address)
    if len(known) > _ADDRESSES_KEPT:
        known.popitem(last=False)


class Guard:
    """Answers in place of the application where a request may not have an answer."""

    def __init__(
        self, app: ASGIApp, access: Access, attempts: Attempts, refusals: Tally, key: str
    ) -> None:
        """Stands before an application.

        Args:
            app: The application.
            access: Whom to let through.
            attempts: Counts wrong tokens.
            refusals: Counts refusals.
            key: What only pages know that were let in: others who guess from the same address
                do not keep their orders, STOP among them, from being heard.
        """
        self._app, self._access = app, access
        self._attempts, self._refusals = attempts, refusals
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or refuses it; see the ASGI specification."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        refusal = self._refusal(request)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        kind, answer = refusal
        self._refusals.add(kind, address_of(request))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _NOT_ALLOWED})
        else:
            await answer(scope, receive, send)

    def _refusal(self, request: HTTPConnection) -> tuple[str, Response] | None:
        """Returns what is wrong with a request, and the answer to it."""
        host = request.headers.get("host")
        if not self._access.allows_host(host):
            text = "This server is known by another name: open the address that it has printed."
            return "a request for another host", Response(text, 421)
        if self._access.token and (refusal := self._token_refusal(request)):
            return refusal
        only_asks = request.scope.get("method") in ("GET", "HEAD")
        if not only_asks and not self._access.allows_origin(request.headers.get("origin"), host):
            return "a request of a foreign origin", Response("Not from this page.", 403)
        # The protocol has seen to it that this is a number.
        if int(request.headers.get("content-length", "0")) > MOST_ORDER_BYTES:
            return "a body that is too large", Response("Too large.", 413)
        return None

    def _token_refusal(self, request: HTTPConnection) -> tuple[str, Response] | None:
        address = address_of(request)
        known = request.headers.get(KEY_HEADER, "").encode()
        is_let_in = hmac.compare_digest(known, self._key)
        if not is_let_in and (wait_s := self._attempts.wait_s(address)):
            after = {"Retry-After": str(math.ceil(wait_s))}
            text = "Too many wrong tokens. Wait, then open the address that the racer printed."
            return "more after too many wrong tokens", Response(text, 429, after)
        given = [token for token in _tokens(request, self._access.port) if token]
        # Each is compared: how long that takes tells nothing of which one was right.
        if any([self._access.allows_token(token) for token in given]):
            self._attempts.right(address)
            return None
        text = "Open the address that donkey-rl race has printed, with its token."
        if not given:
            return "a request without the token", Response(text, 403)
        self._attempts.wrong(address)
        return "a wrong token", Response(text, 403)


def address_of(request: HTTPConnection) -> str:
    """Returns where a request comes from."""
    return request.client.host if request.client else ""


def cookie_name(port: int) -> str:
    """Returns the cookie that keeps the token: cookies know hosts, not ports."""
    return f"donkey_rl_race_{port}"


def _tokens(request: HTTPConnection, port: int) -> Iterator[str]:
    """Yields each token that a request carries."""
    yield request.cookies.get(cookie_name(port), "")
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield value.strip()
    if request.scope["path"] == "/":
        yield request.query_params.get("token", "")
