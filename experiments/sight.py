"""How a policy sees: through an encoder trained before it, or by its own convolutional network."""

from __future__ import annotations

from typing import Any

from donkey_rl.agents import driving
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.encoders.config import CnnEncoderConfig
from donkey_rl.agents.feature_env import ExtractedVecEnv, FeatureVecEnv
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.image_env import ImageVecEnv
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.simulator import vehicle
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments.config import TrainingConfig

_SPEED = 16.0
"""Speed (u/s) that a policy reads as 1."""


def scaling(config: TrainingConfig) -> FeatureScaling:
    """Returns how the measurements of a run's car are read."""
    speed = _SPEED / vehicle.load(config.vehicle).report_scale
    return FeatureScaling(speed=speed, blind_to=config.blind_to)


def environment(
    config: TrainingConfig, cars: Cars, encoder: Encoder | None, scaling: FeatureScaling
) -> ExtractedVecEnv:
    """Returns the environment that a policy learns in.

    Args:
        config: The run.
        cars: What it drives.
        encoder: Trained before the policy; None where the policy sees by itself.
        scaling: Divisors of the measurements.
    """
    if encoder is None:
        return ImageVecEnv(cars, _end_to_end(config), scaling)
    return FeatureVecEnv(cars, encoder, scaling)


def driver_encoder(config: TrainingConfig, model: SAC | PPO, encoder: Encoder | None) -> Encoder:
    """Returns the encoder that a driver is stored with; a policy's own network is copied.

    Args:
        config: The run.
        model: The policy.
        encoder: Trained before the policy; None where the policy sees by itself.
    """
    if encoder is None:
        return CnnEncoder.of_policy(model.learner.cnn, config.camera.shape, _end_to_end(config))
    return encoder


def _end_to_end(config: TrainingConfig) -> CnnEncoderConfig:
    """Returns how images are shrunk for a policy that sees by itself."""
    settings = config.encoder
    if not isinstance(settings, CnnEncoderConfig):
        raise DonkeyRLError(
            "Expected encoder.name=cnn where no encoder was trained before the policy. Received: "
            f"encoder.name={settings.name}. Train that encoder first."
        )
    return settings


def driver_critic(model: SAC | PPO, encoder: Encoder | None) -> Any:
    """Returns what judges actions for a driver, or None where nothing does.

    PPO learns no value of an action, critics without a gradient step judge by chance, and those of
    a training that has diverged are no numbers. What the
    critics read of a policy's own network goes on changing after the policy that is stored, so
    they would judge by what they do not know.

    Args:
        model: The policy.
        encoder: Trained before the policy; None where the policy sees by itself.
    """
    if encoder is None or not isinstance(model, SAC) or not model.has_learned:
        return None
    judge = model.action_value_model()
    return judge if driving.is_finite(judge) else None
