"""Training the encoder of a run, before its policy."""

from __future__ import annotations

from collections.abc import Callable

from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import EncoderReport, LaneEncoder
from donkey_rl.errors import InputError
from donkey_rl.experiments import lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay


def train_encoder(
    config: TrainingConfig, progress: ProgressDisplay, between: Callable[[], None]
) -> tuple[LaneEncoder, EncoderReport]:
    """Trains the encoder that a run's configuration names.

    Args:
        config: The run.
        progress: Shows how far it is.
        between: Called between two pieces of work; what it raises ends the training.

    Returns:
        The encoder, and how good it is on frames that it was not trained on.

    Raises:
        InputError: The encoder is not one that is trained before the policy.
    """
    settings = config.encoder
    if isinstance(settings, LaneEncoderConfig):
        return lane_training.train_encoder(config, settings, progress, between)
    raise InputError(
        "Expected an encoder that is trained before the policy: lane. "
        f"Received: encoder.name={settings.name}. Set encoder.name=lane."
    )
