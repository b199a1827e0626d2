"""A vector environment of small images, for policies that learn to see end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from donkey_rl.agents import cnn, features
from donkey_rl.agents.encoders import cnn as cnn_encoder
from donkey_rl.agents.encoders.config import EncoderConfig
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.features import FeatureScaling, Observation
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import InputError


class ImageExtractor:
    """Crops and shrinks the images of observations, and lays the measurements beside them.

    Attributes:
        scaling: What the measurements are divided by.
        space: A ``Dict`` of ``image``, uint8 (h, w, c), and ``numbers``, (2 + 2 K,).
    """

    def __init__(
        self,
        config: EncoderConfig,
        observation_space: spaces.Space[Any],
        scaling: FeatureScaling | None = None,
    ) -> None:
        """Checks that the observations hold what is wanted.

        Args:
            config: How images are cropped and shrunk.
            observation_space: Space of single observations.
            scaling: Divisors; the defaults when None.

        Raises:
            InputError: When the observations lack something, or no image is left.
        """
        self.scaling = scaling if scaling is not None else FeatureScaling()
        shape = _image_shape(observation_space)
        config.check(shape)
        history = features.check_observation_space(observation_space, shape)
        self.space = spaces.Dict(
            image=spaces.Box(0, 255, config.reduced(shape), np.uint8),
            numbers=spaces.Box(-np.inf, np.inf, (2 + 2 * history,), np.float32),
        )
        reducer = cnn_encoder.reducer(shape, config)
        self._reduce = tf.function(
            lambda images: tf.cast(cnn.in_parts(reducer, images), tf.uint8),
            input_signature=[tf.TensorSpec((None, *shape), tf.uint8)],
        )

    def __call__(self, observation: Observation) -> dict[str, npt.NDArray[Any]]:
        """Returns ``image`` and ``numbers`` of a batch of observations, or of a single one."""
        single = observation["image"].ndim == 3
        if single:
            observation = {name: np.asarray(part)[None] for name, part in observation.items()}
        found = {
            "image": self._reduce(observation["image"]).numpy(),
            "numbers": features.measurements(observation, self.scaling),
        }
        return {name: part[0] for name, part in found.items()} if single else found


class ImageVecEnv(ExtractedVecEnv):
    """Crops and shrinks the images of all environments in one call per step."""

    def __init__(
        self, venv: VecEnv, config: EncoderConfig, scaling: FeatureScaling | None = None
    ) -> None:
        """Wraps a vector environment of ``Dict`` observations.

        Args:
            venv: The environment.
            config: How images are cropped and shrunk.
            scaling: Divisors of the measurements; the defaults when None.

        Raises:
            InputError: When the observations lack something, or no image is left.
        """
        super().__init__(venv, ImageExtractor(config, venv.observation_space, scaling))


def _image_shape(space: spaces.Space[Any]) -> tuple[int, int, int]:
    image = space.spaces.get("image") if isinstance(space, spaces.Dict) else None
    if image is None or image.shape is None or len(image.shape) != 3:
        raise InputError(
            "Expected a Dict of image, speed, imu and last_actions as observation space. "
            f"Received: {space}. Use one of the donkey environments."
        )
    height, width, channels = image.shape
    return height, width, channels
