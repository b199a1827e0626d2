"""A picture of what a training's augmentation does to frames."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.augmentation.config import AugmentationConfig, LookConfig
from donkey_rl.agents.encoders import cnn as cnn_encoder
from donkey_rl.agents.encoders.config import OwnEncoderConfig, TrainedEncoderConfig
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.envs import labels
from donkey_rl.errors import InputError
from donkey_rl.experiments import encoder_pictures
from donkey_rl.experiments.config import TrainingConfig

ImageArray = npt.NDArray[np.uint8]

_FRAMES = 6
_SEED = 86_028
"""Frames are drawn from another stream than those of the training."""


def amounts(config: TrainingConfig) -> AugmentationConfig:
    """Returns how images change while a run learns to see.

    Args:
        config: The run: those of its encoder, or of its agent where that sees by itself.
    """
    if isinstance(config.encoder, TrainedEncoderConfig):
        # Others of the same name say how an encoder reads, as `mirror` of the lane encoder.
        values = config.encoder.model_dump(include=set(LookConfig.model_fields))
        return AugmentationConfig(**values)
    if config.agent == "sac":
        return config.sac.augmentation
    return config.ppo.augmentation if config.ppo.agreement else AugmentationConfig(shift=0)


def draw(config: TrainingConfig, path: pathlib.Path) -> pathlib.Path:
    """Draws frames at the size that is learned from, each change by itself, and all together.

    Args:
        config: The run.
        path: The PNG file to write.

    Raises:
        InputError: Nothing changes images in this run, or only code of the user's own does.
        StorageError: If the file cannot be written.
    """
    if isinstance(config.encoder, OwnEncoderConfig):
        raise InputError(
            "Expected an encoder whose settings change images. Received: encoder.name=own, which "
            "changes them in its own fit, if at all. Draw them there."
        )
    chosen = amounts(config)
    values = {name: value for name, value in chosen.model_dump().items() if value}
    if not values:
        raise InputError(
            "Expected a run that changes images while it learns to see. Received: one whose "
            "amounts are all 0, or PPO with ppo.agreement=0. Set some, for example --set "
            "encoder.noise=0.05, or --set ppo.agreement=0.1."
        )
    seed = config.seed + _SEED
    part = next(labels.sample_frames(config.environment(), _FRAMES, seed=seed))
    reducer = cnn_encoder.reducer(config.camera.shape, config.encoder)
    frames = tf.cast(reducer([part.images]), tf.uint8)
    rows = {"frame": frames.numpy()}
    rows |= {name: _changed(frames, {name: value}, seed) for name, value in values.items()}
    rows["all"] = _changed(frames, values, seed)
    return encoder_pictures.sheet(rows, {}, path, f"what {config.encoder.name} learns from")


def _changed(frames: object, values: Mapping[str, float | bool], seed: int) -> ImageArray:
    """Returns changed frames as they would be seen; every second one is mirrored, if any."""
    config = AugmentationConfig.model_validate(values)
    pair = tf.constant([seed, 0], tf.int32)
    changed = tf.cast(layers.Augmentation(config)(frames, pair), tf.float32)
    if config.mirror:
        chosen = mirroring.every_second(tf.shape(changed)[0], pair + layers.MIRROR)
        changed = mirroring.images(changed, chosen)
    levels: ImageArray = np.clip(np.rint(changed.numpy()), 0, 255).astype(np.uint8)
    return levels
