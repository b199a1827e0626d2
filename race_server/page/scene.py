"""What the page knows of the race: the newest of each car, half a minute back, the log."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from donkey_rl import pictured_json
from donkey_rl.race_server.page.messages import Line

HISTORY_S = 30.0
"""How far back the charts go (s)."""

LINES_KEPT = 200
"""Lines of the log that a viewer gets who comes late."""

_SAMPLES = 1200
_SHOWN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Sample(NamedTuple):
    """One moment in the charts; what is not known is None.

    Attributes:
        at: Time (s, monotonic).
        speed: As reported.
        steering: Command.
        throttle: Command.
        brake: Command.
        round_trip_ms: From a command to the frame that shows it (ms).
        frame_to_command_ms: The median (ms).
    """

    at: float
    speed: float | None
    steering: float | None
    throttle: float | None
    brake: float | None
    round_trip_ms: float | None
    frame_to_command_ms: float | None


class CarView:
    """The newest of one car.

    Attributes:
        text: Its status as JSON, with the time of it.
        status: The same, read.
        at: Time of the status (s, monotonic).
        picture: What its camera saw last, JPEG or PNG; empty before the first.
        pictures: How many there have been.
        history: The last half minute.
    """

    def __init__(self) -> None:
        """Begins before the first status."""
        self.text = b""
        self.status: dict[str, Any] = {}
        self.at = 0.0
        self.picture = b""
        self.pictures = 0
        self.history: collections.deque[Sample] = collections.deque(maxlen=_SAMPLES)

    def take(self, text: bytes, picture: bytes) -> None:
        """Takes a status, and a picture if there is one that browsers can show."""
        told = json.loads(text)
        self.text, self.status, self.at = text, told["status"], told["at"]
        if picture.startswith(_SHOWN):
            self.picture = picture
            self.pictures += 1
        while self.history and self.at - self.history[0].at > HISTORY_S:
            self.history.popleft()
        status, latency = self.status, self.status["latency"]
        percentiles = latency["frame_to_command_ms"] or (None,)
        self.history.append(
            Sample(
                self.at,
                status["speed"],
                status["steering"],
                status["throttle"],
                status["brake"],
                latency["round_trip_ms"],
                percentiles[0],
            )
        )


class Scene:
    """All cars and the log; one thread feeds it, another reads.

    Attributes:
        listener: Called with the name of a car when there is news of it, with an empty one when
            there is a new line.
    """

    def __init__(self) -> None:
        """Begins without cars."""
        self.listener: Callable[[str], None] = _nobody
        self._lock = threading.Lock()
        self._cars: dict[str, CarView] = {}
        self._lines: collections.deque[tuple[int, Line]] = collections.deque(maxlen=LINES_KEPT)
        self._count = 0

    def take(self, content: bytes) -> None:
        """Takes a frame on a car, see `messages.status_frame`."""
        text, picture = pictured_json.parted(content)
        name = json.loads(text)["status"]["car"]
        with self._lock:
            self._cars.setdefault(name, CarView()).take(text, picture)
        self.listener(name)

    def log(self, line: Line) -> None:
        """Adds a line to the log."""
        with self._lock:
            self._count += 1
            self._lines.append((self._count, line))
        self.listener("")

    @property
    def cars(self) -> dict[str, CarView]:
        """The cars by their names, in alphabetical order."""
        with self._lock:
            return dict(sorted(self._cars.items()))

    def history(self, name: str) -> list[Sample]:
        """Returns the last half minute of a car."""
        with self._lock:
            return list(self._cars[name].history) if name in self._cars else []

    def lines(self, after: int) -> list[tuple[int, Line]]:
        """Returns the lines of the log after a number, each with its own."""
        with self._lock:
            return [line for line in self._lines if line[0] > after]


def _nobody(_: str) -> None:
    """Nobody looks."""
