"""One car as a Gymnasium environment, with gym-donkeycar's `conf` and `info` keys."""

from __future__ import annotations

import contextlib
import math
import pathlib
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from donkey_rl.envs import batch as batches
from donkey_rl.envs import gym_donkeycar, rendering
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, telemetry
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.envs.telemetry_log import TelemetryLog
from donkey_rl.errors import ActionError

Info = dict[str, Any]


class DonkeyEnv(gymnasium.Env[Any, Any]):
    """Drives one car; 20 steps are one second of simulation time.

    Observation and action: see `batch.observation_space` and `batch.action_space`. `info` holds
    what gym-donkeycar's does (`pos`, `cte`, `speed`, `forward_vel`, `hit`, `gyro`, `accel`, `vel`,
    `lidar`, `car`, `last_lap_time`, `lap_count`) and `distance` and `progress` (u), `time` (s),
    `off_track`, `wheels_off`, `lateral` (u), `node`, `missed_deadlines`, `reward_terms`, and at an
    end `ending`.
    """

    metadata = rendering.METADATA

    def __init__(
        self,
        config: EnvironmentConfig | None = None,
        *,
        conf: dict[str, Any] | None = None,
        world: Simulator | None = None,
        telemetry_log: pathlib.Path | str | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Builds the environment.

        Args:
            config: What to drive; `generated_track` by default.
            conf: gym-donkeycar's configuration dictionary, applied on top.
            world: A world of one car to drive, which is closed with the environment; the one
                that the configuration names by default.
            telemetry_log: CSV file to write each step to.
            render_mode: None or `rgb_array`.
        """
        config = EnvironmentConfig() if config is None else config
        batches.check_made(config, render_mode)
        config = gym_donkeycar.applied(config, conf or {})
        self.config = config
        self.render_mode = render_mode
        self.observation_space = batches.observation_space(config)
        self.action_space = batches.action_space()
        # A file that cannot be written is found before anything is connected to.
        self._log = TelemetryLog(telemetry_log) if telemetry_log else None
        try:
            self._batch = batches.Batch(config, 1, world=world)
        except BaseException:
            if self._log is not None:
                self._log.close()
            raise
        self._episode = 0
        self._draws_seed = world is None

    @property
    def batch(self) -> batches.Batch:
        """The batch of one car behind this environment."""
        return self._batch

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[batches.Observation, Info]:
        """Puts the car on its start; a seed starts all random streams anew.

        An environment that was never seeded draws a seed when it begins, as Gymnasium's do.
        """
        super().reset(seed=seed)
        if seed is None and self._episode == 0 and self._draws_seed:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self._batch.seed(seed)
        self._batch.reset(np.array([0]))
        self._episode += 1
        return self._observed(), self._info()

    def step(self, action: npt.ArrayLike) -> tuple[batches.Observation, float, bool, bool, Info]:
        """Drives one step.

        Raises:
            ActionError: The action has the wrong shape or is not finite.
        """
        wanted = batches.numbers(action)
        if wanted.shape != (2,):
            raise ActionError(
                "An action is steering and throttle in [-1, 1], shape (2,). "
                f"Received: shape {wanted.shape}."
            )
        moved = self._batch.step(wanted[None])
        reward = float(moved.reward[0])
        info = self._info()
        info["reward_terms"] = {name: float(term[0]) for name, term in moved.terms.items()}
        reasons = [name for name, flag in moved.ending.items() if flag[0]]
        if reasons:
            info["ending"] = reasons[0]
        if self._log is not None:
            self._log.write(self._row(info, reward))
        return self._observed(), reward, bool(moved.terminated[0]), bool(moved.truncated[0]), info

    def _observed(self) -> batches.Observation:
        observed = self._batch.observation()
        return {name: np.array(value[0]) for name, value in observed.items()}

    def _info(self) -> Info:
        batch = self._batch
        fields = telemetry.fields(batch.world, 0)
        motion, sensed = batch.motion[0], batch.sensed[0]
        yaw = math.degrees(motion[physics.YAW]) % 360.0
        info = {
            "pos": (fields["pos_x"], fields["pos_y"], fields["pos_z"]),
            "cte": fields["cte"],
            "speed": fields["speed"],
            "forward_vel": fields["vel_z"],
            "hit": fields["hit"],
            "gyro": (fields["gyro_x"], fields["gyro_y"], fields["gyro_z"]),
            "accel": (fields["accel_x"], fields["accel_y"], fields["accel_z"]),
            "vel": (fields["vel_x"], fields["vel_y"], fields["vel_z"]),
            "lidar": self._lidar(),
            "car": (fields.get("roll", 0.0), fields.get("pitch", 0.0), yaw),
            "last_lap_time": float(batch.timer.last_time[0]),
            "lap_count": int(batch.timer.count[0]),
            "time": fields["time"],
            "distance": float(sensed[stepping.DISTANCE]),
            "progress": float(sensed[stepping.PROGRESS]),
            "lateral": float(sensed[stepping.LATERAL]),
            "off_track": bool(batch.off_track[0]),
            "wheels_off": int(batch.world.cars.wheels_off[0]),
            "node": fields["activeNode"],
            "missed_deadlines": int(batch.world.missed[0]),
        }
        world = batch.world
        if isinstance(world, RemoteWorld) and (image_b := world.image_b(0)) is not None:
            info["image_b"] = image_b
        return info

    def _lidar(self) -> npt.NDArray[np.float64] | list[float]:
        """Returns the lidar's distances as gym-donkeycar arranges them; empty without one."""
        world, config = self._batch.world, self.config.link.lidar
        beams = world.beams(0) if isinstance(world, RemoteWorld) else None
        if config is None:
            return []
        return gym_donkeycar.lidar_array(beams or (), config)

    def _row(self, info: Info, reward: float) -> Info:
        return {
            **info,
            "episode": self._episode,
            "step": int(self._batch.steps[0]),
            "pos_x": info["pos"][0],
            "pos_z": info["pos"][2],
            "yaw": info["car"][2],
            "steering": float(self._batch.commands[0, 0]),
            "throttle": float(self._batch.commands[0, 1]),
            "reward": reward,
        }

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Returns the camera image in the mode `rgb_array`."""
        if self.render_mode != "rgb_array":
            return None
        return np.array(self._batch.observation()["image"][0], dtype=np.uint8)

    def close(self) -> None:
        """Closes the telemetry log and gives up the car."""
        with contextlib.closing(self._batch.world):
            if self._log is not None:
                self._log.close()
