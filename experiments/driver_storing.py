"""What a training stores as its driver."""

from __future__ import annotations

import pathlib
import tempfile

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import batch as batches
from donkey_rl.experiments import description, sight
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run


def store(
    run: Run,
    config: TrainingConfig,
    model: SAC | PPO,
    encoder: Encoder | None,
    start: Driver | None,
    *,
    lite: bool = True,
    steps: int | None = None,
) -> Driver:
    """Stores the policy as it is now as a run's driver.

    Args:
        run: Where to.
        config: Its settings.
        model: The policy.
        encoder: Trained before it; None where the policy sees by itself.
        start: What the training began with.
        lite: Whether with its LiteRT model, which takes seconds.
        steps: Environment steps that the policy has learned from; by default all of the run.

    Raises:
        StorageError: It cannot be stored.
    """
    driver = Driver(
        sight.driver_encoder(config, model, encoder),
        model.deterministic_model(),
        description.of(config, run.id, model.num_timesteps if steps is None else steps, start),
        history=config.history,
        scaling=sight.scaling(config),
        critic=sight.driver_critic(model, encoder),
    )
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name) / "driver"
        driver.save(folder, lite=lite)
        space = batches.observation_space(config.environment())
        run.log_driver(folder, space, batches.action_space())
    return driver
