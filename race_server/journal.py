"""What a car tells its record and its board, and what went wrong how often."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from donkey_rl.race_server import reporting
from donkey_rl.race_server.interface import Board, Kind, Level, Tape
from donkey_rl.race_server.status import CarStatus, Phase, RecordStatus

LOGGER = logging.getLogger("donkey_rl.race_server")

_SAID_AGAIN_S = 5.0
_MOST_KINDS = 100


class Journal:
    """Writes to tape and board; neither can stop the car.

    Attributes:
        faults: What went wrong, and how often.
    """

    def __init__(self, car: str, tape: Tape, board: Board) -> None:
        """Takes over tape and board; whoever made them closes them.

        Args:
            car: Its name.
            tape: Who records.
            board: Who shows.
        """
        self.faults: Counter[str] = Counter()
        self._car = car
        self._tape = tape
        self._board = board
        self._said: dict[str, float] = {}
        self._phase: tuple[Phase, str, bool] = ("connecting", "", False)

    def note(self, kind: Kind, fields: Mapping[str, Any], picture: bytes | None = None) -> None:
        """Adds a line to the record."""
        try:
            self._tape.note(kind, fields, picture)
        except Exception:
            self._fail("record")

    def say(self, level: Level, text: str) -> None:
        """Adds a line to the board's log."""
        try:
            self._board.log(self._car, level, text)
        except Exception:
            self._fail("page")

    def show(self, status: CarStatus, picture: bytes | None) -> None:
        """Shows how the car is doing; another phase is noted and said as well."""
        phase = (status.phase, status.reason, status.go)
        if phase != self._phase:
            if status.phase != self._phase[0] and (text := reporting.phase_text(status.phase)):
                self.say("info", text)
            self._phase = phase
            self.note("phase", dict(zip(("phase", "reason", "go"), phase, strict=True)))
        try:
            self._board.show(status, picture)
        except Exception:
            self._fail("page")

    def fault(self, kind: str, text: str) -> None:
        """Counts what went wrong; of one kind it is said every few seconds at most.

        Args:
            kind: A few words that are the same each time.
            text: One line for people.
        """
        self.count(kind)
        now = time.perf_counter()
        if now - self._said.get(kind, -_SAID_AGAIN_S) < _SAID_AGAIN_S:
            return
        self._said[kind] = now
        self.note("warning", {"text": text})
        self.say("warning", text)

    def count(self, kind: str) -> None:
        """Counts what went wrong without a word."""
        if kind not in self.faults and len(self.faults) >= _MOST_KINDS:
            kind = "others"
        self.faults[kind] += 1

    def _fail(self, what: str) -> None:
        """A tape or board that raises is a mistake of this program: told once for each."""
        if not self.faults[what]:
            LOGGER.exception("The %s has failed; the car drives on.", what)
        self.faults[what] += 1

    @property
    def record(self) -> RecordStatus:
        """What has been recorded."""
        try:
            return self._tape.status
        except Exception:
            self._fail("record")
            return RecordStatus()
