"""What all drivers of this package have in common, whatever computes their actions."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.agents.manifest import ObservationSpec

FloatArray = npt.NDArray[np.float32]


class Acting(abc.ABC):
    """Checks what it is shown, and answers with an action.

    Attributes:
        observation: What it sees.
    """

    observation: ObservationSpec

    @abc.abstractmethod
    def _actions(self, parts: Sequence[npt.NDArray[Any]]) -> FloatArray:
        """Returns the actions of n cars, (n, 2), by the parts of their observations."""

    def act(self, observation: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Returns the driver's action; always the same for the same observation.

        Args:
            observation: ``image``, ``speed``, ``imu`` and ``last_actions`` of one car, or of n
                cars with a leading axis; what else it holds is not looked at.

        Returns:
            Steering and throttle in [-1, 1], (2,) or (n, 2).

        Raises:
            DriverError: When a part is missing, or of another shape or type.
        """
        parts, single = self.observation.parts(observation)
        actions = self._actions(parts)
        return actions[0] if single else actions

    def reset(self) -> None:  # noqa: B027
        """Forgets the episode so far; no driver remembers anything between actions."""

    def check_observation_space(self, space: spaces.Space[Any]) -> None:
        """Checks that an environment shows what the driver sees.

        Raises:
            DriverError: When a part is missing or of another shape.
        """
        self.observation.check(space)
