"""A Stable-Baselines3 policy whose networks are Keras models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from donkey_rl.agents.observations import Layout, Observation, Parts

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import PyTorchObs

FloatArray = npt.NDArray[np.float32]


class KerasPolicy(BasePolicy):
    """Answers ``predict`` from a compiled Keras network; PyTorch computes nothing."""

    def __init__(
        self,
        layout: Layout,
        action_space: spaces.Box,
        act: Callable[[Parts, bool], FloatArray],
    ) -> None:
        """Wraps a function that acts.

        Args:
            layout: How observations are taken apart.
            action_space: A flat Box of A numbers with finite bounds.
            act: A batch of observations and whether to be deterministic -> actions in [-1, 1],
                (B, A).
        """
        super().__init__(layout.space, action_space, squash_output=True)
        self._layout, self._act = layout, act

    def predict(
        self,
        observation: Observation,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Returns actions inside the action space, and the state as it came.

        Args:
            observation: One observation, or a batch; images with their channels first or last.
            state: Passed through; the policy has no memory.
            episode_start: Not used.
            deterministic: Whether to take the most likely action instead of drawing one.

        Raises:
            InputError: On an observation of another shape.
        """
        parts, single = self._layout.split(observation)
        actions = self.unscale_action(self._act(parts, deterministic))
        return (actions[0] if single else actions), state

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        """Acts on tensors, as Stable-Baselines3 asks of every policy."""
        if isinstance(observation, dict):
            arrays: Observation = {name: part.cpu().numpy() for name, part in observation.items()}
        else:
            arrays = observation.cpu().numpy()
        return torch.from_numpy(self._act(self._layout.split(arrays)[0], deterministic))
