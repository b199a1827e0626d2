"""An expert that knows where it is: pure pursuit of the racing line.

Privileged: it reads position and speed from the simulator, and never the image. It serves as a
yardstick and to show learners how a track is driven.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.batch import Batch
from donkey_rl.envs.racing_line import Limits, engine, free_grip, racing_line
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track, vehicle

GRIP = 0.75
"""Share of the tyres' grip that the expert plans with; the rest is for its corrections."""

MARGIN = 1.6
"""Distance of the line from the road's edges (u): wheels reach 0.7 from the car's middle, and
under power it runs up to 0.7 wide."""

_LOOK_AHEAD = 3.0
_LOOK_AHEAD_S = 0.45
"""It is back on the line so far (u), or so long (s), ahead, whichever is farther."""

_STEEPEST = 0.4
"""Angle (rad) at which it comes back to the line at most."""

_CRAWL = 2.0
"""Below this speed (u/s) a car has no direction of travel."""

_REACTION_S = 0.1
"""Time in which it wants to have the speed that the line asks for."""


class Pursuit:
    """Drives any car of a batch along the line of least curvature.

    Steering is pure pursuit (Coulter 1992, "Implementation of the Pure Pursuit Path Tracking
    Algorithm", CMU-RI-TR-92-01) for small angles, seen from the line: its bend is fed forward, and
    the arc back to it is added. The direction of travel takes the place of the heading, so that
    the slip of the tyres drops out.

    Attributes:
        line: What it follows.
    """

    def __init__(
        self, config: EnvironmentConfig, *, grip: float = GRIP, margin: float = MARGIN
    ) -> None:
        """Lays the line.

        Args:
            config: Track, car and the limits of its commands.
            grip: Share of the tyres' grip to plan with.
            margin: Distance of the line from the road's edges (u).
        """
        road, self._car = track.load(config.track), vehicle.load(config.vehicle)
        limits = Limits(config.throttle_min, config.throttle_max, grip)
        self.line = racing_line(road, self._car, limits, margin)
        self._motor = engine(road, self._car)
        self._config, self._grip = config, grip

    def act(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Returns steering and throttle in [-1, 1] for all cars, shape (N, 2).

        Args:
            batch: Cars on the track and with the limits of the configuration.
        """
        motion, arc = batch.motion, batch.sensed[:, stepping.ARC]
        steering = self._steering(motion, arc)
        throttle = self._throttle(motion, arc)
        return np.stack([steering, throttle], axis=1).astype(np.float32)

    def _steering(
        self, motion: npt.NDArray[np.float64], arc: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Returns the steering action, shape (N,)."""
        line, car = self.line, self._car
        forward = np.maximum(motion[:, physics.FORWARD], 0.0)
        place, yaw = line.at(line.points, arc), np.arctan2(*line.at(line.direction, arc).T)
        dx, dz = (motion[:, [physics.X, physics.Z]] - place).T
        lateral = dx * np.cos(yaw) - dz * np.sin(yaw)
        slip = np.arctan2(motion[:, physics.RIGHTWARD], np.maximum(forward, _CRAWL))
        error = motion[:, physics.YAW] + slip - yaw
        error -= 2.0 * np.pi * np.rint(error / (2.0 * np.pi))
        reach = np.maximum(_LOOK_AHEAD, _LOOK_AHEAD_S * forward)
        back = np.clip(lateral / reach, -_STEEPEST, _STEEPEST)
        bend = line.at(line.curvature, arc + _REACTION_S * forward)
        wheel = np.arctan(car.wheelbase * (bend - 2.0 * (error + back) / reach))
        full = np.radians(car.steer_limit_deg) * self._config.steer_limit
        return np.asarray(np.clip(wheel / full, -1.0, 1.0), np.float64)

    def _throttle(
        self, motion: npt.NDArray[np.float64], arc: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Returns the throttle action, shape (N,)."""
        config, motor, speed = self._config, self._motor, motion[:, physics.FORWARD]
        wanted = self.line.at(self.line.speed, arc + _REACTION_S * np.maximum(speed, 0.0))
        along, across = (self._grip * most for most in motor.grip)
        free = free_grip(np.abs(motion[:, physics.YAW_RATE] * speed) / across, along)
        hold = motor.drag * np.maximum(speed, 0.0)
        gain = (wanted - speed) / _REACTION_S + hold
        gain = np.clip(gain, -free, np.maximum(free, hold))
        pull = np.maximum(motor.pull(np.abs(speed)), 1e-6)
        command = np.clip(gain / pull, config.throttle_min, config.throttle_max)
        middle = 0.5 * (config.throttle_max + config.throttle_min)
        half = 0.5 * (config.throttle_max - config.throttle_min)
        return np.asarray((command - middle) / half, np.float64)
