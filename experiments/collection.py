"""What a policy learns by imitation, as it reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import observations
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.imitation.augmentation import Copier
from donkey_rl.agents.imitation.cloning import Demonstrations
from donkey_rl.agents.observations import FloatArray, Parts
from donkey_rl.experiments.config import TrainingConfig

Observation = Mapping[str, npt.NDArray[Any]]


class Collection:
    """Demonstrations as the policy reads them.

    Those to learn from have augmented copies beside them, unless the policy sees by itself: then
    they are made anew in each update.
    """

    def __init__(self, config: TrainingConfig, environment: ExtractedVecEnv) -> None:
        """Begins with nothing.

        Args:
            config: The run.
            environment: What the policy learns in.
        """
        self._extractor = environment.extractor
        self._layout = observations.layout(environment.observation_space)
        self._copies = config.imitation.copies if self._layout.image is None else 0
        self._copier = Copier(config.imitation.augmentation, config.camera.shape, config.seed)
        self._parts: dict[bool, list[tuple[Parts, FloatArray]]] = {False: [], True: []}

    def add(
        self, observation: Observation, actions: FloatArray, *, kept: bool, read: Any = None
    ) -> None:
        """Adds what some cars saw, and what they were to do.

        Args:
            observation: Of N cars.
            actions: Shape (N, 2).
            kept: Whether this is kept for the report, not learned from.
            read: What the policy reads of it, where that is known: to encode images takes long.
        """
        pairs = [(self._extractor(observation) if read is None else read, actions)]
        if not kept:
            copies = (self._copier(observation, actions) for _ in range(self._copies))
            pairs += [(self._extractor(copy), wanted) for copy, wanted in copies]
        for found, wanted in pairs:
            parts, _ = self._layout.split(found)
            self._parts[kept].append((parts, wanted))

    def joined(self) -> Demonstrations:
        """Returns all of them."""
        return Demonstrations(*self._joined(False), *self._joined(True))

    def _joined(self, kept: bool) -> tuple[Parts, FloatArray]:
        parts, actions = [seen for seen, _ in self._parts[kept]], [a for _, a in self._parts[kept]]
        if not parts:
            none = np.zeros((0, 2), np.float32)
            return Parts(none, None), none
        numbers = np.concatenate([part.numbers for part in parts])
        images = [part.image for part in parts if part.image is not None]
        joined = Parts(numbers, np.concatenate(images) if images else None)
        # The pieces give way to the whole, which is then not held twice.
        self._parts[kept] = [(joined, np.concatenate(actions))]
        return self._parts[kept][0]
