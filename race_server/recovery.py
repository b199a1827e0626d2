"""A car that has said GO and stands: back a little, wheels turned, and on."""

from __future__ import annotations

import math
from typing import Literal

from donkey_rl.race_server.config import RecoveryConfig

Manoeuvre = Literal["drive", "reverse", "reset"]

_GAP_S = 0.5
"""Frames that are further apart say nothing of what was between."""

_FREE_S = 3.0
"""A car that has moved for so long has got somewhere."""


class Recovery:
    """Watches whether a car gets anywhere; times are simulation time (s).

    A car on the grid may be held by its host though it was told to go by somebody else: it counts
    as stuck only once it has moved, or from the host's own `race_start` on.
    """

    def __init__(self, config: RecoveryConfig) -> None:
        """Begins with a car that stands and may."""
        self._config = config
        self.begin(0.0, held=True)

    def begin(self, time_s: float, *, held: bool) -> None:
        """GO was said.

        Args:
            time_s: When.
            held: Whether the host may still hold the car.
        """
        self._held = held
        self._still_since = self._moving_since = time_s
        self._until: float | None = None
        self._attempts = 0
        self._last = time_s

    def rest(self) -> None:
        """The car is braked for want of a driver: that it stands is no wonder."""
        self._last = math.inf

    @property
    def is_reversing(self) -> bool:
        """Whether the car is being got free."""
        return self._until is not None

    def advance(self, time_s: float, speed: float, *, may_reset: bool) -> Manoeuvre:
        """Says what to do with a frame.

        Args:
            time_s: Its time.
            speed: As reported.
            may_reset: Whether `reset_car` may be sent.
        """
        if not 0.0 <= time_s - self._last <= _GAP_S:
            # Braked meanwhile, or without frames, or the scene was loaded anew.
            self._still_since = self._moving_since = time_s
            self._until = None
        self._last = time_s
        if self._until is not None:
            if time_s < self._until:
                return "reverse"
            self._until = None
            self._still_since = self._moving_since = time_s
        if speed >= self._config.speed:
            self._held = False
            self._still_since = time_s
            if time_s - self._moving_since > _FREE_S:
                self._attempts = 0
            return "drive"
        self._moving_since = time_s
        if self._held:
            self._still_since = time_s
        if time_s - self._still_since < self._config.stuck_s:
            return "drive"
        self._still_since = time_s
        if self._attempts >= self._config.attempts and may_reset:
            self._attempts = 0
            return "reset"
        self._attempts += 1
        self._until = time_s + self._config.reverse_s
        return "reverse"
