"""Environments that look like those of gym-donkeycar, without a simulator."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.envs.simulator import track

TRACK = track.load("generated_track")


class Rail(gymnasium.Env[Any, Any]):
    """Moves a car along generated_track and shows it as gym-donkeycar 1.3 does.

    Throttle 1 is 20 u/s along the path, steering 1 is 3 u/s to the right. As in gym-donkeycar an
    episode that is over stays so until the reset, hits are not looked for any more, and whoever
    steps on is still told all else. Each frame is the number of the step, in one array.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    max_cte = 1.0

    def __init__(
        self,
        *,
        start: float = 0.0,
        walls: tuple[float, ...] = (),
        scale: float = 8.0,
        low: tuple[float, float] = (-1.0, 0.0),
        high: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.observation_space = spaces.Box(0, 255, (36, 48, 3), np.uint8)
        self.action_space = spaces.Box(
            np.array(low, dtype=np.float32), np.array(high, dtype=np.float32)
        )
        self.start, self.walls, self.scale = start, walls, scale
        self.frame = np.zeros((36, 48, 3), dtype=np.uint8)
        self.actions: list[list[float]] = []
        self.closings = 0
        self.determine_over: Callable[[], None] = self._determine_over

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self.arc, self.lateral, self.speed, self.steps = self.start, 0.0, 0.0, 0
        self.hit, self.over = "none", False
        self.frame[:] = 0
        return self.frame, self.info()

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        self.actions.append([float(part) for part in action])
        self.steps += 1
        before, self.speed = self.arc, 20.0 * float(action[1])
        self.arc += self.speed * 0.05
        self.lateral += 3.0 * float(action[0]) * 0.05
        self.frame[:] = self.steps % 256
        if not self.over:
            met = [k for k, wall in enumerate(self.walls, start=1) if before < wall <= self.arc]
            self.hit = f"cone ({met[0]})" if met else "none"
            self.determine_over()
        return self.frame, -1.0, self.over, False, self.info()

    def _determine_over(self) -> None:
        self.over = abs(self.lateral) > self.max_cte or self.hit != "none"

    def info(self) -> dict[str, Any]:
        x, z, yaw = (float(value) for value in TRACK.path.at(self.arc))
        x, z = x + self.lateral * math.cos(yaw), z - self.lateral * math.sin(yaw)
        return {
            "pos": (x / self.scale, 0.525 / self.scale, z / self.scale),
            "cte": self.lateral,
            "speed": self.speed / self.scale,
            "forward_vel": self.speed / self.scale * math.cos(yaw),
            "hit": self.hit,
            "gyro": (0.0, 0.25, 0.0),
            "accel": (0.5, 0.0, -0.25),
            "vel": (0.0, 0.0, self.speed / self.scale),
            "lidar": [],
            "car": (1.0, 2.0, math.degrees(yaw) % 360.0),
            "last_lap_time": 0.0,
            "lap_count": 0,
        }

    def close(self) -> None:
        self.closings += 1


class SwitchableRail(Rail):
    """Lets its episodes be ended by somebody else, as gym-donkeycar does."""

    def set_episode_over_fn(self, function: Callable[[Any], None]) -> None:
        self.determine_over = types.MethodType(function, self)


class SparseRail(Rail):
    """Leaves out of `info` what is not named."""

    def __init__(self, *keys: str, scale: float = 8.0) -> None:
        super().__init__(scale=scale)
        self.keys = keys

    def info(self) -> dict[str, Any]:
        return {key: value for key, value in super().info().items() if key in self.keys}
