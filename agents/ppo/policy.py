"""What Stable-Baselines3 asks of a policy, answered by Keras networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from donkey_rl.agents.observations import Layout

if TYPE_CHECKING:
    from donkey_rl.agents.ppo.learner import Learner

FloatArray = npt.NDArray[np.float32]


class KerasActorCritic(BasePolicy):
    """Answers ``predict``; PyTorch computes nothing."""

    def __init__(self, layout: Layout, action_space: spaces.Space[Any], learner: Learner) -> None:
        """Wraps a learner's networks.

        Args:
            layout: Of the observations.
            action_space: A flat Box, or choices.
            learner: Whose networks answer.
        """
        super().__init__(layout.space, action_space, squash_output=False)
        self._layout = layout
        self._learner = learner

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Returns actions inside the action space, and the state as it came.

        Args:
            observation: One observation, or a batch of them.
            state: Passed through; the policy has no memory.
            episode_start: Not used.
            deterministic: Whether to take the most likely action instead of drawing one.

        Raises:
            InputError: On an observation of another shape.
        """
        parts, single = self._layout.split(observation)
        drawn = self._learner.decide(parts) if deterministic else self._learner.act(parts)[0]
        taken = self.inside(drawn)
        return (taken[0] if single else taken), state

    def inside(self, actions: FloatArray) -> npt.NDArray[Any]:
        """Returns actions as the environment takes them: within bounds, or choices (B,)."""
        if isinstance(self.action_space, spaces.Box):
            return np.clip(actions, self.action_space.low, self.action_space.high)
        return actions[:, 0].astype(np.int64)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        """Acts on tensors, as Stable-Baselines3 asks of every policy."""
        if isinstance(observation, dict):
            arrays: Any = {name: part.cpu().numpy() for name, part in observation.items()}
        else:
            arrays = observation.cpu().numpy()
        return torch.from_numpy(self.predict(arrays, deterministic=deterministic)[0])
