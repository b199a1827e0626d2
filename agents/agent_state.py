"""All that a Stable-Baselines3 algorithm of ours holds while it learns, save its replay buffer.

`agent_folder` is for agents that are done: its Keras files are read anywhere, but where the disk
is full, HDF5 takes the process with it. Here networks are plain arrays.
"""

from __future__ import annotations

import numbers
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import named_arrays

_NETWORK, _LEARNER = "network", "learner"


def arrays(agent: Any) -> dict[str, npt.NDArray[Any]]:
    """Returns the weights of all networks and what else the learner holds, by name."""
    found = {
        f"{_NETWORK}.{name}.{index}": np.asarray(weights)
        for name, network in agent.networks().items()
        for index, weights in enumerate(network.get_weights())
    }
    return found | named_arrays.under(_LEARNER, agent.learner.state())


def losses(agent: Any) -> dict[str, float]:
    """Returns the losses of the last update, by name."""
    waiting = agent.logger.name_to_value.items()
    return {name: float(value) for name, value in waiting if name.endswith("loss")}


def facts(agent: Any) -> dict[str, Any]:
    """Returns counters, random generators and what waits to be logged, as JSON knows it.

    Args:
        agent: An algorithm with `generators`, a mapping of names to NumPy generators.
    """
    return {
        "steps": agent.num_timesteps,
        "updates": agent._n_updates,
        "episodes": agent._episode_num,
        "updates_dropped": getattr(agent, "updates_dropped", 0),
        "generators": {
            name: generator.bit_generator.state for name, generator in agent.generators.items()
        },
        "recent_episodes": list(agent.ep_info_buffer or ()),
        "waiting": {
            name: float(value)
            for name, value in agent.logger.name_to_value.items()
            if isinstance(value, numbers.Real)
        },
    }


def restore(agent: Any, stored: Mapping[str, npt.NDArray[Any]], said: Mapping[str, Any]) -> None:
    """Puts back what `arrays` and `facts` returned for an agent with the same networks.

    Raises:
        KeyError: Something is missing.
        ValueError: A network has other shapes.
    """
    for name, network in agent.networks().items():
        count = len(network.get_weights())
        network.set_weights([stored[f"{_NETWORK}.{name}.{index}"] for index in range(count)])
    agent.learner.restore(named_arrays.of(_LEARNER, stored))
    agent.num_timesteps = int(said["steps"])
    agent._n_updates = int(said["updates"])
    agent._episode_num = int(said["episodes"])
    if hasattr(agent, "updates_dropped"):
        agent.updates_dropped = int(said.get("updates_dropped", 0))
    for name, generator in agent.generators.items():
        generator.bit_generator.state = said["generators"][name]
    agent.ep_info_buffer = deque(said["recent_episodes"], maxlen=agent._stats_window_size)
    for name, value in said["waiting"].items():
        agent.logger.record(name, value)


def begin_anew(agent: Any, seed: int) -> None:
    """Seeds environment and exploration anew and starts every episode from its beginning.

    Call it where the algorithm is about to collect a rollout. What was driven before has no part
    in what comes then, save through networks, optimisers, replay buffer and counters: so nothing
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
