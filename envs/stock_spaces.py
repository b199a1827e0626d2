"""gym-donkeycar's own spaces over this project's environment, for programs written for it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.envs import batch as batches
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.errors import ActionError

Info = dict[str, Any]
Image = npt.NDArray[np.uint8]


class StockSpaces(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the picture alone, and takes steering and throttle as the car does.

    Observation: the image, (h, w, 3) uint8. Action: steering from -`steer_limit` to
    `steer_limit`, throttle from `throttle_min` to `throttle_max`. `info` stays as it is.
    """

    def __init__(self, env: DonkeyEnv) -> None:
        """Wraps an environment."""
        super().__init__(env)
        config = env.config
        self._low = np.array([-config.steer_limit, config.throttle_min], dtype=np.float32)
        self._high = np.array([config.steer_limit, config.throttle_max], dtype=np.float32)
        self.observation_space = spaces.Box(0, 255, config.camera.shape, np.uint8)
        self.action_space = spaces.Box(self._low, self._high, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, Info]:
        """Starts an episode."""
        observed, info = self.env.reset(seed=seed, options=options)
        return observed["image"], info

    def step(self, action: npt.ArrayLike) -> tuple[Image, Any, bool, bool, Info]:
        """Drives one step; values outside the limits are clamped.

        Raises:
            ActionError: The action has the wrong shape or is not finite.
        """
        wanted = batches.numbers(action)
        if wanted.shape != (2,):
            raise ActionError(
                f"An action is steering and throttle, shape (2,). Received: shape {wanted.shape}."
            )
        share = (wanted - self._low) / (self._high - self._low)
        observed, reward, terminated, truncated, info = self.env.step(2.0 * share - 1.0)
        return observed["image"], reward, terminated, truncated, info
