"""When physics steps are due on the wall clock."""

from __future__ import annotations

from donkey_rl.envs.simulator.physics import TIME_STEP

CATCH_UP_S = 0.3333
"""A server that was held up makes good for so much of wall time, as the simulator does."""


class Pace:
    """Deadlines of physics steps at a fixed rate; being late does not move the later ones.

    Attributes:
        due: When the next step is due (s).
        slipped_s: Wall time that was given up, because the server was later than `CATCH_UP_S`.
    """

    def __init__(self, time_scale: float, now: float) -> None:
        """Starts the clock.

        Args:
            time_scale: Simulation seconds per second.
            now: The time (s) of any clock that never goes back.
        """
        self._interval = TIME_STEP / time_scale
        self.due = now + self._interval
        self.slipped_s = 0.0

    def restart(self, now: float) -> None:
        """Starts again after a pause that is not to be made good for."""
        self.due = now + self._interval

    def step(self, now: float) -> None:
        """Moves on to the next deadline after a step was made."""
        self.due += self._interval
        late = now - self.due - CATCH_UP_S
        if late > 0.0:
            self.due += late
            self.slipped_s += late
