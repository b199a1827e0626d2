"""Mirrored roads: what was seen and what was done, turned round together.

The world, the cars and the cameras are symmetric, so what is right on a road is right on its
mirror image with the steering turned round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from donkey_rl.agents import features
from donkey_rl.agents.observations import Layout
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]

ACTION_SIGNS: FloatArray = np.array([-1.0, 1.0], np.float32)
"""Steering changes its sign, throttle does not."""


def signs(layout: Layout, actions: int) -> FloatArray:
    """Returns what the numbers of an observation are multiplied by on a mirrored road, (F,).

    Args:
        layout: Of observations as `donkey_rl.agents.image_env` makes them.
        actions: How many numbers an action has.

    Raises:
        InputError: They are others, of which nobody knows what a mirror does to them.
    """
    space = layout.space
    known = isinstance(space, spaces.Dict) and set(space.spaces) == {"image", "numbers"}
    if not known or actions != len(ACTION_SIGNS) or layout.numbers < 4 or layout.numbers % 2:
        raise InputError(
            "Expected images with speed, yaw rate and last actions beside them, and actions of "
            f"steering and throttle, to mirror them. Received: {space} and {actions} numbers of "
            "an action. Set augmentation.mirror=false."
        )
    return features.mirror_signs(layout.numbers)


def every_second(count: Any, seed: Any) -> Any:
    """Chooses about every second of ``count`` rows, (B,), booleans.

    Args:
        count: B.
        seed: Two integers, (2,); not those of the changes of the same images.
    """
    return tf.random.stateless_uniform((count,), seed) < 0.5


def images(seen: Any, chosen: Any) -> Any:
    """Turns some images round.

    Args:
        seen: (B, ..., h, w, c).
        chosen: Which of the batch, (B,), booleans.
    """
    every = tf.reshape(chosen, (-1, *[1] * (len(seen.shape) - 1)))
    return tf.where(every, tf.reverse(seen, [-2]), seen)


def numbers(rows: Any, by: FloatArray, chosen: Any) -> Any:
    """Multiplies some rows by signs.

    Args:
        rows: (B, F).
        by: The signs, (F,).
        chosen: Which rows, (B,), booleans.
    """
    return tf.where(chosen[:, None], rows * by, rows)
