"""The algorithm that a run learns by, and whether it has learned at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import simulators
from donkey_rl.errors import NothingLearnedError
from donkey_rl.experiments.config import TrainingConfig


def agent(config: TrainingConfig, env: ExtractedVecEnv) -> SAC | PPO:
    """Returns the algorithm that a configuration names, untrained.

    Args:
        config: The run.
        env: What it learns in.

    Raises:
        InputError: The settings do not fit the environment or the machine.
    """
    if config.agent == "ppo":
        return PPO(env, config.ppo, seed=config.seed)
    real_time = simulators.count(config.simulator) is not None
    model = SAC(env, config.sac, seed=config.seed, real_time=real_time)
    model.begins_by_chance = config.start.driver is None
    return model


def idle(config: TrainingConfig) -> str:
    """Returns why learning by reward will leave the policy as it is, empty where it will not."""
    waits, setting = _waits(config)
    # The last collection is driven to its end.
    piece = config.driven * (config.ppo.n_steps if config.agent == "ppo" else 1)
    taken = -(-config.steps // piece) * piece
    if not 0 < taken <= waits:
        return ""
    return (
        f"the policy stays as it begins: it is changed after {waits:,} steps ({setting}), and "
        f"steps={config.steps:,}"
    )


def _waits(config: TrainingConfig) -> tuple[int, str]:
    """Returns after how many steps a policy is changed, and the setting that says so."""
    if config.agent == "sac":
        return config.sac.learning_starts, "sac.learning_starts"
    return config.ppo.critic_steps, "ppo.critic_steps"


def check_learned(
    config: TrainingConfig,
    before: Sequence[npt.NDArray[Any]],
    after: Sequence[npt.NDArray[Any]],
    taken: int,
) -> None:
    """Refuses to go on with a policy that has learned nothing, neither by reward nor in lessons.

    Args:
        config: The run.
        before: Weights of the policy before it learned by reward.
        after: The same weights now.
        taken: Environment steps.

    Raises:
        NothingLearnedError: Training has changed no weight.
    """
    if config.imitation.wanted or config.start.driver is not None:
        return
    if any(not np.array_equal(old, new) for old, new in zip(before, after, strict=True)):
        return
    waits, setting = _waits(config)
    needed = f": it is changed after {waits:,} ({setting})" if waits else ""
    remedy = "Give more --steps."
    if taken < config.steps and config.minutes is not None:
        remedy = (
            f"Its {config.minutes:g} minutes, of which the encoder takes its share, were over: "
            "give more, --set minutes."
        )
    raise NothingLearnedError(
        f"Training has changed no weight of the policy in {taken:,} steps{needed}. {remedy}"
    )
