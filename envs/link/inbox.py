"""What a simulator has said on one connection: filled by one thread, awaited by another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from donkey_rl.envs.link import reports
from donkey_rl.envs.link.decoder import StreamDecoder
from donkey_rl.envs.link.peer import Peer
from donkey_rl.envs.link.statistics import Figures, Statistics
from donkey_rl.errors import MessageError

ReportT = TypeVar("ReportT", bound=reports.Report)
FoundT = TypeVar("FoundT")

_MOST_ANSWERS = 200
_MOST_HITS = 200
_DROPS_IN_A_ROW = 100
_BYTES_IN_A_ROW = 16 * 1024 * 1024
"""A peer that sends more than this without one message speaks another protocol."""

_STANDSTILL_S = 0.5
"""A wait that ends so late: this process stood still (Ctrl-Z, a debugger)."""

_GREETS = (
    "See whether a DonkeyCar simulator listens at this port and still runs: it greets whoever "
    "connects."
)

_EVENTS = (
    reports.SceneSelectionReady,
    reports.CarLoaded,
    reports.NeedCarConfig,
    reports.RaceStart,
    reports.RaceStop,
    reports.CrossStart,
    reports.Disqualified,
    reports.MissedCheckpoint,
    reports.StartingLine,
)
_CALLS = (reports.CarLoaded, reports.NeedCarConfig)


class Arrival(NamedTuple):
    """Telemetry as it came.

    Attributes:
        telemetry: The message.
        arrived: When (monotonic, s).
        number: How many had come with it.
        skipped: Those passed over since the last one taken.
        hits: What was touched since then.
        command_age: How old the last command was (s), None before the first.
    """

    telemetry: reports.Telemetry
    arrived: float
    number: int
    skipped: int
    hits: tuple[str, ...]
    command_age: float | None


class Inbox:
    """Messages of one connection, sorted by who waits for them; every wait has a deadline."""

    def __init__(
        self, peer: Peer, silence_s: float, figures: Figures, events: deque[reports.Report]
    ) -> None:
        """Starts empty.

        Args:
            peer: Who is named in errors.
            silence_s: Without any byte for so long, the peer counts as gone.
            figures: Counts on, also over several connections.
            events: Where reports go that nobody waits for.
        """
        self.spawn: reports.Vector | None = None
        self._peer = peer
        self._silence = silence_s
        self._figures = figures
        self._events = events
        self._decoder = StreamDecoder()
        self._changed = threading.Condition()
        self._answers: deque[reports.Report] = deque(maxlen=_MOST_ANSWERS)
        self._calls: deque[reports.Report] = deque(maxlen=_MOST_ANSWERS)
        self._newest: tuple[reports.Telemetry, float, float | None] | None = None
        self._number = self._taken = 0
        self._hits: deque[str] = deque(maxlen=_MOST_HITS)
        self._fresh_car = True
        self._last_byte = time.perf_counter()
        self._bytes_in_row = 0
        self._drops_before = 0
        self._messages = 0
        self._ended: str | None = None

    def receive(self, data: bytes) -> None:
        """Takes bytes as they come."""
        arrived = time.perf_counter()
        with self._changed:
            found = self._decoder.feed(data)
            self._last_byte = arrived
            self._figures.received_bytes += len(data)
            self._bytes_in_row += len(data)
            for fields in found:
                try:
                    report = reports.parse(fields)
                except MessageError as error:
                    self._figures.dropped[f"{error.type_name}: {error.field}"[:80]] += 1
                else:
                    self._sort(report, arrived)
            self._changed.notify_all()

    def end(self, reason: str) -> None:
        """Notes why nothing more will come; the first reason counts."""
        with self._changed:
            if self._ended is None:
                self._ended = reason
            self._figures.dropped.update(self._decoder.dropped)
            self._decoder.dropped.clear()
            self._changed.notify_all()

    def _sort(self, report: reports.Report, arrived: float) -> None:
        if isinstance(report, reports.Unknown):
            self._figures.dropped["unknown type"] += 1
            return
        self._messages += 1
        self._bytes_in_row = 0
        self._drops_before = self._decoder.dropped.total()
        if isinstance(report, reports.Telemetry):
            self._take_in(report, arrived)
        elif not isinstance(report, reports.Heartbeat):
            self._answers.append(report)
        if isinstance(report, _EVENTS):
            self._events.append(report)
        if isinstance(report, _CALLS):
            self._calls.append(report)
            self._fresh_car = True

    def _take_in(self, telemetry: reports.Telemetry, arrived: float) -> None:
        if self._fresh_car:
            self.spawn = telemetry.position
            self._fresh_car = False
        if telemetry.hit != "none":
            self._hits.append(telemetry.hit)
        self._number += 1
        age = self._figures.note_telemetry(telemetry, arrived)
        self._newest = (telemetry, arrived, age)

    @property
    def number(self) -> int:
        """How many messages of telemetry have come."""
        with self._changed:
            return self._number

    @property
    def is_of_2022(self) -> bool:
        """Whether the car of 2022 or a newer one sends."""
        with self._changed:
            return self._newest is not None and self._newest[0].is_of_2022

    @property
    def has_calls(self) -> bool:
        """Whether the simulator has given a new car, or wants to know who drives."""
        with self._changed:
            return bool(self._calls)

    def take_calls(self) -> tuple[reports.Report, ...]:
        """Returns those `car_loaded` and `need_car_config` that were not taken yet."""
        with self._changed:
            found = tuple(self._calls)
            self._calls.clear()
            return found

    def forget_answers(self, kind: type[reports.Report]) -> None:
        """Drops answers of a kind that came too late for whoever had asked."""
        with self._changed:
            kept = [each for each in self._answers if not isinstance(each, kind)]
            self._answers = deque(kept, maxlen=_MOST_ANSWERS)

    def take_answer(
        self, kinds: tuple[type[ReportT], ...], timeout_s: float, awaited: str, *, patient: bool
    ) -> ReportT:
        """Waits for the next answer of some kinds.

        Args:
            kinds: What is waited for.
            timeout_s: How long.
            awaited: What errors say was awaited.
            patient: Whether silence is usual here, as while a scene is loaded.

        Raises:
            LinkError: It does not come.
        """

        def found() -> ReportT | None:
            if self._newest is not None and isinstance(self._newest[0], kinds):
                return self._newest[0]
            return self._pop(kinds)

        result = self._wait(found, timeout_s, awaited, patient=patient)
        if result is None:
            raise self._late(timeout_s, awaited)
        return result

    def find_answer(self, kind: type[ReportT], timeout_s: float, awaited: str) -> ReportT | None:
        """Waits for an answer that may never come; None if it does not.

        Raises:
            LinkError: The connection failed.
        """
        return self._wait(lambda: self._pop((kind,)), timeout_s, awaited)

    def _pop(self, kinds: tuple[type[ReportT], ...]) -> ReportT | None:
        for report in self._answers:
            if isinstance(report, kinds):
                self._answers.remove(report)
                return report
        return None

    def wait_telemetry(
        self, after: int, timeout_s: float, awaited: str, *, patient: bool = False
    ) -> bool:
        """Waits until more than `after` messages of telemetry have come, and takes none.

        Args:
            after: More than so many messages must have come.
            timeout_s: How long to wait.
            awaited: What errors say was awaited.
            patient: Whether silence is usual here.

        Returns:
            Whether they have come in time.

        Raises:
            LinkError: None can come any more.
        """

        def found() -> bool | None:
            return self._number > after or None

        return self._wait(found, timeout_s, awaited, patient=patient) is not None

    def take_telemetry(self, after: int, timeout_s: float, awaited: str) -> Arrival:
        """Waits for telemetry and returns the newest.

        Args:
            after: More than so many messages must have come.
            timeout_s: How long to wait.
            awaited: What errors say was awaited.

        Raises:
            LinkError: None comes.
        """

        def found() -> Arrival | None:
            if self._newest is None or self._number <= max(after, self._taken):
                return None
            skipped = self._number - self._taken - 1
            arrival = Arrival(
                self._newest[0],
                self._newest[1],
                self._number,
                skipped,
                tuple(self._hits),
                self._newest[2],
            )
            self._taken = self._number
            self._hits.clear()
            self._figures.skipped += skipped
            self._figures.frame_ages.append(time.perf_counter() - arrival.arrived)
            self._figures.note_handed_out()
            return arrival

        result = self._wait(found, timeout_s, awaited)
        if result is None:
            raise self._late(timeout_s, awaited)
        return result

    def note_command(self, steering: float, throttle: float) -> int:
        """A command goes out now; returns how many messages of telemetry came before it."""
        with self._changed:
            self._figures.note_command(steering, throttle, time.perf_counter())
            return self._number

    def note_dropped(self, reason: str) -> None:
        """Something that had come could not be used."""
        with self._changed:
            self._figures.dropped[reason] += 1

    def shortest_round_trip(self) -> float:
        """Returns the shortest time from a command to its echo (s), 0 before the first."""
        with self._changed:
            return self._figures.shortest_round_trip()

    def statistics(self, sent_bytes: int) -> Statistics:
        """Returns the figures now; `sent_bytes` is what this connection has sent."""
        with self._changed:
            dropped = dict(self._decoder.dropped)
            return self._figures.snapshot(dropped, sent_bytes)

    def _wait(
        self,
        found: Callable[[], FoundT | None],
        timeout_s: float,
        awaited: str,
        *,
        patient: bool = False,
    ) -> FoundT | None:
        """Waits until something is found; None after the time given."""
        deadline = time.perf_counter() + timeout_s
        with self._changed:
            while True:
                result = found()
                if result is not None:
                    return result
                self._check(awaited)
                now = time.perf_counter()
                silent = float("inf") if patient else self._last_byte + self._silence
                if now >= silent:
                    raise self._late(now - self._last_byte, awaited, silent=True)
                if now >= deadline:
                    return None
                patience = min(deadline, silent) - now
                self._changed.wait(patience)
                woke = time.perf_counter()
                stood_s = woke - now - patience
                if stood_s > _STANDSTILL_S:
                    # This process did: what came meanwhile is still to be read.
                    deadline += stood_s
                    self._last_byte = min(woke, self._last_byte + stood_s)

    def check_open(self, awaited: str) -> None:
        """Does nothing as long as the connection lives.

        Raises:
            LinkClosed: It has ended.
        """
        with self._changed:
            self._check_open(awaited)

    def _check_open(self, awaited: str) -> None:
        if self._ended is not None:
            raise self._peer.closed(self._ended, awaited)

    def _check(self, awaited: str) -> None:
        """Raises the error of a connection that will bring nothing more."""
        self._check_open(awaited)
        drops = self._decoder.dropped.total() - self._drops_before
        if drops >= _DROPS_IN_A_ROW or self._bytes_in_row >= _BYTES_IN_A_ROW:
            raise self._peer.foreign(
                f"{self._bytes_in_row} bytes came without a message in them", awaited
            )

    def _late(self, waited_s: float, awaited: str, *, silent: bool = False) -> Exception:
        if not self._messages and self._bytes_in_row:
            return self._peer.foreign(
                f"{self._bytes_in_row} bytes came without a message in them", awaited
            )
        what = "The simulator has sent nothing for" if silent else "Nothing came within"
        remedy = "" if self._messages else _GREETS
        return self._peer.late(f"{what} {waited_s:.3g} s", awaited, remedy)
