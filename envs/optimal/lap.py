"""A time-optimal lap: its motion, how it is re-checked, and what a second method says of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import racing_line

FloatArray = npt.NDArray[np.float64]

LATERAL, TURN, FORWARD, RIGHTWARD, RATE, WHEEL, FRONT_DRIVE, REAR_DRIVE = range(8)


class OptimalLap(NamedTuple):
    """The motion of a flying lap, one row every `spacing` u of the path.

    Attributes:
        lap_s: Time of the lap (s).
        spacing: Arc length of the path between two rows (u); the last leads back to the first.
        rows: Offset to the right of the path (u), angle to it (rad), forward and rightward
            velocity (u/s), yaw rate (rad/s), wheel angle (rad), drive of front and rear axle
            (u/s^2); shape (M, 8).
    """

    lap_s: float
    spacing: float
    rows: FloatArray

    def resampled(self, count: int) -> FloatArray:
        """Returns the rows at `count` even places of the path, shape (count, 8)."""
        index = len(self.rows) / count * np.arange(count, dtype=np.float64)
        return racing_line.interpolate(self.rows, index, closed=True)
