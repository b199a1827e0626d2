"""A vector environment whose observations are features."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.features import FeatureExtractor, FeatureScaling
from donkey_rl.errors import InputError


class FeatureVecEnv(VecEnvWrapper):
    """Encodes the images of all environments in one call per step.

    The replay buffer then holds features, not images. On a step where episodes end, the last
    observations of those (``terminal_observation``) are encoded in a second call.

    Attributes:
        extractor: What turns observations into features.
        seconds: Wall time spent so far, by ``environment`` and ``encode``.
    """

    def __init__(
        self, venv: VecEnv, encoder: Encoder, scaling: FeatureScaling | None = None
    ) -> None:
        """Wraps a vector environment of ``Dict`` observations.

        Args:
            venv: The environment.
            encoder: A trained encoder; it is not trained further.
            scaling: Divisors of the measurements; the defaults when None.

        Raises:
            InputError: When observations and encoder do not fit.
        """
        self.extractor = FeatureExtractor(encoder, venv.observation_space, scaling)
        self.seconds = {"environment": 0.0, "encode": 0.0}
        super().__init__(venv, observation_space=self.extractor.space)

    def reset(self) -> VecEnvObs:
        """Starts every episode anew and returns features, (N, F)."""
        return self._features(self.venv.reset())

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Hands the actions on, (N, A)."""
        started = time.perf_counter()
        self.venv.step_async(actions)
        self.seconds["environment"] += time.perf_counter() - started

    def step_wait(self) -> VecEnvStepReturn:
        """Returns features (N, F), rewards, ends of episodes and infos."""
        started = time.perf_counter()
        observations, rewards, dones, infos = self.venv.step_wait()
        self.seconds["environment"] += time.perf_counter() - started
        features = self._features(observations)
        last = [info for info in infos if "terminal_observation" in info]
        if last:
            terminal = [info["terminal_observation"] for info in last]
            stacked = {name: np.stack([one[name] for one in terminal]) for name in terminal[0]}
            for info, row in zip(last, self._features(stacked), strict=True):
                info["terminal_observation"] = row
        return features, rewards, dones, infos

    def _features(self, observations: VecEnvObs) -> npt.NDArray[np.float32]:
        if not isinstance(observations, dict):
            raise InputError(
                f"Expected a dict of arrays. Received: {type(observations).__name__}. "
                "Wrap an environment with Dict observations."
            )
        started = time.perf_counter()
        features = self.extractor(observations)
        self.seconds["encode"] += time.perf_counter() - started
        return features
