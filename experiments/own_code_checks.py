"""Trying code of the user's own before anything is begun with it."""

from __future__ import annotations

from donkey_rl.envs import rewards
from donkey_rl.experiments.config import TrainingConfig


def check(config: TrainingConfig) -> None:
    """Runs the files of a reward and of an encoder of the user's own, and tries what they hold.

    Raises:
        InputError: A file is missing or cannot be used; the message has the line.
    """
    if config.task.reward is not None:
        rewards.load(config.task.reward)
    if config.encoder.name == "own":
        # With it comes TensorFlow, which takes seconds that who plans a sweep need not wait.
        from donkey_rl.experiments import encoder_training

        encoder_training.check(config)
