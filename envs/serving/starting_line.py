"""The starting line as a trigger: a thin box across the road that a car's body enters."""

from __future__ import annotations

import math

from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import BODY_LENGTH, BODY_WIDTH

HALF_DEPTH = 0.215
"""Half of the box's extent along the road (u), that of the mountain track's trigger."""

BESIDE = 3.0
"""How far the box reaches beyond the road's edges (u)."""

_JUMP = 10.0
"""A longer way between two looks (u) was no driving."""


class StartingLine:
    """Says when one car's body enters the line, in either direction."""

    def __init__(self, track: Track) -> None:
        """Takes the line of a track; the car is nowhere yet."""
        self._line = track.start_line
        self._round = track.length if track.closed else math.inf
        self._left = track.road_left - BESIDE
        self._right = track.road_right + BESIDE
        self._ahead: float | None = None
        self._inside = False
        self._time = 0.0

    def forget(self) -> None:
        """The car was put somewhere: what it stands on there it has not driven into."""
        self._ahead = None

    def entered(self, time: float, arc: float, lateral: float, error: float) -> float | None:
        """Looks where the car is now.

        Args:
            time: Simulation time (s).
            arc: Of the car's centre along the path (u).
            lateral: To the right of the path (u).
            error: The car's angle to the path (rad).

        Returns:
            When the body entered the line since the last look (s), between the two looks by the
            way driven; None if it did not.
        """
        ahead = self._line - arc
        if math.isfinite(self._round):
            ahead -= self._round * round(ahead / self._round)
        reach = HALF_DEPTH + 0.5 * (
            BODY_LENGTH * abs(math.cos(error)) + BODY_WIDTH * abs(math.sin(error))
        )
        beside = self._left <= lateral <= self._right
        inside = beside and abs(ahead) <= reach
        before, was_inside, since = self._ahead, self._inside, self._time
        self._ahead, self._inside, self._time = ahead, inside, time
        if before is None or was_inside:
            return None
        way = abs(ahead - before)
        passed = beside and way < _JUMP and before * ahead < 0.0
        if not inside and not passed:
            return None
        share = (abs(before) - reach) / way if way > 0.0 else 0.0
        return since + min(1.0, max(0.0, share)) * (time - since)
