"""The browsers that look on: each gets the newest, as soon as it has shown what it had."""

from __future__ import annotations

import asyncio
import contextlib
import time

from fastapi import WebSocket, WebSocketDisconnect

from donkey_rl import pictured_json
from donkey_rl.race_server.page import messages
from donkey_rl.race_server.page.guard import Tally, address_of
from donkey_rl.race_server.page.messages import Watch
from donkey_rl.race_server.page.scene import HISTORY_S, Scene
from donkey_rl.race_server.status import LATENCY_EDGES_MS

MOST_VIEWERS = 32

IN_FLIGHT = 3
"""Messages that a viewer may have been sent and not shown yet; others are never sent."""

BEAT_S = 0.5
"""A viewer is told at least so often (s) how things stand, also where there is no news."""

_LEAST_S = 0.02
"""Between two messages to one viewer (s)."""

_BAD_MESSAGE, _TOO_MANY = 1007, 1013


class _Viewer:
    """One open page, at the server's end.

    Attributes:
        connection: Its WebSocket.
        car: Whose camera it wants to see, empty for the first.
        is_due: Whether there is something that it has not been sent.
        news: Set when that may have changed, or it has shown something.
        sent: Numbers of messages that it has not shown yet.
    """

    def __init__(self, connection: WebSocket) -> None:
        self.connection = connection
        self.car = ""
        self.is_due = True
        self.news = asyncio.Event()
        self.sent: list[int] = []
        self._number = self._line = self._picture = 0
        self._charted = ""

    def watch(self, message: Watch) -> None:
        """Follows what it says."""
        self.sent = [each for each in self.sent if each > message.seen]
        if message.car != self.car:
            self.car = message.car
            self.is_due = True
        self.news.set()

    def next(self, scene: Scene, key: str) -> bytes:
        """Returns the next message to it.

        Args:
            scene: What is known.
            key: What its orders must carry.
        """
        cars = scene.cars
        car = self.car if self.car in cars else next(iter(cars), "")
        lines = scene.lines(self._line)
        about = {
            "n": self._number + 1,
            "now": time.perf_counter(),
            "car": car,
            "log": [[line.at, line.car, line.level, line.text] for _, line in lines],
        }
        if self._number == 0:
            about |= {"key": key, "history_s": HISTORY_S, "fresh_s": messages.FRESH_S}
            about["edges_ms"] = LATENCY_EDGES_MS
        if car != self._charted:
            about["history"] = scene.history(car)
            self._picture = 0
        picture = b""
        if car and cars[car].pictures != self._picture:
            picture, self._picture = cars[car].picture, cars[car].pictures
        self._number, self._charted = self._number + 1, car
        self._line = lines[-1][0] if lines else self._line
        self.sent.append(self._number)
        statuses = b",".join(each.text for each in cars.values())
        text = messages.as_json(about)[:-1] + b',"cars":[' + statuses + b"]}"
        return pictured_json.joined(text, picture)


class Viewers:
    """All open pages."""

    def __init__(self, scene: Scene, key: str, refusals: Tally) -> None:
        """Begins with none.

        Args:
            scene: What they see.
            key: What their orders must carry.
            refusals: Counts what is refused.
        """
        self._scene, self._key, self._refusals = scene, key, refusals
        self._open: list[_Viewer] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def wake(self, car: str) -> None:
        """There is news of a car, or for an empty name of the log."""
        cars = self._scene.cars
        first = next(iter(cars), "")
        for viewer in self._open:
            if car in ("", viewer.car if viewer.car in cars else first):
                viewer.is_due = True
                viewer.news.set()

    async def serve(self, connection: WebSocket) -> None:
        """Keeps a page that was let in until it is closed."""
        if len(self._open) >= MOST_VIEWERS:
            self._refusals.add("one viewer more than there may be", address_of(connection))
            await connection.close(_TOO_MANY)
            return
        await connection.accept()
        viewer = _Viewer(connection)
        self._open.append(viewer)
        sender = asyncio.create_task(self._send(viewer))
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await self._listen(viewer)
        finally:
            sender.cancel()
            self._open.remove(viewer)
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender

    async def _send(self, viewer: _Viewer) -> None:
        """Sends what is newest, as long as there is somebody who shows it."""
        while True:
            if viewer.is_due and len(viewer.sent) < IN_FLIGHT:
                viewer.is_due = False
                await viewer.connection.send_bytes(viewer.next(self._scene, self._key))
                await asyncio.sleep(_LEAST_S)
            try:
                await asyncio.wait_for(viewer.news.wait(), BEAT_S)
            except TimeoutError:
                viewer.is_due = True
            viewer.news.clear()

    async def _listen(self, viewer: _Viewer) -> None:
        while True:
            try:
                text = await viewer.connection.receive_text()
                viewer.watch(Watch.model_validate_json(text))
            except (ValueError, KeyError):
                # A page of ours sends nothing of the kind.
                self._refusals.add("a viewer's message", address_of(viewer.connection))
                await viewer.connection.close(_BAD_MESSAGE)
                return
