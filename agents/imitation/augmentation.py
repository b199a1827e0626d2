"""Demonstrations made into others that ask for the same driving.

After the steering networks of Bojarski et al. 2016 ("End to End Learning for Self-Driving Cars",
arXiv:1604.07316). The changes are those of `donkey_rl.agents.augmentation`. A policy that sees by
itself learns from changed images inside its compiled update, see
`donkey_rl.agents.imitation.cloning`; for a frozen encoder copies are made once, before it reads
them. The same seed gives the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.tensorflow_setup import tf

FloatArray = npt.NDArray[np.float32]
Observation = dict[str, npt.NDArray[Any]]

_SIDEWAYS_ACCELERATION = 0
_ROLL_RATE = 5
"""Places in ``imu`` that a mirror turns round, with the yaw rate."""


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


class Copier:
    """Makes changed copies of observations, each by its own random numbers."""

    def __init__(self, config: AugmentationConfig, image: tuple[int, int, int], seed: int) -> None:
        """Compiles at the first use.

        Args:
            config: What is changed, and how far.
            image: Height, width and channels.
            seed: Decides everything random.
        """
        self._config, self._seed, self._made = config, seed, 0
        self._layer = layers.Augmentation(config)
        self._compiled = tf.function(
            self._changed,
            input_signature=[
                tf.TensorSpec((None, *image), tf.uint8),
                tf.TensorSpec((2,), tf.int32),
            ],
        )

    def _changed(self, images: Any, seed: Any) -> Any:
        changed = tf.cast(self._layer(images, seed), tf.float32)
        return tf.cast(tf.round(tf.clip_by_value(changed, 0.0, 255.0)), tf.uint8)

    def __call__(
        self, observation: Mapping[str, npt.NDArray[Any]], actions: FloatArray
    ) -> tuple[Observation, FloatArray]:
        """Returns a copy of B observations and of the actions that they ask for, (B, 2)."""
        self._made += 1
        chosen = np.zeros(len(actions), np.bool_)
        if self._config.mirror:
            chosen = np.random.default_rng([self._seed, self._made]).random(len(actions)) < 0.5
        copy = mirrored(observation, chosen)
        # Layers add less than 32 to a seed.
        seed = np.array([self._seed, 32 * self._made], np.int32)
        copy["image"] = self._compiled(copy["image"], seed).numpy()
        return copy, np.where(chosen[:, None], actions * mirroring.ACTION_SIGNS, actions)
