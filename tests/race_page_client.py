"""Somebody who opens the live page without a browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

from donkey_rl import pictured_json
from donkey_rl.race_server.page.board import Page

DEADLINE_S = 120.0


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    page: Page,
    path: str,
    method: str = "GET",
    body: Any = None,
    source: str = "127.0.0.1",
    **headers: str | None,
) -> Answer:
    """Sends a request; header names are written with _ for -, and left out where None."""
    link = http.client.HTTPConnection(
        "127.0.0.1", page.port, timeout=DEADLINE_S, source_address=(source, 0)
    )
    given = {key.replace("_", "-"): value for key, value in headers.items() if value is not None}
    with contextlib.closing(link):
        link.request(method, path, body, given)
        answer = link.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def origin(page: Page) -> str:
    return f"http://127.0.0.1:{page.port}"


def order(page: Page, key: str, values: Any, **headers: str | None) -> Answer:
    """Posts an order as the page does; headers replace or take away its own."""
    own: dict[str, str | None] = {"origin": origin(page), "x_race_key": key}
    return ask(page, "/order", "POST", json.dumps(values), **{**own, **headers})


class Viewer:
    """An open page.

    Attributes:
        key: What its orders carry.
        received: How many messages came.
        log: All lines of the log, each of which comes in one message only.
        pictures: All pictures.
    """

    def __init__(self, link: ClientConnection) -> None:
        self.link = link
        self.key = ""
        self.received = 0
        self.log: list[list[Any]] = []
        self.pictures: list[bytes] = []

    def receive(self) -> dict[str, Any]:
        """Returns the next message, which is not answered."""
        content = self.link.recv(timeout=DEADLINE_S)
        assert isinstance(content, bytes)
        text, picture = pictured_json.parted(content)
        told = json.loads(text)
        assert isinstance(told, dict)
        self.key = told.get("key", self.key)
        self.received += 1
        self.log += told["log"]
        if picture:
            self.pictures.append(picture)
        return told

    def say(self, seen: int, car: str = "") -> None:
        self.link.send(json.dumps({"seen": seen, "car": car}))

    def until(self, wanted: Callable[[dict[str, Any]], Any], car: str = "") -> dict[str, Any]:
        """Answers messages until one is as wanted, which is returned."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            told = self.receive()
            self.say(told["n"], car)
            if wanted(told):
                return told
        raise TimeoutError("No message was as wanted.")


@contextlib.contextmanager
def viewing(page: Page, **headers: str | None) -> Iterator[Viewer]:
    own: dict[str, str | None] = {"origin": origin(page), **headers}
    with connect(
        f"ws://127.0.0.1:{page.port}/watch",
        additional_headers={key: value for key, value in own.items() if value is not None},
        compression=None,
        max_size=1 << 22,
        open_timeout=DEADLINE_S,
    ) as link:
        yield Viewer(link)


def wait(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError(what)
