"""Random changes of images as Keras layers.

All of them are called with a batch and a seed of two integers, and draw from that alone: the same
seed gives the same images, wherever a layer runs. So a learner draws seeds as it draws its noise,
and goes on bit for bit from a checkpoint.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from donkey_rl.agents.augmentation.config import AugmentationConfig, LookConfig
from donkey_rl.agents.tensorflow_setup import keras, tf

_NARROWEST, _WIDEST = 0.05, 0.3
"""Half the width of a shadow, share of the image's."""

_LOOKS = 8
MIRROR = 16
"""Added to a seed for what else is drawn beside the shift, so that it does not draw the same."""


class Levels(keras.layers.Layer):  # type: ignore[misc]
    """Changes gamma, then contrast about the middle grey and brightness, of each image alike."""

    def __init__(self, gamma: float, contrast: float, brightness: float) -> None:
        """Sets the largest changes.

        Args:
            gamma: Share by which the exponent differs from 1.
            contrast: Share.
            brightness: Share of full scale.
        """
        super().__init__()
        self.gamma, self.contrast, self.brightness = gamma, contrast, brightness

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c), not bounded to 0..255."""
        drawn = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed, -1.0, 1.0)
        if self.gamma > 0:
            light = tf.maximum(images, 0.0) / 255.0
            images = 255.0 * tf.pow(light, 1.0 + self.gamma * drawn[2])
        scale = 1.0 + self.contrast * drawn[0]
        return images * scale + (255.0 * self.brightness * drawn[1] + 127.5 * (1.0 - scale))


class Colour(keras.layers.Layer):  # type: ignore[misc]
    """Turns the hues of each image about the grey axis, and scales its channels.

    The turn is Rodrigues' rotation about (1, 1, 1), which leaves grey as it is (Haeberli 1993,
    "Matrix Operations for Image Processing").
    """

    def __init__(self, gain: float, hue: float) -> None:
        """Sets the largest changes.

        Args:
            gain: Share by which a channel grows or shrinks.
            hue: Turn, in half turns; above 0 only for images of three channels.
        """
        super().__init__()
        self.gain, self.hue = gain, hue

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c), not bounded to 0..255."""
        shape = tf.shape(images)
        channels = images.shape[-1]
        drawn = tf.random.stateless_uniform((channels + 1, shape[0]), seed, -1.0, 1.0)
        gains = tf.transpose(1.0 + self.gain * drawn[1:])
        if self.hue == 0:
            return images * gains[:, None, None, :]
        matrices = _hue_rotation(math.pi * self.hue * drawn[0]) * gains[:, None, :]
        flat = tf.reshape(images, (shape[0], -1, channels))
        return tf.reshape(tf.matmul(flat, matrices), shape)


class Blur(keras.layers.Layer):  # type: ignore[misc]
    """Mixes each image with its copy smoothed by binomial weights, 3x3."""

    def __init__(self, most: float) -> None:
        """Sets the largest share of the smoothed copy."""
        super().__init__()
        self.most = most

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c)."""
        share = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, 0.0, self.most)
        wide = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        rows = wide[:, :-2] + 2.0 * wide[:, 1:-1] + wide[:, 2:]
        smooth = (rows[:, :, :-2] + 2.0 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16.0
        return images + share * (smooth - images)


class Noise(keras.layers.Layer):  # type: ignore[misc]
    """Adds normal noise to each number of each image."""

    def __init__(self, deviation: float) -> None:
        """Sets the standard deviation, share of full scale."""
        super().__init__()
        self.deviation = deviation

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c), not bounded to 0..255."""
        return images + 255.0 * self.deviation * tf.random.stateless_normal(tf.shape(images), seed)


