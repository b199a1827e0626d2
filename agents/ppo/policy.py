"""What Stable-Baselines3's rollouts ask of a policy, answered by Keras networks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from donkey_rl.agents.keras_policy import batched

if TYPE_CHECKING:
    from donkey_rl.agents.ppo.learner import Learner

FloatArray = npt.NDArray[np.float32]


class KerasActorCritic(BasePolicy):
    """Actor and critic; PyTorch only carries the numbers.

    Attributes:
        seconds: Wall time spent acting in rollouts.
    """

    def __init__(
        self, observation_space: spaces.Box, action_space: spaces.Space[Any], learner: Learner
    ) -> None:
        """Wraps a learner's networks.

        Args:
            observation_space: A flat Box of F numbers.
            action_space: A flat Box, or choices.
            learner: Whose networks answer.
        """
        super().__init__(observation_space, action_space, squash_output=False)
        self.seconds = 0.0
        self._learner = learner

    def forward(
        self, observations: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns drawn actions, values and log-densities for a rollout."""
        started = time.perf_counter()
        actions, density, values = self._learner.act(_numbers(observations))
        self.seconds += time.perf_counter() - started
        if isinstance(self.action_space, spaces.Discrete):
            actions = actions[:, 0].astype(np.int64)
        return torch.from_numpy(actions), torch.from_numpy(values), torch.from_numpy(density)

    def predict_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Returns what the critic says, (B, 1)."""
        return torch.from_numpy(self._learner.values(_numbers(observations)))[:, None]

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Returns actions inside the action space, and the state as it came.

        Args:
            observation: One observation (F,), or a batch (B, F).
            state: Passed through; the policy has no memory.
            episode_start: Not used.
            deterministic: Whether to take the most likely action instead of drawing one.

        Raises:
            InputError: On an observation of another shape.
        """
        batch, single = batched(observation, self.observation_space.shape)
        actions = self._learner.decide(batch) if deterministic else self._learner.act(batch)[0]
        taken = self._inside(actions)
        return (taken[0] if single else taken), state

    def _inside(self, actions: FloatArray) -> npt.NDArray[Any]:
        if isinstance(self.action_space, spaces.Box):
            return np.clip(actions, self.action_space.low, self.action_space.high)
        return actions[:, 0].astype(np.int64)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        """Acts on a tensor, as Stable-Baselines3 asks of every policy."""
        return torch.from_numpy(
            self.predict(_numbers(observation), deterministic=deterministic)[0]
        )


def _numbers(observations: torch.Tensor) -> FloatArray:
    return observations.cpu().numpy().astype(np.float32, copy=False)
