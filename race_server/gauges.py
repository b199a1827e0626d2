"""What is known of a car in figures, and how that makes its status."""

from __future__ import annotations

import time

from donkey_rl.envs.link.statistics import Statistics
from donkey_rl.race_server.commanding import Command
from donkey_rl.race_server.interface import Seat
from donkey_rl.race_server.journal import Journal
from donkey_rl.race_server.pacing import Pacing
from donkey_rl.race_server.race_figures import LapFigures, LatencyFigures
from donkey_rl.race_server.race_state import RaceState
from donkey_rl.race_server.status import CarStatus, LatencyStatus, Phase

REST = 0.1
"""Below this speed, as reported, a car stands."""


class Gauges:
    """Counts and measures one car.

    Attributes:
        frames: Frames that came.
        disconnects: How often the connection was lost.
        frame_at: When the newest frame came (monotonic, s), None before the first.
        time_s: Simulation time of that (s).
        speed: As it reports.
        latencies: From frame to command.
        laps: Of this run, and the best.
        latency: All times, as of the last `look`.
        warnings: What people should know, as of then.
    """

    def __init__(self) -> None:
        """Starts at zero."""
        self.frames = self.disconnects = 0
        self.frame_at: float | None = None
        self.time_s = self.speed = 0.0
        self.latencies = LatencyFigures()
        self.laps = LapFigures()
        self.latency = LatencyStatus()
        self.warnings: tuple[str, ...] = ()
        self._dropped: dict[str, int] = {}

    def look(self, figures: Statistics, pacing: Pacing, seat: Seat, journal: Journal) -> None:
        """Looks at all times.

        Args:
            figures: Of the link.
            pacing: Told of them.
            seat: Who drives.
            journal: What is recorded.
        """
        pacing.measure(figures.round_trip_s, figures.interval_s)
        self._dropped = {f"message: {why}": count for why, count in figures.dropped.items()}
        percentiles = self.latencies.percentiles()
        usual = percentiles[0] if percentiles else 0.0
        self.latency = LatencyStatus(
            None if figures.round_trip_s is None else 1000.0 * figures.round_trip_s,
            percentiles,
            seat.description.latency_ms,
            max(0.0, 1000.0 * pacing.hold_s - usual),
            self.latencies.histogram(),
        )
        problem = journal.record.problem
        unwritten = f"the record is not on the disk: {problem}" if problem else ""
        told = (pacing.warning, *seat.warnings, unwritten)
        self.warnings = tuple(text for text in told if text)

    def phase(self, state: RaceState, trouble: str, is_reversing: bool) -> tuple[Phase, str]:
        """Returns what a car does that is connected, and why.

        Args:
            state: Whether it may move.
            trouble: Why it does not although it may, empty if it does.
            is_reversing: Whether it is being got free.
        """
        if not state.has_car:
            shown = "the host shows its menu: no scene is open there"
            return "waiting", shown if state.in_menu else "the host gives no car now"
        if not state.go:
            return ("stopping" if self.speed > REST else "ready"), state.why
        if state.braked:
            return "stopping", f"braked by {state.braked}"
        if trouble:
            return "stopping", trouble
        if is_reversing:
            return "recovering", "the car was stuck"
        return "driving", f"GO by {state.by}"

    def status(
        self,
        names: tuple[str, str],
        phase: tuple[Phase, str],
        state: RaceState,
        seats: tuple[Seat, str],
        command: Command,
        journal: Journal,
    ) -> CarStatus:
        """Returns how the car is doing.

        Args:
            names: Its own and its host's.
            phase: What it does, and why.
            state: Whether it may move.
            seats: Who drives, and the name of who drives next.
            command: The last one.
            journal: What went wrong.
        """
        crossed, at = self.laps.crossed, self.frame_at
        return CarStatus(
            car=names[0],
            host=names[1],
            phase=phase[0],
            reason=phase[1],
            go=state.go,
            driver=seats[0].name,
            drivers=tuple(seats[0].names),
            next_driver=seats[1],
            time_s=self.time_s,
            speed=self.speed,
            steering=command.steering,
            throttle=command.throttle,
            brake=command.brake,
            frames=self.frames,
            frame_age_s=None if at is None else max(0.0, time.perf_counter() - at),
            laps_s=self.laps.run,
            best_lap_s=self.laps.best_s,
            lap_time_s=None if crossed is None else max(0.0, self.time_s - crossed),
            disqualified=state.disqualified,
            disconnects=self.disconnects,
            faults={**journal.faults, **self._dropped},
            warnings=self.warnings,
            latency=self.latency,
            record=journal.record,
        )
