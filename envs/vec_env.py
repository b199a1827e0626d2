"""Many cars at once, as a Stable-Baselines3 vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from donkey_rl.envs import batch as batches
from donkey_rl.envs import rendering
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import stepping

Info = dict[str, Any]
Flags = npt.NDArray[np.bool_]

INTERRUPTED = "interrupted"
"""`info["ending"]` of episodes that were cut because the cars were wanted for something else."""


class View(VecEnv):
    """What Stable-Baselines3 asks of environments that are many cars and one object."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of this view, once for each chosen car."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of this view, shared by all cars."""
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of this view once for each chosen car."""
        method = getattr(self, method_name)
        return [method(*method_args, **method_kwargs) for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Returns False for each car: there is no single environment to wrap."""
        return [False for _ in self._get_indices(indices)]


class SB3View(View):
    """The batch as a Stable-Baselines3 `VecEnv`; frames are shared, not copied.

    An ended episode restarts within its last step; its last observation is in
    ``infos[i]["terminal_observation"]``, with ``TimeLimit.truncated`` and ``episode`` beside it.
    """

    def __init__(self, batch: batches.Batch) -> None:
        """Shows a batch.

        Args:
            batch: The cars.
        """
        self.batch = batch
        self.render_mode = "rgb_array"
        self._returns = np.zeros(len(batch))
        self._left: list[Info] | None = None
        self._actions: npt.NDArray[np.float32] = np.zeros((len(batch), 2), dtype=np.float32)
        super().__init__(
            len(batch), batches.observation_space(batch.config), batches.action_space()
        )
        # For whoever films it; Stable-Baselines3 sets the modes alone.
        self.metadata = {**self.metadata, "render_fps": rendering.METADATA["render_fps"]}

    def reset(self) -> batches.Observation:
        """Starts all episodes anew, with the seed given before, if any."""
        if self._seeds[0] is not None:
            self.batch.seed(int(self._seeds[0]))
        self._reset_seeds()
        self._left = None
        self._returns[:] = 0.0
        self.batch.restart()
        return self.batch.observation()

    @property
    def views(self) -> tuple[SB3View, ...]:
        """The parts of this environment, each on one track: itself alone."""
        return (self,)

    @property
    def missed(self) -> int:
        """Commands that came too late so far."""
        return int(self.batch.world.missed.sum())

    def observation(self) -> batches.Observation:
        """Returns what all cars see now."""
        return self.batch.observation()

    def interrupt(self) -> None:
        """Says that somebody else will drive the cars for a while.

        The episodes that go on are then cut at the next step, which moves no car: it returns
        the last observation before the interruption as their end, and begins new ones. Its
        `info["undriven"]` says that its action was not carried out.
        """
        observed = self.batch.observation()
        self._left = [
            self._last_info(i, observed, True) | {"ending": INTERRUPTED, "undriven": True}
            for i in range(self.num_envs)
        ]

    def step_async(self, actions: npt.NDArray[np.float32]) -> None:
        """Takes the actions of the next step."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[batches.Observation, npt.NDArray[np.float32], Flags, list[Info]]:
        """Drives all cars for one step."""
        if self._left is not None:
            return self._cut(self._left)
        moved = self.batch.step(self._actions)
        self._returns += moved.reward
        batch, sensed = self.batch, self.batch.sensed
        speed = (batch.speed / batch.vehicle.report_scale).tolist()
        driven = sensed[:, stepping.DISTANCE].tolist()
        gained = sensed[:, stepping.PROGRESS].tolist()
        infos: list[Info] = [
            {"speed": v, "distance": d, "progress": p}
            for v, d, p in zip(speed, driven, gained, strict=True)
        ]
        observed, done = moved.observation, moved.terminated | moved.truncated
        if done.any():
            ended = np.flatnonzero(done)
            names = moved.ending_names
            for i in ended:
                infos[i] |= self._last_info(int(i), observed, bool(moved.truncated[i]))
                infos[i]["ending"] = names[i]
            self._returns[ended] = 0.0
            batch.reset(ended)
            observed = batch.observation()
        return observed, moved.reward.astype(np.float32), done, infos

    def _last_info(self, i: int, observed: batches.Observation, truncated: bool) -> Info:
        """Returns what the last step of car `i`'s episode adds to its info."""
        batch = self.batch
        return {
            "terminal_observation": {k: np.array(v[i]) for k, v in observed.items()},
            "TimeLimit.truncated": truncated,
            "lap_count": int(batch.timer.count[i]),
            "clean_laps": int(batch.timer.clean_count[i]),
            "episode": {
                "r": float(self._returns[i]),
                "l": int(batch.steps[i]),
                "t": float(batch.sensed[i, stepping.TIME]),
            },
        }

    def _cut(
        self, infos: list[Info]
    ) -> tuple[batches.Observation, npt.NDArray[np.float32], Flags, list[Info]]:
        """Ends all episodes where they were interrupted, and begins new ones."""
        self._left = None
        self._returns[:] = 0.0
        self.batch.restart()
        rewards = np.zeros(self.num_envs, dtype=np.float32)
        return self.batch.observation(), rewards, np.ones(self.num_envs, np.bool_), infos

    def close(self) -> None:
        """Gives up the cars."""
        self.batch.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Returns the camera images of all cars."""
        return [np.array(image) for image in self.batch.observation()["image"]]


def make(config: EnvironmentConfig, cars: int, seed: int) -> SB3View:
    """Returns N cars as a Stable-Baselines3 environment."""
    return SB3View(batches.Batch(config, cars, seed=seed))
