"""A car that has said GO and stands: back a little, wheels turned, and on."""

from __future__ import annotations

from typing import Literal

from donkey_rl.race_server.config import RecoveryConfig

Manoeuvre = Literal["drive", "reverse", "reset"]

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
        if time_s < self._still_since:
            # The scene was loaded anew.
            self.begin(time_s, held=self._held)
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
