"""What a Stable-Baselines3 algorithm holds beside networks, optimisers and replay buffer."""

from __future__ import annotations

import numbers
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np


def state(agent: Any) -> dict[str, Any]:
    """Returns random generators, episode counts and what waits to be logged, as JSON knows it.

    Args:
        agent: An algorithm with `generators`, a mapping of names to NumPy generators.
    """
    return {
        "generators": {
            name: generator.bit_generator.state for name, generator in agent.generators.items()
        },
        "episodes": agent._episode_num,
        "recent_episodes": list(agent.ep_info_buffer or ()),
        "waiting": {
            name: float(value)
            for name, value in agent.logger.name_to_value.items()
            if isinstance(value, numbers.Real)
        },
    }


def restore(agent: Any, stored: Mapping[str, Any]) -> None:
    """Puts back what `state` returned.

    Raises:
        KeyError: Something is missing.
    """
    for name, generator in agent.generators.items():
        generator.bit_generator.state = stored["generators"][name]
    agent._episode_num = int(stored["episodes"])
    agent.ep_info_buffer = deque(stored["recent_episodes"], maxlen=agent._stats_window_size)
    for name, value in stored["waiting"].items():
        agent.logger.record(name, value)


def begin_anew(agent: Any, seed: int) -> None:
    """Seeds environment and exploration anew and starts every episode from its beginning.

    Call it where the algorithm is about to collect a rollout. What was driven before has no part
    in what comes then, save through networks, optimisers, replay buffer and `state`: so nothing
    of the environment has to be stored.

    Args:
        agent: An algorithm that is learning.
        seed: For the environment, for actions drawn from the action space, and for the random
            numbers that NumPy and Python share.
    """
    agent.set_random_seed(seed)
    agent._last_obs = agent.env.reset()
    agent._last_episode_starts = np.ones(agent.n_envs, np.bool_)
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None:
        buffer.forget_recent()
