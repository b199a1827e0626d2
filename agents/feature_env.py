"""Vector environments whose observations are made into what a policy reads."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.features import FeatureExtractor, FeatureScaling, Observation
from donkey_rl.errors import InputError


class Extractor(Protocol):
    """Makes observations, one or many, into what a policy reads.

    Attributes:
        space: Space of what it returns for one observation.
    """

    @property
    def space(self) -> spaces.Space[Any]: ...  # noqa: D102

    def __call__(self, observation: Observation) -> Any: ...  # noqa: D102


class ExtractedVecEnv(VecEnvWrapper):
    """Extracts from the observations of all environments in one call per step.

    On a step where episodes end, the last observations of those (``terminal_observation``) are
    extracted from in a second call.

    Attributes:
        extractor: What makes observations into what the policy reads.
        seconds: Wall time spent so far, by ``environment`` and ``encode``.
    """

    def __init__(self, venv: VecEnv, extractor: Extractor) -> None:
        """Wraps a vector environment of ``Dict`` observations.

        Args:
            venv: The environment.
            extractor: Made for its observations.
        """
        self.extractor = extractor
        self.seconds = {"environment": 0.0, "encode": 0.0}
        super().__init__(venv, observation_space=extractor.space)

    def reset(self) -> VecEnvObs:
        """Starts every episode anew and returns what is seen."""
        return self._extracted(self.venv.reset())

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Hands the actions on, (N, A)."""
        started = time.perf_counter()
        self.venv.step_async(actions)
        self.seconds["environment"] += time.perf_counter() - started

    def step_wait(self) -> VecEnvStepReturn:
        """Returns what is seen, rewards, ends of episodes and infos."""
        started = time.perf_counter()
        observations, rewards, dones, infos = self.venv.step_wait()
        self.seconds["environment"] += time.perf_counter() - started
        extracted = self._extracted(observations)
        last = [info for info in infos if "terminal_observation" in info]
        if last:
            terminal = [info["terminal_observation"] for info in last]
            found = self._extracted(_stacked(terminal))
            for i, info in enumerate(last):
                info["terminal_observation"] = _row(found, i)
        return extracted, rewards, dones, infos

    def _extracted(self, observations: VecEnvObs) -> VecEnvObs:
        if not isinstance(observations, dict):
            raise InputError(
                f"Expected a dict of arrays. Received: {type(observations).__name__}. "
                "Wrap an environment with Dict observations."
            )
        started = time.perf_counter()
        extracted: VecEnvObs = self.extractor(observations)
        self.seconds["encode"] += time.perf_counter() - started
        return extracted


class FeatureVecEnv(ExtractedVecEnv):
    """Encodes the images: observations, and what a replay buffer holds, are features (N, F)."""

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
        super().__init__(venv, FeatureExtractor(encoder, venv.observation_space, scaling))


def _stacked(observations: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.stack([one[name] for one in observations]) for name in observations[0]}


def _row(extracted: Any, index: int) -> Any:
    if isinstance(extracted, dict):
        return {name: part[index] for name, part in extracted.items()}
    return extracted[index]