class Shadow(keras.layers.Layer):  # type: ignore[misc]
    """Darkens one slanted band in each image."""

    def __init__(self, most: float) -> None:
        """Sets the largest share of the light that is taken."""
        super().__init__()
        self.most = most

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c)."""
        shape = tf.shape(images)
        drawn = tf.random.stateless_uniform((4, shape[0], 1, 1, 1), seed)
        rows, columns = _places(shape)
        middle = drawn[0] + (2.0 * drawn[1] - 1.0) * (rows - 0.5)
        half = _NARROWEST + (_WIDEST - _NARROWEST) * drawn[2]
        inside = tf.cast(tf.abs(columns - middle) < half, tf.float32)
        return images * (1.0 - self.most * drawn[3] * inside)


class Occlusion(keras.layers.Layer):  # type: ignore[misc]
    """Covers one rectangle of each image in one grey.

    Source: Zhong et al. 2020, "Random Erasing Data Augmentation", arXiv:1708.04896.
    """

    def __init__(self, most: float) -> None:
        """Sets the longest side, share of the image's."""
        super().__init__()
        self.most = most

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images, float32 (B, h, w, c)."""
        shape = tf.shape(images)
        drawn = tf.random.stateless_uniform((5, shape[0], 1, 1, 1), seed)
        rows, columns = _places(shape)
        inside = (tf.abs(rows - drawn[0]) < 0.5 * self.most * drawn[1]) & (
            tf.abs(columns - drawn[2]) < 0.5 * self.most * drawn[3]
        )
        return tf.where(inside, 255.0 * drawn[4], images)


class Shift(keras.layers.Layer):  # type: ignore[misc]
    """Moves each image by a random number of whole pixels, its edge repeated.

    DrQ's augmentation (Yarats et al. 2021, arXiv:2004.13649, section 3): padding on all sides,
    then a crop of the old size anywhere.
    """

    def __init__(self, pixels: int) -> None:
        """Sets the farthest each way."""
        super().__init__()
        self.pixels = pixels

    def call(self, images: Any, seed: Any) -> Any:
        """Returns moved images, (B, h, w, c) of the type they have."""
        shape = tf.shape(images)
        count, height, width = shape[0], shape[1], shape[2]
        by = tf.random.stateless_uniform(
            (2, count, 1), seed, -self.pixels, self.pixels + 1, tf.int32
        )
        rows = tf.clip_by_value(tf.range(height)[None] + by[0], 0, height - 1)
        columns = tf.clip_by_value(tf.range(width)[None] + by[1], 0, width - 1)
        moved = tf.gather(images, rows, axis=1, batch_dims=1)
        return tf.gather(moved, columns, axis=2, batch_dims=1)


class Looks(keras.layers.Layer):  # type: ignore[misc]
    """All changes of a `LookConfig`, one after another; what is off costs nothing."""

    def __init__(self, config: LookConfig) -> None:
        """Makes the layers that are on."""
        super().__init__()
        look = config
        # Each with what is added to the seed for it.
        layers: list[tuple[bool, Any, int]] = [
            (look.blur > 0, Blur(look.blur), 4),
            (look.shadow > 0, Shadow(look.shadow), 2),
            (look.occlusion > 0, Occlusion(look.occlusion), 3),
            (look.colour > 0 or look.hue > 0, Colour(look.colour, look.hue), 5),
            (
                look.gamma > 0 or look.contrast > 0 or look.brightness > 0,
                Levels(look.gamma, look.contrast, look.brightness),
                0,
            ),
            (look.noise > 0, Noise(look.noise), 1),
        ]
        self.steps = tuple((layer, salt) for used, layer, salt in layers if used)

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images.

        Args:
            images: (B, h, w, c) in 0..255, any type.
            seed: Two integers, (2,).

        Returns:
            float32 (B, h, w, c), not bounded to 0..255.
        """
        images = tf.cast(images, tf.float32)
        for layer, salt in self.steps:
            images = layer(images, seed + salt)
        return images


class Augmentation(keras.layers.Layer):  # type: ignore[misc]
    """What an `AugmentationConfig` does to images; mirroring, which concerns actions, is apart."""

    def __init__(self, config: AugmentationConfig) -> None:
        """Makes the layers that are on."""
        super().__init__()
        self.shift = Shift(config.shift) if config.shift else None
        looks = Looks(config)
        self.looks = looks if looks.steps else None

    def call(self, images: Any, seed: Any) -> Any:
        """Returns changed images.

        Args:
            images: (B, h, w, c) in 0..255, any type.
            seed: Two integers, (2,).

        Returns:
            (B, h, w, c): of the type they have where they are moved at most, else float32, not
            bounded to 0..255.
        """
        if self.shift is not None:
            images = self.shift(images, seed)
        if self.looks is not None:
            images = self.looks(images, seed + _LOOKS)
        return images


def _places(shape: Any) -> tuple[Any, Any]:
    """Returns each pixel's row (1, h, 1, 1) and column (1, 1, w, 1), from 0 to 1."""
    rows, columns = (tf.linspace(0.0, 1.0, shape[axis]) for axis in (1, 2))
    return rows[None, :, None, None], columns[None, None, :, None]


def _hue_rotation(angles: Any) -> Any:
    """Returns matrices to multiply rows of red, green and blue by, (B, 3, 3)."""
    cosine, sine = tf.cos(angles)[:, None, None], tf.sin(angles)[:, None, None]
    across = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]], np.float32) / math.sqrt(3.0)
    unit = np.eye(3, dtype=np.float32)
    return cosine * unit + (1.0 - cosine) / 3.0 + sine * across
