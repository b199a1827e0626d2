"""What drives of an agent: its policy, and the network that it sees with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Weights = list[npt.NDArray[np.float32]]


def _networks(agent: Any) -> list[Any]:
    """Returns the Keras models between observation and action, in order."""
    policy = agent.deterministic_model()
    return [policy] if agent.learner.cnn is None else [agent.learner.cnn, policy]


def weights(agent: Any) -> Weights:
    """Returns copies of the weights that an agent drives by.

    Args:
        agent: A `SAC` or `PPO`.
    """
    return [array for network in _networks(agent) for array in network.get_weights()]


def put_back(agent: Any, kept: Weights) -> None:
    """Lets an agent drive as it did when `weights` returned these.

    Args:
        agent: A `SAC` or `PPO`.
        kept: What `weights` returned.
    """
    first = 0
    for network in _networks(agent):
        count = len(network.weights)
        network.set_weights(kept[first : first + count])
        first += count


def is_finite(network: Any) -> bool:
    """Whether all weights of a Keras model are numbers; those of one that diverged are not."""
    return all(bool(np.isfinite(array).all()) for array in network.get_weights())
