"""Which frames a driver is shown: none with senseless measurements, none from the past."""

from __future__ import annotations

import math
import time

from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.observing import SPEED_LIMIT
from donkey_rl.race_server.race_state import Clock

_AHEAD_S = 5.0
_FASTEST = 20.0
"""Simulation seconds per second, at most."""

_LEAST_S = 1.0
"""The speed of a clock is known after so long."""

_USUAL = 10
"""So many frames in a row that only differ from what was before are the new usual."""


class FrameGate:
    """Looks at the telemetry of one connection."""

    def __init__(self) -> None:
        """Begins with a new connection."""
        self._first: tuple[float, float] | None = None
        self._last, self._wall = (0.0, 0.0), math.inf
        self._sensors = (False, False)
        self._odd = 0
        self._odd_time = 0.0

    def refuse(self, told: Telemetry, arrived: float) -> str:
        """Returns why a driver must not see a frame, empty if it may.

        What is not finite has been refused before: here it is a field that is missing.

        Args:
            told: The telemetry.
            arrived: When it came (monotonic, s).
        """
        if abs(told.speed) > SPEED_LIMIT:
            return "absurd speed"
        complaint = self._complaint(told, arrived)
        if complaint:
            goes_on = 0.0 < told.time - self._odd_time < _AHEAD_S
            self._odd = self._odd + 1 if goes_on and self._odd else 1
            self._odd_time = told.time
            if self._odd <= _USUAL:
                return complaint
            # A scene was loaded anew, or a sensor is gone for good.
            self._first = None
        self._odd = 0
        self._last, self._wall = (told.time, arrived), time.time()
        self._first = self._first or self._last
        self._sensors = (told.accel is not None, told.gyro is not None)
        return ""

    def _complaint(self, told: Telemetry, arrived: float) -> str:
        if self._first is None:
            return ""
        gone_on = told.time - self._last[0]
        if gone_on <= 0.0:
            return "time stands still" if gone_on == 0.0 else "time runs back"
        if gone_on > _AHEAD_S + _FASTEST * (arrived - self._last[1]):
            return "time jumps ahead"
        missing = (told.accel is None, told.gyro is None)
        for sensor, had, gone in zip(
            ("acceleration", "rotation"), self._sensors, missing, strict=True
        ):
            if had and gone:
                return f"no {sensor}"
        return ""

    @property
    def clock(self) -> Clock | None:
        """The host's clock, None before it is known how fast it runs."""
        if self._first is None or self._last[1] - self._first[1] < _LEAST_S:
            return None
        scale = (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])
        return Clock(self._last[0], self._last[1], scale, self._wall)
