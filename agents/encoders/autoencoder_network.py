"""The other half of the auto-encoder's network: from features back to an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from donkey_rl.agents.encoders import lane_network
from donkey_rl.agents.tensorflow_setup import keras, tf

_FILTERS = (32, 16)
"""Channels of the smallest image, and of the one of twice its sides."""

_GROWTH = 4


def drawn_shape(reduced_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Returns the shape of what a decoder draws: half the sides of a reduced image, rounded up.

    >>> drawn_shape((40, 80, 3))
    (20, 40, 3)
    """
    height, width, channels = reduced_shape
    return -(-height // 2), -(-width // 2), channels


def target(images: Any) -> Any:
    """Returns what a decoder should draw of images: averaged 2 x 2, even in contrast.

    Args:
        images: (B, h, w, C) in 0..255.

    Returns:
        float32 (B, h / 2, w / 2, C), each channel of each image with mean near 0.
    """
    averaged = tf.nn.avg_pool2d(tf.cast(images, tf.float32), 2, 2, "SAME")
    return lane_network.even_contrast(averaged)


def decoder(features: int, drawn: tuple[int, int, int], seed: int) -> Any:
    """Builds the network that draws.

    Its convolutions are of the small image, and their channels become the pixels of the larger one
    (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", section 3.2).

    Args:
        features: Number of features F.
        drawn: Height, width and channels of what it draws.
        seed: Decides the initial weights.

    Returns:
        A Keras model, features (B, F) -> (B, *drawn), with the first layer ``features``.
    """
    seeds = np.random.default_rng([seed, 1])

    def initialiser() -> Any:
        return keras.initializers.HeUniform(seed=int(seeds.integers(2**31)))

    def convolution(filters: int, activation: str | None) -> Any:
        return keras.layers.Conv2D(
            filters, 3, padding="same", activation=activation, kernel_initializer=initialiser()
        )

    height, width, channels = drawn
    rows, columns = -(-height // _GROWTH), -(-width // _GROWTH)
    small, large = _FILTERS
    inputs = keras.Input((features,), name="encoded")
    dense = keras.layers.Dense(
        rows * columns * small, "relu", kernel_initializer=initialiser(), name="features"
    )
    x = keras.layers.Reshape((rows, columns, small))(dense(inputs))
    x = _spread(convolution(4 * large, "relu")(x))
    x = _spread(convolution(4 * channels, None)(x))
    return keras.Model(inputs, x[:, :height, :width], name="decoder")


def _spread(images: Any) -> Any:
    """Makes each pixel's channels 2 x 2 pixels, (B, h, w, 4 C) -> (B, 2 h, 2 w, C)."""
    _, rows, columns, channels = images.shape
    parts = keras.ops.reshape(images, (-1, rows, columns, 2, 2, channels // 4))
    parts = keras.ops.transpose(parts, (0, 1, 3, 2, 4, 5))
    return keras.ops.reshape(parts, (-1, 2 * rows, 2 * columns, channels // 4))
