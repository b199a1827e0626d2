"""Figures of a connection: counts and times, in bounded memory."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from donkey_rl.envs.link.reports import Telemetry

_KEPT = 1000
_PROBES = 16
_ECHO_GAP = 1e-4
"""A command is echoed with seven digits."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """How a connection has done.

    Attributes:
        frames: Messages of telemetry that came.
        skipped: Those passed over.
        missed_deadlines: Those that came before the one before had been answered by a command.
        dropped: What could not be used, by reason.
        received_bytes: Bytes that came.
        sent_bytes: Bytes sent.
        reconnects: How often the connection was made anew.
        frame_age_p50_s: Median time from arrival until a frame was handed out; None before any.
        frame_age_p99_s: Its 99th percentile.
        command_age_s: Median age of the last command when a frame came.
        round_trip_s: Median time from a changed command to the first frame that echoes it; None
            if none did.
        interval_s: Median time between messages by the clock.
        simulated_interval_s: Median time between messages in the simulation.
    """

    frames: int
    skipped: int
    missed_deadlines: int
    dropped: Mapping[str, int]
    received_bytes: int
    sent_bytes: int
    reconnects: int
    frame_age_p50_s: float | None
    frame_age_p99_s: float | None
    command_age_s: float | None
    round_trip_s: float | None
    interval_s: float | None
    simulated_interval_s: float | None


class Figures:
    """Collects what `Statistics` tells; not safe without its owner's lock."""

    def __init__(self) -> None:
        """Starts at zero."""
        self.frames = 0
        self.skipped = 0
        self.missed_deadlines = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.reconnects = 0
        self.dropped: Counter[str] = Counter()
        self.frame_ages: deque[float] = deque(maxlen=_KEPT)
        self._command_ages: deque[float] = deque(maxlen=_KEPT)
        self._round_trips: deque[float] = deque(maxlen=_KEPT)
        self._intervals: deque[float] = deque(maxlen=_KEPT)
        self._simulated: deque[float] = deque(maxlen=_KEPT)
        self.restart()

    def restart(self) -> None:
        """Forgets what belongs to one connection; counts and times stay."""
        self._last: tuple[float, float] | None = None
        self._commanded: float | None = None
        self._command = (0.0, 0.0)
        self._echoed = (0.0, 0.0)
        self._probes: deque[tuple[tuple[float, float], float]] = deque(maxlen=_PROBES)
        self._unanswered = False

    def note_command(self, steering: float, throttle: float, now: float) -> None:
        """A command of the driver is about to be sent."""
        command = (min(1.0, max(-1.0, steering)), min(1.0, max(-1.0, throttle)))
        known = [self._command, self._echoed, *(each for each, _ in self._probes)]
        # A value that another message may show as well proves nothing.
        if not any(_are_close(command, each) for each in known):
            self._probes.append((command, now))
        self._command = command
        self._commanded = now
        self._unanswered = False

    def note_handed_out(self) -> None:
        """From now on a command is due before the next message."""
        self._unanswered = True

    def note_telemetry(self, telemetry: Telemetry, arrived: float) -> float | None:
        """Telemetry came; returns the age of the last command (s), None before the first."""
        self.frames += 1
        self.missed_deadlines += self._unanswered
        if self._last is not None:
            self._intervals.append(arrived - self._last[0])
            self._simulated.append(telemetry.time - self._last[1])
        self._last = (arrived, telemetry.time)
        self._note_echo((telemetry.steering, telemetry.throttle), arrived)
        if self._commanded is None:
            return None
        self._command_ages.append(arrived - self._commanded)
        return arrived - self._commanded

    def _note_echo(self, shown: tuple[float, float], arrived: float) -> None:
        self._echoed = shown
        for k, (command, sent) in enumerate(self._probes):
            if _are_close(command, shown):
                self._round_trips.append(arrived - sent)
                for _ in range(k + 1):
                    self._probes.popleft()
                return

    def shortest_round_trip(self) -> float:
        """Returns the shortest time from a command to its echo (s), 0 without any."""
        return min(self._round_trips, default=0.0)

    def snapshot(self, dropped: Mapping[str, int], sent_bytes: int) -> Statistics:
        """Returns the figures now.

        Args:
            dropped: What the decoder of the open connection has lost.
            sent_bytes: What the open connection has sent.
        """
        return Statistics(
            frames=self.frames,
            skipped=self.skipped,
            missed_deadlines=self.missed_deadlines,
            dropped=dict(self.dropped + Counter(dropped)),
            received_bytes=self.received_bytes,
            sent_bytes=self.sent_bytes + sent_bytes,
            reconnects=self.reconnects,
            frame_age_p50_s=_percentile(self.frame_ages, 50),
            frame_age_p99_s=_percentile(self.frame_ages, 99),
            command_age_s=_percentile(self._command_ages, 50),
            round_trip_s=_percentile(self._round_trips, 50),
            interval_s=_percentile(self._intervals, 50),
            simulated_interval_s=_percentile(self._simulated, 50),
        )


def _are_close(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return abs(a[0] - b[0]) < _ECHO_GAP and abs(a[1] - b[1]) < _ECHO_GAP


def _percentile(values: deque[float], share: float) -> float | None:
    return float(np.percentile(values, share)) if values else None
