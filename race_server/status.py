"""How a car is doing: what the page, `/metrics` and the command show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Phase = Literal["connecting", "waiting", "ready", "driving", "recovering", "stopping", "out"]
"""Connecting to the host; connected without a car; with a car, before GO; driving; getting free;
braking with a car, whoever wanted it (`CarStatus.reason` tells); out of the race, since driver,
host or scene do not fit."""

LATENCY_EDGES_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500)
"""Upper edges of the histograms' bins (ms); one more bin holds what is above."""


@dataclasses.dataclass(frozen=True)
class LatencyStatus:
    """Times of the link and of the driver (ms); None where it is not known yet.

    Attributes:
        round_trip_ms: From a command to the first frame that shows it, median of late.
        frame_to_command_ms: From a frame's arrival to the command that answers it: 50th, 95th
            and 99th percentile since the start, padding left out.
        trained_ms: What the driver was trained for, lowest and highest.
        padding_ms: How long commands are held back now.
        histogram: How many commands took how long, see `LATENCY_EDGES_MS`.
    """

    round_trip_ms: float | None = None
    frame_to_command_ms: tuple[float, float, float] | None = None
    trained_ms: tuple[float, float] = (0.0, 0.0)
    padding_ms: float = 0.0
    histogram: tuple[int, ...] = (0,) * (len(LATENCY_EDGES_MS) + 1)


@dataclasses.dataclass(frozen=True)
class RecordStatus:
    """What has been recorded.

    Attributes:
        folder: Where.
        lines: Lines so far.
        waiting: Of these, how many are not on the disk yet.
        problem: Why the disk takes nothing, empty if it does.
    """

    folder: str = ""
    lines: int = 0
    waiting: int = 0
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class CarStatus:
    """One car at one moment. Only what a race host sends goes in here: no place, no cte.

    Attributes:
        car: Name of the car, unique in its team.
        host: `HOST:PORT`.
        phase: What it does.
        reason: Why, one line for people.
        go: Whether it may move.
        driver: Who is in the seat.
        drivers: All that can be.
        next_driver: Who takes the seat at the next stop, empty for no change.
        time_s: Simulation time of the newest frame (s).
        speed: As reported.
        steering: Command, -1 to 1.
        throttle: Command, -1 to 1.
        brake: Command, 0 to 1.
        frames: Frames that came.
        frame_age_s: How long ago the newest came (s), None before the first.
        laps_s: Lap times of this run as the host told them (s).
        best_lap_s: The best since the start of the program.
        lap_time_s: Simulation time since the last crossing of the line, None before the first.
        disqualified: Whether the host has said so in this run.
        disconnects: How often the connection was lost.
        faults: What went wrong, and how often.
        warnings: What people should know now.
        latency: Times.
        record: What has been recorded.
    """

    car: str
    host: str
    phase: Phase = "connecting"
    reason: str = ""
    go: bool = False
    driver: str = ""
    drivers: tuple[str, ...] = ()
    next_driver: str = ""
    time_s: float = 0.0
    speed: float = 0.0
    steering: float = 0.0
    throttle: float = 0.0
    brake: float = 1.0
    frames: int = 0
    frame_age_s: float | None = None
    laps_s: tuple[float, ...] = ()
    best_lap_s: float | None = None
    lap_time_s: float | None = None
    disqualified: bool = False
    disconnects: int = 0
    faults: Mapping[str, int] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    latency: LatencyStatus = LatencyStatus()
    record: RecordStatus = RecordStatus()
