"""Images of a drive made into others that ask for the same driving, as pure functions of tensors.

After the steering networks of Bojarski et al. 2016 ("End to End Learning for Self-Driving Cars",
arXiv:1604.07316) and the shifts of Yarats et al. 2021 (DrQ, arXiv:2004.13649). The same seed
gives the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.imitation.config import ImitationConfig
from donkey_rl.agents.tensorflow_setup import tf

FloatArray = npt.NDArray[np.float32]
Observation = dict[str, npt.NDArray[Any]]

_SIDEWAYS_ACCELERATION = 0
_ROLL_RATE = 5
"""Places in ``imu`` that a mirror turns round, with the yaw rate."""


def brightened(images: Any, most: float, seed: Any) -> Any:
    """Multiplies each image by a random factor in 1 - most .. 1 + most.

    Args:
        images: (B, h, w, c) float in 0..255.
        most: The largest change.
        seed: Two integers, (2,).
    """
    count = tf.shape(images)[0]
    factor = tf.random.stateless_uniform((count, 1, 1, 1), seed, 1.0 - most, 1.0 + most)
    return tf.clip_by_value(images * factor, 0.0, 255.0)


def shadowed(images: Any, darkest: float, seed: Any) -> Any:
    """Darkens one side of a random line through each image, by up to `darkest`.

    Args:
        images: (B, h, w, c) float in 0..255.
        darkest: Share of the light that a shadow may take.
        seed: Two integers, (2,).
    """
    shape = tf.shape(images)
    count, height, width = shape[0], shape[1], shape[2]
    drawn = tf.random.stateless_uniform((4, count, 1, 1), seed)
    x = tf.linspace(-0.5, 0.5, width)[None, None, :]
    y = tf.linspace(-0.5, 0.5, height)[None, :, None]
    angle = 2.0 * np.pi * drawn[0]
    place = x - (drawn[1] - 0.5), y - (drawn[2] - 0.5)
    inside = tf.cast(tf.cos(angle) * place[0] + tf.sin(angle) * place[1] > 0.0, tf.float32)
    return images * (1.0 - darkest * drawn[3] * inside)[..., None]


def mirrored(
    observation: Mapping[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]
) -> Observation:
    """Returns observations of which some are those of the mirrored car on the mirrored road.

    The image is turned round; the steering of the last actions, the sideways acceleration and the
    yaw and roll rates change their signs.

    Args:
        observation: ``image``, ``speed``, ``imu`` and ``last_actions`` of B cars.
        chosen: Which ones, (B,).
    """
    sign = np.where(chosen, -1.0, 1.0).astype(np.float32)[:, None]
    image, imu = observation["image"].copy(), observation["imu"].copy()
    image[chosen] = image[chosen, :, ::-1]
    imu[:, [_SIDEWAYS_ACCELERATION, YAW_RATE, _ROLL_RATE]] *= sign
    actions = observation["last_actions"].copy()
    actions[:, ::2] *= sign
    return {"image": image, "speed": observation["speed"], "imu": imu, "last_actions": actions}


class Augmentation:
    """Makes copies of observations, each by its own random numbers."""

    def __init__(self, config: ImitationConfig, image: tuple[int, int, int], seed: int) -> None:
        """Compiles at the first use.

        Args:
            config: What is changed, and how far.
            image: Height, width and channels.
            seed: Decides everything random.
        """
        self._config, self._seed, self._made = config, seed, 0
        self._compiled = tf.function(
            self._changed,
            input_signature=[
                tf.TensorSpec((None, *image), tf.uint8),
                tf.TensorSpec((2,), tf.int32),
            ],
        )

    def _changed(self, images: Any, seed: Any) -> Any:
        config = self._config
        changed = tf.cast(cnn.shifted(images, config.shift, seed), tf.float32)
        changed = shadowed(changed, config.shadow, seed + tf.constant([0, 1]))
        changed = brightened(changed, config.brightness, seed + tf.constant([0, 2]))
        return tf.cast(tf.round(changed), tf.uint8)

    def __call__(
        self, observation: Mapping[str, npt.NDArray[Any]], actions: FloatArray
    ) -> tuple[Observation, FloatArray]:
        """Returns a copy of B observations and of the actions that they ask for, (B, 2)."""
        self._made += 1
        count = len(actions)
        chosen = np.zeros(count, np.bool_)
        if self._config.mirror:
            chosen = np.random.default_rng([self._seed, self._made]).random(count) < 0.5
        copy = mirrored(observation, chosen)
        seed = np.array([self._seed, 3 * self._made], np.int32)
        copy["image"] = self._compiled(copy["image"], seed).numpy()
        turned = actions.copy()
        turned[chosen, 0] *= -1.0
        return copy, turned
