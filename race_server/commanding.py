"""From actions to commands and back, within bounds, and the first moments after GO."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.race_server.config import LaunchConfig, LimitsConfig

Action = npt.NDArray[np.float32]


class Command(NamedTuple):
    """What is sent to a car: steering and throttle -1 to 1, brake 0 to 1."""

    steering: float
    throttle: float
    brake: float = 0.0


BRAKE = Command(0.0, 0.0, 1.0)


class Bounds:
    """What a driver's actions mean for its car, within the limits of the race."""

    def __init__(self, description: DriverDescription, limits: LimitsConfig) -> None:
        """Takes over limits.

        Args:
            description: The driver's, which says what -1 and 1 stand for.
            limits: Bounds on every command.
        """
        given = np.array([description.steering_limits, description.throttle_limits], np.float64)
        self._middle = given.mean(axis=1)
        self._half = 0.5 * (given[:, 1] - given[:, 0])
        self._low = np.array([-limits.steering_max, limits.throttle_min])
        self._high = np.array([limits.steering_max, limits.throttle_max])

    def command(self, action: npt.NDArray[np.floating]) -> Command:
        """Returns the command for an action, shape (2,)."""
        wanted = self._middle + self._half * np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        steering, throttle = np.clip(wanted, self._low, self._high).tolist()
        return Command(steering, throttle)

    def limited(self, command: Command) -> Command:
        """Returns a command within the limits of the race."""
        steering, throttle = np.clip(command[:2], self._low, self._high).tolist()
        return Command(steering, throttle, command.brake)

    def action(self, command: Command) -> Action:
        """Returns the action that comes nearest to a command, shape (2,)."""
        half = np.where(self._half > 0.0, self._half, 1.0)
        found: Action = np.clip((np.array(command[:2]) - self._middle) / half, -1.0, 1.0).astype(
            np.float32
        )
        return found


class Launch:
    """The first moments after GO; times are simulation time (s)."""

    def __init__(self, config: LaunchConfig) -> None:
        """Begins before GO."""
        self._config = config
        self._until: float | None = None

    def begin(self, time_s: float) -> None:
        """GO was said."""
        self._until = time_s + self._config.duration_s if self._config.duration_s else None

    def throttle(self, time_s: float, speed: float) -> float | None:
        """Returns the throttle of the launch, None once it is over.

        Args:
            time_s: Time of the frame.
            speed: As reported.
        """
        if self._until is None:
            return None
        enough = self._config.speed is not None and speed >= self._config.speed
        if enough or not self._until - self._config.duration_s <= time_s < self._until:
            self._until = None
            return None
        return self._config.throttle
