"""The network of the lane encoder, as a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from donkey_rl.agents.encoders.config import EncoderConfig, LaneEncoderConfig
from donkey_rl.agents.tensorflow_setup import keras

_LEAST_VARIANCE = 1e-3
"""Contrast below its root (1.6 % of the range) is left as weak as it is."""


def reducer(image_shape: tuple[int, int, int], config: EncoderConfig) -> Any:
    """Builds the part that crops and shrinks.

    Args:
        image_shape: Height, width, channels.
        config: Settings.

    Returns:
        A Keras model, uint8 (B, H, W, C) -> float32 (B, h, w, C) in 0..255, without weights.
    """
    inputs = keras.Input(image_shape, dtype="uint8", name="image")
    top = round(image_shape[0] * config.crop)
    x = keras.layers.Cropping2D(((top, 0), (0, 0)))(inputs)
    x = keras.layers.Rescaling(1.0, name="as_float")(x)
    x = keras.layers.AveragePooling2D(config.pool)(x)
    return keras.Model(inputs, x, name="reducer")


def reader(reduced_shape: tuple[int, int, int], labels: int, config: LaneEncoderConfig) -> Any:
    """Builds the part that is trained.

    Args:
        reduced_shape: Height, width and channels of reduced images.
        labels: Number of labels L.
        config: Settings; the seed decides the initial weights.

    Returns:
        A Keras model, (B, h, w, C) in 0..255 -> standardised labels (B, L).
    """
    seeds = np.random.default_rng(config.seed or 0)

    def initialiser() -> Any:
        return keras.initializers.HeUniform(seed=int(seeds.integers(2**31)))

    inputs = keras.Input(reduced_shape, name="reduced")
    x = _even_contrast(keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(inputs))
    for index, filters in enumerate(config.filters):
        size = 5 if index == 0 else 3
        x = keras.layers.Conv2D(
            filters,
            size,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer=initialiser(),
        )(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(config.dense, "relu", kernel_initializer=initialiser())(x)
    outputs = keras.layers.Dense(labels, kernel_initializer=initialiser())(x)
    return keras.Model(inputs, outputs, name="reader")


def _even_contrast(images: Any) -> Any:
    """Gives each channel of each image mean 0 and variance 1, whatever light it was taken in.

    What carries most from the embedded simulator to the frames of another one, see
    docs/fidelity.md. A channel of one colour stays 0.

    Args:
        images: (B, h, w, C).
    """
    mean = keras.ops.mean(images, axis=(1, 2), keepdims=True)
    squares = keras.ops.mean(keras.ops.square(images), axis=(1, 2), keepdims=True)
    variance = keras.ops.maximum(squares - keras.ops.square(mean), 0.0)
    return (images - mean) * keras.ops.rsqrt(variance + _LEAST_VARIANCE)


def encoder(image_shape: tuple[int, int, int], labels: int, config: LaneEncoderConfig) -> Any:
    """Builds the whole encoder from `reducer` and `reader`.

    Args:
        image_shape: Height, width, channels.
        labels: Number of labels L.
        config: Settings.

    Returns:
        A Keras model, uint8 (B, H, W, C) -> standardised labels within ``config.clip``, (B, L).

    Raises:
        InputError: When the images are too small for the convolutions.
    """
    config.check_image(image_shape)
    inputs = keras.Input(image_shape, dtype="uint8", name="image")
    reduce = reducer(image_shape, config)
    read = reader(reduce.output_shape[1:], labels, config)
    outputs = keras.ops.clip(read(reduce(inputs)), -config.clip, config.clip)
    return keras.Model(inputs, outputs, name="encoder")
